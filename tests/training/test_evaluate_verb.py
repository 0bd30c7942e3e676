"""The verb `evaluate`: what it prints and writes agrees with votes computed apart, and what it refuses."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from neuroemo import cli
from neuroemo.datasets.store import ClipStore
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.training.checkpoint import save_model
from neuroemo.training.evaluation import evaluate, votes_of
from neuroemo.training.evaluation_document import AboutClips, evaluation_document
from neuroemo.training.evaluation_text import cheapest_exit, evaluation_text
from neuroemo.training.loop import describe
from tests.conftest import spiking_network
from tests.reproduce.small_store import small_store


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with clips.h5 and the checkpoint `net` of a network whose neurons all fire, and its twin `ann`."""
    folder = tmp_path_factory.mktemp("evaluate")
    small_store(folder / "clips.h5", clips=48)
    network, spec = spiking_network()
    twin = spec_by_name("tiny-ann")
    with ClipStore.open(folder / "clips.h5") as store:
        save_model(folder / "net", network, describe(spec, store))
        torch.manual_seed(0)
        save_model(folder / "ann", build_network(twin), describe(twin, store))
    for name in ("net", "ann"):
        (folder / name / "training.json").write_text(json.dumps({"data": str(folder / "clips.h5")}))
    return folder


def run(capsys, *arguments):
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_number_follows_from_the_votes(capsys, checkpoint):
    code, out, _ = run(capsys, "evaluate", checkpoint / "net", "--json", "-q")
    told = json.loads(out)
    assert (code, told["kind"], told["clips"], told["schema"], told["split"]) == (0, "evaluation", 12, 1, "test")
    network, spec = spiking_network()
    with ClipStore.open(checkpoint / "clips.h5") as store:
        indices = store.indices("test")
        spikes = np.rint(votes_of(network, spec, store.batch(indices)) * spec.voting).astype(int)
        labels, subjects = store.labels[indices], [store.subjects[i] for i in indices]
    assert spikes.sum() > 0
    predicted = spikes.sum(axis=0).argmax(axis=1)
    correct = predicted == labels
    assert told["correct"] == correct.sum()
    assert told["confusion"] == [[int(((labels == r) & (predicted == c)).sum()) for c in (0, 1)] for r in (0, 1)]
    assert [clip["predicted"] for clip in told["clips_by_name"]] == [("down", "up")[p] for p in predicted]
    rates = spikes.sum(axis=0) / (spec.voting * spec.steps)
    np.testing.assert_allclose([clip["rates"] for clip in told["clips_by_name"]], rates, rtol=1e-15)
    for name, one in told["subjects"]["scores"].items():
        mine = [right for right, subject in zip(correct, subjects, strict=True) if subject == name]
        assert (one["correct"], one["clips"]) == (sum(mine), len(mine))
    for step in range(spec.steps):
        running = spikes[: step + 1].sum(axis=0)
        assert told["steps"]["correct"][step] == int((running.argmax(axis=1) == labels).sum())
        distance = running / (spec.voting * (step + 1)) - np.eye(2)[labels]
        assert told["steps"]["loss"][step] == pytest.approx((distance**2).mean(), rel=1e-12)
    assert told["loss"] == told["steps"]["loss"][-1]
    assert told["early_decision"]["stable_from"]["share"][-1] == 1 - told["ties"]["silent"] / 12


def test_files_hold_what_is_printed_and_are_not_replaced_unasked(capsys, checkpoint, tmp_path):
    out_folder = tmp_path / "scores"
    code, out, _ = run(capsys, "evaluate", checkpoint / "net", "-o", out_folder, "--json", "-q")
    told = json.loads(out)
    assert code == 0
    document = json.loads((out_folder / "evaluation.json").read_text())
    assert {**document, "written": told["written"]} == told
    rows = list(csv.DictReader((out_folder / "clips.csv").open(encoding="utf-8")))
    assert len(rows) == 12
    for row, clip in zip(rows, told["clips_by_name"], strict=True):
        assert (row["clip"], row["label"], row["predicted"]) == (clip["clip"], clip["label"], clip["predicted"])
        assert [float(row["rate_down"]), float(row["rate_up"])] == clip["rates"]
    picture = (out_folder / "evaluation.svg").read_text()
    assert picture.startswith("<?xml")
    assert "</svg>" in picture
    code, _, err = run(capsys, "evaluate", checkpoint / "net", "-o", out_folder, "-q")
    assert code == 2
    assert "E923" in err
    assert "already holds evaluation.json, clips.csv, evaluation.svg" in err
    assert run(capsys, "evaluate", checkpoint / "net", "-o", out_folder, "--force", "-q")[0] == 0
    assert (out_folder / "evaluation.svg").read_text() == picture


def test_the_same_clips_make_the_same_text(capsys, checkpoint):
    code, out, _ = run(capsys, "evaluate", checkpoint / "net", "-q")
    assert code == 0
    assert "on 12 clips; largest class 50.0%" in out
    assert "label  clips  precision" in out
    assert "4 subjects: mean" in out
    assert "stopped at step" in out
    assert out == run(capsys, "evaluate", checkpoint / "net", "-q")[1]


def test_an_ann_answers_once(capsys, checkpoint, tmp_path):
    code, out, _ = run(capsys, "evaluate", checkpoint / "ann", "-o", tmp_path / "ann", "--json", "-q")
    told = json.loads(out)
    assert (code, told["early_decision"], len(told["steps"]["loss"])) == (0, None, 1)
    assert {clip["stable_from"] for clip in told["clips_by_name"]} == {None}
    assert "stopped at step" not in run(capsys, "evaluate", checkpoint / "ann", "-q")[1]


def test_refusals(capsys, checkpoint, tmp_path):
    code, _, err = run(capsys, "evaluate", checkpoint / "net", "--force")
    assert (code, "means nothing without -o" in err) == (2, True)
    (tmp_path / "file").write_text("mine")
    code, _, err = run(capsys, "evaluate", checkpoint / "net", "-o", tmp_path / "file")
    assert (code, "not a folder of its own" in err) == (2, True)
    assert (tmp_path / "file").read_text() == "mine"
    small_store(tmp_path / "train.h5", clips=4)
    code, _, err = run(capsys, "evaluate", checkpoint / "net", "--data", tmp_path / "none.h5")
    assert (code, "E741" in err) == (2, True)


class Votes(torch.nn.Module):
    """A network that gives the votes it was given, [T, N, classes]."""

    def __init__(self, votes):
        super().__init__()
        self.votes = torch.tensor(votes, dtype=torch.float32)

    def forward(self, clips):
        return self.votes


class Clips:
    """A store of N clips without pictures."""

    def __init__(self, labels):
        self.labels = np.array(labels)
        self.names = tuple(f"clip{number}" for number in range(len(labels)))

    def batch(self, indices):
        return np.zeros((2, len(indices), 2, 4, 4), dtype=np.float32)


SPEC = spec_by_name("tiny", steps=2)
ABOUT = AboutClips(("down", "up"), ("clip0", "clip1", "clip2"), ("x", "", "x"))


def answered(votes, labels):
    return evaluate(Votes(votes), SPEC, Clips(labels), np.arange(len(labels)))


def test_ties_go_to_the_first_class_are_counted_and_told():
    votes = [[[0.1, 0.3], [0.0, 0.0], [0.1, 0.9]], [[0.2, 0.0], [0.0, 0.0], [0.0, 0.9]]]
    told = evaluation_document(answered(votes, [0, 1, 1]), ABOUT)
    assert told["ties"] == {"clips": 2, "silent": 1, "correct": 1}
    assert [clip["tied"] for clip in told["clips_by_name"]] == [True, True, False]
    assert [clip["predicted"] for clip in told["clips_by_name"]] == ["down", "down", "up"]
    assert [clip["stable_from"] for clip in told["clips_by_name"]] == [2, None, 1]
    text = evaluation_text({**told, "checkpoint": ""})
    assert "(1 without any spike): the first class in order (down, up) was the answer, 1 of them rightly" in text
    assert "W921 subjects: 1 of 3 clips do not say who is in them" in text


def test_a_class_that_is_never_asked_for_is_told():
    told = evaluation_document(answered([[[0.9, 0.1]] * 3] * 2, [0, 0, 0]), ABOUT)
    assert [finding["code"] for finding in told["findings"]] == ["W920", "W921"]
    assert "no clip of up among the 3 clips" in told["findings"][0]["found"]
    assert (told["balanced_accuracy"], told["macro_f1"], told["per_class"][1]["f1"]) == (1.0, 1.0, None)
    assert cheapest_exit(told)["mean_steps"] == 1.0


def test_all_is_said_without_a_warning_where_nothing_is_missing():
    about = AboutClips(("down", "up"), ABOUT.clips, ("x", "y", "x"))
    assert evaluation_document(answered([[[0.9, 0.1]] * 3] * 2, [0, 1, 0]), about)["findings"] == []


@pytest.mark.parametrize(
    ("votes", "labels", "text"),
    [
        (
            [[[0.9, 0.1]] * 3] * 2,
            [0, 2, -1],
            "E921 labels: 2 of 3 labels are no class of the network: -1, 2; limit 0..1",
        ),
        (
            np.full((2, 3, 2), np.nan),
            [0, 1, 0],
            "E922 tiny: 3 of 3 clips have votes that are NaN or infinite, first clip0",
        ),
        ([[[0.9, 0.1]] * 3, [[0.9, np.inf], [0, 0], [0, 0]]], [0, 1, 0], "E922 tiny: 1 of 3 clips"),
        (np.zeros((2, 0, 2)), [], "E920 tiny: no clips to score; limit at least 1"),
    ],
)
def test_what_has_no_answer_is_refused(votes, labels, text):
    with pytest.raises(InputError) as caught:
        answered(votes, np.array(labels, dtype=int))
    assert str(caught.value).startswith(text)


def test_labels_of_another_number_are_refused():
    with pytest.raises(InputError, match=r"E921 labels: labels of shape \[2\] for 3 clips; limit \[3\]"):
        evaluate(Votes(np.zeros((2, 3, 2))), SPEC, Clips([0, 1, 0]), np.arange(3), np.array([0, 1]))

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from torch import nn

from hw_targets.finding import InputError
from neuroemo.affect.evaluate import evaluate_affect, evaluation_of
from neuroemo.affect.evaluate_figure import shown_clips
from neuroemo.affect.evaluate_files import write_evaluation
from neuroemo.affect.evaluate_text import evaluation_text
from neuroemo.affect.metrics import scores
from neuroemo.affect.run import AffectRun
from neuroemo.models.affect.table import spec_by_name
from tests.affect.memory_frames import squares

SPEC = spec_by_name("vit@32")


class Square(nn.Module):
    """Finds the square: its column is valence, its row arousal, both times ``scale``."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        bright = (x[:, :, 0] > 0).float()
        places = torch.arange(32, dtype=torch.float32) + 0.5
        weight = bright.sum((2, 3))
        column, row = ((bright.sum(axis) * places).sum(-1) / weight for axis in (2, 3))
        return self.scale * torch.stack([column / 16 - 1, row / 16 - 1], dim=-1)


def run_of(data, network=None, **told):
    trained_on = {"fingerprint": data.fingerprint(), **told}
    return AffectRun(
        network or Square(), SPEC, data.settings, ("valence", "arousal"), trained_on, (0.125, -0.25), "random"
    )


def test_the_document_says_what_the_frames_say():
    data = squares(clips=24)
    test = np.arange(len(data))
    told = evaluate_affect(run_of(data), data, test, resamples=100)
    assert (told["frames"], told["clips"], told["subjects"]) == (168, 24, 12)
    truth = data.values.astype(float)
    x = torch.from_numpy(data.codes(test)[:, None, None].astype(np.float32))
    said = Square()(x)[:, 0].numpy().astype(float)
    wanted = scores(truth, said, constant=(0.125, -0.25))
    for output in ("valence", "arousal"):
        one = told["outputs"][output]
        for metric in ("rmse", "pcc", "ccc", "sagr"):
            assert one[metric] == pytest.approx(wanted[output][metric])
            low, high = one["interval_95"][metric]
            assert low - 1e-9 <= one[metric] <= high + 1e-9
        assert one["constant"]["rmse"] == pytest.approx(wanted[output]["constant"]["rmse"])
        assert one["constant"]["pcc"] is None
        assert one["interval_95"]["rmse_gain"][0] > 0
        assert one["per_clip"]["rmse"]["of"] == 24
        assert set(one["subjects"]) == {f"s{number:02}" for number in range(12)}
    assert told["findings"] == []
    json.dumps(told, allow_nan=False)


def test_what_a_reader_must_know():
    data = squares(clips=6)
    run = run_of(data, Square(-1.0), training={"subjects": ["s00", "s01"]}, validation={"subjects": ["s02"]})
    told = evaluate_affect(run, data, np.arange(42), resamples=10)
    found = [(one["code"], one["found"]) for one in told["findings"]]
    assert ("W950", "2 of 3 subjects were trained on") in found
    assert ("W950", "1 of 3 subjects chose the epoch that was kept") in found
    assert any(code == "W951" and "3 subjects" in words for code, words in found)
    assert sum(code == "W952" for code, _ in found) == 2
    text = evaluation_text(told)
    assert "always 0.125" in text
    assert "undefined" in text
    other = squares(clips=6, seed=1)
    again = evaluate_affect(run, other, np.arange(42), resamples=10)
    assert not any(one["code"] == "W950" for one in again["findings"])


def test_clips_without_a_subject_count_one_by_one():
    data = squares(clips=6)
    data.subjects = ("",) * 6
    told = evaluate_affect(run_of(data), data, np.arange(42), resamples=10)
    assert told["subjects"] == 6
    assert any("do not say whose face" in one["found"] for one in told["findings"])


def test_files(tmp_path):
    data = squares(clips=6)
    data.values[3, 0] = np.nan
    evaluation = evaluation_of(run_of(data), data, np.arange(42), resamples=10)
    written = write_evaluation(evaluation, data, tmp_path / "out")
    assert [path.name for path in written] == ["evaluation.json", "predictions.csv", "evaluation.svg"]
    assert json.loads(written[0].read_text()) == json.loads(json.dumps(evaluation.document))
    rows = list(csv.DictReader(written[1].open()))
    assert len(rows) == 42
    assert rows[3]["valence"] == ""
    assert float(rows[8]["arousal"]) == data.values[8, 1]
    assert float(rows[8]["predicted_valence"]) == evaluation.predicted[8, 0]
    assert (rows[8]["clip"], rows[8]["subject"], float(rows[8]["time_us"])) == ("clip001", "s00", 40000.0)
    assert written[2].read_text().lstrip().startswith("<?xml")
    first = written[2].read_bytes()
    with pytest.raises(InputError, match=r"E959.*already holds evaluation.json, predictions.csv, evaluation.svg"):
        write_evaluation(evaluation, data, tmp_path / "out")
    write_evaluation(evaluation, data, tmp_path / "out", force=True)
    assert written[2].read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in written)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"E959.*not a folder of its own"):
        write_evaluation(evaluation, data, tmp_path / "file", force=True)


def test_a_figure_of_one_clip_and_of_unlabelled_clips():
    truth = np.full((4, 2), 0.5)
    assert shown_clips(np.zeros(4, int), truth, truth) == [(0, "the only clip")]
    assert shown_clips(np.zeros(4, int), truth * np.nan, truth) == []


def test_no_frames():
    data = squares(clips=2)
    with pytest.raises(InputError, match=r"E958 memory.h5: no frames to score"):
        evaluate_affect(run_of(data), data, np.array([], int))

"""Figure 2: its curves come from the weights of the right epoch, a killed run goes on, and other data are refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError, MissingDependencyError
from neuroemo import cli
from neuroemo.datasets.store import ClipStore
from neuroemo.models.emotion import build_network
from neuroemo.reproduce.figure2_document import panel
from neuroemo.reproduce.figure_data import FigureData, figure_data
from neuroemo.reproduce.figure_runs import spec_for
from neuroemo.training import figure_style, loop
from neuroemo.training.checkpoint import load_last, load_model
from neuroemo.training.evaluation import votes_of
from neuroemo.training.loop import TrainSettings
from tests.reproduce.small_store import small_store

EPOCHS = 3
RATE = 0.1


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for kind in ("float", "spikes"):
        small_store(folder / f"{kind}.h5", kind)
    return folder


def arguments(stores, out, *more):
    data = ["--data", stores / "float.h5", "--pure-data", stores / "spikes.h5", "--epochs", EPOCHS, "-o", out]
    return [str(one) for one in ("reproduce", "figure2", *data, "--learning-rate", RATE, "--json", "-q", *more)]


@pytest.fixture(scope="module")
def drawn(stores, tmp_path_factory):
    out = tmp_path_factory.mktemp("figure2")
    assert cli.run(arguments(stores, out, "--during", 2)) == 0
    return out, json.loads((out / "figure2.json").read_text())


def by_hand(network, spec, path):
    """Right answers and loss at each step, counted clip by clip."""
    with ClipStore.open(path) as store:
        indices = store.indices("test")
        spikes = np.rint(votes_of(network, spec, store.batch(indices)) * spec.voting).astype(int)
        labels = store.labels[indices]
    correct, loss = [], []
    for step in range(1, spec.steps + 1):
        rates = [[sum(spikes[:step, n, c]) / (spec.voting * step) for c in (0, 1)] for n in range(len(labels))]
        correct.append(sum(rate.index(max(rate)) == label for rate, label in zip(rates, labels, strict=True)))
        wanted = [[1.0, 0.0] if label == 0 else [0.0, 1.0] for label in labels]
        loss.append(
            np.mean([(r - w) ** 2 for a, b in zip(rates, wanted, strict=True) for r, w in zip(a, b, strict=True)])
        )
    return correct, loss


def assert_same(made, network, spec, path):
    correct, loss = by_hand(network, spec, path)
    assert made["correct"] == correct
    np.testing.assert_allclose(made["loss"], loss, rtol=1e-12)
    assert made["lowest_loss"]["step"] == int(np.argmin(loss)) + 1


def test_the_four_panels_are_the_networks_they_claim_to_be(stores, drawn, tmp_path):
    out, document = drawn
    before, during, after, gray = document["panels"]
    assert [one["panel"] for one in document["panels"]] == ["a", "b", "c", "d"]
    assert [one["network"] for one in document["panels"]] == ["puresnn@32"] * 3 + ["0.4snn@32"]
    with ClipStore.open(stores / "spikes.h5") as store:
        spec = spec_for("puresnn", store)
        torch.manual_seed(0)
        assert_same(before, build_network(spec), spec, stores / "spikes.h5")
        # The weights after two of three epochs, from a run that has no figure.
        weights = []
        loop.train(
            spec,
            store,
            tmp_path / "apart",
            TrainSettings(epochs=EPOCHS, learning_rate=RATE),
            on_epoch=lambda entry, network: weights.append({k: v.clone() for k, v in network.state_dict().items()}),
        )
    network = build_network(spec)
    network.load_state_dict(weights[1])
    assert_same(during, network, spec, stores / "spikes.h5")
    assert during["correct"] == document["test_curves_of_every_epoch"]["2"]["correct"]
    for made, row, kind in ((after, "puresnn", "spikes"), (gray, "0.4snn", "float")):
        network, description = load_model(out / row)
        assert_same(made, network.eval(), description.spec, stores / f"{kind}.h5")
    # Watching the test clips changes nothing about the training.
    one, two = load_last(tmp_path / "apart")[0], load_last(out / "puresnn")[0]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_figures_are_vector_files_with_the_same_bytes_again(stores, drawn, tmp_path):
    files = {name: (drawn[0] / name).read_bytes() for name in ("figure2.json", "figure2.svg", "figure2.pdf")}
    assert files["figure2.svg"].startswith(b"<?xml")
    assert files["figure2.pdf"].startswith(b"%PDF")
    assert b"<image" not in files["figure2.svg"]
    out = tmp_path / "again"
    shutil.copytree(drawn[0], out)
    for name in files:
        (out / name).unlink()
    weights = (out / "puresnn" / "model.safetensors").stat().st_mtime_ns
    assert cli.run(arguments(stores, out, "--during", 2)) == 0
    assert {name: (out / name).read_bytes() for name in files} == files
    assert (out / "puresnn" / "model.safetensors").stat().st_mtime_ns == weights  # nothing was trained again


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_numbers(stores, drawn, tmp_path):
    command = [sys.executable, "-m", "neuroemo", *arguments(stores, tmp_path, "--during", 2)]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    for marker in ("puresnn/test-curves.json", "0.4snn/test-curves.json"):
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        while not (tmp_path / marker).exists() and child.poll() is None:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        assert child.wait() in (-signal.SIGKILL, 0)
    assert cli.run(arguments(stores, tmp_path, "--during", 2)) == 0
    assert (tmp_path / "figure2.json").read_bytes() == (drawn[0] / "figure2.json").read_bytes()
    assert (tmp_path / "figure2.svg").read_bytes() == (drawn[0] / "figure2.svg").read_bytes()


def test_checkpoints_of_any_origin_have_a_panel_each(capsys, stores, drawn, tmp_path):
    out, document = drawn
    models = [str(out / "puresnn"), str(out / "0.4snn")]
    code = cli.run(["reproduce", "figure2", "--model", *models, "-o", str(tmp_path), "--json", "-q"])
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [one["loss"] for one in told["panels"]] == [one["loss"] for one in document["panels"][2:]]


def findings(capsys):
    return [(one["code"], one["node"]) for one in json.loads(capsys.readouterr().out)["findings"]]


def test_epochs_that_are_not_during_training_are_refused(capsys, stores, tmp_path):
    assert cli.run(arguments(stores, tmp_path, "--during", EPOCHS)) == 2
    assert findings(capsys) == [("E942", "--during")]
    assert not any(tmp_path.iterdir())


def test_a_store_needs_its_pure_twin_of_the_same_clips(capsys, stores, tmp_path):
    common = ["reproduce", "figure2", "--json", "-q", "-o", str(tmp_path / "out"), "--data", str(stores / "float.h5")]
    assert cli.run(common) == 2
    assert findings(capsys) == [("E940", "--pure-data")]
    assert cli.run([*common, "--pure-data", str(stores / "float.h5")]) == 2
    assert findings(capsys) == [("E940", str(stores / "float.h5"))]
    other = small_store(tmp_path / "other.h5", "spikes", clips=24, steps=7)
    assert cli.run([*common, "--pure-data", str(other)]) == 2
    assert findings(capsys) == [("E940", "the two files")] * 2


def test_options_that_contradict_the_data_are_refused_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        figure_data("mosi", quick=True, pure_store=tmp_path)
    assert [one.node for one in caught.value.findings] == ["--pure-data", "--quick", "--root"]
    with pytest.raises(InputError) as caught:
        figure_data("mine.h5", root=tmp_path, size=48, options=("a=b",), quick=True)
    assert [one.node for one in caught.value.findings] == ["--root", "--size", "--option", "--quick"]
    with pytest.raises(InputError, match="E940 --data: 'mosy' is no data set of that name; limit faces, mosi, folder"):
        figure_data("mosy")
    assert figure_data(None) == FigureData()
    assert FigureData(quick=True).frame_size == 32


def test_a_folder_that_is_not_mosi_is_refused_before_anything_is_trained(capsys, tmp_path):
    (tmp_path / "mosi").mkdir()
    out = tmp_path / "out"
    data = ["--data", "mosi", "--root", str(tmp_path / "mosi")]
    assert cli.run(["reproduce", "figure2", *data, "-o", str(out), "--json", "-q"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert {one["severity"] for one in told["findings"]} == {"error"}
    assert str(tmp_path / "mosi") in told["findings"][0]["node"] + told["findings"][0]["found"]
    assert not (out / "puresnn").exists()


def test_a_run_that_was_begun_without_curves_is_refused(capsys, stores, tmp_path):
    with ClipStore.open(stores / "spikes.h5") as store:
        settings = TrainSettings(epochs=EPOCHS, learning_rate=RATE)
        loop.train(spec_for("puresnn", store), store, tmp_path / "puresnn", settings)
    assert cli.run(arguments(stores, tmp_path)) == 2
    assert findings(capsys) == [("E941", str(tmp_path / "puresnn" / "test-curves.json"))]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"1": {}}', '{"1": {"correct": [9], "loss": [0.1], "clips": 8}}', "[" * 9999]
)
def test_damaged_curves_are_refused(capsys, stores, tmp_path, text):
    (tmp_path / "puresnn").mkdir()
    (tmp_path / "puresnn" / "test-curves.json").write_text(text)
    assert cli.run(arguments(stores, tmp_path)) == 2
    assert findings(capsys) == [("E941", str(tmp_path / "puresnn" / "test-curves.json"))]


def test_an_interval_goes_with_every_step():
    made = panel("a", "title", "net", {"correct": [81, 263], "loss": [0.2, 0.2], "clips": 263})
    assert [round(bound, 4) for bound in made["interval_95"][0]] == [0.2553, 0.3662]  # Newcombe (1998), table I
    assert made["lowest_loss"] == {"step": 1, "loss": 0.2, "accuracy": 81 / 263}


def test_without_matplotlib_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="E924 matplotlib: is not installed"), figure_style.style():
        pass

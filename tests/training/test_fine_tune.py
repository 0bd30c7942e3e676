"""Fine-tuning on the chip's grid: a run learns, resumes, refuses, and exports its own integers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hw_targets.finding import CapacityError, InputError
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.training.checkpoint import Description, load_model, load_tensors, save_model
from neuroemo.training.evaluation import evaluate
from neuroemo.training.fine_tune import fine_tune, quantize_network
from neuroemo.training.loop import TrainingError, TrainSettings
from neuroemo.training.quantized import (
    QuantizedNetwork,
    QuantizedSource,
    chip_of,
    grid_of,
)
from tests.conftest import random_clips, spiking_network
from tests.training.fake_store import FakeStore
from tests.training.quantized_parts import TARGET, assert_is_the_chip, describe, train_a_little


@pytest.fixture(scope="module")
def store():
    return FakeStore()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float") / "snn"
    network, spec = spiking_network()
    save_model(folder, network, describe(spec))
    return folder


SHORT = TrainSettings(epochs=2, learning_rate=0.05)


class Killed(Exception):
    pass


def test_a_float_description_has_no_new_entry(checkpoint):
    data = json.loads((checkpoint / "model.json").read_text())
    assert set(data) == {"schema", "spec", "events", "classes", "dt_us"}


def test_a_run_learns_and_its_checkpoint_is_the_chip(tmp_path, store, checkpoint):
    history = fine_tune(
        checkpoint, store, tmp_path / "q", 4, TrainSettings(epochs=8, learning_rate=0.05, augment=False)
    )
    assert [entry["epoch"] for entry in history] == list(range(9))
    assert history[0]["loss"] is None
    assert history[-1]["loss"] < 0.8 * history[1]["loss"]
    network, description = load_model(tmp_path / "q")
    assert isinstance(network, QuantizedNetwork)
    assert not network.training
    assert description.qat == grid_of(network)
    assert (description.qat.bits, description.qat.target) == (4, "loihi2")
    assert all(np.abs(layer.weight).max() <= 7 for layer in chip_of(network).layers)
    clips = store.batch(np.arange(5))
    assert_is_the_chip(network, clips)
    best = max(entry["validation"]["accuracy"] for entry in history)
    assert evaluate(network, description.spec, store, store.indices("val")).score.accuracy == best


def test_what_is_saved_comes_back(tmp_path, checkpoint):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 5)
    train_a_little(made, random_clips(spec, 4), 0.1)
    save_model(tmp_path / "q", made, replace(describe(spec), qat=grid_of(made)))
    back, description = load_model(tmp_path / "q")
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), back.state_dict().values(), strict=True))
    for ours, theirs in zip(made.to_chip().layers, back.to_chip().layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
        nothing = {"weight": np.zeros((1, 1), int), "bias": 0}
        assert repr(replace(ours, **nothing)) == repr(replace(theirs, **nothing))
    assert Description.from_dict(json.loads(json.dumps(description.to_dict())), "here") == description
    assert chip_of(load_model(checkpoint)[0]) is None


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, store, checkpoint):
    whole = fine_tune(checkpoint, store, tmp_path / "whole", 4, SHORT)

    def kill(done, total, loss):
        if done == total // 2 + 1:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(checkpoint, store, tmp_path / "cut", 4, SHORT, kill)
    assert fine_tune(checkpoint, store, tmp_path / "cut", 4, SHORT) == whole
    for file in ("last.safetensors", "model.safetensors"):
        one, two = (load_tensors(tmp_path / name / file)[0] for name in ("whole", "cut"))
        assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(InputError, match="E027"):
        fine_tune(checkpoint, store, tmp_path / "whole", 5, SHORT)


def test_progress_counts_every_batch_once(tmp_path, store, checkpoint):
    seen = []
    fine_tune(checkpoint, store, tmp_path / "q", 4, SHORT, lambda done, total, loss: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_that_no_weight_has_are_refused(tmp_path, store, checkpoint, bits):
    with pytest.raises(InputError, match=f"E084 bits: {bits}; limit 2 to 8"):
        fine_tune(checkpoint, store, tmp_path / "q", bits, SHORT)
    assert not (tmp_path / "q").exists()


def test_an_ann_is_refused(tmp_path, store):
    spec = spec_by_name("tiny-ann")
    save_model(tmp_path / "ann", build_network(spec), describe(spec))
    with pytest.raises(InputError, match="E085 tiny-ann: an ANN has no spikes"):
        fine_tune(tmp_path / "ann", store, tmp_path / "q", 4, SHORT)


def test_the_float_checkpoint_is_never_overwritten_nor_a_fine_tuned_one_taken_for_it(tmp_path, store, checkpoint):
    with pytest.raises(InputError, match=r"E089 .*would overwrite the float checkpoint"):
        fine_tune(checkpoint, store, checkpoint, 4, SHORT)
    fine_tune(checkpoint, store, tmp_path / "q", 4, replace(SHORT, epochs=1))
    with pytest.raises(InputError, match=r"E089 .*fine-tuned already, with 4 bits"):
        fine_tune(tmp_path / "q", store, tmp_path / "again", 4, SHORT)


def test_data_of_another_size_are_refused(tmp_path, checkpoint):
    with pytest.raises(InputError, match="E026"):
        fine_tune(checkpoint, FakeStore(size=40), tmp_path / "q", 4, SHORT)


def test_a_loss_that_is_no_number_says_so(tmp_path, checkpoint):
    broken = FakeStore()
    broken.data[1:] = np.nan
    with pytest.raises(TrainingError, match=r"E088 tiny: loss .* or its gradient in batch 1"):
        fine_tune(checkpoint, broken, tmp_path / "q", 4, SHORT, distillation=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda qat: qat.update(bits=9), "E083 .*9 bits"),
        (lambda qat: qat.update(bits=True), "E083"),
        (lambda qat: qat.update(target=7), "E083"),
        (lambda qat: qat.pop("layers"), "E083"),
        (lambda qat: qat.update(layers=[1]), "E083"),
        (lambda qat: qat["layers"][0].update(scale=float("inf")), "E083 .*scale inf"),
        (lambda qat: qat["layers"][0].update(scale="1"), "E083 .*scale '1'"),
        (lambda qat: qat["layers"][0].update(threshold=-1), "E083 .*threshold -1"),
        (lambda qat: qat["layers"][0].update(payload=10**9), "E083 .*payload"),
        (lambda qat: qat["layers"][0].update(voltage_decay=0.5), "E083 .*voltage_decay"),
        (lambda qat: qat["layers"][0].update(name=None), "E083 .*name"),
        (lambda qat: qat["layers"][0].update(surprise=1), "E083 .*surprise"),
        (lambda qat: qat["layers"][0].update(name="other"), "E086 .*grid of other"),
        (lambda qat: qat["layers"].pop(), "E086"),
        (lambda qat: qat.update(target="loihi9"), "E011"),
        (lambda qat: qat["layers"][0].update(payload=60000), "E087 .*synaptic sum"),
    ],
)
def test_a_damaged_grid_is_refused(tmp_path, change, message):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 4)
    save_model(tmp_path, made, replace(describe(spec), qat=grid_of(made)))
    load_model(tmp_path)
    data = json.loads((tmp_path / "model.json").read_text())
    change(data["qat"])
    (tmp_path / "model.json").write_text(json.dumps(data))
    with pytest.raises((InputError, CapacityError), match=message):
        load_model(tmp_path)


def test_an_export_uses_exactly_these_integers():
    from export.compile import Options, compile_source

    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 4)
    clips = random_clips(spec, 4, 3)
    train_a_little(made, clips, 0.2)
    compiled = compile_source(QuantizedSource(made), clips, TARGET, Options())
    for ours, theirs in zip(made.to_chip().layers, compiled.chip.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)

"""The torch path: the same bits as the simulator on the processor, on any device that torch finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import CapacityError, MissingDependencyError, UnsupportedError
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulation.engine import Simulator, _plans
from hw_targets.loihi2.simulation.on_device import DevicePopulation
from tests.hw_targets.test_simulate import chips


def on_torch(chip, device="cpu", *, mode="aligned", overflow="refuse"):
    """The device path on a device of choice: ``device="cpu"`` of the simulator itself means the compiled one."""
    simulator = Simulator(chip, mode=mode, overflow=overflow)
    plans = _plans(chip, overflow == "wrap")
    simulator.populations = [DevicePopulation(plan, torch.device(device), late=mode == "pipeline") for plan in plans]
    return simulator


def clips_for(chip, seed):
    rng = np.random.default_rng(seed)
    clips = (rng.random((5, 3, *chip.input_shape)) < 0.4).astype(np.float32)
    if chip.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    return clips


def assert_same(ours, theirs):
    for kind in ("spikes", "membrane", "current", "drive", "final", "counts"):
        assert list(getattr(ours, kind)) == list(getattr(theirs, kind))
        for name, values in getattr(ours, kind).items():
            np.testing.assert_array_equal(values, getattr(theirs, kind)[name], err_msg=f"{kind} of {name}")


@settings(max_examples=20, deadline=None)
@given(chips(), st.integers(0, 2**32 - 1), st.sampled_from(["aligned", "pipeline"]))
def test_same_spikes_states_and_counts(chip, seed, mode):
    clips, probe = clips_for(chip, seed), tuple(layer.name for layer in chip.layers)
    ours = Simulator(chip, mode=mode).run(clips, probe=probe, keep_state=True)
    assert_same(on_torch(chip, mode=mode).run(clips, probe=probe, keep_state=True), ours)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device on this machine")
@settings(max_examples=20, deadline=None)
@given(chips(), st.integers(0, 2**32 - 1))
def test_same_on_a_graphics_processor(chip, seed):
    clips, probe = clips_for(chip, seed), tuple(layer.name for layer in chip.layers)
    ours = Simulator(chip).run(clips, probe=probe, keep_state=True)
    assert_same(Simulator(chip, device="cuda").run(clips, probe=probe, keep_state=True), ours)


def wide(weight):
    layer = ChipLayer(
        "n",
        "conv",
        np.full((2, 2, 3, 3), weight),
        np.zeros(2, int),
        9000,
        1000,
        (2, 6, 6),
        (2, 6, 6),
        1000,
        padding=(1, 1),
    )
    return ChipGraph((layer,), (2, 6, 6), 4, None, "spikes")


@pytest.mark.parametrize("weight", [7281, 7282, 600_000])
def test_sums_beyond_the_current_are_refused_or_wrap_as_on_the_processor(weight):
    chip, clips = wide(weight), np.ones((4, 1, 2, 6, 6), np.float32)
    if weight * 18 > 131071:
        with pytest.raises(CapacityError, match=r"E230"):
            on_torch(chip).run(clips)
    ours = Simulator(chip, overflow="wrap").run(clips, probe=("n",))
    assert_same(on_torch(chip, overflow="wrap").run(clips, probe=("n",)), ours)
    inner = (18 * weight + 2**23) % 2**24 - 2**23  # 18 synapses, 24 bits, by hand
    assert (ours.drive["n"][:, :, :, 1:-1, 1:-1] == inner).all()
    assert weight != 600_000 or inner < 0


def test_what_only_the_processor_runs_is_refused_by_name():
    weight = np.ones((2, 2), int)
    shapes = ((2,), (2,))
    delayed = ChipLayer("slow", "dense", weight, np.zeros(2, int), 1, 0, *shapes, delay=np.ones((2, 2), int))
    recurrent = ChipLayer("loop", "dense_rec", weight, np.zeros(2, int), 1, 0, *shapes, recurrent=weight)
    graded = ChipLayer("graded", "dense", weight, np.zeros(2, int), 1, 0, *shapes, neuron="sigma_delta")
    for layer, word in ((delayed, "synaptic delays"), (recurrent, "recurrent"), (graded, "sigma_delta")):
        with pytest.raises(UnsupportedError, match=f"E234.*{layer.name}.*{word}"):
            on_torch(ChipGraph((layer,), (2,), 3, None, "spikes"))


def test_a_device_that_is_not_there_is_named():
    chip = wide(10)
    with pytest.raises(MissingDependencyError, match=r"E603.*abacus"):
        Simulator(chip, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(MissingDependencyError, match=r"E603.*cuda.*no CUDA device"):
            Simulator(chip, device="cuda")


def test_sums_that_rounding_might_not_save_are_refused():
    weight = np.array([[[[2**30 + 1]], [[-(2**30)]]]])
    layer = ChipLayer("n", "conv", weight, np.zeros(1, int), 5, 0, (2, 8, 8), (1, 8, 8), payload=2**26)
    chip = ChipGraph((layer,), (2, 8, 8), 1, None, "integers")
    clips = np.full((1, 1, 2, 8, 8), 2**25 + 1, np.int32)
    with pytest.raises(CapacityError, match="E233"):
        on_torch(chip, overflow="wrap").run(clips)
    with pytest.raises(CapacityError, match="E233"):
        Simulator(chip, overflow="wrap").run(clips)
    clips[:] = 7
    ours = Simulator(chip, overflow="wrap").run(clips, probe=("n",))
    assert (ours.drive["n"] == 7).all()
    assert_same(on_torch(chip, overflow="wrap").run(clips, probe=("n",)), ours)

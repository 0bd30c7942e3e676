"""The periodic reset of netx: by hand, against the aligned mode, and against Lava."""

from __future__ import annotations

import numpy as np
import pytest

from hw_targets.finding import InputError
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import lava_available, run_lava
from hw_targets.loihi2.netx.reader import open_netx
from hw_targets.loihi2.simulate import simulate
from hw_targets.loihi2.simulation.reset import Reset
from tests.hw_targets.netx_networks import make


def counting(threshold=3):
    """A neuron that adds 1 per step and fires in every fourth: 1 2 3 4! 1 2 3 4! ..."""
    layer = ChipLayer("n", "dense", np.array([[1, -1]]), np.array([1]), threshold, 0, (2,), (1,))
    return ChipGraph(
        (layer, ChipLayer("m", "dense", np.array([[2]]), np.array([1]), 9, 0, (1,), (1,))), (2,), 12, None, "spikes"
    )


def opened(network):
    """The chip of a random file, and its clips [T, N, ...]."""
    said = {"first_frame": "integers" if network.integers else "spikes", "payload": network.payload}
    return open_netx(network.path, steps=len(network.clips), **said).chip, network.clips


def test_worked_by_hand():
    silence = np.zeros((12, 1, 2), np.uint8)
    free = simulate(counting(), silence, mode="pipeline", probe=("n", "m"))
    assert np.flatnonzero(free.spikes["n"]).tolist() == [3, 7, 11]
    run = simulate(counting(), silence, mode="pipeline", probe=("n", "m"), reset=Reset(6, 1))
    # Before steps 1 and 7 of layer 0, before steps 2 and 8 of layer 1, counted from 0.
    assert (run.membrane["n"].ravel() >> 6).tolist() == [1, 1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 1]
    assert np.flatnonzero(run.spikes["n"]).tolist() == [4, 10]
    # One more per step, and 2 where a spike of layer 0 arrived, one step after it was sent.
    assert (run.membrane["m"].ravel() >> 6).tolist() == [1, 2, 1, 2, 3, 6, 7, 8, 1, 2, 3, 6]


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_with_a_reset_per_clip_is_the_aligned_mode_shifted(seed, tmp_path):
    chip, clips = opened(make(np.random.default_rng(seed), tmp_path / "any.net", "spiking"))
    steps, count, late = clips.shape[0], clips.shape[1], len(chip.layers)
    stream = np.concatenate([*clips.swapaxes(0, 1), np.zeros((late, *clips.shape[2:]), clips.dtype)])[:, None]
    first = 0 if chip.layers[0].kind == "input" else 1
    run = simulate(chip, stream, mode="pipeline", overflow="wrap", reset=Reset(steps, first))
    aligned = simulate(chip, clips, overflow="wrap")
    for index, (name, spikes) in enumerate(run.spikes.items()):
        shifted = spikes[first + index : first + index + steps * count, 0]
        shifted = shifted.reshape(count, steps, *shifted.shape[1:]).swapaxes(0, 1)
        np.testing.assert_array_equal(shifted, aligned.spikes[name])


@pytest.mark.lava
@pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
@pytest.mark.parametrize(("seed", "reset"), [(0, Reset(3, 0)), (1, Reset(5, 2)), (2, Reset(2, 1))])
def test_equal_to_lava(seed, reset, tmp_path):
    file = tmp_path / "any.net"
    chip, clips = opened(make(np.random.default_rng(100 + seed), file, ["spiking", "wrapping", "recurrent"][seed]))
    names = tuple(layer.name for layer in chip.layers)
    ours = simulate(chip, clips, mode="pipeline", overflow="wrap", reset=reset, probe=names)
    theirs = run_lava(chip, file, clips, mode="pipeline", reset=reset, probe=names, timeout_s=120).run
    free = simulate(chip, clips, mode="pipeline", overflow="wrap", probe=names)
    for name in names:
        np.testing.assert_array_equal(ours.spikes[name], theirs.spikes[name], err_msg=name)
        np.testing.assert_array_equal(ours.current[name], theirs.current[name], err_msg=name)
        np.testing.assert_array_equal(ours.membrane[name], theirs.membrane[name], err_msg=name)
    assert any((ours.membrane[name] != free.membrane[name]).any() for name in names), "the reset changes something"


def test_what_cannot_be_is_refused():
    clips = np.zeros((12, 1, 2), np.uint8)
    with pytest.raises(InputError, match=r"E236.*reset interval.*0.*at least 1"):
        Reset(0)
    with pytest.raises(InputError, match=r"E235.*aligned mode"):
        simulate(counting(), clips, reset=Reset(3))

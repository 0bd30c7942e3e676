"""lava-dl's slayer as a second writer of the same network, and as a second simulator where it is exact."""

from __future__ import annotations

import numpy as np
import pytest

from hw_targets.loihi2 import lava
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.netx.reader import read_netx
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.simulate import simulate
from tests.hw_targets.lava_in_process import assert_equal, judge
from tests.hw_targets.slayer_file import slayer_forward, write_slayer
from tests.hw_targets.test_lava_in_process import random_chip, random_clips

pytestmark = [
    pytest.mark.lava,
    pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`"),
]

EXACT_BELOW = 4096
"""Threshold mantissa from which slayer's float32 threshold loses the epsilon that makes its >= a >."""


def assert_both_files_are_one_network(tmp_path, chip: ChipGraph, clips: np.ndarray) -> None:
    """Lava loads the same constants from both files, computes the same states, and our simulator agrees."""
    write_netx(chip, tmp_path / "ours.net")
    write_slayer(chip, tmp_path / "slayers.net")
    ours, slayers = (judge(chip, tmp_path / name, clips) for name in ("ours.net", "slayers.net"))
    for mine, theirs, layer in zip(ours, slayers, chip.layers, strict=True):
        assert set(mine.parameters) == set(theirs.parameters)
        assert {"vth", "du", "dv", "bias_mant"} < set(mine.parameters)
        for name, value in mine.parameters.items():
            np.testing.assert_array_equal(theirs.parameters[name], value, err_msg=f"{name} of {layer.name}")
        for name in ("spikes", "u", "v"):
            np.testing.assert_array_equal(getattr(theirs, name), getattr(mine, name), err_msg=f"{name} of {layer.name}")
        # The constants are those of the chip graph, not merely alike: read back from slayer's file by Lava.
        assert (theirs.parameters["vth"], theirs.parameters["dv"]) == (layer.threshold, layer.voltage_decay)
        assert theirs.parameters["du"] == layer.current_decay - 1
        np.testing.assert_array_equal(loaded_weight(theirs.parameters), layer.weight)
    assert_equal(chip, clips, slayers)
    read = read_netx(tmp_path / "slayers.net", steps=chip.steps, first_frame=chip.first_frame, payload=chip.payload)
    ours_again, slayers_again = simulate(chip, clips).spikes.values(), simulate(read, clips).spikes.values()
    for wanted, spikes in zip(ours_again, slayers_again, strict=True):
        np.testing.assert_array_equal(spikes, wanted)


def loaded_weight(parameters: dict[str, np.ndarray]) -> np.ndarray:
    """The weights as Lava uses them, in torch's layout and synaptic units."""
    if "weights" in parameters:
        shift = -int(parameters["weight_exp"])  # netx stores dense weights shifted up to fill the field
        return parameters["weights"] >> shift if shift > 0 else parameters["weights"] << -shift
    return parameters["weight"].transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]


@pytest.mark.parametrize("number", range(12))
def test_both_writers_of_a_random_chip_make_one_network(tmp_path, number):
    rng = np.random.default_rng([5, number])
    chip = random_chip(rng)
    assert_both_files_are_one_network(tmp_path, chip, random_clips(rng, chip, 2))


def test_both_writers_of_the_exported_network_make_one_network(tmp_path, exported):
    _, _, clips, compiled = exported
    assert_both_files_are_one_network(tmp_path, compiled.chip, clips[:, :2])
    assert all(0 < spikes.mean() < 1 for spikes in simulate(compiled.chip, clips[:, :2]).spikes.values())


def compare_forward(count: int, seed: int) -> tuple[int, int]:
    """Compare slayer's own blocks with our simulator, layer by layer; return how many layers, how many lively."""
    compared = lively = 0
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        chip = random_chip(rng)
        clips = random_clips(rng, chip, 3)
        ours = simulate(chip, clips, probe=tuple(layer.name for layer in chip.layers))
        theirs = slayer_forward(chip, clips)
        for layer in chip.layers:
            # Slayer neither wraps the current nor clips the potential; what follows such a layer has other input.
            if layer.threshold >= EXACT_BELOW or np.abs(ours.membrane[layer.name]).max() >= 2**22:
                break
            spikes = ours.spikes[layer.name]
            message = f"{layer.name} of random_chip(np.random.default_rng([{seed}, {number}]))"
            np.testing.assert_array_equal(theirs[layer.name], spikes, err_msg=message)
            compared += 1
            lively += bool(0 < spikes.mean() < 1)
    return compared, lively


def test_slayers_own_forward_equals_the_simulator():
    compared, lively = compare_forward(40, seed=6)
    assert compared >= 60
    assert lively > 0.5 * compared


@pytest.mark.slow
def test_slayers_own_forward_equals_the_simulator_on_more_chips():
    compared, lively = compare_forward(600, seed=7)
    assert compared >= 900
    assert lively > 0.5 * compared


@pytest.mark.parametrize(("threshold", "slayer_fires"), [(4032, 64), (4096, 64)])
def test_slayer_fires_at_the_threshold_once_it_is_large(tmp_path, threshold, slayer_fires):
    """One weight of 64 summed up without leak: v reaches 4032 after 63 steps and 4096 after 64, to the unit."""
    weight = np.array([[64], [-1]])
    layer = ChipLayer("n", "dense", weight, np.zeros(2, int), threshold, 0, (1,), (2,))
    chip, clips = ChipGraph((layer,), (1,), 70, 1.0, "spikes"), np.ones((70, 1, 1), np.float32)
    write_netx(chip, tmp_path / "model.net")
    ours = assert_equal(chip, clips, judge(chip, tmp_path / "model.net", clips)).output
    exceeded = threshold // 64 + 1
    assert ours[:, 0, 0].argmax() + 1 == exceeded, "the chip needs more than the threshold"
    assert slayer_forward(chip, clips)["n"][:, 0, 0].argmax() + 1 == slayer_fires
    assert (exceeded == slayer_fires) == (threshold < EXACT_BELOW)

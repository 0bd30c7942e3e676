"""Values from spikes: every reachable value of a small readout, its resolution, and files that nobody should trust."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_targets.finding import InputError
from hw_targets.readout import ValueReadout

ONE = ("valence",)
SAVED = {
    "outputs": ["valence", "arousal"], "neurons": 16, "steps_per_value": 8, "window": 24, "decay": 1.0,
    "kind": "difference of rates",
}  # fmt: skip


def patterns(steps, neurons):
    """Every spike pattern [T, N, neurons] that there is."""
    flat = np.array(list(itertools.product((0, 1), repeat=steps * neurons)), np.uint8)
    return flat.reshape(len(flat), steps, neurons).swapaxes(0, 1)


@pytest.mark.parametrize(("neurons", "steps"), [(1, 2), (1, 4), (2, 2), (3, 2)])
def test_the_reachable_values_are_the_multiples_of_the_resolution(neurons, steps):
    readout = ValueReadout(ONE, neurons, steps, steps)
    spikes = patterns(steps, 2 * neurons)
    values = readout.values(spikes)[:, 0, 0]
    reachable = np.unique(np.rint(values * neurons * steps).astype(int))
    assert reachable.tolist() == list(range(-neurons * steps, neurons * steps + 1))
    assert np.allclose(values * neurons * steps, np.rint(values * neurons * steps), rtol=0, atol=1e-12)
    assert readout.resolution(0) == 1 / (neurons * steps)
    more, less = spikes[:, :, :neurons].sum(axis=(0, 2)), spikes[:, :, neurons:].sum(axis=(0, 2))
    assert np.allclose(values, (more.astype(int) - less) / (neurons * steps), rtol=0, atol=1e-12)


def test_silence_is_zero_and_the_ends_are_reached():
    readout = ValueReadout(("valence", "arousal"), 2, 3, 6)
    spikes = np.zeros((6, 3, 8), np.uint8)
    spikes[:, 1, [0, 1, 6, 7]] = 1
    spikes[:, 2] = 1
    expected = [[[0, 0], [0, 0]], [[1, -1], [1, -1]], [[0, 0], [0, 0]]]
    assert np.array_equal(readout.values(spikes), np.array(expected, float))


@given(st.integers(0, 2**31), st.floats(0.3, 1.0))
def test_one_more_spike_moves_its_own_output_the_right_way_alone(seed, decay):
    rng = np.random.default_rng(seed)
    readout = ValueReadout(("valence", "arousal"), 2, 2, 3, decay)
    spikes = rng.integers(0, 2, (6, 1, 8))
    step, neuron = rng.integers(0, 6), rng.integers(0, 8)
    spikes[step, 0, neuron] = 0
    before = readout.values(spikes)[0]
    spikes[step, 0, neuron] = 1
    after = readout.values(spikes)[0]
    output, sign = divmod(int(neuron) // 2, 2)
    moved = (after - before)[:, output] * (-1 if sign else 1)
    assert np.array_equal(after[:, 1 - output], before[:, 1 - output])
    assert (moved >= 0).all()
    assert moved.max() > 0
    assert (np.abs(after) <= 1).all()


def test_window_and_leak_by_hand():
    spikes = np.zeros((4, 1, 2), int)
    spikes[0, 0, 0] = spikes[3, 0, 0] = spikes[2, 0, 1] = 1  # r = 1, 0, -1, 1
    moving = ValueReadout(ONE, 1, 2, 3).values(spikes)[0, :, 0]
    assert moving.tolist() == [0.5, 0.0]  # (1 + 0) / 2, (0 - 1 + 1) / 3
    leaky = ValueReadout(ONE, 1, 2, 4, 0.5).values(spikes)[0, :, 0]
    assert leaky.tolist() == [0.5 / 1.5, (1 - 0.5 + 0.125) / (1 + 0.5 + 0.25 + 0.125)]
    assert [ValueReadout(ONE, 1, 2, 3).resolution(value) for value in (0, 1, 2)] == [1 / 2, 1 / 3, 1 / 3]


def test_the_shape_of_the_output_layer_makes_no_difference_and_left_over_steps_are_not_read():
    readout = ValueReadout(ONE, 2, 2, 2)
    spikes = np.random.default_rng(0).integers(0, 2, (5, 3, 4))
    assert np.array_equal(readout.values(spikes.reshape(5, 3, 4, 1, 1)), readout.values(spikes[:4]))


def test_round_trip():
    readout = ValueReadout.from_dict(SAVED)
    assert readout.to_dict() == SAVED
    assert readout == ValueReadout(("valence", "arousal"), 16, 8, 24)


@pytest.mark.parametrize(
    ("entry", "value", "code"),
    [
        ("neurons", 0, "E990"),
        ("neurons", True, "E990"),
        ("neurons", 10**9, "E990"),
        ("window", 2.5, "E990"),
        ("steps_per_value", "8", "E990"),
        ("decay", 0.0, "E990"),
        ("decay", 1.5, "E990"),
        ("decay", float("nan"), "E990"),
        ("decay", True, "E990"),
        ("outputs", [], "E990"),
        ("outputs", ["a", "a"], "E990"),
        ("outputs", [1], "E990"),
        ("outputs", "valence", "E990"),
        ("kind", "mean", "E993"),
        ("more", 1, "E993"),
    ],
)
def test_damaged_readouts_are_refused(entry, value, code):
    with pytest.raises(InputError, match=code):
        ValueReadout.from_dict(SAVED | {entry: value})


def test_readouts_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"E993 readout: list"):
        ValueReadout.from_dict([])
    with pytest.raises(InputError, match=r"E993"):
        ValueReadout.from_dict({name: value for name, value in SAVED.items() if name != "window"})


def test_spikes_that_do_not_fit_are_refused():
    readout = ValueReadout(ONE, 2, 3, 3)
    with pytest.raises(InputError, match=r"E991 readout: 5 neurons, 3 steps; limit 4 neurons, at least 3 steps"):
        readout.values(np.zeros((3, 1, 5)))
    with pytest.raises(InputError, match=r"E991 readout: 4 neurons, 2 steps"):
        readout.values(np.zeros((2, 1, 4)))
    assert readout.values(np.zeros((3, 1, 4))).shape == (1, 1, 1)


def test_a_leak_has_no_resolution():
    with pytest.raises(InputError, match=r"E992 readout: decay 0.5"):
        ValueReadout(ONE, 1, 1, 4, 0.5).resolution(0)

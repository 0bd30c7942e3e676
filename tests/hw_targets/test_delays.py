"""Delayed sums against a loop over every synapse, and against Lava's own DelayDense."""

from __future__ import annotations

import numpy as np
import pytest

from hw_targets.loihi2.lava import lava_available
from hw_targets.loihi2.simulation.delays import DelayedDense
from tests.hw_targets.lava_in_process import import_lava
from tests.hw_targets.test_sigma_delta import LavaProcess

PATTERNS = ["each synapse", "each output", "each input", "few", "one", "none"]


def pattern(name: str, outputs: int, inputs: int, rng: np.random.Generator) -> np.ndarray:
    delay = {
        "each synapse": rng.integers(0, 63, (outputs, inputs)),
        "each output": rng.integers(0, 63, (outputs, 1)),
        "each input": rng.integers(0, 63, (1, inputs)),
        "few": rng.integers(0, 2, (outputs, inputs)) * 5,
        "one": np.array(62),
        "none": np.array(0),
    }[name]
    return np.broadcast_to(delay, (outputs, inputs))


def literal(weight: np.ndarray, delay: np.ndarray, messages: np.ndarray, exponent: int = 0) -> np.ndarray:
    """Every synapse of every step on its own; the sum of each delay shifted on its own, in Python integers."""
    steps, samples = messages.shape[:2]
    sums = np.zeros((steps, samples, len(weight)), dtype=object)
    for t, n, i in np.ndindex(sums.shape):
        for late in range(t + 1):
            part = sum(
                int(weight[i, j]) * int(messages[t - late, n, j]) for j in range(weight.shape[1]) if delay[i, j] == late
            )
            sums[t, n, i] += part << exponent if exponent >= 0 else part >> -exponent
    return sums


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("payload", [1, 900, None])
def test_every_way_equals_a_loop_over_the_synapses(name, payload):
    rng = np.random.default_rng([PATTERNS.index(name), payload or 0])
    weight = rng.integers(-127, 128, (5, 7)) * (rng.random((5, 7)) < 0.8)
    delay = pattern(name, 5, 7, rng)
    messages = rng.integers(-(payload or 2**31) if payload != 1 else 0, (payload or 2**31 - 1) + 1, (70, 2, 7))
    messages *= rng.random(messages.shape) < 0.4
    layer = DelayedDense(weight, delay, payload=payload)
    assert layer.dtype == {1: np.float32, 900: np.float32, None: np.float64}[payload]
    wanted = literal(weight, delay, messages)
    assert (wanted != 0).sum() > 100 or name == "one"
    for way in ("auto", "events", layer.dense_way):
        np.testing.assert_array_equal(layer.sums(messages, way=way)[0], wanted.astype(np.float64))


@pytest.mark.parametrize("way", ["events", "dense"])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_clip_may_be_cut_into_chunks(name, way):
    rng = np.random.default_rng(1)
    weight = rng.integers(-127, 128, (6, 4))
    layer = DelayedDense(weight, pattern(name, 6, 4, rng), payload=1)
    messages = (rng.random((100, 3, 4)) < 0.3).astype(np.uint8)
    way = layer.dense_way if way == "dense" else way
    whole, _ = layer.sums(messages)
    parts, pending = [], None
    for first, last in [(0, 3), (3, 3), (3, 80), (80, 100)]:
        sums, pending = layer.sums(messages[first:last], pending, way=way)
        parts.append(sums)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.any()


def test_the_sums_are_wide_enough_for_the_largest_message():
    messages = np.array([[[2**24 + 1, 1]], [[0, 0]]])
    weight, delay = np.array([[1, 1]]), np.array([[1, 0]])
    for payload, dtype in ((2**23 - 1, np.float32), (2**23, np.float64), (None, np.float64)):
        assert DelayedDense(weight, delay, payload=payload).dtype == dtype
    assert DelayedDense(weight, delay).sums(messages)[0].ravel().tolist() == [1, 2**24 + 1]
    many = DelayedDense(np.full((1, 4), 2**20), np.array([[0, 1, 2, 3]]))
    assert many.dtype == np.int64
    sums, pending = many.sums(np.full((1, 1, 4), 2**31 - 1))
    assert [*sums.ravel(), *pending.ravel()] == [2**20 * (2**31 - 1)] * 4


@pytest.mark.parametrize("exponent", [2, -1, -3])
@pytest.mark.parametrize("name", PATTERNS)
def test_the_sum_of_each_delay_is_rounded_down_on_its_own(name, exponent):
    rng = np.random.default_rng(2)
    delay, messages = pattern(name, 4, 6, rng), rng.integers(-30, 31, (66, 1, 6))
    for weight in (rng.integers(-127, 128, (4, 6)), rng.integers(-15, 16, (4, 6)) * 8):
        layer = DelayedDense(weight, delay, weight_exponent=exponent, payload=30)
        wanted = literal(weight, delay, messages, exponent)
        for way in ("auto", "events", layer.dense_way):
            np.testing.assert_array_equal(layer.sums(messages, way=way)[0], wanted.astype(np.float64))


def test_a_delay_of_its_own_for_each_output_needs_no_more_products_than_none():
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 128, (256, 64))
    outputs = DelayedDense(weight, pattern("each output", 256, 64, rng), payload=1)
    assert (outputs.dense_way, outputs.matrix.shape) == ("rows", (256, 64))
    inputs = DelayedDense(weight, pattern("each input", 256, 64, rng), payload=1)
    assert (inputs.dense_way, inputs.matrix.shape) == ("columns", (256, 64))


def test_the_way_follows_the_density():
    rng = np.random.default_rng(0)
    layer = DelayedDense(rng.integers(1, 128, (128, 512)), rng.integers(0, 4, (128, 512)), payload=1)
    sparse, full = np.zeros((5, 1, 512)), np.ones((5, 1, 512))
    sparse[:, :, 3] = 1
    assert (layer.way(sparse), layer.way(full)) == ("events", "rows")


def test_what_cannot_be_is_said():
    weight = np.ones((2, 3), dtype=int)
    with pytest.raises(ValueError, match=r"weight \(2, 3\) and delay \(3, 2\)"):
        DelayedDense(weight, weight.T)
    with pytest.raises(ValueError, match="delays of 0 to 63 steps; 0 to 62 are possible"):
        DelayedDense(weight, np.array([[0, 1, 2], [63, 0, 0]]))
    assert DelayedDense(weight, np.full((2, 3), 62)).span == 62
    with pytest.raises(ValueError, match="delays of -1 to 0 steps"):
        DelayedDense(weight, -np.eye(2, 3, dtype=int))
    with pytest.raises(ValueError, match="a message of 2 in a layer arranged for 1"):
        DelayedDense(weight, weight, payload=1).sums(np.full((1, 1, 3), -2))
    DelayedDense(weight, weight, payload=2).sums(np.full((1, 1, 3), -2))
    with pytest.raises(ValueError, match="arranged for rows, not for columns"):
        DelayedDense(weight, weight, payload=2).sums(np.full((1, 1, 3), 1), way="columns")


@pytest.mark.lava
@pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("bits", [0, 16])
@pytest.mark.parametrize("exponent", [0, -3])
def test_equals_lavas_delay_dense(name, bits, exponent):
    import_lava()
    from lava.proc.dense.models import PyDelayDenseModelBitAcc
    from lava.proc.dense.process import DelayDense

    rng = np.random.default_rng(PATTERNS.index(name))
    weight = rng.integers(-63, 64, (4, 6)) * 2
    delay = np.ascontiguousarray(pattern(name, 4, 6, rng))
    synapse = DelayDense(
        weights=weight, delays=delay, max_delay=62, num_message_bits=bits, weight_exp=exponent, num_weight_bits=8
    )
    judge = LavaProcess(synapse, PyDelayDenseModelBitAcc)
    messages = rng.integers(-200, 201, (80, 1, 6)) * (rng.random((80, 1, 6)) < 0.5)
    theirs = np.array([judge.step(frame) for frame in messages[:, 0]])
    payload = messages if bits else (messages != 0).astype(np.uint8)
    layer = DelayedDense(weight, delay, weight_exponent=exponent, payload=200)
    ours, _ = layer.sums(payload)
    np.testing.assert_array_equal(ours[:-1, 0], theirs[1:])  # Lava hands the sum on one step later
    assert not theirs[0].any()
    assert theirs.any()

"""Our simulator against Lava's own model classes: spikes and membrane potentials of many random chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw_targets.loihi2 import lava
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.rules import check_chip
from hw_targets.loihi2.simulate import simulate
from tests.hw_targets import lava_in_process
from tests.hw_targets.lava_in_process import assert_equal, judge

pytestmark = [
    pytest.mark.lava,
    pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`"),
]


def random_chip(rng: np.random.Generator) -> ChipGraph:
    """A chip of 0 to 3 convolutions and 1 or 2 dense layers, every field of every layer drawn."""
    steps, payload = int(rng.integers(1, 8)), int(rng.choice([1, 1, 63, 255]))
    convolutions = int(rng.integers(0, 4))
    shape: tuple[int, ...] = (int(rng.choice([1, 2, 4])), *(int(n) for n in rng.integers(5, 11, 2)))
    if not convolutions and rng.random() < 0.5:
        shape = (int(np.prod(shape)),)
    first = shape
    layers: list[ChipLayer] = []
    for _ in range(convolutions):
        layers.append(random_conv(rng, f"layer{len(layers)}", shape, payload if not layers else 1))
        shape = layers[-1].output_shape
    for _ in range(int(rng.integers(1, 3))):
        weight = random_weight(rng, (int(rng.integers(2, 9)), int(np.prod(shape))))
        drive = payload if not layers else 1
        layers.append(with_neurons(rng, f"layer{len(layers)}", "dense", weight, shape, weight.shape[:1], drive))
        shape = layers[-1].output_shape
    return ChipGraph(tuple(layers), first, steps, 1.0, "float" if payload > 1 else "spikes")


def random_conv(rng: np.random.Generator, name: str, shape: tuple[int, ...], payload: int) -> ChipLayer:
    """A convolution whose kernel, stride, padding and dilation differ between the axes, and fit."""
    while True:
        kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, top, 2)) for top in (5, 4, 3))
        padding = tuple(int(n) for n in rng.integers(0, 3, 2))
        out = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
        )
        if min(out) > 0:
            break
    groups = int(rng.choice([1, 1, shape[0]]))
    channels = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.integers(1, 6))
    weight = random_weight(rng, (channels, shape[0] // groups, *kernel))
    more = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return with_neurons(rng, name, "conv", weight, shape, (channels, *out), payload, **more)


def random_weight(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of different spread, many zeros, or all of one sign."""
    low, high = [(-127, 128), (-20, 21), (1, 128), (-127, 0)][int(rng.choice(4, p=[0.55, 0.25, 0.15, 0.05]))]
    weight = rng.integers(low, high, shape)
    return weight * (rng.random(shape) < 0.4) if rng.random() < 0.2 else weight


def with_neurons(rng, name, kind, weight, shape, out, payload, **more) -> ChipLayer:
    """A layer whose threshold is about as large as its drive, so that it neither sleeps nor always fires."""
    rows = weight.reshape(len(weight), -1)
    reach = max(rows.clip(min=0).sum(axis=1).max(), -rows.clip(max=0).sum(axis=1).min()) * payload
    weight = np.trunc(weight * min(1.0, 120000 / max(1, reach))).astype(np.int64)
    if kind == "dense":
        weight[0, 0], weight[1, 0] = -1, 1  # both signs: netx corrupts dense layers of one
    drive = max(2.0, float(np.abs(weight).mean()) * np.sqrt(weight[0].size) * payload)
    bias = rng.integers(-int(min(drive, 4095)), int(min(drive, 4095)) + 1, weight.shape[0])
    return ChipLayer(
        name,
        kind,
        weight,
        bias * (rng.random() < 0.7),
        threshold=int(min(131071, rng.integers(0, int(2 * drive) + 1))),
        voltage_decay=int(rng.choice([0, 4095, rng.integers(0, 4096)])),
        input_shape=shape,
        output_shape=out,
        current_decay=int(rng.choice([4096, 4096, 0, rng.integers(1, 4096)])),
        payload=payload,
        **more,
    )


def random_clips(rng: np.random.Generator, chip: ChipGraph, samples: int) -> np.ndarray:
    clips = (rng.random((chip.steps, samples, *chip.input_shape)) < rng.choice([0.1, 0.4, 0.8])).astype(np.float32)
    if chip.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    return clips


def compare_random_chips(tmp_path, count: int, seed: int) -> float:
    """Compare ``count`` chips; return the share of layers that fired neither never nor always."""
    lively = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        chip = random_chip(rng)
        clips = random_clips(rng, chip, int(rng.integers(1, 4)))
        path = tmp_path / f"{number}.net"
        write_netx(chip, path)
        try:
            ours = assert_equal(chip, clips, judge(chip, path, clips))
        except AssertionError as error:
            raise AssertionError(f"random_chip(np.random.default_rng([{seed}, {number}])): {error}") from error
        path.unlink()
        lively += [0 < spikes.mean() < 1 for spikes in ours.spikes.values()]
    return float(np.mean(lively))


def test_spikes_and_membranes_of_200_random_chips_equal_lavas(tmp_path):
    assert compare_random_chips(tmp_path, 200, seed=1) > 0.6


@pytest.mark.slow
def test_spikes_and_membranes_of_2000_random_chips_equal_lavas(tmp_path):
    assert compare_random_chips(tmp_path, 2000, seed=2) > 0.6


def extreme_chip(current_decay: int, voltage_decay: int, sign: int) -> ChipGraph:
    """One neuron at the largest drive that is not refused, 131064 per step: its current and potential leave 24 bits."""
    weight = sign * np.full((2, 1032), 127)
    weight[1] *= -1
    return ChipGraph(
        (
            ChipLayer(
                "n", "dense", weight, np.array([4095, -4095]), 131071, voltage_decay, (1032,), (2,), current_decay
            ),
        ),
        (1032,),
        7,
        1.0,
        "spikes",
    )


@pytest.mark.parametrize("current_decay", [0, 1, 2048, 4096])
@pytest.mark.parametrize("voltage_decay", [0, 1, 4095])
def test_wrapping_current_and_clipped_potential_equal_lavas(tmp_path, current_decay, voltage_decay):
    for sign in (1, -1):
        chip = extreme_chip(current_decay, voltage_decay, sign)
        clips = np.ones((7, 2, 1032), np.float32)
        clips[3:5, 1] = 0
        write_netx(chip, tmp_path / f"{sign}.net")
        traces = judge(chip, tmp_path / f"{sign}.net", clips)
        assert_equal(chip, clips, traces)
        assert np.abs(traces[0].v).max() > 2**22
        if current_decay == 0:
            assert (np.sign(traces[0].u[1, 0]) == [-sign, sign]).all(), "the current did not wrap"


@pytest.mark.parametrize("current_decay", [0, 4096])
def test_states_that_meet_their_limit_to_the_unit_equal_lavas(tmp_path, current_decay):
    # 516 x 127 + 4 = 2^16 synaptic units: two steps of them bring u (no decay) or v (no memory in u) to +-2^23.
    weight = np.append(np.full(516, 127), 4) * np.array([[1], [-1]])
    layer = ChipLayer("n", "dense", weight, np.zeros(2, int), 131071, 0, (517,), (2,), current_decay)
    chip, clips = ChipGraph((layer,), (517,), 5, 1.0, "spikes"), np.ones((5, 1, 517), np.float32)
    write_netx(chip, tmp_path / "model.net")
    (trace,) = judge(chip, tmp_path / "model.net", clips)
    assert_equal(chip, clips, [trace])
    if current_decay == 0:
        assert trace.u[1, 0].tolist() == [2**23, 2**23], "Lava keeps +2^23 and wraps -2^23"
    else:
        assert trace.v[1, 0].tolist() == [0, -(2**23) + 1], "one fires, the other is clipped by one unit"


def one_dense(weight: np.ndarray, rng: np.random.Generator) -> ChipGraph:
    outputs, inputs = weight.shape
    bias = rng.integers(0, 200, outputs)  # some drive, so that inhibition shows
    layer = ChipLayer("dense", "dense", weight, bias, int(rng.integers(50, 400)), 1000, (inputs,), (outputs,))
    return ChipGraph((layer,), (inputs,), 6, 1.0, "spikes")


def test_dense_layers_of_one_sign_are_exact_unless_the_rule_refuses_them(tmp_path):
    """Lava re-scales dense weights by their sign; E220 refuses exactly the layers in which that loses bits."""
    rng = np.random.default_rng(9)
    refused = 0
    for number in range(150):
        most = int(rng.choice([1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 126, 127]))
        weight = rng.integers(0, most + 1, (int(rng.integers(2, 6)), 12))
        weight.flat[0] = most
        chip = one_dense(weight if number % 2 else -weight, rng)
        clips = (rng.random((6, 2, 12)) < 0.4).astype(np.float32)
        write_netx(chip, tmp_path / "model.net")
        traces = judge(chip, tmp_path / "model.net", clips)
        if "E220" in {finding.code for finding in check_chip(chip)}:
            refused += 1
            continue
        assert_equal(chip, clips, traces)
    assert 15 < refused < 75, "both kinds must have been drawn"


def test_the_layers_that_the_rule_refuses_do_come_out_wrong(tmp_path):
    rng = np.random.default_rng(10)
    # Each -64 becomes -63.5 and the sum is rounded down: one of them is rescued by the rounding, two are not.
    chip = one_dense(np.where(np.arange(65).reshape(5, 13) % 3, -64, 0), rng)
    assert (chip.layers[0].weight.min(), chip.layers[0].weight.max()) == (-64, 0)
    clips = (rng.random((6, 4, 13)) < 0.5).astype(np.float32)
    write_netx(chip, tmp_path / "model.net")
    with pytest.raises(AssertionError):
        assert_equal(chip, clips, judge(chip, tmp_path / "model.net", clips))


def test_the_judge_notices_one_wrong_unit(tmp_path):
    rng = np.random.default_rng(7)
    chip = replace(random_chip(np.random.default_rng([1, 0])), steps=6)
    clips = random_clips(rng, chip, 2)
    write_netx(chip, tmp_path / "model.net")
    traces = judge(chip, tmp_path / "model.net", clips)
    assert_equal(chip, clips, traces)
    bias = chip.layers[0].bias.copy()
    bias[0] += 1
    changed = replace(chip, layers=(replace(chip.layers[0], bias=bias), *chip.layers[1:]))
    with pytest.raises(AssertionError, match="of layer0"):
        assert_equal(changed, clips, traces)


def test_a_wrong_order_of_models_is_an_error_not_a_hang():
    channel = lava_in_process.Channel("a_in", (2,), np.int32)
    with pytest.raises(RuntimeError, match="nothing to receive"):
        channel.recv()
    channel.send(np.array([1.9, -1.9]))
    assert channel.recv().tolist() == [1, -1], "like Lava's channel, it casts to the sender's type"


def assert_equals_the_runtime(tmp_path, chip: ChipGraph, clips: np.ndarray) -> None:
    path = tmp_path / "model.net"
    write_netx(chip, path)
    runtime = run_lava(chip, path, clips, timeout_s=120).run.spikes
    for trace, spikes in zip(judge(chip, path, clips), runtime.values(), strict=True):
        np.testing.assert_array_equal(trace.spikes, spikes)


def test_in_process_equals_the_lava_runtime(tmp_path):
    for number in range(100):
        rng = np.random.default_rng([3, number])
        chip = random_chip(rng)
        clips = random_clips(rng, chip, 3)
        lively = all(0 < spikes.mean() < 1 for spikes in simulate(chip, clips).spikes.values())
        if lively and len(chip.layers) > 3 and chip.payload > 1:
            return assert_equals_the_runtime(tmp_path, chip, clips)
    raise AssertionError("no chip with graded input, three layers or more, none of them silent")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100, 106))
def test_in_process_equals_the_lava_runtime_on_more_chips(tmp_path, number):
    rng = np.random.default_rng([3, number])
    chip = random_chip(rng)
    assert_equals_the_runtime(tmp_path, chip, random_clips(rng, chip, 3))


@pytest.mark.slow
def test_in_process_equals_the_lava_runtime_on_the_exported_network(tmp_path, exported):
    _, _, clips, compiled = exported
    assert_equals_the_runtime(tmp_path, compiled.chip, clips)

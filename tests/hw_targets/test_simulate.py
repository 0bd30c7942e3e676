"""The fixed-point simulator against a literal twin in Python integers, and its refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import CapacityError, InputError, UnsupportedError
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulate import encode_input, refuse_overflow, simulate
from hw_targets.loihi2.simulation import engine
from hw_targets.loihi2.simulation.dense_sums import DenseSums
from hw_targets.loihi2.simulation.engine import Simulator
from hw_targets.loihi2.simulation.reset import Reset


def sign_shift(value: int, keep: int) -> int:
    return (abs(value) * keep >> 12) * (1 if value >= 0 else -1)


def twin(chip: ChipGraph, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Layer by layer, step by step, neuron by neuron, in Python integers: docs/semantics.md taken literally."""
    spikes = {}
    value = frames.astype(int)
    for layer in chip.layers:
        out = np.zeros((*frames.shape[:2], *layer.output_shape), dtype=np.uint8)
        for n in range(frames.shape[1]):
            u = np.zeros(layer.output_shape, dtype=object)
            v = np.zeros(layer.output_shape, dtype=object)
            for t in range(frames.shape[0]):
                for index in np.ndindex(*layer.output_shape):
                    a = synaptic_sum(layer, value[t, n], index)
                    u[index] = sign_shift(u[index], 4096 - layer.current_decay) + (a << 6)
                    potential = sign_shift(v[index], 4096 - layer.voltage_decay) + u[index]
                    potential += int(layer.bias[index[0]]) << 6
                    potential = max(-(2**23) + 1, min(2**23 - 1, potential))
                    out[t, n][index] = potential > layer.threshold << 6
                    v[index] = 0 if out[t, n][index] else potential
        spikes[layer.name] = out
        value = out.astype(int)
    return spikes


def synaptic_sum(layer: ChipLayer, frame: np.ndarray, index: tuple[int, ...]) -> int:
    if layer.kind == "dense":
        return int(sum(int(w) * int(x) for w, x in zip(layer.weight[index[0]], frame.reshape(-1), strict=True)))
    total = 0
    out_channel, row, column = index
    per_group = layer.weight.shape[1]
    first = (out_channel * layer.groups // layer.weight.shape[0]) * per_group
    for c in range(per_group):
        for i in range(layer.weight.shape[2]):
            for j in range(layer.weight.shape[3]):
                y = row * layer.stride[0] - layer.padding[0] + i * layer.dilation[0]
                x = column * layer.stride[1] - layer.padding[1] + j * layer.dilation[1]
                if 0 <= y < frame.shape[1] and 0 <= x < frame.shape[2]:
                    total += int(layer.weight[out_channel, c, i, j]) * int(frame[first + c, y, x])
    return total


@st.composite
def chips(draw) -> ChipGraph:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape: tuple[int, ...] = (2, draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    payload = draw(st.sampled_from([1, 63]))
    first = shape
    layers = []
    for number in range(draw(st.integers(1, 2))):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding, groups = draw(st.integers(0, 1)), draw(st.sampled_from([1, 2]))
        size = tuple((n + 2 * padding - kernel) // stride + 1 for n in shape[1:])
        if min(size) < 1:
            break
        out = (4, *size)
        layers.append(
            ChipLayer(
                f"conv{number}",
                "conv",
                rng.integers(-127, 128, (4, shape[0] // groups, kernel, kernel)),
                rng.integers(-300, 301, 4),
                draw(st.integers(1, 2000)),
                draw(st.integers(0, 4096)),
                shape,
                out,
                draw(st.sampled_from([4096, 4096, 2458])),
                (stride, stride),
                (padding, padding),
                (1, 1),
                groups,
                payload=payload if number == 0 else 1,
            )
        )
        shape = out
    size = int(np.prod(shape))
    layers.append(
        ChipLayer(
            "dense",
            "dense",
            rng.integers(-127, 128, (3, size)),
            rng.integers(-50, 51, 3),
            draw(st.integers(1, 3000)),
            draw(st.integers(0, 4096)),
            shape,
            (3,),
            payload=1 if layers else payload,
        )
    )
    return ChipGraph(tuple(layers), first, 5, 1.0, "float" if payload > 1 else "spikes")


@settings(max_examples=40, deadline=None)
@given(chips(), st.integers(0, 2**32 - 1))
def test_equals_a_literal_twin(chip, seed):
    rng = np.random.default_rng(seed)
    clips = (rng.random((5, 2, *chip.input_shape)) < 0.4).astype(np.float32)
    if chip.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    ours = simulate(chip, clips).spikes
    for name, spikes in twin(chip, np.rint(clips * chip.payload)).items():
        np.testing.assert_array_equal(ours[name], spikes)


@settings(max_examples=25, deadline=None)
@given(chips(), st.integers(0, 2**32 - 1), st.sampled_from([1, 40, 300]), st.sampled_from([1, 90, 700]))
def test_the_answer_does_not_depend_on_how_the_work_is_cut(chip, seed, units, window):
    rng = np.random.default_rng(seed)
    clips = (rng.random((5, 3, *chip.input_shape)) < 0.4).astype(np.float32)
    if chip.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    names = tuple(layer.name for layer in chip.layers)
    for mode, path, reset in (
        ("aligned", "dense", None),
        ("pipeline", "event", None),
        ("pipeline", "auto", Reset(2, 1)),
    ):
        options = {"mode": mode, "path": path, "reset": reset}
        whole = Simulator(chip, **options).run(clips, probe=names, keep_state=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "UNITS", units)
            patch.setattr(engine, "WINDOW", window)
            cut = Simulator(chip, threads=2, **options).run(clips, probe=names, keep_state=True)
            quiet = Simulator(chip, **options).run(clips, record="output")
        for kind in ("spikes", "membrane", "current", "drive", "final", "counts"):
            for name in names:
                np.testing.assert_array_equal(getattr(cut, kind)[name], getattr(whole, kind)[name], err_msg=kind)
        np.testing.assert_array_equal(quiet.output, whole.output)
        assert list(quiet.spikes) == [names[-1]]


def one_layer(**changes) -> ChipGraph:
    layer = ChipLayer("n", "dense", np.array([[10, -3]]), np.array([2]), 11, 2048, (2,), (1,))
    return ChipGraph((replace(layer, **changes),), (2,), 3, 1.0, "spikes")


def test_worked_by_hand():
    # a = 10, bias 2: v = 12<<6 > 11<<6 fires and resets; then a = 7: v = 9<<6, below; then leak 1/2: 4.5+9 > 11.
    run = simulate(one_layer(), np.array([[[1, 0]], [[1, 1]], [[1, 1]]], dtype=np.float32), probe=("n",))
    assert run.output.ravel().tolist() == [1, 0, 1]
    assert run.membrane["n"].ravel().tolist() == [12 << 6, 9 << 6, (9 << 5) + (9 << 6)]


def test_threshold_is_exceeded_not_reached():
    clips = np.array([[[1, 0]]], dtype=np.float32)
    assert simulate(one_layer(threshold=12), clips).output.item() == 0
    assert simulate(one_layer(threshold=11), clips).output.item() == 1


def wide(inputs: int) -> ChipGraph:
    layer = ChipLayer("big", "dense", np.full((1, inputs), 127), np.zeros(1, int), 5, 0, (inputs,), (1,))
    return ChipGraph((layer,), (inputs,), 1, 1.0, "spikes")


def test_a_sum_that_overflows_is_refused_where_it_happens_and_not_before():
    some = np.zeros((1, 2, 2000), np.float32)
    some[0, 1, :1032] = 1  # 1032 x 127 = 131064
    assert simulate(wide(2000), some).output[:, :, 0].tolist() == [[0, 1]]
    some[0, 1, 1032] = 1
    with pytest.raises(CapacityError, match="synaptic sum reaches 131191; limit 131071, over by 120"):
        simulate(wide(2000), some)


def test_sums_too_large_for_float32_are_still_exact():
    inputs, whole = 2**18 + 1, 2**18 * 127
    assert np.float32(whole) == np.float32(whole + 1)
    weight = np.full((2, inputs), 127)
    weight[:, -1] = (0, 1)
    layer = ChipLayer("big", "dense", weight, np.zeros(2, int), 5, 0, (inputs,), (2,))
    chip = ChipGraph((layer,), layer.input_shape, 1, None, "spikes")
    for path in ("dense", "event"):
        run = simulate(chip, np.ones((1, 1, inputs), np.float32), probe=("big",), overflow="wrap", path=path)
        assert run.drive["big"].ravel().tolist() == [whole, whole + 1]


def test_layers_that_could_overflow_are_named_before_a_run():
    with pytest.raises(CapacityError, match="could reach 254000"):
        refuse_overflow(wide(2000))


def test_the_final_state_is_that_of_the_last_step():
    run = simulate(one_layer(threshold=100, voltage_decay=1024), np.ones((3, 1, 2), np.float32), keep_state=True)
    unit = one_layer(threshold=100).layers[0].weight.sum() << 6
    v = 0
    for _ in range(3):
        v = (v * 3072 >> 12) + unit + (2 << 6)
    assert run.final["n"][:, 0, 0].tolist() == [unit, v]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((3, 1, 5), np.float32), "shape"),
        (np.full((3, 1, 2), np.nan, np.float32), "6 values are NaN"),
        (np.full((3, 1, 2), 0.5, np.float32), "other than 0 and 1"),
    ],
)
def test_bad_clips_are_refused(clips, message):
    with pytest.raises(InputError, match=message):
        simulate(one_layer(), clips)


def test_gray_frame_outside_its_range_is_refused():
    chip = replace(one_layer(payload=63), first_frame="float")
    with pytest.raises(InputError, match="gray values"):
        encode_input(chip, np.full((3, 1, 2), 1.5, np.float32) * np.array([1, 0, 0]).reshape(3, 1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sideways"}, r"E235 mode: 'sideways'; limit aligned or pipeline"),
        ({"path": "fast"}, r"E235 path: 'fast'; limit auto or dense or event"),
        ({"overflow": "ignore"}, r"E235 overflow: 'ignore'"),
        ({"threads": 0}, r"E235 threads: 0; limit at least 1"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Simulator(one_layer(), **options)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"n": np.array([0, 1])}, r"E055 n: neurons 0 to 1 to probe; limit 0 to 0"),
        ({"n": np.array([0.5])}, r"E055 n: neurons to probe of type float64"),
    ],
)
def test_a_neuron_that_is_not_there_is_named(probe, message):
    with pytest.raises(InputError, match=message):
        simulate(one_layer(), np.zeros((3, 1, 2), np.float32), probe=probe)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.full((3, 1, 2), 0.5), r"E059.*6 values are not whole numbers"),
        (np.full((3, 1, 2), 9), r"E053.*magnitude 9; limit 7, over by 2"),
        (np.full((3, 1, 2), "a"), r"E057.*type <U1"),
        (np.zeros((0, 1, 2)), r"E058.*no step or no clip"),
    ],
)
def test_integers_that_cannot_be_sent_are_refused(clips, message):
    chip = replace(one_layer(payload=7), first_frame="integers")
    with pytest.raises(InputError, match=message):
        simulate(chip, clips)


def test_a_library_that_rounds_is_found_out(monkeypatch):
    weight = np.arange(-40, 40).reshape(2, 40)
    layer = ChipLayer("n", "dense", weight, np.zeros(2, int), 11, 2048, (40,), (2,))
    chip, clips = ChipGraph((layer,), (40,), 3, None, "spikes"), np.ones((3, 1, 40), np.uint8)
    honest = DenseSums.sums
    monkeypatch.setattr(DenseSums, "sums", lambda self, messages, largest: honest(self, messages, largest) + 1)
    with pytest.raises(UnsupportedError, match=r"E237 n: the dense and the event-driven sums differ.*\n.*--path event"):
        simulate(chip, clips)
    monkeypatch.setattr(DenseSums, "sums", honest)
    wanted = simulate(chip, clips).spikes["n"]
    np.testing.assert_array_equal(simulate(chip, clips, path="event").spikes["n"], wanted)


def test_a_teacher_has_no_place_in_lavas_clock():
    with pytest.raises(InputError, match=r"E056.*aligned mode"):
        simulate(one_layer(), np.zeros((3, 1, 2)), mode="pipeline", teacher={"n": np.zeros((3, 1, 1))})


def test_unknown_probe_names_the_layers():
    with pytest.raises(InputError, match="one of n"):
        simulate(one_layer(), np.zeros((3, 1, 2), np.float32), probe=("m",))

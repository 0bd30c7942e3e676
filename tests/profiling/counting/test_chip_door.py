"""Counts of chip runs against loops over every stored weight: one message, one synapse, one operation at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.deployment import Deployment, split_input
from export.reference import run_graph
from hw_targets.finding import InputError
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.registry import get_target
from neuroemo.profiling.counting import graph as graph_door
from neuroemo.profiling.counting.chip import count_chip, count_deployment, count_run, neuron_rule
from neuroemo.profiling.counting.counts import Geometry, squares_of
from neuroemo.profiling.counting.graph import count_graph

TARGET = get_target("loihi2")


def taps_of(layer: ChipLayer) -> np.ndarray:
    """Every synapse of a layer by brute force: bool [outputs, inputs, 2], whether it is there and whether not zero."""
    outputs, inputs = int(np.prod(layer.output_shape)), int(np.prod(layer.input_shape))
    found = np.zeros((outputs, inputs, 2), dtype=bool)
    if layer.kind != "conv":
        found[..., 0], found[..., 1] = True, layer.weight != 0
        return found
    channels, height, width = layer.input_shape
    for o, y, x in np.ndindex(*layer.output_shape):
        target = np.ravel_multi_index((o, y, x), layer.output_shape)
        first = o // (layer.output_shape[0] // layer.groups) * (channels // layer.groups)
        for c, i, j in np.ndindex(*layer.weight.shape[1:]):
            row = y * layer.stride[0] - layer.padding[0] + i * layer.dilation[0]
            column = x * layer.stride[1] - layer.padding[1] + j * layer.dilation[1]
            if 0 <= row < height and 0 <= column < width:
                source = np.ravel_multi_index((first + c, row, column), layer.input_shape)
                found[target, source] = True, layer.weight[o, c, i, j] != 0
    return found


def counted_by_hand(synapses: np.ndarray, messages: np.ndarray) -> np.ndarray:
    """AC, MAC and events of messages [T, N, inputs] at synapses [outputs, inputs], one message at a time: [T, N, 3]."""
    table = np.zeros((*messages.shape[:2], 3), dtype=np.int64)
    for t, n, source in np.argwhere(messages):
        reached = sum(1 for there in synapses[:, source].tolist() if there)
        table[t, n, 0 if messages[t, n, source] in (1, -1) else 1] += reached
        table[t, n, 2] += 1
    return table


def later(messages: np.ndarray) -> np.ndarray:
    moved = np.zeros_like(messages)
    moved[1:] = messages[:-1]
    return moved


def expected(chip: ChipGraph, received: np.ndarray, sent: dict, *, pipeline=False, skip=False) -> dict[str, np.ndarray]:
    """All tables of a chip's synapses, from what the chip received and what each population sent."""
    tables, messages = {}, received
    for layer in chip.layers:
        flat = messages.reshape(*messages.shape[:2], -1)
        if layer.kind != "input":
            synapses = taps_of(layer)[..., int(skip)]
            tables[layer.name] = counted_by_hand(synapses, later(flat) if pipeline else flat)
        messages = sent[layer.name]
        if layer.recurrent is not None:
            synapses = layer.recurrent != 0 if skip else np.ones_like(layer.recurrent, dtype=bool)
            own = messages.reshape(*messages.shape[:2], -1)
            own = (own != 0).astype(int) if layer.payload == 1 else own
            tables[f"{layer.name}.recurrent"] = counted_by_hand(synapses, later(own))
    return tables


def same(counts, tables: dict[str, np.ndarray], sent: dict) -> None:
    assert [name for name, layer in counts.layers.items() if layer.kind == "synapse"] == list(tables)
    for name, table in tables.items():
        np.testing.assert_array_equal(counts.layers[name].table[..., :3], table, name)
    for name, messages in sent.items():
        neurons = counts.layers[f"{name}.neurons"]
        fired = (messages != 0).reshape(*messages.shape[:2], -1).sum(axis=2)
        np.testing.assert_array_equal(neurons.table[..., 3], fired)
        assert neurons.neuron_updates == messages.size
        assert not neurons.table[..., :3].any()


def conv(name, rng, shape, outputs, kernel, threshold=20, **more):
    groups = more.get("groups", 1)
    weight = rng.integers(-30, 60, (outputs, shape[0] // groups, *kernel))
    weight[rng.random(weight.shape) < 0.3] = 0
    settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)} | more
    space = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            shape[1:], kernel, settings["stride"], settings["padding"], settings["dilation"], strict=True
        )
    ]
    bias = np.zeros(outputs, np.int64)
    return ChipLayer(name, "conv", weight, bias, threshold, 1024, shape, (outputs, *space), **more)


def dense(name, rng, shape, outputs, kind="dense", threshold=20, **more):
    inputs = int(np.prod(shape))
    weight = rng.integers(-30, 60, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.7)
    weight[0, 0] = -1
    more = {"voltage_decay": 1024, "bias": np.zeros(outputs, np.int64)} | more
    return ChipLayer(name, kind, weight, threshold=threshold, input_shape=(inputs,), output_shape=(outputs,), **more)


def drawn_chip(seed: int) -> tuple[ChipGraph, np.ndarray]:
    """A random convolution, a random second layer (of every kind in turn), a dense output, and spikes for them."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2]))
    channels, size = 2 * int(rng.integers(1, 3)), (int(rng.integers(6, 10)), int(rng.integers(6, 10)))
    first = conv(
        "first", rng, (channels, *size), 4, (int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))), padding=(int(rng.integers(0, 3)), 1),
        dilation=(int(rng.integers(1, 3)), 1), groups=groups,
    )  # fmt: skip
    middle = {
        0: lambda: dense("middle", rng, first.output_shape, 5),
        1: lambda: dense("middle", rng, first.output_shape, 5, "dense_rec", recurrent=rng.integers(-9, 40, (5, 5)) - 5),
        2: lambda: dense("middle", rng, first.output_shape, 5, delay=rng.integers(0, 4, (5, first.neurons))),
        3: lambda: conv("middle", rng, first.output_shape, 3, (1, 1)),
    }[seed % 4]()
    last = dense("last", rng, middle.output_shape, 4)
    spikes = (rng.random((6, 3, channels, *size)) < 0.3).astype(np.uint8)
    return ChipGraph((first, middle, last), (channels, *size), 6, None, "spikes"), spikes


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("clock", ["aligned", "pipeline"])
def test_every_message_of_a_random_chip_is_counted_at_each_synapse_it_meets(seed, clock):
    chip, clips = drawn_chip(seed)
    simulator = TARGET.simulator(chip, mode=clock)
    run = simulator.run(clips)
    assert all(run.spikes[name].any() for name in ("first", "middle", "last"))
    for skip in (False, True):
        counts = count_chip(chip, [clips], simulator=simulator, skip_zero_weights=skip)
        tables = expected(chip, clips.astype(int), run.spikes, pipeline=clock == "pipeline", skip=skip)
        same(counts, tables, run.spikes)
        again = count_run(chip, clips, run, clock=clock, skip_zero_weights=skip)
        assert again.to_json() == counts.to_json()
        assert not counts.partial


def test_dense_work_is_that_of_every_stored_synapse_also_where_zeros_are_skipped():
    chip, clips = drawn_chip(1)
    for skip in (False, True):
        counts = count_chip(chip, [clips], skip_zero_weights=skip)
        for layer in chip.layers:
            per_step = int(taps_of(layer)[..., 0].sum())
            assert counts.layers[layer.name].synapses == per_step
            assert counts.layers[layer.name].dense_macs == per_step * 6 * 3
        assert counts.layers["middle.recurrent"].dense_macs == 25 * 6 * 3
    assert counts.layers["middle.recurrent"].geometry.weights == 25


def test_a_gray_first_frame_is_counted_as_the_payloads_that_the_chip_receives():
    rng = np.random.default_rng(0)
    layer = dense("n", rng, (5,), 3, payload=63)
    chip = ChipGraph((layer,), (5,), 2, None, "float")
    # round(63 g): 0, 1, 62, 63 and 63; only a whole payload is a spike.
    clips = np.array([[[0.007, 0.01, 0.99, 0.993, 1.0]], [[1, 0, 0, 1, 0]]], dtype=np.float32)
    counts = count_chip(chip, [clips])
    assert counts.layers["n"].table[..., :3].tolist() == [[[6, 6, 4]], [[6, 0, 2]]]


def test_integers_are_graded_unless_they_are_one():
    rng = np.random.default_rng(0)
    chip = ChipGraph((dense("n", rng, (4,), 3, payload=255, threshold=131071),), (4,), 2, None, "integers")
    clips = np.array([[[1, -1, 2, 0]], [[255, -255, 0, 0]]])
    assert count_chip(chip, [clips]).layers["n"].table[..., :3].tolist() == [[[6, 3, 3]], [[0, 6, 2]]]


def sigma_delta_chip(payload: int) -> tuple[ChipGraph, np.ndarray]:
    rng = np.random.default_rng(4)
    source = ChipLayer(
        "source", "input", np.zeros(0, np.int64), np.zeros(1, np.int64), 1, 4096, (4,), (4,),
        payload=255, neuron="delta", spike_exponent=0,
    )  # fmt: skip
    loop = rng.integers(-3, 4, (4, 4))
    middle = dense(
        "middle", rng, (4,), 4, "dense_rec", threshold=1, neuron="sigma_delta", spike_exponent=0, payload=payload,
        recurrent=loop, voltage_decay=4096,
    )  # fmt: skip
    last = dense("last", rng, (4,), 3, threshold=0, neuron="sigma", payload=2**31 - 1, voltage_decay=4096)
    layers = (source, middle, last) if payload > 1 else (replace(middle, input_shape=(4,)), last)
    clips = rng.integers(0, 2 if payload == 1 else 40, (5, 2, 4))
    return ChipGraph(layers, (4,), 5, None, "integers" if payload > 1 else "spikes"), clips


@pytest.mark.parametrize("payload", [1, 2**31 - 1])
def test_graded_messages_of_sigma_delta_neurons_are_multiplied(payload):
    chip, clips = sigma_delta_chip(payload)
    run = TARGET.simulator(chip).run(clips)
    counts = count_chip(chip, [clips])
    same(counts, expected(chip, clips, run.spikes), run.spikes)
    assert counts.layers["last"].macs > 0
    loop = counts.layers["middle.recurrent"]
    # Behind spikes a recurrence takes any message as 1 (docs/semantics.md, Recurrence).
    assert (loop.macs == 0) == (payload == 1)
    assert loop.spikes_in > 0
    rules = [layer.rule.text for layer in counts.layers.values() if layer.kind == "neuron"]
    assert rules[-2:] == ["sigma-delta: 0 MAC + 3 AC per update", "sigma: 0 MAC + 0 AC per update"]
    if payload > 1:
        assert "source" not in counts.layers
        assert counts.layers["source.neurons"].neuron_updates == 4 * 5 * 2


def test_a_delay_moves_messages_and_changes_no_count():
    chip, clips = drawn_chip(2)
    now = replace(chip, layers=(chip.layers[0], replace(chip.layers[1], delay=None), *chip.layers[2:]))
    late, prompt = count_chip(chip, [clips]).layers["middle"], count_chip(now, [clips]).layers["middle"]
    np.testing.assert_array_equal(late.table, prompt.table)


def test_a_message_of_the_last_step_never_reaches_a_recurrence():
    loop = ChipLayer(
        "n", "dense_rec", np.array([[9, -1]]), np.zeros(1, np.int64), 8, 0, (2,), (1,), recurrent=np.array([[-9]])
    )
    chip = ChipGraph((loop,), (2,), 3, None, "spikes")
    clips = np.array([[[1, 0]], [[0, 0]], [[1, 0]]])  # fires in the first step, is held down, and in the last: -9 + 9
    counts = count_chip(chip, [clips])
    assert counts.layers["n.neurons"].table[:, 0, 3].tolist() == [1, 0, 0]
    assert counts.layers["n.recurrent"].table[:, 0, 0].tolist() == [0, 1, 0]
    only_last = count_chip(chip, [np.array([[[0, 0]], [[0, 0]], [[1, 0]]])])
    assert only_last.layers["n.neurons"].table[:, 0, 3].tolist() == [0, 0, 1]
    assert only_last.layers["n.recurrent"].acs == 0


@pytest.mark.parametrize(
    ("voltage_decay", "current_decay", "macs", "acs"),
    [
        (0, 4096, 0, 1),  # integrate and fire
        (1024, 4096, 1, 1),
        (1024, 2048, 2, 1),
        (4096, 4096, 0, 1),  # no memory
        (4096, 0, 0, 1),  # a current that keeps all is added up at the synapses, and is the potential
        (0, 2048, 1, 2),  # the current fades, and is added to a potential that does not
        (1024, 0, 1, 1),
        (np.array([0, 1024]), 4096, 1, 1),  # the costliest of its neurons
    ],
)
def test_rules_of_lif_neurons(voltage_decay, current_decay, macs, acs):
    rng = np.random.default_rng(0)
    layer = dense("n", rng, (3,), 2, voltage_decay=voltage_decay, current_decay=current_decay)
    rule = neuron_rule(layer)
    assert (rule.macs, rule.acs, rule.reset_acs) == (macs, acs, 0)


def test_batches_pieces_and_what_is_kept_change_no_count(monkeypatch):
    chip, clips = drawn_chip(3)
    whole = count_chip(chip, [clips])
    seen = []
    monkeypatch.setattr(graph_door, "ELEMENTS", 1)
    parts = count_chip(chip, iter([clips[:, :2], (clips[:, 2:], "labels")]), progress=lambda *at: seen.append(at))
    assert seen == [(1, None), (2, None), (3, None)]
    for name, layer in whole.layers.items():
        np.testing.assert_array_equal(parts.layers[name].table, layer.table)
        assert parts.layers[name].dense_macs == layer.dense_macs
    summed = count_chip(chip, [clips[:, :2], clips[:, 2:]], keep_samples=False)
    assert summed.total.table.shape == (6, 1, 4)
    assert summed.squares == whole.squares
    assert (summed.total.acs, summed.total.spikes_out) == (whole.total.acs, whole.total.spikes_out)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda clips: clips[..., :-1], "E840", "shape (6, 3, "),
        (lambda clips: clips.astype(complex), "E840", "complex"),
        (lambda clips: clips[:, :0], "E841", "no step or no clip"),
        (lambda clips: clips[:0], "E841", "no step or no clip"),
        (lambda clips: np.where(np.arange(clips.size).reshape(clips.shape) < 2, np.nan, clips), "E842", "2 values"),
        (lambda clips: clips * 0.5, "E052", "other than 0 and 1"),
    ],
)
def test_clips_that_are_no_clips(spoil, code, words):
    chip, clips = drawn_chip(0)
    with pytest.raises(InputError) as caught:
        count_chip(chip, [spoil(clips)])
    assert caught.value.findings[0].code == code
    assert words in str(caught.value)


def test_no_batch_and_an_array_for_batches():
    chip, clips = drawn_chip(0)
    for batches, code in (([], "E800"), (clips, "E843"), ([clips, clips[:3]], "E801")):
        with pytest.raises(InputError) as caught:
            count_chip(chip, batches)
        assert caught.value.findings[0].code == code


def test_a_run_that_does_not_hold_everything_is_refused():
    chip, clips = drawn_chip(0)
    run = TARGET.simulator(chip).run(clips, record="output")
    with pytest.raises(InputError) as caught:
        count_run(chip, clips, run)
    assert [(found.code, found.node) for found in caught.value.findings] == [("E844", "first"), ("E844", "middle")]
    whole = TARGET.simulator(chip).run(clips)
    with pytest.raises(InputError, match=r"E844 first: messages of shape"):
        count_run(chip, clips[:, :1], whole)
    with pytest.raises(InputError, match="E843 clock: 'lava'; limit aligned or pipeline"):
        count_run(chip, clips, whole, clock="lava")


def test_synapses_of_a_kind_without_a_rule_are_refused():
    chip, clips = drawn_chip(0)
    odd = replace(chip, layers=(chip.layers[0], replace(chip.layers[1], kind="sparse"), chip.layers[2]))
    with pytest.raises(InputError, match="E844 middle: no rule for synapses of kind 'sparse'"):
        count_run(odd, clips, TARGET.simulator(chip).run(clips))


def deployed(encoding: str) -> tuple[Deployment, np.ndarray]:
    """Two layers, the first on the host if asked for; weights of a quarter are exact in float and on the chip."""
    rng = np.random.default_rng(5)
    first = Conv2d("conv", rng.integers(-1, 4, (3, 1, 2, 2)) / 4)
    nodes = (first, LIF("first", 0.5, 0.6), Flatten("flat"), Linear("fc", rng.integers(-1, 4, (4, 48)) / 4))
    graph = Graph((*nodes, LIF("last", 0.5, 0.6)), (1, 5, 5), 4, None, "float")
    host, part, _ = split_input(graph, encoding)
    clips = (rng.random((4, 3, 1, 5, 5)) < 0.3).astype(np.float32)
    clips[0] = rng.random(clips[0].shape)
    return Deployment(TARGET, TARGET.quantize(part), encoding, host, encoding == "spikes"), clips


def test_layers_on_the_host_are_counted_in_float_and_named(monkeypatch):
    deployment, clips = deployed("host")
    counts = count_deployment(deployment, [clips[:, :2], clips[:, 2:]])
    host = count_graph(deployment.host, clips)
    assert list(counts.layers) == ["conv", "first", "last", "last.neurons"]
    for name in ("conv", "first"):
        np.testing.assert_array_equal(counts.layers[name].table, host.layers[name].table)
        assert counts.notes[name] == "runs on the host, in float"
    spikes = run_graph(deployment.host, clips).output
    assert spikes.any()
    fired = np.count_nonzero(spikes.reshape(4, 3, -1), axis=2)
    np.testing.assert_array_equal(counts.layers["last"].table[..., 0], 4 * fired)
    assert counts.layers["conv"].macs > 0
    assert counts.squares == (whole := counts.total).squares
    assert squares_of(whole.table) == whole.squares
    monkeypatch.setattr(graph_door, "ELEMENTS", 1)
    seen = []
    assert count_deployment(deployment, [clips], progress=lambda *at: seen.append(at)).total.acs == whole.acs
    assert seen == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize("encoding", ["graded", "spikes"])
def test_without_a_host_a_deployment_is_its_chip_behind_its_encoding(encoding):
    deployment, clips = deployed(encoding)
    received = clips.copy()
    if encoding == "spikes":
        received[0] = received[0] >= 0.5
    counts = count_deployment(deployment, [clips])
    assert counts.to_json() == count_chip(deployment.chip, [received]).to_json()
    assert (counts.layers["first"].macs > 0) == (encoding == "graded")


def test_one_name_on_the_host_and_on_the_chip_is_refused():
    deployment, clips = deployed("host")
    layer = replace(deployment.chip.layers[0], name="conv")
    clash = replace(deployment, chip=replace(deployment.chip, layers=(layer,)))
    with pytest.raises(InputError, match="E844 conv: a layer of this name on the host and on the chip"):
        count_deployment(clash, [clips])


def test_geometry_is_that_of_the_stored_kernels():
    rng = np.random.default_rng(0)
    first = conv("first", rng, (2, 6, 7), 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2)
    first = replace(first, bias=np.arange(4))
    last = dense("last", rng, first.output_shape, 5)
    chip = ChipGraph((first, last), (2, 6, 7), 2, None, "spikes")
    layers = count_chip(chip, [np.ones((2, 1, 2, 6, 7))]).layers
    assert layers["first"].geometry == Geometry("conv", (2, 6, 7), (4, 3, 6), (3, 2), (2, 1), 2, 4 * 1 * 3 * 2, 4)
    assert layers["last"].geometry == Geometry("dense", (72,), (5,), weights=360)
    assert (layers["first"].elements, layers["last"].elements) == (2 * 84, 2 * 72)

"""Lava's own fixed-point models as the judge of file and simulator."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hw_targets.finding import InputError, UnsupportedError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.lava.convolution import convolve
from hw_targets.loihi2.lava.plan import plan_runs
from hw_targets.loihi2.netx.reader import open_netx
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.simulate import simulate
from tests.hw_targets import brute_force, netx_networks
from tests.hw_targets.lava_in_process import import_lava

needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


@needs_lava
@pytest.mark.lava
def test_every_spike_of_every_layer_agrees_and_a_changed_bit_does_not(tmp_path, exported):
    _, _, clips, compiled = exported
    write_netx(compiled.chip, tmp_path / "model.net")
    told: list[tuple[int, int, str]] = []
    probed, chosen = compiled.chip.layers[0].name, np.array([0, 7, 3])
    judged = run_lava(
        compiled.chip,
        tmp_path / "model.net",
        clips,
        timeout_s=120,
        probe={probed: chosen},
        progress=lambda *step: told.append(step),
    )
    ours = simulate(compiled.chip, clips, probe=(probed,))
    every = ours.membrane[probed].reshape(*clips.shape[:2], -1)
    np.testing.assert_array_equal(judged.run.membrane[probed], every[:, :, chosen])
    assert judged.run.membrane[probed].any()
    for name, spikes in ours.spikes.items():
        assert 0.001 < spikes.mean() < 0.99, f"{name} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(judged.run.spikes[name], spikes)
        np.testing.assert_array_equal(judged.run.counts[name], spikes.sum(axis=tuple(range(2, spikes.ndim))))
    total = clips.shape[0] * clips.shape[1] + len(compiled.chip.layers)
    assert told[0] == (0, total, "starting Lava")
    assert told == sorted(set(told)), "it tells each count once, and never goes back"
    assert told[-1][0] <= total

    weight = compiled.chip.layers[1].weight.copy()
    channel = ours.spikes[compiled.chip.layers[1].name].sum(axis=(0, 1, 3, 4)).argmax()
    weight[channel, 0, 2, 2] ^= 1 << 0
    changed = replace(
        compiled.chip,
        layers=(
            compiled.chip.layers[0],
            replace(compiled.chip.layers[1], weight=weight),
            *compiled.chip.layers[2:],
        ),
    )
    theirs = simulate(changed, clips).spikes
    assert any((theirs[name] != judged.run.spikes[name]).any() for name in theirs)


def test_missing_lava_is_exit_code_6(tmp_path, exported, monkeypatch):
    from hw_targets.finding import MissingDependencyError

    monkeypatch.setattr(lava, "lava_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="lava-dl is not installed") as caught:
        run_lava(exported[3].chip, Path("x.net"), exported[2])
    assert caught.value.exit_code == 6


FAMILIES = ("spiking", "recurrent", "delayed", "sigma_delta", "lif_input", "degenerate", "wrapping")


def runnable(folder: Path, family: str, mode: str) -> Iterator[tuple[netx_networks.NetxNetwork, ChipGraph]]:
    """Random networks of a family that Lava can show in that mode."""
    for number in range(100):
        network = netx_networks.make(np.random.default_rng(number), folder / f"{family}{number}.net", family)
        first_frame = "integers" if network.integers else "spikes"
        if not network.integers:
            network = replace(network, clips=(network.clips != 0).astype(np.int64))
        chip = open_netx(network.path, steps=len(network.clips), first_frame=first_frame, payload=network.payload).chip
        with contextlib.suppress(UnsupportedError):
            plan_runs(chip, *network.clips.shape[:2], mode)
            yield network, chip


def assert_equals_brute_force(network: netx_networks.NetxNetwork, chip: ChipGraph, mode: str) -> int:
    """Compare sums, states and messages of every layer, step and neuron; return how many messages there were."""
    probe = [layer.name for layer in chip.layers]
    judged = run_lava(chip, network.path, network.clips, mode=mode, probe=probe, timeout_s=120).run
    traces = brute_force.run(network.path, network.clips, graded=network.graded, aligned=mode == "aligned")
    for index, layer in enumerate(chip.layers):
        expected, name = brute_force.arrays(traces, index), layer.name
        message = f"{network.path.name} {mode} {name}"
        np.testing.assert_array_equal(judged.spikes[name], expected["messages"], err_msg=message)
        np.testing.assert_array_equal(judged.drive[name], expected["drive"], err_msg=message)
        if layer.neuron == "lif":
            np.testing.assert_array_equal(judged.current[name], expected["u"], err_msg=message)
            after = np.where(judged.spikes[name] != 0, 0, judged.membrane[name])
            np.testing.assert_array_equal(after, expected["v"], err_msg=message)
        if "sigma" in expected:
            np.testing.assert_array_equal(judged.current[name], expected["sigma"], err_msg=message)
        if "act" in expected:
            np.testing.assert_array_equal(judged.membrane[name], expected["act"], err_msg=message)
    return sum(int(counts.sum()) for counts in judged.counts.values())


@needs_lava
@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["aligned", "pipeline"])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_netx_holds_runs_in_both_modes(tmp_path, family, mode):
    messages = [
        assert_equals_brute_force(network, chip, mode)
        for network, chip in itertools.islice(runnable(tmp_path, family, mode), 2)
    ]
    assert len(messages) == 2
    assert sum(messages) > 0, "both networks were silent: nothing is shown"


@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_what_follows_the_last_population_is_not_run(tmp_path, exported):
    _, _, clips, compiled = exported
    file = tmp_path / "model.net"
    write_netx(compiled.chip, file)
    with h5py.File(file, "r+") as opened:
        opened.create_group(f"layer/{len(opened['layer'])}")["type"] = np.bytes_("average")
    whole = run_lava(compiled.chip, file, clips[:, :1], patch="convolution").run
    part = run_lava(replace(compiled.chip, layers=compiled.chip.layers[:2]), file, clips[:, :1]).run
    ours = simulate(compiled.chip, clips[:, :1]).spikes
    assert list(part.spikes) == list(ours)[:2]
    for name, spikes in ours.items():
        np.testing.assert_array_equal(whole.spikes[name], spikes)
        if name in part.spikes:
            np.testing.assert_array_equal(part.spikes[name], spikes)


def layer(kind: str = "dense", **changes) -> ChipLayer:
    none = np.zeros(2, dtype=np.int64)
    return replace(ChipLayer("fc", kind, np.array([[1, -1], [2, 3]]), none, 5, 4096, (2,), (2,)), **changes)


def chip_of(*layers: ChipLayer) -> ChipGraph:
    named = tuple(replace(layer, name=f"fc{index}") for index, layer in enumerate(layers))
    return ChipGraph(named, (2,), 4, 1.0, "spikes")


RECURRENT = layer("dense_rec", recurrent=np.array([[0, 1], [1, 0]]))
DELAYED = layer(delay=np.array([[0, 1], [1, 0]]))
BIASED = layer(bias=np.array([0, 1]))


def test_spiking_layers_share_one_stream_and_are_reset_when_a_clip_reaches_them():
    plan = plan_runs(chip_of(BIASED, layer(delay=np.zeros((2, 2), int))), 4, 3, "aligned")
    assert (plan.runs, plan.run_steps, plan.delays, plan.reset_interval) == (1, 4 * 3 + 2, (1, 2), 4)
    rows = np.arange(plan.total)
    # The second layer answers frame t of clip k at step 4 k + t + 2.
    assert plan.frames(rows, 1).T.tolist() == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]


def test_a_population_that_takes_the_input_itself_answers_at_once():
    plan = plan_runs(chip_of(layer("input"), layer()), 4, 1, "aligned")
    assert plan.delays == (0, 1)
    assert plan.run_steps == 5


@pytest.mark.parametrize("special", [RECURRENT, DELAYED, layer(neuron="sigma_delta"), layer(neuron="sigma")])
def test_where_something_outlives_a_reset_each_clip_is_a_run_of_its_own(special):
    plan = plan_runs(chip_of(layer(), special, BIASED), 4, 3, "aligned")
    assert (plan.runs, plan.run_steps, plan.run_clips) == (3, 7, 1)
    assert plan.reset_interval > plan.run_steps, "each layer is reset once"
    assert plan.frames(np.arange(21), 2).T.tolist() == [[3, 4, 5, 6], [10, 11, 12, 13], [17, 18, 19, 20]]


def test_the_pipeline_is_shown_as_it_is():
    plan = plan_runs(chip_of(BIASED, RECURRENT), 4, 3, "pipeline")
    assert (plan.runs, plan.run_steps, plan.delays, plan.reset_interval) == (3, 4, (0, 0), 0)


@pytest.mark.parametrize("restless", [BIASED, layer(threshold=-1), layer(threshold=np.array([5, -1]))])
def test_activity_before_the_first_frame_that_is_remembered_is_refused_by_name(restless):
    chip = chip_of(restless, replace(RECURRENT, bias=np.array([1, 0])), BIASED)
    with pytest.raises(UnsupportedError, match=r"E227 fc0: a .* acts in Lava before.*and fc1 remembers") as caught:
        plan_runs(chip, 4, 1, "aligned")
    assert [finding.node for finding in caught.value.findings] == ["fc0", "fc1"]
    assert "--mode pipeline" in str(caught.value)
    assert caught.value.exit_code == 3
    # A bias of neurons that the first frame reaches at once has nothing to run ahead of.
    plan_runs(chip_of(replace(restless, kind="input"), RECURRENT, BIASED), 4, 1, "aligned")


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="E229 mode: 'other'; limit aligned or pipeline"):
        plan_runs(chip_of(layer()), 4, 1, "other")  # type: ignore[arg-type]


def convolutions(seed: int):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    kernel, stride, padding, dilation = (rng.integers(low, high, 2) for low, high in ((1, 4), (1, 3), (0, 3), (1, 3)))
    values = rng.integers(-9, 10, (*rng.integers(7, 12, 2), 2 * groups))
    if rng.random() < 0.5:
        values = values > 4
    largest = 10 ** rng.integers(1, 7)  # beyond what float32 holds, too
    weight = rng.integers(-largest, largest, (3 * groups, *kernel, 2)).astype(np.int32)
    return values, weight, kernel, stride, padding, dilation, groups


@pytest.mark.parametrize("seed", range(20))
def test_the_fast_convolution_equals_loops(seed):
    values, weight, kernel, stride, padding, dilation, groups = arguments = convolutions(seed)
    ours = convolve(*arguments)
    padded = np.pad(values.astype(int), ((padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    for x, y, k in np.ndindex(*ours.shape):
        first = k // (len(weight) // groups) * weight.shape[-1]
        total = 0
        for i, j, c in np.ndindex(*weight.shape[1:]):
            # a true convolution: the kernel runs backwards
            a = x * stride[0] + (kernel[0] - 1 - i) * dilation[0]
            b = y * stride[1] + (kernel[1] - 1 - j) * dilation[1]
            total += int(weight[k, i, j, c]) * int(padded[a, b, first + c])
        assert ours[x, y, k] == total


@needs_lava
@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_the_fast_convolution_equals_lavas(seed):
    import_lava()
    from lava.proc.conv.utils import conv_scipy

    np.testing.assert_array_equal(convolve(*convolutions(seed)), conv_scipy(*convolutions(seed)))

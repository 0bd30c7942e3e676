"""Random SpikingJelly networks, from the model to Lava: folding changes no spike, the simulator is Lava's equal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, seed, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from export.exporter import Compiled, compile_model, model_spikes
from export.reference import run_graph
from hw_targets.finding import CapacityError, UnsupportedError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.registry import get_target
from tests.hw_targets import lava_in_process

STEP_US = 1000.0


@dataclass(frozen=True)
class Drawn:
    """A network with its weights drawn from ``seed``, and what to run through it."""

    model: nn.Sequential
    clips: np.ndarray
    first_frame: str

    def __repr__(self) -> str:
        return f"{self.model}\nclips {self.clips.shape}, first frame {self.first_frame}"


@st.composite
def neurons(draw) -> nn.Module:
    """LIF, ParametricLIF or IF; the threshold lies where a drive of about 1 makes it fire now and then."""
    kind = draw(st.sampled_from(["lif", "lif", "parametric", "if"]))
    rest = draw(st.sampled_from([0.0, 0.0, -0.25, 0.1]))
    height = draw(st.floats(0.1, 1.5))
    if kind == "if":
        return neuron.IFNode(v_threshold=rest + height, v_reset=rest)
    tau, decay_input = draw(st.floats(1.05, 20.0)), draw(st.booleans())
    above = rest + (height / tau if decay_input else height)
    if kind == "lif":
        return neuron.LIFNode(tau=tau, decay_input=decay_input, v_threshold=above, v_reset=rest)
    return neuron.ParametricLIFNode(init_tau=tau, decay_input=decay_input, v_threshold=above, v_reset=rest)


@st.composite
def pools(draw, size: tuple[int, int], kinds: list[str]) -> tuple[list[nn.Module], tuple[int, int]]:
    """No pool or one that fits, and the size it leaves."""
    kind = draw(st.sampled_from(kinds))
    window = draw(st.integers(2, 3))
    if kind == "none" or min(size) < window:
        return [], size
    step, padding = draw(st.sampled_from([window, window, 1, 2])), draw(st.sampled_from([0, 0, 1]))
    made = (layer.AvgPool2d if kind == "average" else layer.MaxPool2d)(window, step, padding)
    return [made], tuple((n + 2 * padding - window) // step + 1 for n in size)


@st.composite
def stages(draw, channels: int, size: tuple[int, int]) -> tuple[list[nn.Module], int, tuple[int, int]]:
    """Convolution, perhaps batch normalisation and a pool, neurons, perhaps a pool."""
    dilation, padding = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, 2))
    largest = [(n + 2 * padding - 1) // dilation + 1 for n in size]
    kernel = tuple(draw(st.integers(1, min(3, most))) for most in largest)
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    groups = draw(st.sampled_from([1, 1, channels]))
    outputs = groups * draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(2, 5))
    conv = layer.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))
    size = tuple(
        (n + 2 * padding - dilation * (k - 1) - 1) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True)
    )
    parts: list[nn.Module] = [conv]
    if draw(st.booleans()):
        epsilon, affine = draw(st.sampled_from([1e-5, 1e-2, 0.3])), draw(st.sampled_from([True, True, False]))
        parts.append(layer.BatchNorm2d(outputs, eps=epsilon, affine=affine))
    before, size = draw(pools(size, ["none", "none", "none", "average"]))
    cells = draw(neurons())
    after, size = draw(pools(size, ["none", "average", "max"]))
    return [*parts, *before, cells, *after], outputs, size


@st.composite
def networks(draw) -> Drawn:
    """1 to 3 convolution stages, 1 or 2 linear layers with neurons, perhaps a vote."""
    channels = draw(st.integers(1, 3))
    size = (draw(st.integers(5, 12)), draw(st.integers(5, 12)))
    steps, count = draw(st.integers(3, 8)), draw(st.integers(1, 3))
    shape = (steps, count, channels, *size)
    parts: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        made, channels, size = draw(stages(channels, size))
        parts += made
    parts.append(layer.Flatten())
    width = channels * size[0] * size[1]
    voters = draw(st.sampled_from([1, 1, 2, 3]))
    for outputs in [draw(st.integers(3, 8))] * draw(st.integers(0, 1)) + [voters * draw(st.integers(2, 4))]:
        parts += [layer.Linear(width, outputs, bias=draw(st.booleans())), draw(neurons())]
        width = outputs
    if voters > 1:
        parts.append(layer.VotingLayer(voters))
    model = nn.Sequential(*parts)
    functional.set_step_mode(model, "m")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    randomise(model, rng)
    clips = (rng.random(shape) < draw(st.sampled_from([0.15, 0.4]))).astype(np.float32)
    first_frame = draw(st.sampled_from(["float", "spikes"]))
    if first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    return Drawn(model.eval(), clips, first_frame)


def randomise(model: nn.Module, rng: np.random.Generator) -> None:
    """Weights that bring a drive of about 1 for sparse spikes; statistics as training could leave them."""

    def fill(parameter: torch.Tensor | None, values: np.ndarray) -> None:
        if parameter is not None:
            parameter.data.copy_(torch.from_numpy(values))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            shape = tuple(module.weight.shape)
            fan_in = int(np.prod(shape[1:]))
            fill(module.weight, rng.normal(0.5 / fan_in, 1.8 / np.sqrt(fan_in), shape))
            fill(module.bias, rng.normal(0.1, 0.3, shape[0]))
        elif isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            fill(module.running_mean, rng.normal(0, 0.3, count))
            fill(module.running_var, rng.uniform(0.3, 2, count))
            fill(module.weight, rng.normal(1, 0.5, count))
            fill(module.bias, rng.normal(0.2, 0.3, count))


def compiled_or_rejected(drawn: Drawn) -> Compiled:
    """Compile; a network that the compiler refuses is drawn again and not counted."""
    try:
        return compile_model(
            drawn.model, drawn.clips, get_target("loihi2"), dt_us=STEP_US, first_frame=drawn.first_frame
        )
    except (UnsupportedError, CapacityError):
        return reject()


def assert_folding_changes_no_spike(drawn: Drawn, compiled: Compiled) -> tuple[int, int]:
    """Model, captured and folded graph decide alike but at ties, each from the model's past; count both."""
    teacher = model_spikes(drawn.model, drawn.clips, STEP_US)
    captured = run_graph(compiled.captured, drawn.clips, precision="float64", teacher=teacher)
    folded = run_graph(compiled.folded, drawn.clips, precision="float64", teacher=teacher)
    for name, spikes in teacher.items():
        differs = (captured.spikes[name] != spikes) & ~captured.ties[name]
        assert not differs.any(), f"{name}: the graph is not the model"
        differs = (folded.spikes[name] != captured.spikes[name]) & ~captured.ties[name] & ~folded.ties[name]
        assert not differs.any(), f"{name}: folding changed a spike"
    decisions = sum(spikes.size for spikes in teacher.values())
    return decisions, sum(int(folded.ties[name].sum()) for name in teacher)


def assert_fields_are_within_limits(compiled: Compiled) -> None:
    """The documented widths: 8-bit weights, 13-bit biases, 17-bit thresholds, 12-bit decays, a 24-bit current."""
    for stage in compiled.chip.layers:
        assert all(np.issubdtype(field.dtype, np.integer) for field in (stage.weight, stage.bias))
        assert np.abs(stage.weight).max() <= 127
        assert np.abs(stage.bias).max() <= 4095
        assert 0 <= stage.threshold <= 2**17 - 1
        assert 0 <= stage.voltage_decay <= 4095
        assert 0 <= stage.current_decay <= 4096
        assert 1 <= stage.payload <= 255
        for sign in (1, -1):
            reach = np.clip(sign * stage.weight, 0, None).reshape(len(stage.weight), -1).sum(axis=1).max()
            assert (int(reach) * stage.payload) << 6 < 2**23
        if stage.kind == "dense":
            lowest = -int(stage.weight.min())
            assert stage.weight.max() > 0 or lowest & (lowest - 1), "netx shifts bits out of such a layer"


def compare_random_networks(count: int, start: int, file=None) -> Counter[str]:
    """Draw until ``count`` networks were accepted and compared; with ``file``, also by Lava's classes."""
    tally: Counter[str] = Counter()

    @seed(start)
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(networks())
    def compare(drawn: Drawn) -> None:
        tally["drawn"] += 1
        compiled = compiled_or_rejected(drawn)
        assert_fields_are_within_limits(compiled)
        decisions, ties = assert_folding_changes_no_spike(drawn, compiled)
        spikes = get_target("loihi2").simulate(compiled.chip, drawn.clips).spikes
        if file is not None:
            write_netx(compiled.chip, file)
            traces = lava_in_process.judge(compiled.chip, file, drawn.clips)
            spikes = lava_in_process.assert_equal(compiled.chip, drawn.clips, traces).spikes
        tally.update(compared=1, decisions=decisions, ties=ties)
        tally["lively"] += all(0 < fired.mean() < 1 for fired in spikes.values())
        tally.update(type(module).__name__ for module in drawn.model)
        tally["float"] += drawn.first_frame == "float"

    compare()
    return tally


def assert_enough(tally: Counter[str], count: int) -> None:
    assert tally["compared"] >= count
    assert tally["lively"] > 0.6 * tally["compared"], "most networks are silent: nothing is shown"
    assert tally["ties"] < 0.001 * tally["decisions"], "too many decisions are left to rounding"
    kinds = "Conv2d BatchNorm2d LIFNode ParametricLIFNode IFNode AvgPool2d MaxPool2d VotingLayer float"
    assert min(tally[kind] for kind in kinds.split()) > 0.1 * tally["compared"], tally


needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


@pytest.mark.lava
@needs_lava
def test_100_random_networks_equal_lava_in_every_spike(tmp_path):
    assert_enough(compare_random_networks(100, 30, tmp_path / "model.net"), 100)


@pytest.mark.slow
@pytest.mark.lava
@needs_lava
def test_2000_random_networks_equal_lava_in_every_spike(tmp_path):
    assert_enough(compare_random_networks(2000, 31, tmp_path / "model.net"), 2000)


@pytest.mark.skipif(lava.lava_available(), reason="the tests with Lava compare the same and more")
def test_without_lava_100_random_networks_fold_exactly_and_fit():
    assert_enough(compare_random_networks(100, 30), 100)

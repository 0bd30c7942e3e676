"""What benchmarks/profile.py compares: its networks, the counters that are installed, and exact counts beside them.

Every counter gets a copy of its own of the same network, is set up as its documentation says, and runs the same
batch without gradients. The network loops over the steps itself (SpikingJelly's step mode "s"), or takes all of them
at once (step mode "m").
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuroemo.imports import import_quietly
from neuroemo.profiling import count_operations

Down = Literal["avgpool", "maxpool", "stride"]
Mode = Literal["s", "m"]
Totals = dict[str, int]

DENSITY = 0.1079
RATES = (0.03, 0.4)
"""Least and greatest share of neurons that may fire in a step: a network that is silent or saturated shows nothing."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the networks are: frames of side x side, channels of each stage, steps, samples in the batch."""

    side: int = 64
    channels: int = 32
    stages: int = 3
    steps: int = 16
    batch: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One network, calibrated, with the batch it is counted on and how often its neurons fire."""

    name: str
    network: nn.Sequential
    clips: Tensor
    mode: Mode
    rates: dict[str, float] = field(default_factory=dict)

    def model(self) -> Steps:
        """Return the network as one model of clips [T, N, C, H, W], a copy of its own."""
        return Steps(copy.deepcopy(self.network), self.mode)


class Steps(nn.Module):
    """A network run on clips: in a loop over the steps, or on all of them in one call; its answer is the mean."""

    def __init__(self, network: nn.Sequential, mode: Mode) -> None:
        super().__init__()
        self.network = network
        self.mode = mode

    def forward(self, clips: Tensor) -> Tensor:
        """Return the mean output over steps: clips [T, N, ...] -> [N, classes]."""
        if self.mode == "m":
            return self.network(clips).mean(0)  # type: ignore[no-any-return]
        return torch.stack([self.network(frame) for frame in clips]).mean(0)


# --- networks ---------------------------------------------------------------------------------------------------


def build_subject(down: Down, size: Size, *, mode: Mode = "s", gray: bool = False, seed: int = 0) -> Subject:
    """Return {convolution 3x3, batch norm, LIF} stages and a linear layer, with a batch of random events.

    ``down`` halves the side in every stage: by pooling after the neurons, or by the convolution's stride. The
    normalisation is calibrated on the batch, so that every layer fires. ``gray`` makes the first frame graded.

    Raises:
        ValueError: a layer fires less or more often than ``RATES``.
    """
    torch.manual_seed(seed)
    layer, neuron = (import_quietly(f"spikingjelly.activation_based.{name}") for name in ("layer", "neuron"))
    modules: list[nn.Module] = []
    inputs = 2
    for _ in range(size.stages):
        stride = 2 if down == "stride" else 1
        modules += [layer.Conv2d(inputs, size.channels, 3, stride=stride, padding=1, bias=False)]
        modules += [layer.BatchNorm2d(size.channels), neuron.LIFNode(tau=2.0)]
        pools = {"avgpool": layer.AvgPool2d, "maxpool": layer.MaxPool2d}
        modules += [pools[down](2)] if down in pools else []
        inputs = size.channels
    features = size.channels * (size.side // 2**size.stages) ** 2
    network = nn.Sequential(*modules, layer.Flatten(), layer.Linear(features, 10, bias=False))
    clips = (torch.rand(size.steps, size.batch, 2, size.side, size.side) < DENSITY).float()
    _calibrate(network, clips)
    if gray:
        clips[0] = torch.randint(0, 256, (size.batch, 1, size.side, size.side)) / 255
    import_module("spikingjelly.activation_based.functional").set_step_mode(network, mode)
    subject = Subject(down, network.eval(), clips, mode)
    subject = replace(subject, rates=firing_rates(subject))
    if not all(RATES[0] <= rate <= RATES[1] for rate in subject.rates.values()):
        raise ValueError(f"layers of {down} fire at {subject.rates}, not within {RATES}")
    return subject


def _calibrate(network: nn.Sequential, clips: Tensor) -> None:
    """Give every normalisation the statistics of the batch, and a scale at which neurons fire now and then."""
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # type: ignore[assignment]  # the mean over all calls
            module.reset_running_stats()
            nn.init.constant_(module.weight, 2.0)
    network.train()
    with torch.no_grad():
        Steps(network, "s")(clips)
    reset(network)
    network.eval()


def reset(model: nn.Module) -> None:
    """Put every neuron's potential back to rest."""
    import_module("spikingjelly.activation_based.functional").reset_net(model)


def firing_rates(subject: Subject) -> dict[str, float]:
    """Return how often the neurons of each layer fire, per neuron and step."""
    model = subject.model()
    fired: dict[str, list[float]] = {}
    spiking = {name: module for name, module in model.network.named_modules() if type(module).__name__ == "LIFNode"}

    def record(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            fired.setdefault(name, []).append(float(output.mean()))

        return hook

    for name, module in spiking.items():
        module.register_forward_hook(record(name))
    with torch.no_grad():
        model(subject.clips)
    return {name: sum(values) / len(values) for name, values in fired.items()}


def exact_counts(subject: Subject) -> Totals:
    """Count every event at every synapse by convolving its mask with ones, in float64; nothing here is our counter.

    ``events`` are non-zero inputs times their fan-out, ``graded`` those whose value is not 1 or -1.
    """
    model = subject.model()
    totals = {"events": 0, "graded": 0, "dense": 0}

    def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].flatten(0, inputs[0].dim() - (2 if isinstance(module, nn.Linear) else 4))
        masks = {"events": values != 0, "graded": (values != 0) & (values.abs() != 1), "dense": values == values}
        for name, mask in masks.items():
            totals[name] += int(_reached(module, mask.double()).sum())

    for module in model.network:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(hook)
    with torch.no_grad():
        model(subject.clips)
    return totals


def _reached(module: Any, mask: Tensor) -> Tensor:
    ones = torch.ones_like(module.weight, dtype=torch.float64)
    if isinstance(module, nn.Linear):
        return F.linear(mask, ones)
    return F.conv2d(mask, ones, None, module.stride, module.padding, module.dilation, module.groups)


# --- counters ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """One counter: ``run`` runs the model on the batch and returns totals over the whole batch."""

    name: str
    run: Callable[[], Totals]


def tools(subject: Subject) -> tuple[list[Tool], dict[str, str]]:
    """Return the plain forward pass and every counter that is installed, and why the others are not measured."""
    found, missing = [Tool("plain", _plain(subject))], {}
    for name, (make, modes) in _MAKERS.items():
        if subject.mode not in modes:
            missing[name] = "does not take all steps in one call"
            continue
        try:
            found.append(Tool(name, make(subject)))
        except ImportError as error:
            missing[name] = f"not installed: {error}"
    return found, missing


def _plain(subject: Subject) -> Callable[[], Totals]:
    model = subject.model()

    def run() -> Totals:
        reset(model)
        with torch.no_grad():
            model(subject.clips)
        return {}

    return run


def _ours(subject: Subject) -> Callable[[], Totals]:
    model = subject.model()

    def run() -> Totals:
        total = count_operations(model, [subject.clips]).total
        return {"acs": total.acs, "macs": total.macs, "dense": total.dense_macs}

    return run


def _neurobench(subject: Subject) -> Callable[[], Totals]:
    benchmark = import_module("neurobench.benchmarks").Benchmark
    wrapped = import_module("neurobench.models").TorchModel
    metric = import_module("neurobench.metrics.workload").SynapticOperations
    from torch.utils.data import DataLoader, TensorDataset

    class SamplesFirst(nn.Module):
        """NeuroBench hands over [N, T, ...]."""

        def __init__(self, model: Steps) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Tensor) -> Tensor:
            reset(self.model)
            return self.model(batch.transpose(0, 1))  # type: ignore[no-any-return]

    samples = subject.clips.transpose(0, 1).contiguous()
    data = DataLoader(TensorDataset(samples, torch.zeros(len(samples))), batch_size=len(samples))
    bench = benchmark(wrapped(SamplesFirst(subject.model())), data, [], [], [[], [metric]])

    def run() -> Totals:
        with torch.no_grad():
            found = bench.run(quiet=True)["SynapticOperations"]
        if not isinstance(found, dict):
            raise RuntimeError("NeuroBench reports a failed metric as 0.0")
        names = {"acs": "Effective_ACs", "macs": "Effective_MACs", "dense": "Dense"}
        return {name: round(found[key] * len(samples)) for name, key in names.items()}

    return run


def _sinabs(subject: Subject) -> Callable[[], Totals]:
    register = import_module("sinabs.hooks").register_synops_hooks
    model, samples = subject.model(), subject.clips.shape[1]
    register(model.network)
    per_step: list[Tensor] = []

    def keep(network: Any, _: Any, __: Any) -> None:
        # The figure of a call is overwritten by the next one, and is a mean over samples.
        per_step.append(network.hook_data["total_synops_per_timestep"])

    model.network.register_forward_hook(keep)

    def run() -> Totals:
        per_step.clear()
        reset(model)
        with torch.no_grad():
            model(subject.clips)
        return {"synops": round(float(torch.stack(per_step).double().sum()) * samples)}

    return run


def _spikingjelly_counters(*names: str) -> Callable[[Subject], Callable[[], Totals]]:
    def make(subject: Subject) -> Callable[[], Totals]:
        module = import_module("spikingjelly.activation_based.op_counter")
        model = subject.model()

        def run() -> Totals:
            counters = {name: getattr(module, name)() for name in names}
            reset(model)
            with module.DispatchCounterMode(list(counters.values())), torch.no_grad():
                model(subject.clips)
            return {_COUNTERS[name]: int(counter.get_total()) for name, counter in counters.items()}

        return run

    return make


def _spikingjelly_profiler(name: str) -> Callable[[Subject], Callable[[], Totals]]:
    def make(subject: Subject) -> Callable[[], Totals]:
        module = import_module("spikingjelly.activation_based.op_counter")
        model = subject.model()
        # Strict, its default, refuses batch normalisation and average pooling; else it leaves them out.
        config = getattr(module, f"{name}Config")(strict=False)

        def run() -> Totals:
            reset(model)
            watched = getattr(module, f"{name}Profiler")(config=config)
            watched.bind_model(model)
            with quiet(), watched, torch.no_grad():
                model(subject.clips)
            counts = watched.get_report().counts
            return {kind: int(counts[kind]) for kind in ("ac", "mac", "synop")}

        return run

    return make


@contextmanager
def quiet() -> Iterator[None]:
    """Keep SpikingJelly's log lines off the console."""
    logger = import_module("spikingjelly.logger").logger
    logger.disable("spikingjelly")
    try:
        yield
    finally:
        logger.enable("spikingjelly")


_COUNTERS = {"SynOpCounter": "synops", "MACCounter": "macs", "ACCounter": "acs"}
_MAKERS: dict[str, tuple[Callable[[Subject], Callable[[], Totals]], str]] = {
    "ours": (_ours, "sm"),
    "neurobench": (_neurobench, "sm"),
    "sinabs": (_sinabs, "s"),
    "spikingjelly_synop": (_spikingjelly_counters("SynOpCounter"), "sm"),
    "spikingjelly_synop_mac_ac": (_spikingjelly_counters("SynOpCounter", "MACCounter", "ACCounter"), "sm"),
    "spikingjelly_lemaire": (_spikingjelly_profiler("LemaireEnergy"), "sm"),
    "spikingjelly_simple": (_spikingjelly_profiler("SimpleEnergy"), "sm"),
}

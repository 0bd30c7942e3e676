"""One measurement of training in a process of its own, as JSON: ``python train_point.py WHAT MODEL BATCH STEPS``.

``time`` trains SpikingJelly's network and the fused one in turns, one step each; ``memory-spikingjelly`` and
``memory-fused`` train three steps with one of them and tell the peak of the process; ``gradients`` compares one pass
of both with SpikingJelly's network in float64 that fires the same spikes; ``parts`` says what the fused steps spend
their time on.
"""

from __future__ import annotations

import copy
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from simulate_parts import random_clips
from torch import nn
from torch.nn.functional import mse_loss

from neuroemo.models.emotion import EmotionSpec, build_network, spec_by_name
from neuroemo.training.evaluation import forward
from neuroemo.training.fast import fast_network

DENSITY = 0.05
"""Share of pixels with an event, at every step and polarity."""

DROPOUT_SEED = 1
"""Every pass whose gradients are compared draws the same masks."""

Votes = Callable[[torch.Tensor], torch.Tensor]


class Trainer:
    """A network that fires, its optimiser and one batch; ``step`` is forward, backward and the optimiser's step."""

    def __init__(self, spec: EmotionSpec, batch: int, engine: str) -> None:
        self.network = firing_network(spec)
        self.clips, self.wanted = batch_of(spec, batch)
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.votes = votes_of(self.network, spec, engine)

    def step(self) -> float:
        """Train one step and return the processor time that it took, in seconds."""
        started = time.process_time()
        loss = mse_loss(self.votes(self.clips).mean(dim=0), self.wanted)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return time.process_time() - started


def firing_network(spec: EmotionSpec) -> nn.Module:
    """Return a network of random weights whose layers all fire: those of linear layers are scaled to the threshold."""
    torch.manual_seed(0)
    network = build_network(spec).train()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10.0 * spec.threshold).add_(5.0 * spec.threshold / parameter.shape[1])
    return network


def batch_of(spec: EmotionSpec, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random clips and what their rates shall be."""
    clips = torch.from_numpy(random_clips(spec, batch, DENSITY))
    return clips, torch.eye(spec.classes)[torch.arange(batch) % spec.classes]


def votes_of(network: nn.Module, spec: EmotionSpec, engine: str) -> Votes:
    """Return how a network votes: by itself, or in fused passes."""
    return fast_network(network, spec) if engine == "fused" else lambda clips: forward(network, spec, clips)


def measure_time(spec: EmotionSpec, batch: int, repetitions: int) -> dict[str, Any]:
    """Return the processor seconds per clip of a training step of both, in turns, after a step each to warm up."""
    trainers = {engine: Trainer(spec, batch, engine) for engine in ("spikingjelly", "fused")}
    for trainer in trainers.values():
        trainer.step()
    found: dict[str, list[float]] = {engine: [] for engine in trainers}
    for _ in range(repetitions):
        for engine, trainer in trainers.items():
            found[engine].append(trainer.step() / batch)
    ratios = [theirs / ours for theirs, ours in zip(found["spikingjelly"], found["fused"], strict=True)]
    return {
        "seconds_per_clip": {engine: statistics.median(values) for engine, values in found.items()},
        "all_seconds_per_clip": found,
        "spikingjelly_over_ours": statistics.median(ratios),
    }


def measure_memory(spec: EmotionSpec, batch: int, engine: str) -> dict[str, Any]:
    """Return the peak resident memory of this process, in GiB, after three steps; and before the first."""
    trainer = Trainer(spec, batch, engine)
    before = _peak()
    for _ in range(3):
        trainer.step()
    return {"before_gib": before, "peak_gib": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_gradients(spec: EmotionSpec, batch: int) -> dict[str, Any]:
    """Return the largest error of any gradient, relative to the largest of its tensor, and how many votes differ.

    The time constants, one number per layer, count as one tensor. In float64 some neurons at their threshold would
    fire otherwise, and all that follows with them: that network is given the spikes of the float32 one.
    """
    reference = firing_network(spec)
    clips, wanted = batch_of(spec, batch)
    ours, double = copy.deepcopy(reference), replaying_twin(reference, votes_of(reference, spec, "spikingjelly"), clips)
    passes = {
        "fused": _gradients(ours, fast_network(ours, spec), clips, wanted),
        "spikingjelly": _gradients(reference, votes_of(reference, spec, "spikingjelly"), clips, wanted),
        "float64": _gradients(double, votes_of(double, spec, "spikingjelly"), clips.double(), wanted.double()),
    }
    result: dict[str, Any] = {}
    for found, truth in (("fused", "spikingjelly"), ("fused", "float64"), ("spikingjelly", "float64")):
        (votes, gradients), (true_votes, true_gradients) = passes[found], passes[truth]
        errors = {
            name: float((gradients[name] - value).abs().max() / value.abs().max())
            for name, value in true_gradients.items()
        }
        worst = max(errors, key=lambda name: errors[name])
        differ = int(((votes.double() - true_votes.double()).abs() > 1e-6).sum())
        result[f"{found} against {truth}"] = {
            "largest_error": errors[worst],
            "tensor": worst,
            "votes_that_differ": differ,
            "votes": votes.numel(),
        }
    return result | {"mean_vote": float(passes["fused"][0].mean())}


class Replay(nn.Module):
    """A surrogate function that fires the spikes it was given, [T, N, ...]; its gradient is that of ATan, alpha 2."""

    def __init__(self, spikes: torch.Tensor) -> None:
        super().__init__()
        self.spikes = iter(spikes)

    def forward(self, above_threshold: torch.Tensor) -> torch.Tensor:
        """Return the spikes of the next step; the argument is the potential less the threshold."""
        return _Given.apply(above_threshold, next(self.spikes).to(above_threshold))  # type: ignore[no-any-return]


class _Given(torch.autograd.Function):
    """Values that are given, with the derivative 1 / (1 + (pi x)^2): a pool must find ties where there are ties."""

    @staticmethod
    def forward(ctx: Any, above_threshold: torch.Tensor, spikes: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(above_threshold)
        return spikes.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (above_threshold,) = ctx.saved_tensors
        return gradient / (1 + (torch.pi * above_threshold) ** 2), None


def replaying_twin(network: nn.Module, votes_of_clips: Votes, clips: torch.Tensor) -> nn.Module:
    """Return the network in float64, to be run once on ``clips``: its neurons fire the spikes of ``network``."""
    twin = copy.deepcopy(network).double()
    running = copy.deepcopy(network.state_dict())
    neurons = {name: module for name, module in network.named_modules() if hasattr(module, "v_threshold")}
    hooks = [
        module.register_forward_hook(
            lambda _, __, spikes, name=name: setattr(twin.get_submodule(name), "surrogate_function", Replay(spikes))
        )
        for name, module in neurons.items()
    ]
    torch.manual_seed(DROPOUT_SEED)
    with torch.no_grad():
        votes_of_clips(clips)
    for hook in hooks:
        hook.remove()
    network.load_state_dict(running)
    return twin


def _gradients(
    network: nn.Module, votes_of_clips: Votes, clips: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(DROPOUT_SEED)
    votes = votes_of_clips(clips)
    mse_loss(votes.mean(dim=0), wanted).backward()
    found = {name: parameter.grad.double() for name, parameter in network.named_parameters()}  # type: ignore[union-attr]
    constants = [found.pop(name) for name in [name for name, value in found.items() if not value.ndim]]
    return votes.detach(), found | ({"time constants": torch.stack(constants)} if constants else {})


PARTS = {
    "FirstStage": "first stage forward (events, normalisation, neurons, pool)",
    "FirstStageBackward": "first stage backward",
    "Stage": "further stages forward without the convolution",
    "StageBackward": "further stages backward without the convolution",
    "aten::mkldnn_convolution": "convolutions forward",
    "aten::convolution_backward": "convolutions backward",
    "aten::mm": "linear layers",
    "aten::copy_": "copies between memory orders",
    "DenseCells": "neurons of linear layers forward",
    "DenseCellsBackward": "neurons of linear layers backward",
}


def measure_parts(spec: EmotionSpec, batch: int) -> dict[str, Any]:
    """Return the share of a fused training step that each part takes, and that of everything else."""
    trainer = Trainer(spec, batch, "fused")
    trainer.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer.step()
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    whole = sum(times.values())
    shares = {said: times.get(key, 0.0) / whole for key, said in PARTS.items()}
    return {"shares": shares | {"everything else": 1.0 - sum(shares.values())}}


def main() -> None:
    """Measure what the arguments say and print it as one line of JSON."""
    what, model, batch, repetitions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    spec = spec_by_name(model)
    if what == "time":
        found = measure_time(spec, batch, repetitions)
    elif what.startswith("memory-"):
        found = measure_memory(spec, batch, what.removeprefix("memory-"))
    elif what == "gradients":
        found = measure_gradients(spec, batch)
    else:
        found = measure_parts(spec, batch)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

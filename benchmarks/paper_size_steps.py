"""Two steps of benchmarks/paper_size.py, each in a process of its own: ``python paper_size_steps.py STEP ...``.

``wake RUN STORE OUT`` makes every layer of a trained network fire, because a comparison of silent layers shows
nothing. ``lava BUNDLE STORE STEPS TIMEOUT [convolution]`` runs the same clip in our simulator and in Lava and compares
every spike of every layer; with the last word Lava's convolution is exchanged for a fast one of the same bits. Both
print one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.bundle import load_deployment
from export.reverify import compare_spikes
from hw_targets.graph import Array
from neuroemo.datasets.store import ClipStore
from neuroemo.training.checkpoint import load_model, save_model

LEAST_RATE, LARGEST_RATE, WANTED_RATE = 0.01, 0.5, 0.1
"""A layer that fires in a smaller or larger share of its neuron-steps is scaled to the third figure."""
BISECTIONS, WAKING_STEPS = 8, 24


def wake(run: Path, store: Path, out: Path) -> dict[str, Any]:
    """Save the trained network again with every layer firing; return the rates before and after, and the factors.

    Input side first, the weights of a layer that is silent or saturated on a training clip (those of its
    normalisation, or of its linear layer) are multiplied by the factor at which it fires at ``WANTED_RATE``.
    """
    network, description = load_model(run)
    with ClipStore.open(store) as clips:
        shown = torch.from_numpy(clips.batch(clips.indices("train")[:1])[:WAKING_STEPS])
    before = firing_rates(network, shown)
    factors = scale_silent_layers(network, shown)
    save_model(out, network, description)
    return {"rates_as_trained": before, "rates": firing_rates(network, shown), "factors": factors}


def firing_rates(network: nn.Module, clips: torch.Tensor) -> dict[str, float]:
    """Return the mean firing rate of every neuron layer on clips [T, N, 2, H, W], in evaluation mode."""
    from spikingjelly.activation_based import functional

    network.eval()
    rates: dict[str, float] = {}
    value = clips
    with torch.no_grad():
        for name, module in layers_of(network):
            value = module(value)
            if hasattr(module, "v_threshold"):
                rates[name] = float(value.mean())
    functional.reset_net(network)
    return rates


def scale_silent_layers(network: nn.Module, clips: torch.Tensor) -> dict[str, float]:
    """Scale the weights before each neuron layer that fires too rarely or too often; return the factors."""
    network.eval()
    factors: dict[str, float] = {}
    weights: list[torch.Tensor] = []
    value = clips
    with torch.no_grad():
        for name, module in layers_of(network):
            if type(module).__name__ in ("BatchNorm2d", "Linear"):
                weights = list(module.parameters())
            if hasattr(module, "v_threshold"):
                if not LEAST_RATE <= fired(module, value) <= LARGEST_RATE:
                    factors[name] = factor_of(module, value)
                    for weight in weights:
                        weight.mul_(factors[name])
                    value = value * factors[name]
                value = fires(module, value)
            else:
                value = module(value)
    return factors


def layers_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers of a network in their order, with their names; the readout is none of them."""
    parts = [(part, network.get_submodule(part)) for part in ("features", "voting_neurons")]
    return [(f"{part}.{name}", module) for part, modules in parts for name, module in modules.named_children()]


def fires(neuron: nn.Module, drive: torch.Tensor) -> torch.Tensor:
    """Return the spikes of a neuron layer for a drive [T, N, ...], from reset state, and reset it again."""
    neuron.reset()  # type: ignore[operator]
    spikes = neuron(drive)
    neuron.reset()  # type: ignore[operator]
    return spikes  # type: ignore[no-any-return]


def fired(neuron: nn.Module, drive: torch.Tensor) -> float:
    """Return the share of neuron-steps in which a layer fires."""
    return float(fires(neuron, drive).mean())


def factor_of(neuron: nn.Module, drive: torch.Tensor) -> float:
    """Return the factor on ``drive`` at which ``neuron`` fires at ``WANTED_RATE``, by bisection of its logarithm."""
    low, high = 0.05 / float(drive.std()), 50.0 / float(drive.std())
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fired(neuron, drive * middle) < WANTED_RATE else (low, middle)
    return (low * high) ** 0.5


def lava(bundle: Path, store: Path, steps: int, timeout_s: float, patch: str = "") -> dict[str, Any]:
    """Run the first ``steps`` steps of one test clip in both simulators and compare the spikes of all layers."""
    deployment = load_deployment(bundle)
    with ClipStore.open(store) as kept:
        clips: Array = kept.batch(kept.indices("test")[:1])[:steps]
    started = time.perf_counter()
    ours = deployment.simulate(clips)
    planned = time.perf_counter()
    deployment.simulate(clips)
    again = time.perf_counter()
    received, _ = deployment.chip_input(clips)
    file = bundle / "target" / "model.net"
    judged = deployment.target.judge(deployment.chip, file, received, timeout_s=timeout_s, patch=patch)
    ended = time.perf_counter()
    return compare_spikes(ours.spikes, dict(judged.run.spikes)) | {
        "convolution": patch or "Lava's own",
        "ours_first_clip_s": planned - started,
        "ours_next_clip_s": again - planned,
        "lava_s": ended - again,
        "lava_seconds_per_step": float(judged.seconds_per_step),
        "rates": {name: float(spikes.mean()) for name, spikes in ours.spikes.items()},
    }


def main() -> None:
    """Do the step that the arguments name and print what it found."""
    torch.set_num_threads(1)
    step, *words = sys.argv[1:]
    if step == "wake":
        run, store, out = map(Path, words)
        found = wake(run, store, out)
    else:
        found = lava(Path(words[0]), Path(words[1]), int(words[2]), float(words[3]), *words[4:])
    print(json.dumps(found))


if __name__ == "__main__":
    main()

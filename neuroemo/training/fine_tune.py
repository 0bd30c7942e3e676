"""Fine-tuning on a chip's grid: a trained float network learns to live with few bits.

Loss: (1 - share) MSE(rates, one-hot label) + share MSE(rates, rates of the float network), over firing rates in [0, 1]
(the second term is distillation, Hinton et al., arXiv:1503.02531). The forward pass is the chip's integer arithmetic
(``quantized.py``); the optimiser is that of ``loop.py`` and moves the float masters, which are pulled back into the
chip's fields after every step. Every epoch ends in a checkpoint from which a killed run goes on with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import file_hash
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Conv2d, Graph, Linear, Synapse
from hw_targets.registry import DeployTarget, deploy_target
from neuroemo.training.augmentation import Augmentation, augment
from neuroemo.training.checkpoint import WEIGHTS, Description, load_model, save_model
from neuroemo.training.checks import check_fine_tuning
from neuroemo.training.evaluation import evaluate, forward, in_parts
from neuroemo.training.loop import Progress, TrainingError, out_of_patience, rank
from neuroemo.training.resume import Run, remember, restore, writing
from neuroemo.training.sampling import batches_of_epoch, epoch_order
from neuroemo.training.settings import TrainSettings
from neuroemo.training.steps import limit_gradient, make_optimiser, make_schedule, scale_by_layer

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.datasets.store import ClipStore
    from neuroemo.training.quantized import QuantizedNetwork

EPOCHS, LEARNING_RATE = 3, 0.003
"""Defaults of a fine-tuning run (measured: benchmarks/qat.py)."""
LEAST_BITS, MOST_BITS = 2, 8
"""Fewest and most weight bits: one step on either side of zero, and what the chip holds."""
CLIPS = tuple(0.05 * count for count in range(20, 5, -1))
"""Shares of a layer's largest weight at which clipping is tried, from none to 0.3."""
DISTILLATION = 0.5
"""Share of the loss that pulls the rates towards those of the float network (measured: benchmarks/qat.py)."""


def fine_tune(
    checkpoint: Path,
    store: ClipStore,
    out: Path,
    bits: int,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    *,
    target: str = "loihi2",
    distillation: float = DISTILLATION,
) -> list[dict[str, Any]]:
    """Fine-tune the float network of ``checkpoint`` with ``bits`` per weight and leave the best one in ``out``.

    Returns the history: epoch 0 is the network quantised and not trained yet (its loss is None), then one entry per
    epoch. The best is chosen as in training, by validation accuracy, then loss, and may be epoch 0.

    Raises:
        InputError: the checkpoint is an ANN's or fine-tuned already, ``out`` is the checkpoint or holds another run,
            the store does not fit, or no weight has that many bits.
        UnsupportedError, CapacityError: the target cannot express, or cannot hold, the network.
        TrainingError: the loss became NaN or infinite.
    """
    import torch

    from neuroemo.training.quantized import grid_of

    settings = settings or TrainSettings(epochs=EPOCHS, learning_rate=LEARNING_RATE)
    teacher, described = load_model(checkpoint)
    _check_paths(checkpoint, described, out)
    check_fine_tuning(described.spec, store, settings)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    network = quantize_network(teacher, described, bits, target)
    description = replace(described, qat=grid_of(network))
    optimiser = make_optimiser(network, settings)
    schedule = make_schedule(optimiser, settings)
    random = np.random.default_rng(settings.seed)
    identity = {
        "float": file_hash(checkpoint / WEIGHTS),
        "description": description.to_dict(),
        "settings": asdict(settings) | {"distillation": distillation},
        "data": store.fingerprint(),
    }
    run = Run(network, optimiser, schedule, random)
    restore(out, identity, run)
    history = run.history

    def finish_epoch(loss: float | None) -> None:
        validation = evaluate(network, description.spec, store, store.indices("val"))
        history.append({"epoch": len(history), "loss": loss, "validation": validation.to_dict()})
        if rank(history[-1]) == max(rank(entry) for entry in history):
            network.refuse_overflow()
            with writing(out):
                save_model(out, network, description)
        remember(out, identity, run)

    if not history:
        finish_epoch(None)
    batches = batches_of_epoch(np.asarray(store.labels)[store.indices("train")], settings)
    for epoch in range(len(history) - 1, settings.epochs):
        if out_of_patience(history, settings.patience):
            break
        report = _report(progress, batches * epoch, batches * settings.epochs)
        loss = _epoch(network, teacher, description, store, settings, optimiser, random, distillation, report)
        schedule.step()
        finish_epoch(loss)
    return history


def quantize_network(
    network: nn.Module, description: Description, bits: int, target: str = "loihi2"
) -> QuantizedNetwork:
    """Return the network on the target's grid that fine-tuning of a trained float network starts from.

    The target's quantiser chooses every scale, for weights that were clipped so that thresholds are resolved
    (``with_resolved_thresholds``) and rounding costs least (``with_least_rounding``).

    Raises:
        InputError: a number of bits that no weight has, or the ANN twin.
        UnsupportedError, CapacityError: the target cannot express, or cannot hold, the network.
    """
    from neuroemo.training.quantized import QuantizedNetwork, lowered_graph, with_resolved_thresholds

    if not LEAST_BITS <= bits <= MOST_BITS:
        raise InputError(Finding("E084", "error", "bits", str(bits), f"{LEAST_BITS} to {MOST_BITS}"))
    chosen = deploy_target(target)
    graph = with_resolved_thresholds(lowered_graph(network, description, chosen), bits)
    graph = with_least_rounding(graph, chosen, bits)
    return QuantizedNetwork(graph, chosen.quantize(graph, weight_bits=bits), chosen, bits)


def with_least_rounding(graph: Graph, target: DeployTarget, bits: int) -> Graph:
    """Return a lowered graph with each layer's weights clipped where rounding them costs least in squares.

    The largest weight sets the scale; a smaller one makes the grid finer for all others. The clips tried are
    ``CLIPS`` of the largest weight, the error sum (W_q / s - W)^2 that of the quantiser's own integers.
    """
    synapses = [node for node in graph.nodes if isinstance(node, Conv2d | Linear)]
    best: list[tuple[float, Array]] = [(np.inf, synapse.weight) for synapse in synapses]
    for share in CLIPS:
        clipped = [_clipped(synapse, share) for synapse in synapses]
        chip = target.quantize(_with_weights(graph, clipped), weight_bits=bits)
        for index, (synapse, layer) in enumerate(zip(synapses, chip.layers, strict=True)):
            error = float(((layer.weight / layer.scale - synapse.weight) ** 2).sum())
            if error < best[index][0]:
                best[index] = (error, clipped[index])
    return _with_weights(graph, [weight for _, weight in best])


def _clipped(synapse: Synapse, share: float) -> Array:
    bound = share * np.abs(synapse.weight).max(initial=0.0)
    return np.clip(synapse.weight, -bound, bound)


def _with_weights(graph: Graph, weights: list[Array]) -> Graph:
    left = iter(weights)
    return graph.replace_nodes(
        tuple(replace(node, weight=next(left)) if isinstance(node, Conv2d | Linear) else node for node in graph.nodes)
    )


def _report(progress: Progress | None, before: int, batches: int) -> Callable[[int, float], None]:
    """Return what an epoch calls after each of its batches, when ``before`` batches came before it."""

    def report(batch: int, running: float) -> None:
        if progress is not None:
            progress(before + batch, batches, running)

    return report


def _epoch(
    network: QuantizedNetwork,
    teacher: nn.Module,
    description: Description,
    store: ClipStore,
    settings: TrainSettings,
    optimiser: torch.optim.Optimizer,
    random: np.random.Generator,
    distillation: float,
    report: Callable[[int, float], None],
) -> float:
    """Train one epoch and return its mean loss."""
    import torch

    network.train()
    indices = store.indices("train")
    order = epoch_order(indices, np.asarray(store.labels)[indices], random, balanced=settings.balanced)
    labels = np.eye(description.spec.classes, dtype=np.float32)[np.asarray(store.labels)]
    total = 0.0
    for number, part in enumerate(in_parts(order, settings.batch)):
        clips = store.batch(part)
        if settings.augment:
            gray = description.spec.first_frame == "float"
            clips = augment(clips, random, Augmentation.of(settings), gray_first=gray)
        frames = torch.from_numpy(clips)
        wanted = _wanted_rates(teacher, description, frames, torch.from_numpy(labels[part]), distillation)
        rates = forward(network, description.spec, frames).mean(dim=0)
        loss = sum(share * ((rates - goal) ** 2).mean() for share, goal in wanted)
        optimiser.zero_grad()
        loss.backward()
        _check_finite(network, loss, description, number + 1)
        if settings.layerwise:
            scale_by_layer(network)
        if settings.clip_gradient is not None:
            limit_gradient(network, settings.clip_gradient)
        optimiser.step()
        network.project()
        total += float(loss.detach()) * len(part)
        report(number + 1, total / ((number + 1) * settings.batch))
    return total / len(order)


def _check_finite(network: nn.Module, loss: torch.Tensor, description: Description, batch: int) -> None:
    """Refuse a step that would write NaN: integer neurons turn a NaN input into silence, so the loss alone is mute."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    if not all(bool(value.isfinite().all()) for value in (loss, *gradients)):
        found, fix = f"loss {float(loss):g} or its gradient in batch {batch}", "look for NaN in the clips"
        raise TrainingError(Finding("E088", "error", description.spec.name, found, "finite numbers", fix=fix))


def _wanted_rates(
    teacher: nn.Module, description: Description, frames: torch.Tensor, labels: torch.Tensor, distillation: float
) -> list[tuple[float, torch.Tensor]]:
    """Return what the rates [N, classes] shall be, with the share of each in the loss."""
    import torch

    wanted = [(1.0 - distillation, labels)]
    if distillation:
        with torch.no_grad():
            wanted.append((distillation, forward(teacher, description.spec, frames).mean(dim=0)))
    return wanted


def _check_paths(checkpoint: Path, description: Description, out: Path) -> None:
    findings = []
    if description.qat is not None:
        found = f"fine-tuned already, with {description.qat.bits} bits"
        findings.append(
            Finding("E089", "error", str(checkpoint), found, "a float checkpoint", fix="start from the float network")
        )
    if out.resolve() == checkpoint.resolve():
        findings.append(
            Finding("E089", "error", str(out), "would overwrite the float checkpoint", "another folder for the result")
        )
    if findings:
        raise InputError(findings)

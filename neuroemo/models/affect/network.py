"""Build the network of a spec, and say what its weights start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from hw_targets.finding import Finding, InputError
from neuroemo.models.affect.base import AffectNetwork, BackboneNetwork
from neuroemo.models.affect.frame_networks import ResNetRegressor, VisionTransformer
from neuroemo.models.affect.imagenet import FILE, cached_weights, load_backbone
from neuroemo.models.affect.inception3d import Inception3d
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec
from neuroemo.models.affect.video_networks import ResNetFusion, ResNetLstm, ResNetTransformer

__all__ = ["OUTPUTS", "build_affect", "initialisation_finding", "parameter_counts"]

KINDS: dict[str, type[AffectNetwork]] = {
    "resnet18": ResNetRegressor,
    "vit": VisionTransformer,
    "ic3d": Inception3d,
    "resnet-lstm": ResNetLstm,
    "resnet-transformer": ResNetTransformer,
    "resnet-fusion": ResNetFusion,
}

PARAMETERS_MAX = 2**28
"""Largest number of parameters that is built: a guard against damaged files, not a limit of the method."""


def build_affect(spec: AffectSpec, *, backbone_weights: Path | None = None, pretrained: bool = True) -> nn.Module:
    """Return the network of a spec, [N, F, 1, H, W] -> [N, F, 2], or for spiking ones [N, F, B, 1, H, W] -> [N, F, 2].

    The full ResNet18 inside a network starts from ``backbone_weights`` (torchvision's ``resnet18-f37072fd.pth``, or a
    .safetensors with its names); without that, from torchvision's file where torch's hub keeps it, if it is there;
    without either, from random weights, which ``initialisation_finding`` says. ``pretrained=False`` does not look for
    any, for a network whose weights are loaded next. Random weights come from torch's generator: seed it first.

    Raises:
        InputError: weights for a network that has no place for them, a file that is damaged or holds something else
            (E967), or a network that is too large (E968).
    """
    if backbone_weights is not None and not spec.has_full_resnet:
        found = f"weights of a ResNet18 in {backbone_weights}"
        limit = "none: the network has no ResNet18 of width 64 for pictures of 3 channels"
        raise InputError(Finding("E967", "error", spec.name, found, limit, fix="leave the weights out"))
    _check_size(spec)
    network = _made(spec)
    if isinstance(network, BackboneNetwork) and spec.has_full_resnet and pretrained:
        path = backbone_weights or cached_weights()
        if backbone_weights is not None or path.is_file():
            network.initialisation = load_backbone(network.backbone, path)
    return network


def initialisation_finding(network: nn.Module) -> Finding | None:
    """Return what a user should know about the weights that a network's ResNet18 starts from; None without one.

    A warning (W967) where ImageNet weights belong there and were not at hand, a note where there are none for such a
    network or where they were loaded.
    """
    if not isinstance(network, BackboneNetwork):
        return None
    spec, started = network.spec, network.initialisation
    if started != "random":
        origin, _, digest = started.partition(":")
        words = "ImageNet weights" if origin == "imagenet" else "weights of a file"
        return Finding("W967", "note", spec.name, f"ResNet18 starts from {words}, SHA-256 {digest}")
    stays = ", and stays there: it is frozen" if spec.frozen else ""
    if not spec.has_full_resnet:
        found = f"ResNet18 starts from random weights{stays}"
        return Finding(
            "W967", "note", spec.name, found, f"ImageNet weights are for width 64; this one has {spec.width}"
        )
    found = f"ResNet18 starts from random weights{stays}: no ImageNet weights at hand"
    fix = f"give the file {FILE} of torchvision, or put it where torch's hub keeps it: {cached_weights()}"
    return Finding("W967", "warning", spec.name, found, "the paper starts from ImageNet weights", fix=fix)


def parameter_counts(spec: AffectSpec) -> dict[str, int]:
    """Return how many parameters a network has, "trained" and "frozen", without allocating them.

    >>> from neuroemo.models.affect.table import spec_by_name
    >>> parameter_counts(spec_by_name("resnet-lstm"))
    {'trained': 1874306, 'frozen': 11176512}

    """
    with torch.device("meta"):
        network = _made(spec)
    counts = {"trained": 0, "frozen": 0}
    for parameter in network.parameters():
        counts["trained" if parameter.requires_grad else "frozen"] += parameter.numel()
    return counts


def _made(spec: AffectSpec) -> nn.Module:
    if spec.is_spiking:
        from neuroemo.models.affect.spiking import build_spiking

        return build_spiking(spec)
    return KINDS[spec.kind](spec)


def _check_size(spec: AffectSpec) -> None:
    """Refuse a network that a damaged description made too large, before anything of its size is allocated."""
    count = sum(parameter_counts(spec).values())
    if count > PARAMETERS_MAX:
        found, limit, over = f"{count:,} parameters", f"{PARAMETERS_MAX:,}", f"{count - PARAMETERS_MAX:,}"
        raise InputError(Finding("E968", "error", spec.name, found, limit, over, "use a narrower network"))

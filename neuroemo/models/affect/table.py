"""The six networks of Berlincioni et al. 2024 and their small presets, by name.

"Neuromorphic Valence and Arousal Estimation", section 4.1, gives 224x224 frames; for the vision transformer patches of
8 pixels, 4 heads and depth 4; for the LSTM 3 layers of 256; for the transformer 4 heads, 6 encoder and 6 decoder
layers; for the fusion heads of 128 features; chunks of 6 frames; a ResNet18 that is frozen before the LSTM and the
transformer and trained before the fusion. What it does not give is chosen in docs/affect-networks.md.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.models.affect.spiking_table import SPIKING_SPECS, small_spiking

CHUNK = 6
"""Frames that a video network sees in one call."""
_RESNET: dict[str, Any] = {"width": 64, "input_channels": 3}
_VIDEO: dict[str, Any] = {**_RESNET, "frames": CHUNK, "regressor_hidden": 128}

PAPER: tuple[AffectSpec, ...] = (
    AffectSpec("resnet18", "resnet18", **_RESNET),
    AffectSpec("vit", "vit", patch=8, embedding=256, depth=4, heads=4, feedforward=1024),
    AffectSpec("ic3d", "ic3d", frames=CHUNK, width=64),
    AffectSpec("resnet-lstm", "resnet-lstm", frozen=True, hidden=256, layers=3, **_VIDEO),
    AffectSpec(
        "resnet-transformer",
        "resnet-transformer",
        frozen=True,
        embedding=512,
        layers=6,
        heads=4,
        feedforward=2048,
        **_VIDEO,
    ),
    AffectSpec("resnet-fusion", "resnet-fusion", video_hidden=512, frame_hidden=256, head_features=128, **_VIDEO),
)
"""The networks of Tables 1 and 2, at the paper's size."""

_SMALL_RESNET: dict[str, Any] = {"width": 8, "input_channels": 1}
_SMALL: dict[str, dict[str, Any]] = {
    "resnet18": _SMALL_RESNET,
    "vit": {"embedding": 64, "feedforward": 256},
    "ic3d": {"width": 8},
    "resnet-lstm": {**_SMALL_RESNET, "hidden": 64, "regressor_hidden": 32},
    "resnet-transformer": {
        **_SMALL_RESNET,
        "embedding": 64,
        "layers": 2,
        "feedforward": 128,
        "regressor_hidden": 32,
    },
    "resnet-fusion": {
        **_SMALL_RESNET,
        "video_hidden": 64,
        "frame_hidden": 32,
        "head_features": 32,
        "regressor_hidden": 32,
    },
}
"""What NAME@SIZE changes in NAME: 0.17 to 0.34 million parameters each (docs/affect-networks.md)."""

SPECS: dict[str, AffectSpec] = {spec.name: spec for spec in PAPER} | {spec.name: spec for spec in SPIKING_SPECS}
"""Every name that stands alone; each also names a family of small presets, NAME@SIZE."""

SMALLEST, LARGEST, STEP = 32, 208, 16
"""Sizes of the small presets in pixels."""


def spec_by_name(name: str, **changes: Any) -> AffectSpec:
    """Return a named spec, some of its fields changed.

    ``NAME@SIZE`` is the small preset of that family for frames of SIZE pixels: 32, 48, ... to 208.

    >>> spec_by_name("vit").size, spec_by_name("vit@64").embedding, spec_by_name("ic3d", n_bits=16).n_bits
    (224, 64, 16)

    Raises:
        InputError: no such name (E966), or fields that no network can be built from (E965).
    """
    unknown = changes.keys() - {field.name for field in fields(AffectSpec)}
    if unknown:
        found = f"no field {', '.join(sorted(map(repr, unknown)))}"
        raise InputError(Finding("E965", "error", name, found, "a field of a spec"))
    return replace(_named(name), **changes)


def _named(name: str) -> AffectSpec:
    family, at, size = name.partition("@")
    if family not in SPECS:
        fix = "add @SIZE for a small network on frames of SIZE pixels, as in vit@64"
        raise InputError(
            Finding("E966", "error", name, "no network of that name", f"one of {', '.join(SPECS)}", fix=fix)
        )
    if not at:
        return SPECS[family]
    pixels = int(size) if re.fullmatch("[1-9][0-9]{1,3}", size) else 0
    if not SMALLEST <= pixels <= LARGEST or pixels % STEP:
        limit = f"a multiple of {STEP} from {SMALLEST} to {LARGEST}"
        fix = f"{family} alone is the network for {SPECS[family].size} pixels"
        raise InputError(Finding("E966", "error", name, f"frames of {size!r} pixels", limit, fix=fix))
    if family not in _SMALL:
        return small_spiking(family, pixels)
    return replace(SPECS[family], name=name, size=pixels, **_SMALL[family])

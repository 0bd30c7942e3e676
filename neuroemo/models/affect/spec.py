"""One valence and arousal network as data: what a spec holds, which specs are refused, how it is stored.

A spec is checked as a whole when it is made, so that a damaged ``model.json`` is an InputError with every wrong field
at once, before torch is asked to allocate anything. A field that a kind does not use is None in its specs: nothing
that is written in a spec is without effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from hw_targets.finding import Finding, InputError

OUTPUTS = ("valence", "arousal")
"""What every network puts out for every frame, in this order, each in (-1, 1)."""

Kind = Literal[
    "resnet18",
    "vit",
    "ic3d",
    "resnet-lstm",
    "resnet-transformer",
    "resnet-fusion",
    "spiking-plif",
    "spiking-resnet",
]
Input = Literal["frames", "bits"]

FRAME_KINDS = ("resnet18", "vit")
"""Networks that see one frame at a time."""
RESNET_KINDS = ("resnet18", "resnet-lstm", "resnet-transformer", "resnet-fusion")
"""Networks with a ResNet18 inside."""
SPIKING_KINDS = ("spiking-plif", "spiking-resnet")
"""Networks that read the bits of a frame one after the other, as spikes."""

_WHOLE = {
    "width": (8, 256),
    "input_channels": (1, 3),
    "embedding": (4, 2048),
    "patch": (2, 64),
    "depth": (1, 48),
    "heads": (1, 64),
    "feedforward": (4, 8192),
    "layers": (1, 24),
    "hidden": (1, 8192),
    "video_hidden": (1, 8192),
    "frame_hidden": (1, 8192),
    "head_features": (1, 8192),
    "regressor_hidden": (1, 8192),
    "neurons_per_value": (1, 4096),
    "window": (1, 1 << 16),
}
"""Fields that are whole numbers where a kind uses them, and their range."""

_REGRESSOR = {"regressor_hidden"}
_BACKBONE = {"width", "input_channels"}
_SPIKING = {"channels", "hidden", "neurons_per_value", "tau", "threshold"}
REQUIRED: dict[str, set[str]] = {
    "resnet18": _BACKBONE,
    "vit": {"patch", "embedding", "depth", "heads", "feedforward"},
    "ic3d": {"width"},
    "resnet-lstm": _BACKBONE | _REGRESSOR | {"hidden", "layers"},
    "resnet-transformer": _BACKBONE | _REGRESSOR | {"embedding", "layers", "heads", "feedforward"},
    "resnet-fusion": _BACKBONE | _REGRESSOR | {"video_hidden", "frame_hidden", "head_features"},
    "spiking-plif": _SPIKING,
    "spiking-resnet": _SPIKING,
}
"""The fields that each kind needs."""
ALLOWED: dict[str, set[str]] = {kind: {"window"} if kind in SPIKING_KINDS else set() for kind in REQUIRED}
"""The fields that a kind may have besides."""


@dataclass(frozen=True, slots=True)
class AffectSpec:
    """Everything that defines one valence and arousal network.

    ``size`` is the height and width of an event frame in pixels, ``frames`` how many frames one call sees (1: the
    network is frame-based), ``n_bits`` the slices of a frame. ``input`` "frames" feeds one picture per frame, its
    codes divided by 2**n_bits, shape [N, F, 1, H, W]; "bits" feeds the slices, oldest first, [N, F, n_bits, 1, H, W].
    ``frozen``: the ResNet inside keeps its weights and batch-norm statistics, only what follows it is trained.

    By kind, None elsewhere: ``width`` the channels of the first convolution, in proportion to which all others grow
    (64 is the full ResNet18 and Inception); ``input_channels`` 3 repeats the picture for weights made for colours;
    ``patch`` pixels, ``embedding`` values per token, ``depth`` layers, ``heads`` of attention and ``feedforward``
    width of a transformer; ``layers`` of the LSTM, or of the encoder and as many of the decoder; ``hidden`` of the
    LSTM, or of a spiking network's linear layer; ``regressor_hidden`` between the two last linear layers;
    ``video_hidden``, ``frame_hidden`` and ``head_features`` of the fusion's two heads; for spiking networks
    ``channels`` of the stages, ``tau`` the membrane time constant in steps, ``threshold``, ``neurons_per_value``
    output neurons for each sign of each output and ``window`` the steps that a value is read over.

    Raises:
        InputError: a field out of its range, missing, or without effect; all findings at once (E965).
    """

    name: str
    kind: Kind
    size: int = 224
    frames: int = 1
    input: Input = "frames"
    n_bits: int = 8
    frozen: bool = False
    width: int | None = None
    input_channels: int | None = None
    patch: int | None = None
    embedding: int | None = None
    depth: int | None = None
    heads: int | None = None
    feedforward: int | None = None
    layers: int | None = None
    hidden: int | None = None
    video_hidden: int | None = None
    frame_hidden: int | None = None
    head_features: int | None = None
    regressor_hidden: int | None = None
    channels: tuple[int, ...] | None = None
    tau: float | None = None
    threshold: float | None = None
    neurons_per_value: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Refuse a spec that no network can be built from."""
        findings = list(_findings(self))
        if findings:
            raise InputError(findings)

    @property
    def is_spiking(self) -> bool:
        """Whether the network computes with spikes."""
        return self.kind in SPIKING_KINDS

    @property
    def is_video(self) -> bool:
        """Whether a frame's output may depend on the other frames of its chunk."""
        return self.kind not in FRAME_KINDS

    @property
    def has_full_resnet(self) -> bool:
        """Whether the ResNet18 inside has the width and the input channels of torchvision's."""
        return self.kind in RESNET_KINDS and (self.width, self.input_channels) == (64, 3)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dictionary without the fields that its kind does not use."""
        stored = {name: value for name, value in asdict(self).items() if value is not None}
        return stored | ({"channels": list(self.channels)} if self.channels is not None else {})

    @classmethod
    def from_dict(cls, data: Any) -> AffectSpec:
        """Rebuild a spec from ``to_dict``; anything else is an InputError (E965).

        >>> spec = AffectSpec("small", "ic3d", size=64, frames=6, width=8)
        >>> AffectSpec.from_dict(spec.to_dict()) == spec
        True
        """
        if not isinstance(data, dict):
            raise InputError(_bad("spec", f"{type(data).__name__} {data!r}"[:80], "a dictionary of fields"))
        known = {field.name for field in fields(cls)}
        findings = [_bad("spec", f"unknown field {name!r}"[:80], "a field of a spec") for name in data.keys() - known]
        findings += [_bad("spec", f"no field {name}", "name and kind") for name in ("name", "kind") if name not in data]
        if findings:
            raise InputError(findings)
        channels = data.get("channels")
        return cls(**{**data, "channels": tuple(channels) if isinstance(channels, list) else channels})


def _findings(spec: AffectSpec) -> Iterator[Finding]:
    """Yield one finding for every field that is not of its kind or out of its range."""
    node = str(spec.name)[:80]
    if not isinstance(spec.name, str) or not 1 <= len(spec.name) <= 80:
        yield _bad("spec", f"name {spec.name!r}"[:80], "1 to 80 characters")
    if not isinstance(spec.kind, str) or spec.kind not in REQUIRED:
        yield _bad(node, f"kind {spec.kind!r}"[:80], f"one of {', '.join(REQUIRED)}")
        return
    yield from _common(spec, node)
    yield from _presence(spec, node)
    for name, (least, most) in _WHOLE.items():
        value = getattr(spec, name)
        if value is not None and not _is_whole(value, least, most):
            yield _bad(node, f"{name} {value!r}"[:80], f"a whole number from {least} to {most}")
    yield from _together(spec, node)


def _common(spec: AffectSpec, node: str) -> Iterator[Finding]:
    for name, least, most in (("size", 16, 1024), ("frames", 1, 256), ("n_bits", 1, 16)):
        if not _is_whole(getattr(spec, name), least, most):
            yield _bad(node, f"{name} {getattr(spec, name)!r}"[:80], f"a whole number from {least} to {most}")
    if not isinstance(spec.frozen, bool):
        yield _bad(node, f"frozen {spec.frozen!r}"[:80], "true or false")
    wanted = "bits" if spec.kind in SPIKING_KINDS else "frames"
    if not isinstance(spec.input, str) or spec.input not in get_args(Input):
        yield _bad(node, f"input {spec.input!r}"[:80], f"one of {', '.join(get_args(Input))}")
    elif spec.input != wanted:
        yield _bad(node, f"input {spec.input!r}", f"{wanted!r}, which a network of kind {spec.kind} reads")
    if spec.kind in FRAME_KINDS and spec.frames != 1:
        yield _bad(node, f"frames {spec.frames!r}"[:80], f"1: {spec.kind} sees one frame at a time")
    if spec.frozen is True and spec.kind not in RESNET_KINDS:
        yield _bad(node, "frozen", f"no: {spec.kind} has no backbone that could keep its weights")


def _presence(spec: AffectSpec, node: str) -> Iterator[Finding]:
    """Yield a finding for every field that is missing, and for every one that the kind would ignore."""
    for name in (*_WHOLE, "channels", "tau", "threshold"):
        value = getattr(spec, name)
        if value is None and name in REQUIRED[spec.kind]:
            yield _bad(node, f"no {name}", f"{spec.kind} needs it")
        if value is not None and name not in REQUIRED[spec.kind] | ALLOWED[spec.kind]:
            yield _bad(node, f"{name} {value!r}"[:80], f"none: {spec.kind} does not use it")


def _together(spec: AffectSpec, node: str) -> Iterator[Finding]:
    """Yield what is wrong with numbers other than whole ones, and between two fields."""
    channels = spec.channels
    if channels is not None and not (
        isinstance(channels, tuple) and 1 <= len(channels) <= 16 and all(_is_whole(c, 1, 4096) for c in channels)
    ):
        yield _bad(node, f"channels {channels!r}"[:80], "1 to 16 whole numbers from 1 to 4096")
    if spec.tau is not None and not (_is_number(spec.tau) and spec.tau > 1):
        yield _bad(node, f"tau {spec.tau!r}"[:80], "a number of steps above 1")
    if spec.threshold is not None and not (_is_number(spec.threshold) and spec.threshold > 0):
        yield _bad(node, f"threshold {spec.threshold!r}"[:80], "a number above 0")
    if spec.input_channels == 2:
        yield _bad(node, "input_channels 2", "1, or 3 that repeat the picture")
    if spec.width is not None and _is_whole(spec.width, 8, 256) and spec.width % 8:
        yield _bad(node, f"width {spec.width}", "a multiple of 8")
    divided = (("embedding", "heads"), ("size", "patch"))
    for whole, part in divided:
        one, other = getattr(spec, whole), getattr(spec, part)
        if _is_whole(one, 1, 1 << 20) and _is_whole(other, 1, 1 << 20) and one % other:
            yield _bad(node, f"{whole} {one} with {part} {other}", f"a multiple of {part}")


def _bad(node: str, found: str, wanted: str) -> Finding:
    return Finding("E965", "error", node, found, wanted)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""One network as data: what a spec holds, which specs no network can be built from, how it is stored.

A spec is checked as a whole when it is made, so that a damaged ``model.json`` is an InputError with every
wrong field at once, before torch is asked to allocate anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from hw_targets.finding import Finding, InputError
from hw_targets.graph import window_count

Neuron = Literal["plif", "lif", "relu"]
Pool = Literal["average", "max", "none"]
PoolPlace = Literal["after neuron", "before neuron"]
FirstFrame = Literal["float", "spikes"]

WEIGHTS_MAX = 2**30
"""Largest number of synaptic weights that is built: a guard against damaged files, not a limit of the method."""


@dataclass(frozen=True, slots=True)
class EmotionSpec:
    """Everything that defines one network; ``neuron="relu"`` is the ANN twin of the same layers.

    ``size`` is the height and width of a frame in pixels, ``steps`` the number of frames, ``channels`` the
    widths of the convolution stages, ``hidden`` the width of the linear layer before the voting neurons,
    ``voting`` the neurons per class, ``tau`` the (initial) membrane time constant in steps, ``padding`` the
    zeros around each convolution's input in pixels, ``dropout`` the share of values dropped in training
    before each linear layer. ``stride`` is the step of each convolution in pixels: 2 with ``pool="none"`` halves
    the picture as a pool does, and every layer sees plain spikes. ``pool_place`` says whether a stage pools
    spikes, as the paper's do, or membrane currents.

    Raises:
        InputError: a field out of its range, or frames too small for the stages; all findings at once.
    """

    name: str
    size: int = 128
    steps: int = 68
    channels: tuple[int, ...] = (32, 32, 32)
    hidden: int = 1024
    classes: int = 2
    voting: int = 10
    neuron: Neuron = "plif"
    threshold: float = 0.4
    tau: float = 2.0
    pool: Pool = "average"
    first_frame: FirstFrame = "float"
    padding: int = 0
    dropout: float = 0.0
    stride: int = 1
    pool_place: PoolPlace = "after neuron"

    def __post_init__(self) -> None:
        """Refuse a spec that no network can be built from."""
        findings = list(_field_findings(self))
        if findings:
            raise InputError(findings)
        if self.feature_size < 1:
            fits = next(n for n in range(len(self.channels)) if _pooled_size(self, n + 1) < 1)
            raise InputError(
                Finding(
                    "E020",
                    "error",
                    self.name,
                    f"{len(self.channels)} stages on {self.size}x{self.size} frames",
                    f"{fits} stages",
                    fix="use larger frames or fewer stages",
                )
            )
        if (weights := _weights(self)) > WEIGHTS_MAX:
            raise InputError(
                Finding(
                    "E024",
                    "error",
                    self.name,
                    f"{weights:,} weights",
                    f"{WEIGHTS_MAX:,}",
                    f"{weights - WEIGHTS_MAX:,}",
                    "use fewer channels, a smaller hidden layer or smaller frames",
                )
            )

    @property
    def feature_size(self) -> int:
        """Height and width of the last pooled feature map."""
        return _pooled_size(self, len(self.channels))

    @property
    def features(self) -> int:
        """Number of values that the hidden layer sees: channels times height times width."""
        return (self.channels[-1] if self.channels else 2) * self.feature_size**2

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dictionary."""
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EmotionSpec:
        """Rebuild a spec from ``to_dict``; an unknown, missing or impossible entry is an InputError.

        Entries that an older version did not write (padding, dropout) have the value it built with: none.
        """
        try:
            return cls(**{**data, "channels": tuple(data["channels"])})
        except (TypeError, KeyError) as error:
            raise InputError(Finding("E021", "error", "spec", f"not a network description: {error}")) from error


def _pooled_size(spec: EmotionSpec, stages: int) -> int:
    """Return height and width after that many stages: convolution 3x3 with padding, pool 2x2; 0 if nothing is left."""
    size = spec.size
    for _ in range(stages):
        size = max(0, window_count(size, 3, spec.stride, spec.padding))
        if spec.pool != "none":
            size = max(0, window_count(size, 2, 2))
    return size


def _weights(spec: EmotionSpec) -> int:
    """Return the number of synaptic weights."""
    inputs = (spec.steps if spec.neuron == "relu" else 2, *spec.channels)
    stages = sum(9 * fed * width for fed, width in zip(inputs, spec.channels, strict=False))
    return stages + spec.hidden * (spec.features + spec.classes * (1 if spec.neuron == "relu" else spec.voting))


def _field_findings(spec: EmotionSpec) -> Iterator[Finding]:
    """Yield one finding for every field that is not of its kind or out of its range."""

    def bad(field: str, wanted: str) -> Finding:
        return Finding("E024", "error", str(spec.name), f"{field} {getattr(spec, field)!r}", wanted)

    for field in ("size", "steps", "hidden", "classes", "voting"):
        if not _is_whole(getattr(spec, field), 1):
            yield bad(field, "a whole number from 1")
    if not all(_is_whole(width, 1) for width in spec.channels):
        yield bad("channels", "whole numbers from 1")
    if not (_is_whole(spec.padding, 0) and spec.padding <= 2):
        yield bad("padding", "0, 1 or 2 pixels")
    if spec.pool == "none" and spec.pool_place != "after neuron":
        yield bad("pool_place", "nothing to place: there is no pool")
    if not (_is_whole(spec.stride, 1) and spec.stride <= 3):
        yield bad("stride", "1, 2 or 3 pixels")
    chosen = (("neuron", Neuron), ("pool", Pool), ("first_frame", FirstFrame), ("pool_place", PoolPlace))
    for field, choices in chosen:
        if getattr(spec, field) not in get_args(choices):
            yield bad(field, f"one of {', '.join(get_args(choices))}")
    if not (_is_number(spec.threshold) and spec.threshold > 0):
        yield bad("threshold", "a number above 0")
    if not (_is_number(spec.tau) and spec.tau > 1):
        yield bad("tau", "a number of steps above 1")
    if not (_is_number(spec.dropout) and 0 <= spec.dropout < 1):
        yield bad("dropout", "a share from 0 to below 1")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""How valence and arousal are trained: every setting that decides the numbers of a run, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from hw_targets.finding import Finding, InputError

Loss = Literal["mse", "ccc", "mse+ccc"]


@dataclass(frozen=True, slots=True)
class AffectSettings:
    """How to train a network of valence and arousal.

    AdamW at ``learning_rate`` with ``weight_decay`` on weight matrices and kernels, times ``gamma`` every
    ``halve_every`` epochs (the paper: 1e-4, halved every 50). ``batch`` is in frames: a step takes as many whole
    chunks as hold at most so many, at least one. ``loss``: mean squared error, 1 - CCC of the batch averaged over the
    two outputs, or the sum of both. An epoch takes each training frame about once: of all chunks that begin every
    ``stride`` frames (None: 1, so that they overlap) as many as hold that many frames, drawn anew each epoch;
    ``frames_per_epoch`` makes epochs shorter, ``validation_frames`` the validation. ``augment``: exchange left and
    right in half of the chunks (``mirror``) and move the pictures by up to ``shift`` pixels (None: 1/32 of the side);
    all frames of a chunk move alike, and time stays. ``clip_gradient``: the largest Euclidean norm of the gradient.
    ``patience``: stop after so many epochs without a better one. ``device``: "cpu" or "cuda"; only the CPU
    repeats a run bit for bit. ``threads``: processor threads of torch.

    Raises:
        InputError: settings out of their range, all at once.
    """

    epochs: int = 100
    batch: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    halve_every: int = 50
    gamma: float = 0.5
    loss: Loss = "mse"
    seed: int = 0
    threads: int = 1
    patience: int | None = None
    clip_gradient: float | None = None
    augment: bool = True
    mirror: bool = True
    shift: int | None = None
    stride: int | None = None
    frames_per_epoch: int | None = None
    validation_frames: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        if bad := list(_wrong(self)):
            raise InputError(bad)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return asdict(self)

    def shift_at(self, size: int) -> int:
        """Return how many pixels pictures of a side move at most.

        >>> AffectSettings().shift_at(224), AffectSettings(shift=3).shift_at(224), AffectSettings().shift_at(16)
        (7, 3, 0)
        """
        return size // 32 if self.shift is None else self.shift


def settings_from_dict(told: Any, where: str) -> AffectSettings:
    """Rebuild settings from an untrusted dictionary.

    Raises:
        InputError: what is missing takes its default; what is unknown or out of range is named.
    """
    try:
        return AffectSettings(**told)
    except TypeError as error:
        raise InputError(Finding("E953", "error", where, f"not the settings of a training: {error}")) from error


def _wrong(settings: AffectSettings) -> Iterator[Finding]:
    whole = {"epochs": 1, "batch": 1, "halve_every": 1, "threads": 1, "seed": 0}
    optional = {"patience": 1, "shift": 0, "stride": 1, "frames_per_epoch": 1, "validation_frames": 1}
    for name, least in {**whole, **optional}.items():
        value = getattr(settings, name)
        if value is None and name in optional:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield Finding("E953", "error", name, str(value), f"a whole number >= {least}")
    if isinstance(settings.seed, int) and settings.seed >= 2**63:
        yield Finding("E953", "error", "seed", str(settings.seed), "below 2^63")
    ranges = {
        "learning_rate": (0.0, math.inf, False),
        "weight_decay": (0.0, math.inf, True),
        "gamma": (0.0, 1.0, False),
    }
    for name, (low, high, closed) in ranges.items():
        value = getattr(settings, name)
        inside = _is_number(value) and (low <= value if closed else low < value) and value <= high
        if not inside:
            limit = f"a number {'>=' if closed else '>'} {low:g}" + ("" if high == math.inf else f" and <= {high:g}")
            yield Finding("E953", "error", name, str(value), limit)
    if settings.clip_gradient is not None and not (_is_number(settings.clip_gradient) and settings.clip_gradient > 0):
        yield Finding("E953", "error", "clip_gradient", str(settings.clip_gradient), "a number > 0")
    for name in ("augment", "mirror"):
        if not isinstance(getattr(settings, name), bool):
            yield Finding("E953", "error", name, str(getattr(settings, name)), "true or false")
    for name, kinds in (("loss", get_args(Loss)), ("device", ("cpu", "cuda"))):
        if getattr(settings, name) not in kinds:
            yield Finding("E953", "error", name, str(getattr(settings, name)), f"one of {', '.join(kinds)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

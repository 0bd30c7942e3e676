"""How to train: every setting that decides the numbers of a run, checked as a whole when it is made.

What does not decide them (where files go, how often a run is saved, what is logged) is not here: two runs
with equal settings, network and data end with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from hw_targets.finding import Finding, InputError

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["float32", "bfloat16"]
Engine = Literal["spikingjelly", "fused"]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. ``augment`` mirrors clips and shifts them by up to ``shift`` pixels (``augmentation.py``).

    ``optimiser``: SGD with ``momentum``, or AdamW with ``momentum`` as its first decay rate (the second is
    0.999). ``weight_decay`` acts on weight matrices and kernels alone. ``schedule``: the learning rate falls
    to 0 along half a cosine over the epochs, or stays. ``layerwise`` scales each layer's gradient to the
    length of its weights (``loop.scale_by_layer``); ``clip_gradient`` is the largest Euclidean norm of all
    gradients together that reaches the optimiser, after that scaling. ``balanced``: every class equally
    often in an epoch (``sampling.py``). ``mirror``, ``drop_events`` (a share) and ``shift_steps`` (time
    steps) belong to ``augment``. ``patience``: stop after that many epochs in a row without a better one.
    ``threads`` is how many processor threads torch uses: with one, the numbers are the same whatever the
    machine's number of cores. ``engine``: SpikingJelly's own modules, or the fused ones (``fast``), equal up
    to the order of sums. ``precision``: what convolutions and products compute in; weights stay float32.
    ``operations_penalty``: what the share of dense synaptic operations that spikes cause costs in the loss
    (``penalty.py``), for SpikingJelly's modules; ``penalty_warmup``: epochs at the start that do not pay it.

    Raises:
        InputError: a setting out of its range, or settings that contradict each other; all at once.
    """

    epochs: int = 12
    batch: int = 8
    learning_rate: float = 0.01
    momentum: float = 0.9
    seed: int = 0
    augment: bool = True
    shift: int = 2
    layerwise: bool = True
    threads: int = 1
    optimiser: Optimiser = "sgd"
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    balanced: bool = False
    mirror: bool = True
    drop_events: float = 0.0
    shift_steps: int = 0
    clip_gradient: float | None = None
    patience: int | None = None
    precision: Precision = "float32"
    engine: Engine = "spikingjelly"
    operations_penalty: float = 0.0
    penalty_warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot train, all at once."""
        bad = [*_out_of_range(self), *_contradictions(self)]
        if bad:
            raise InputError(bad)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return asdict(self)


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(TrainSettings)}
"""Every setting with its default, which is also what a run had that was made before the setting existed."""


def _out_of_range(settings: TrainSettings) -> Iterator[Finding]:
    """Yield a finding for every single setting that has no meaning."""
    for name in ("epochs", "batch", "learning_rate", "threads"):
        value = getattr(settings, name)
        whole = name != "learning_rate"
        if not (_is_whole(value) if whole else _is_number(value)) or not value > 0:
            yield Finding("E023", "error", name, str(value), "a whole number > 0" if whole else "a number > 0")
    for name in ("seed", "shift", "shift_steps", "penalty_warmup"):
        value = getattr(settings, name)
        if not _is_whole(value) or value < 0:
            yield Finding("E900", "error", name, str(value), "a whole number >= 0")
    for name, most in (
        ("momentum", 1.0),
        ("drop_events", 1.0),
        ("weight_decay", math.inf),
        ("operations_penalty", math.inf),
    ):
        value = getattr(settings, name)
        if not _is_number(value) or not 0 <= value < most:
            yield Finding("E900", "error", name, str(value), ">= 0" if most == math.inf else "from 0 to below 1")
    if settings.clip_gradient is not None and not (_is_number(settings.clip_gradient) and settings.clip_gradient > 0):
        yield Finding("E900", "error", "clip_gradient", str(settings.clip_gradient), "a number > 0")
    if settings.patience is not None and not (_is_whole(settings.patience) and settings.patience > 0):
        yield Finding("E900", "error", "patience", str(settings.patience), "a whole number > 0")
    for name in ("augment", "layerwise", "balanced", "mirror"):
        if not isinstance(getattr(settings, name), bool):
            yield Finding("E900", "error", name, str(getattr(settings, name)), "true or false")
    for name, kinds in (
        ("optimiser", Optimiser),
        ("schedule", Schedule),
        ("precision", Precision),
        ("engine", Engine),
    ):
        if getattr(settings, name) not in get_args(kinds):
            yield Finding("E900", "error", name, str(getattr(settings, name)), f"one of {', '.join(get_args(kinds))}")


def _contradictions(settings: TrainSettings) -> Iterator[Finding]:
    """Yield a finding for every setting that another one makes meaningless."""

    def contradiction(name: str, found: str, fix: str) -> Finding:
        return Finding("E901", "error", name, found, fix=fix)

    if settings.augment is False:
        for name in ("drop_events", "shift_steps"):
            if getattr(settings, name):
                yield contradiction(name, f"{getattr(settings, name)}, and augment is off", "switch one of the two off")
    if settings.optimiser == "adamw" and settings.layerwise:
        found = "layer-wise scaling with AdamW, which divides every gradient by its own size"
        yield contradiction("layerwise", found, "set layerwise=False with AdamW")
    if settings.engine == "fused" and settings.precision != "float32":
        found = f"{settings.precision} with the fused engine, which computes in float32"
        yield contradiction("precision", found, "use engine spikingjelly, or precision float32")
    if settings.engine == "fused" and settings.operations_penalty:
        found = f"{settings.operations_penalty} with the fused engine, which does not show the spikes between layers"
        yield contradiction("operations_penalty", found, "use engine spikingjelly")
    if settings.penalty_warmup and not settings.operations_penalty:
        yield contradiction("penalty_warmup", f"{settings.penalty_warmup}, and there is no penalty", "set one, or 0")
    elif settings.penalty_warmup and settings.penalty_warmup >= settings.epochs:
        found = f"{settings.penalty_warmup} of {settings.epochs} epochs: the penalty would never be paid"
        yield contradiction("penalty_warmup", found, "train longer, or start it earlier")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

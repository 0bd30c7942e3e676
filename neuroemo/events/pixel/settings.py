"""The parameters of the pixel model, in the units of the literature, with its two presets."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from hw_targets.finding import Finding, InputError

Timing = Literal["linear", "slots"]


def _within(value: object, low: float, high: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )


@dataclass(frozen=True, slots=True)
class PixelSettings:
    """One kind of event camera; the defaults are an ideal one, without noise and without delays.

    Thresholds are changes of the natural logarithm of intensity. ``threshold_sigma`` is the standard deviation
    of both from pixel to pixel. ``cutoff_hz`` is the bandwidth of the photoreceptor at white (0: unlimited);
    darker pixels are slower. ``leak_rate_hz`` ON events per pixel and second come from a leaking reset switch,
    ``leak_jitter`` the relative standard deviation of the leak in one frame, ``leak_spread_decades`` that of
    its logarithm (base 10) from pixel to pixel. ``shot_noise_rate_hz`` noise events per pixel and second in
    the dark, a quarter of them at white. ``refractory_us`` is the time that a pixel is silent after an event.
    ``timing``: "linear" puts an event where the interpolated intensity crosses the threshold, "slots" at
    the equally spaced times that v2e uses. ``seed`` fixes every random number.

    Raises ``InputError`` with one finding per value out of range.
    """

    positive_threshold: float = 0.2
    negative_threshold: float = 0.2
    threshold_sigma: float = 0.0
    cutoff_hz: float = 0.0
    leak_rate_hz: float = 0.0
    leak_jitter: float = 0.0
    leak_spread_decades: float = 0.0
    shot_noise_rate_hz: float = 0.0
    refractory_us: float = 0.0
    timing: Timing = "linear"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            Finding("E850", "error", name, repr(value), f"{low:g} to {high:g}", fix=fix)
            for name, (low, high, fix) in _BOUNDS.items()
            if not _within(value := getattr(self, name), low, high)
        ]
        if self.timing not in get_args(Timing):
            findings.append(Finding("E850", "error", "timing", repr(self.timing), "'linear' or 'slots'"))
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**63:
            findings.append(Finding("E850", "error", "seed", repr(self.seed), "an integer from 0 to 2^63 - 1"))
        if findings:
            raise InputError(findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return asdict(self)


_RATE = "events per pixel and second"
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "positive_threshold": (0.01, 10.0, "a change of the logarithm of intensity, e.g. 0.2"),
    "negative_threshold": (0.01, 10.0, "a change of the logarithm of intensity, e.g. 0.2"),
    "threshold_sigma": (0.0, 1.0, "a standard deviation of the thresholds, e.g. 0.03"),
    "cutoff_hz": (0.0, 1e6, "hertz; 0 for no filter"),
    "leak_rate_hz": (0.0, 1e4, _RATE),
    "leak_jitter": (0.0, 10.0, "a share of the leak"),
    "leak_spread_decades": (0.0, 3.0, "decades"),
    "shot_noise_rate_hz": (0.0, 1e4, _RATE),
    "refractory_us": (0.0, 1e7, "microseconds"),
}

PRESETS: dict[str, PixelSettings] = {
    "clean": PixelSettings(threshold_sigma=0.02),
    "noisy": PixelSettings(
        threshold_sigma=0.05,
        cutoff_hz=30.0,
        leak_rate_hz=0.1,
        leak_jitter=0.1,
        leak_spread_decades=0.1,
        shot_noise_rate_hz=5.0,
    ),
}
"""The two presets of v2e (its options ``--dvs_params clean`` and ``noisy``)."""


def preset(name: str, **changes: Any) -> PixelSettings:
    """Return a preset, with some of its values changed.

    >>> preset("noisy", seed=3).cutoff_hz
    30.0

    Raises:
        InputError: no such preset or field, or a value out of range.
    """
    if name not in PRESETS:
        raise InputError(Finding("E850", "error", name, "no such preset", f"one of {', '.join(PRESETS)}"))
    unknown = sorted(changes.keys() - {field.name for field in fields(PixelSettings)})
    if unknown:
        raise InputError([Finding("E850", "error", key, "no such parameter") for key in unknown])
    return replace(PRESETS[name], **changes)

"""How recordings become the clips of a prepared data set: frame differences, a simulated or a real event camera."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from hw_targets.finding import Finding, InputError
from neuroemo.events.framediff import SIZE_RANGE, STEP_RANGE, FrameDiffSettings
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.rate import rate_findings
from neuroemo.events.slow_motion_weights import NetworkWeights
from neuroemo.events.upsample import SMALLEST_SIDE, UpsampleSettings

MODELS = ("framediff", "pixel", "recorded")
STEP_US_RANGE = (1, 10_000_000)
MAX_SENSOR = 1 << 15

_BASE = {"size", "steps", "sens", "first_frame"}


@dataclass(frozen=True, slots=True)
class PixelClipSettings:
    """Clips of the simulated event camera: step n holds the events between frames n - 1 and n.

    A bit is 1 where the pixel sent at least one event of that polarity within the step. ``size``, ``steps`` and
    ``first_frame`` as in ``FrameDiffSettings``; ``pixel`` is the camera, which sees frames already resized to
    ``size``. Every clip draws noise of its own, see ``clip_seed``. ``fps`` brings videos to one frame rate first.
    ``slow_motion`` puts frames between the frames before the camera sees them (None: it sees the video as it is); a
    step then holds the events of all of them between frames n - 1 and n.

    Raises ``InputError`` with one finding per value out of range.
    """

    size: int = 128
    steps: int = 68
    first_frame: Literal["float", "spikes"] = "float"
    pixel: PixelSettings = field(default_factory=PixelSettings)
    fps: float | None = None
    slow_motion: UpsampleSettings | None = None

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = _shape_findings(self.size, self.steps)
        if self.first_frame not in ("float", "spikes"):
            findings.append(Finding("E867", "error", "first_frame", repr(self.first_frame), "'float' or 'spikes'"))
        findings += rate_findings(self.fps)
        _raise(findings + _slow_motion_findings(self.slow_motion, self.size))
        if self.slow_motion is not None and self.slow_motion.method == "none":
            object.__setattr__(self, "slow_motion", None)  # one way to say it, so that equal settings are equal

    @property
    def frames_needed(self) -> int:
        """Number of video frames that fill all steps.

        >>> PixelClipSettings(steps=68).frames_needed
        68
        """
        return self.steps if self.first_frame == "float" else self.steps + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        own = {"size": self.size, "steps": self.steps, "first_frame": self.first_frame}
        rate = {} if self.fps is None else {"fps": self.fps}
        between = {} if self.slow_motion is None else {"slow_motion": self.slow_motion.to_dict()}
        return {"model": "pixel", **own, **rate, **between, "pixel": self.pixel.to_dict()}


@dataclass(frozen=True, slots=True)
class RecordedClipSettings:
    """Clips of real recordings: step s holds the events with s ``step_us`` <= t - t_first < (s + 1) ``step_us``.

    The sensor's pixel (x, y) goes to column floor(x size / W) and row floor(y size / H); a bit is 1 where at
    least one event of that polarity fell. ``sensor`` is (W, H) in pixels for files that do not say it, else None.
    There is no gray frame: ``first_frame`` is always "spikes".

    Raises ``InputError`` with one finding per value out of range.
    """

    step_us: int
    size: int = 128
    steps: int = 68
    sensor: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = _shape_findings(self.size, self.steps)
        if not _integer_within(self.step_us, *STEP_US_RANGE):
            low, high = STEP_US_RANGE
            findings.append(Finding("E867", "error", "step_us", repr(self.step_us), f"an integer in {low}..{high}"))
        if self.sensor is not None and not _is_sensor(self.sensor):
            limit = f"width, height in 1..{MAX_SENSOR}"
            findings.append(Finding("E867", "error", "sensor", repr(self.sensor), limit))
        _raise(findings)

    @property
    def first_frame(self) -> Literal["float", "spikes"]:
        """Always "spikes": an event camera records no gray frame."""
        return "spikes"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        sensor = None if self.sensor is None else list(self.sensor)
        own = {"size": self.size, "steps": self.steps, "step_us": self.step_us}
        return {"model": "recorded", **own, "sensor": sensor}


ClipSettings = FrameDiffSettings | PixelClipSettings | RecordedClipSettings


def model_of(settings: ClipSettings) -> str:
    """Return the name of the event model: framediff, pixel or recorded."""
    kinds = {FrameDiffSettings: "framediff", PixelClipSettings: "pixel", RecordedClipSettings: "recorded"}
    return kinds[type(settings)]


def settings_from_dict(told: dict[str, Any]) -> ClipSettings:
    """Return the settings of an untrusted dictionary, the inverse of ``to_dict``.

    Raises ``InputError`` for an unknown model or field, a missing one, or a value out of range.

    >>> settings_from_dict({"size": 16, "steps": 6, "sens": 0.001, "first_frame": "float"}).frames_needed
    6
    """
    given = dict(told)
    model = given.pop("model", "framediff")
    if model == "framediff":
        known = {item.name for item in fields(FrameDiffSettings)}
        return FrameDiffSettings(**_known(given, known, _BASE))
    if model == "recorded":
        names = {item.name for item in fields(RecordedClipSettings)}
        own = _known(given, names, names)
        sensor = own["sensor"]
        return RecordedClipSettings(**own | {"sensor": tuple(sensor) if isinstance(sensor, list) else sensor})
    if model == "pixel":
        names = {item.name for item in fields(PixelClipSettings)}
        own = _known(given, names, names - {"fps", "slow_motion"})
        inner = {item.name for item in fields(PixelSettings)}
        if not isinstance(own["pixel"], dict):
            raise InputError(Finding("E867", "error", "pixel", repr(own["pixel"]), "an object"))
        made = {"pixel": PixelSettings(**_known(own["pixel"], inner, inner))}
        return PixelClipSettings(**own | made | {"slow_motion": _slow_motion(own.get("slow_motion"))})
    raise InputError(Finding("E867", "error", "model", repr(model), ", ".join(MODELS)))


def _slow_motion(told: object) -> UpsampleSettings | None:
    if told is None:
        return None
    if not isinstance(told, dict):
        raise InputError(Finding("E867", "error", "slow_motion", repr(told), "an object, or none"))
    names = {item.name for item in fields(UpsampleSettings)}
    own = _known(told, names, names)
    if isinstance(own["method"], dict):
        method = NetworkWeights(**_known(own["method"], {"name", "sha256"}, {"name", "sha256"}))
        return UpsampleSettings(**own | {"method": method})
    return UpsampleSettings(**own)


def clip_seed(seed: int, name: str) -> int:
    """Return the seed of one clip's noise, ``sha256("seed:name")`` as 63 bits: no two clips share their noise.

    >>> clip_seed(0, "happy/a.mp4") != clip_seed(0, "happy/b.mp4"), clip_seed(0, "a") < 2**63
    (True, True)
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def for_clip(settings: PixelClipSettings, name: str) -> PixelSettings:
    """Return the camera of one clip: the same but for the seed."""
    return replace(settings.pixel, seed=clip_seed(settings.pixel.seed, name))


def _known(given: dict[str, Any], known: set[str], needed: set[str]) -> dict[str, Any]:
    """Return the fields if they are those of the settings, all of them."""
    if not needed <= given.keys() <= known:
        found = f"{sorted(map(str, given))}"
        raise InputError(Finding("E867", "error", "settings", found, ", ".join(sorted(known))))
    return given


def _shape_findings(size: object, steps: object) -> list[Finding]:
    return [
        Finding("E867", "error", name, repr(value), f"an integer in {low}..{high}")
        for name, value, (low, high) in (("size", size, SIZE_RANGE), ("steps", steps, STEP_RANGE))
        if not _integer_within(value, low, high)
    ]


def _slow_motion_findings(slow_motion: object, size: object) -> list[Finding]:
    if slow_motion is None:
        return []
    if not isinstance(slow_motion, UpsampleSettings) or not isinstance(slow_motion.method, (str, NetworkWeights)):
        limit = "UpsampleSettings with method none, linear, dis or a network's weights, or None"
        fix = "a store names its settings, and a function has no name: simulate with pixel_events instead"
        return [Finding("E867", "error", "slow_motion", repr(slow_motion), limit, fix=fix)]
    if slow_motion.follows_flow and isinstance(size, int) and size < SMALLEST_SIDE:
        found, limit = f"{size} pixels with slow motion", f"at least {SMALLEST_SIDE} for optical flow"
        return [Finding("E867", "error", "size", found, limit, fix="--slow-motion none, or a larger --size")]
    return []


def _integer_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_sensor(value: object) -> bool:
    sound = isinstance(value, tuple) and len(value) == 2
    return sound and all(_integer_within(side, 1, MAX_SENSOR) for side in value)  # type: ignore[attr-defined]


def _raise(findings: list[Finding]) -> None:
    if findings:
        raise InputError(findings)

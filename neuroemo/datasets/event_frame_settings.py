"""How recordings become event frames: N binary slices of a few milliseconds, read as one N-bit number per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.clip_settings import MAX_SENSOR, clip_seed
from neuroemo.events.framediff import SIZE_RANGE
from neuroemo.events.pixel.settings import PixelSettings, preset
from neuroemo.events.slow_motion_weights import NetworkWeights
from neuroemo.events.upsample import SMALLEST_SIDE, UpsampleSettings

MODELS = ("pixel", "recorded", "codes")
"""Where the events come from: the simulated camera, the files of a real one, or pictures that are codes already."""

MAX_BITS = 16
SLICE_US_RANGE = (1, 10_000_000)
CODE_PICTURE_BITS = 8
"""Bits of a code in a PNG of 8-bit gray: NEFER's ``event_frames``."""

Model = Literal["pixel", "recorded", "codes"]
Msb = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True)
class EventFrameSettings:
    """One frame is ``code = sum over k of b_k 2^k``; b_k is 1 if slice k saw an event of either polarity at the pixel.

    ``size`` is the height and width in pixels, ``n_bits`` the number N of slices, ``slice_us`` the length of one in
    microseconds, so that a frame lasts ``N * slice_us``; ``msb`` says which slice weighs most (slice 0 is the oldest).
    ``model``: "pixel", a simulated camera ``pixel`` that sees the video at ``size``, with ``slow_motion`` before
    it (None: as the video is); "recorded", the events of a real camera, whose ``sensor`` is (W, H) where the files do
    not say it; "codes", 8-bit pictures that are such codes already. The source of the representation: Innocenti et
    al., "Temporal Binary Representation for Event-Based Action Recognition", ICPR 2020.

    Raises ``InputError`` (E867) with one finding per value out of range.

    >>> EventFrameSettings().frame_us, EventFrameSettings(n_bits=16).code_type
    (40000, 'uint16')
    """

    size: int = 224
    n_bits: int = 8
    slice_us: int = 5000
    msb: Msb = "newest"
    model: Model = "pixel"
    pixel: PixelSettings | None = field(default_factory=lambda: preset("clean"))
    slow_motion: UpsampleSettings | None = field(default_factory=UpsampleSettings)
    sensor: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            Finding("E867", "error", name, repr(value), f"an integer in {low}..{high}")
            for name, (low, high) in (("size", SIZE_RANGE), ("n_bits", (1, MAX_BITS)), ("slice_us", SLICE_US_RANGE))
            if not _whole(value := getattr(self, name), low, high)
        ]
        findings += _choice("msb", self.msb, ("newest", "oldest")) + _choice("model", self.model, MODELS)
        if not findings:
            findings += self._camera_findings()
        if findings:
            raise InputError(findings)
        if self.model != "pixel":
            object.__setattr__(self, "pixel", None)
            object.__setattr__(self, "slow_motion", None)
        elif self.slow_motion is not None and self.slow_motion.method == "none":
            object.__setattr__(self, "slow_motion", None)  # one way to say it, so that equal settings are equal

    def _camera_findings(self) -> list[Finding]:
        findings = []
        if self.model == "pixel":
            findings += _pixel_findings(self.pixel, self.slow_motion, self.size)
        else:
            unused = (("pixel", self.pixel, preset("clean")), ("slow_motion", self.slow_motion, UpsampleSettings()))
            findings += [
                Finding("E867", "error", name, repr(value), f"nothing with model {self.model!r}", fix="leave it out")
                for name, value, default in unused
                if value is not None and value != default
            ]
        if self.sensor is not None and (self.model != "recorded" or not _is_sensor(self.sensor)):
            limit = f"width, height in 1..{MAX_SENSOR}, with model 'recorded'"
            findings.append(Finding("E867", "error", "sensor", repr(self.sensor), limit))
        if self.model == "codes" and self.n_bits != CODE_PICTURE_BITS:
            fix = "their pictures hold 8 bits per pixel; make frames of other lengths from the events themselves"
            limit = f"{CODE_PICTURE_BITS} with model 'codes'"
            findings.append(Finding("E867", "error", "n_bits", str(self.n_bits), limit, fix=fix))
        return findings

    @property
    def frame_us(self) -> int:
        """Length of one frame in microseconds, ``n_bits * slice_us``."""
        return self.n_bits * self.slice_us

    @property
    def code_type(self) -> Literal["uint8", "uint16"]:
        """Type of a code: the smallest that holds N bits."""
        return "uint8" if self.n_bits <= 8 else "uint16"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary; what means nothing to the model is left out."""
        told: dict[str, Any] = {name: getattr(self, name) for name in ("model", "size", "n_bits", "slice_us", "msb")}
        if self.model == "recorded":
            told["sensor"] = None if self.sensor is None else list(self.sensor)
        if self.pixel is not None:
            told["pixel"] = self.pixel.to_dict()
            told["slow_motion"] = None if self.slow_motion is None else self.slow_motion.to_dict()
        return told


def event_frame_settings(told: object) -> EventFrameSettings:
    """Return the settings of an untrusted dictionary, the inverse of ``EventFrameSettings.to_dict``.

    Raises ``InputError`` (E867) for an unknown or missing field, or a value out of range.

    >>> event_frame_settings(EventFrameSettings(size=32, model="codes").to_dict()).size
    32
    """
    given = _object("event frame settings", told)
    model = given.get("model")
    common = {"model", "size", "n_bits", "slice_us", "msb"}
    own = {"pixel": {"pixel", "slow_motion"}, "recorded": {"sensor"}}
    _same_fields("event frame settings", given, common | own.get(str(model), set()))
    made: dict[str, Any] = {name: given[name] for name in common}
    if model == "recorded":
        sensor = given["sensor"]
        made["sensor"] = tuple(sensor) if isinstance(sensor, list) else sensor
    if model == "pixel":
        inner = _object("pixel", given["pixel"])
        _same_fields("pixel", inner, {item.name for item in fields(PixelSettings)})
        made |= {"pixel": PixelSettings(**inner), "slow_motion": _slow_motion(given["slow_motion"])}
    return EventFrameSettings(**made)


def camera_for_clip(settings: EventFrameSettings, name: str) -> PixelSettings:
    """Return the simulated camera of one clip: the same but for its seed, so that no two clips share their noise."""
    if settings.pixel is None:
        raise ValueError(f"model {settings.model!r} has no simulated camera")
    return replace(settings.pixel, seed=clip_seed(settings.pixel.seed, name))


def _slow_motion(told: object) -> UpsampleSettings | None:
    if told is None:
        return None
    given = _object("slow_motion", told)
    _same_fields("slow_motion", given, {item.name for item in fields(UpsampleSettings)})
    method = given["method"]
    if isinstance(method, dict):
        _same_fields("slow_motion method", method, {"name", "sha256"})
        return UpsampleSettings(**{**given, "method": NetworkWeights(**method)})
    return UpsampleSettings(**given)


def _object(node: str, told: object) -> dict[str, Any]:
    if not isinstance(told, Mapping):
        raise InputError(Finding("E867", "error", node, repr(told)[:80], "an object"))
    return dict(told)


def _same_fields(node: str, given: Mapping[str, Any], known: set[str]) -> None:
    if set(given) != known:
        found = ", ".join(sorted(map(str, given))) or "nothing"
        raise InputError(Finding("E867", "error", node, f"fields {found[:200]}", ", ".join(sorted(known))))


def _pixel_findings(pixel: object, slow_motion: object, size: int) -> list[Finding]:
    findings = []
    if not isinstance(pixel, PixelSettings):
        findings.append(Finding("E867", "error", "pixel", repr(pixel), "PixelSettings, with model 'pixel'"))
    if slow_motion is None:
        return findings
    if not isinstance(slow_motion, UpsampleSettings) or not isinstance(slow_motion.method, (str, NetworkWeights)):
        limit = "UpsampleSettings with method none, linear, dis or a network's weights, or None"
        fix = "a store names its settings, and a function has no name"
        findings.append(Finding("E867", "error", "slow_motion", repr(slow_motion), limit, fix=fix))
    elif slow_motion.follows_flow and size < SMALLEST_SIDE:
        found, limit = f"{size} pixels with slow motion", f"at least {SMALLEST_SIDE} for optical flow"
        findings.append(Finding("E867", "error", "size", found, limit, fix="--slow-motion none, or a larger --size"))
    return findings


def _choice(name: str, value: object, allowed: tuple[str, ...]) -> list[Finding]:
    if isinstance(value, str) and value in allowed:
        return []
    return [Finding("E867", "error", name, repr(value), " or ".join(map(repr, allowed)))]


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_sensor(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_whole(side, 1, MAX_SENSOR) for side in value)

"""What a prepared folder would otherwise hide: clips of several frame rates, repeated frames, short or few clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.clip_settings import ClipSettings
from neuroemo.datasets.clip_source import kind_of
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.manifest import ClipRow

SAME_RATE = 1.05
"""Frame rates up to this factor apart count as one: 24 and 25, 29.97 and 30."""

FEW = 10
"""Test clips per class below which a score is hardly worth reading: one clip is then 5 % of two classes or more."""

_LISTED = 6


def declared_rates(
    entries: Iterable[DatasetEntry], progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Return the average frame rate in 1/s that every video declares, by name; only headers are read.

    A file that cannot be opened is left out: preparing it says why.
    """
    from neuroemo.events.video import declared_rate

    videos = [entry for entry in entries if kind_of(entry.path) == "video"]
    rate_of: dict[Path, float | None] = {}
    for done, entry in enumerate(videos, start=1):
        if entry.path not in rate_of:
            try:
                rate_of[entry.path] = declared_rate(entry.path)
            except InputError:
                rate_of[entry.path] = None
        if progress is not None:
            progress(done, len(videos))
    return {entry.name: rate for entry in videos if (rate := rate_of[entry.path]) is not None}


def rate_warnings(rates: Mapping[str, float], settings: ClipSettings) -> list[Finding]:
    """Return a warning for videos of different rates, or, at a common rate, for those slower than it.

    >>> from neuroemo.events.framediff import FrameDiffSettings
    >>> rates = {"nod/a.mp4": 30.0, "nod/b.mp4": 60.0, "shake/c.mp4": 29.97}
    >>> rate_warnings(rates, FrameDiffSettings())[0].found
    'videos of 29.97 (1), 30 (1), 60 (1) frames per second: a step is a frame, so they run at different speeds'
    >>> rate_warnings(rates, FrameDiffSettings(fps=29.97))
    []
    """
    if not rates:
        return []
    fps = getattr(settings, "fps", None)
    slowest = min(rates, key=lambda name: (rates[name], name))
    if fps is not None:
        return _repeats(rates, slowest, fps, settings.steps)
    fastest = max(rates, key=lambda name: rates[name])
    if rates[fastest] <= SAME_RATE * rates[slowest]:
        return []
    counts = sorted(Counter(_rounded(rate) for rate in rates.values()).items())
    listed = ", ".join(f"{rate:g} ({number})" for rate, number in counts[:_LISTED])
    more = f" and {len(counts) - _LISTED} other rates, up to {counts[-1][0]:g}" if len(counts) > _LISTED else ""
    found = f"videos of {listed}{more} frames per second: a step is a frame, so they run at different speeds"
    fix = f"--fps {_rounded(rates[slowest]):g} brings all to the rate of the slowest, {slowest}"
    return [Finding("W893", "warning", fastest, found, fix=fix)]


def _repeats(rates: Mapping[str, float], slowest: str, fps: float, steps: int) -> list[Finding]:
    # A frame is repeated as soon as the rates have drifted apart by one.
    slow = [name for name, rate in rates.items() if steps * (1 - rate / fps) >= 1]
    if not slow:
        return []
    least = rates[slowest]
    lost = int(steps * (1 - least / fps))
    found = (
        f"{len(slow)} video(s) with fewer frames per second than {fps:g}; the slowest has {least:g}, "
        f"so {lost} of its {steps} steps repeat a frame and hold no event"
    )
    return [Finding("W894", "warning", slowest, found, fix=f"--fps {_rounded(least):g}, or leave them out")]


def _rounded(rate: float) -> float:
    return round(rate, 2)


def few_clips(rows: Iterable[ClipRow]) -> list[Finding]:
    """Return a warning when a class has fewer than 10 test clips, with what one clip changes.

    >>> row = ClipRow("nod/a.mp4", "nod", "", "test", None, 8, 30.0, (0, 0, 0), "", "", "")
    >>> few_clips([row] * 2)[0].found
    '2 test clip(s), nod 2: one more right or wrong moves the accuracy by 50 %'
    >>> few_clips([row] * 10)
    []
    """
    counts = Counter(row.label for row in rows if row.split == "test")
    if not counts or min(counts.values()) >= FEW:
        return []
    total = sum(counts.values())
    listed = ", ".join(f"{label} {number}" for label, number in sorted(counts.items()))
    found = f"{total} test clip(s), {listed}: one more right or wrong moves the accuracy by {100 / total:.0f} %"
    return [Finding("W896", "warning", "test", found, fix=f"at least {FEW} per class make a score worth reading")]


def short_clips(rows: Iterable[ClipRow], settings: ClipSettings) -> list[Finding]:
    """Return a warning for the clips that end before the last step, with their number in every class."""
    short = [row for row in rows if row.valid_steps < settings.steps]
    if not short:
        return []
    least = min(short, key=lambda row: (row.valid_steps, row.name))
    by_class = ", ".join(f"{label} {number}" for label, number in sorted(Counter(row.label for row in short).items()))
    found = (
        f"{len(short)} clip(s) end before step {settings.steps} ({by_class}), "
        f"the shortest after {least.valid_steps}: the rest is empty"
    )
    return [Finding("W895", "warning", least.name, found, fix="fewer --steps, or longer videos")]

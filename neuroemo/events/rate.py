"""Bringing videos to one frame rate: the nearest frame in time, one frame in memory, nothing is blended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.video import FPS_RANGE, GrayVideo, read_gray

Gray = npt.NDArray[np.uint8]


def rate_findings(fps: object) -> list[Finding]:
    """Return a finding unless ``fps`` is None or a frame rate that a video may have.

    >>> rate_findings(24.0), rate_findings(None), rate_findings(0)[0].limit
    ([], [], '0.1..1000 frames per second, or None')
    """
    low, high = FPS_RANGE
    number = isinstance(fps, (int, float)) and not isinstance(fps, bool) and math.isfinite(fps)
    if fps is None or (number and low <= fps <= high):  # type: ignore[operator]
        return []
    return [Finding("E895", "error", "fps", repr(fps), f"{low:g}..{high:g} frames per second, or None")]


def at_rate(frames: Iterable[tuple[Gray, int]], fps: float) -> Iterator[tuple[Gray, int]]:
    """Yield (frame, time in microseconds) at ``fps`` per second, from frames with ascending times.

    Frame k is the one nearest in time to ``t_k = t_0 + k / fps``, of two equally near the earlier one; the last is at
    or before the last frame given. A slower video repeats frames, a faster one drops some.

    >>> clip = [(np.full((1, 1), n, np.uint8), 16667 * n) for n in range(6)]            # 60 frames per second
    >>> [(int(frame[0, 0]), time) for frame, time in at_rate(clip, 24)]
    [(0, 0), (2, 41667), (5, 83333)]
    """
    period = 1_000_000 / Fraction(fps).limit_denominator(1001)
    origin, number = 0, 0
    before: tuple[Gray, int] | None = None
    for frame, time in frames:
        if before is None:
            origin = time
        while (target := origin + number * period) <= time:
            near = frame if before is None or target - before[1] > time - target else before[0]
            yield near, round(target)
            number += 1
        before = (frame, time)
    # Times are whole microseconds: the last frame may have been rounded below its place in the grid.
    if before is not None and (target := origin + number * period) <= before[1] + 1:
        yield before[0], round(target)


def read_at_rate(path: str | Path, *, size: int, max_frames: int | None = None, fps: float | None = None) -> GrayVideo:
    """Read a video as ``read_gray`` does, brought to ``fps`` by the times of its frames; None leaves it as it is.

    At ``fps`` a variable frame rate is straightened too, since the times are those of the file.

    Raises:
        InputError: whatever ``read_gray`` and ``stream_frames`` refuse, a rate out of range, or a video too
            short for two frames at that rate.
    """
    if findings := rate_findings(fps):
        raise InputError(findings)
    if fps is None:
        return read_gray(path, size=size, max_frames=max_frames)
    from neuroemo.events.stream import stream_frames

    source_size = (0, 0)

    def single() -> Iterator[tuple[Gray, int]]:
        nonlocal source_size
        for chunk in stream_frames(path, size=size, chunk=16):
            source_size = chunk.source_size
            yield from zip(chunk.frames, chunk.times_us.tolist(), strict=True)

    frames: list[Gray] = []
    for frame, _ in at_rate(single(), fps):
        frames.append(frame)
        if len(frames) == max_frames:
            break
    if len(frames) < 2:
        fix = "a difference needs two frames: give a longer video, or a higher rate"
        found = f"{len(frames)} frame(s) at {fps:g} per second"
        raise InputError(Finding("E896", "error", str(path), found, "at least 2 frames", fix=fix))
    return GrayVideo(np.stack(frames), float(fps), source_size)

"""What a recording holds, in numbers and in one picture: ``neuroemo events show FILE``."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.page import svg
from hw_targets.finding import Finding, InputError
from neuroemo.events.readers.event_file import EventFile

HOT_FACTOR = 10.0
HOT_SIGMA = 5.0
SILENT_BIN_US = 10_000
PLOT_BINS = 200
MAX_PIXELS = 1 << 26
_STYLE = (
    "<style>svg{font:12px sans-serif;background:#fff}.axis{stroke:#888}.on{fill:none;stroke:#1f6fb4;stroke-width:1.5}"
    ".off{fill:none;stroke:#c0392b;stroke-width:1.5}.onword{fill:#1f6fb4}.offword{fill:#c0392b}</style>"
)


@dataclass(frozen=True, slots=True)
class HotPixels:
    """Pixels that fire far more than the rest: (x, y, events) each, the most active first.

    The rule: more than ``threshold = max(10 m, m + 5 sqrt(m))`` events, where m is the mean over the pixels that
    fired at all. The second term is five standard deviations of a Poisson count of mean m; the first keeps the
    uneven activity of a real scene from being called hot.
    """

    threshold: float
    pixels: tuple[tuple[int, int, int], ...]
    share_of_events: float


def event_counts(recording: EventFile) -> npt.NDArray[np.int64]:
    """Return the events per pixel and polarity, ``[2, H, W]``, channel 0 ON and 1 OFF.

    Raises ``InputError`` E775 for a sensor of more than 67 million pixels, which no camera has.
    """
    width, height, _ = recording.sensor_size
    if width * height > MAX_PIXELS:
        fix = "the sensor size in the file is wrong: copy it again"
        found = f"a sensor of {width}x{height} pixels"
        raise InputError(Finding("E775", "error", str(recording.meta.get("path", "")), found, f"{MAX_PIXELS}", fix=fix))
    events = recording.events
    place = events["y"].astype(np.int64) * width + events["x"]
    place += np.where(events["p"], 0, width * height)
    return np.bincount(place, minlength=2 * width * height).reshape(2, height, width)


def hot_pixels(counts: npt.NDArray[np.int64]) -> HotPixels:
    """Return the hot pixels of event counts ``[2, H, W]`` by the rule of ``HotPixels``.

    >>> counts = np.ones((2, 4, 8), np.int64)
    >>> counts[0, 1, 2] = 500
    >>> hot_pixels(counts).pixels
    ((2, 1, 501),)
    """
    total = counts.sum(axis=0)
    active = total[total > 0]
    if not active.size:
        return HotPixels(0.0, (), 0.0)
    mean = float(active.mean())
    threshold = max(HOT_FACTOR * mean, mean + HOT_SIGMA * mean**0.5)
    rows, columns = np.nonzero(total > threshold)
    listed = sorted(((int(x), int(y), int(total[y, x])) for y, x in zip(rows, columns, strict=True)), key=_most_first)
    return HotPixels(threshold, tuple(listed), float(sum(count for *_, count in listed) / active.sum()))


def _most_first(pixel: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, count = pixel
    return -count, y, x


def show_events(recording: EventFile) -> dict[str, Any]:
    """Return the facts of a recording, ready for JSON.

    ``duration_s`` is from the first to the last event; ``events_per_s`` is events / duration, null when that is
    zero; ``on_share`` the share of ON events; ``silent_share`` the share of 10 ms windows without an event, from
    the first event on; ``hot_pixels`` by the rule of ``HotPixels``. Raises nothing for an empty recording.
    """
    events = recording.events
    count = len(events)
    counts = event_counts(recording)
    hot = hot_pixels(counts)
    width, height, _ = recording.sensor_size
    duration = int(events["t"][-1] - events["t"][0]) if count else 0
    return {
        "path": str(recording.meta.get("path", "")),
        "format": str(recording.meta.get("format", "")),
        "sensor": {"width": width, "height": height},
        "events": count,
        "first_us": int(events["t"][0]) if count else None,
        "last_us": int(events["t"][-1]) if count else None,
        "duration_s": duration / 1e6,
        "events_per_s": count * 1e6 / duration if duration else None,
        "on_share": float(np.count_nonzero(events["p"]) / count) if count else None,
        "active_pixels_share": float(np.count_nonzero(counts.sum(axis=0)) / (width * height)),
        "silent_share": _silent_share(events["t"]),
        "hot_pixels": {
            "count": len(hot.pixels),
            "threshold_events": hot.threshold,
            "share_of_events": hot.share_of_events,
            "first": [{"x": x, "y": y, "events": number} for x, y, number in hot.pixels[:10]],
        },
        "findings": [finding.to_dict() for finding in recording.findings],
    }


def _silent_share(times: npt.NDArray[np.int64]) -> float | None:
    """Return the share of whole and begun 10 ms windows, from the first event to the last, without an event."""
    if not len(times):
        return None
    windows = (times - times[0]) // SILENT_BIN_US
    # Times ascend, so a window is new exactly where its number changes.
    used = 1 + int(np.count_nonzero(np.diff(windows)))
    return 1.0 - used / (int(windows[-1]) + 1)


def show_text(facts: dict[str, Any]) -> str:
    """Return the facts of ``show_events`` as lines for people."""
    sensor, hot = facts["sensor"], facts["hot_pixels"]
    rate, on, silent = facts["events_per_s"], facts["on_share"], facts["silent_share"]
    lines = [
        f"file       {facts['path']} ({facts['format']})",
        f"sensor     {sensor['width']} x {sensor['height']} pixels, {facts['active_pixels_share']:.1%} of them fired",
        f"events     {facts['events']}",
        f"duration   {facts['duration_s']:.6f} s",
        f"rate       {_words(rate, '{:.1f} events/s', 'undefined (no duration)')}",
        f"polarity   {_words(on, '{:.1%} ON', 'undefined (no events)')}",
        f"silent     {_words(silent, '{:.1%} of windows of 10 ms', 'undefined (no events)')}",
        f"hot        {hot['count']} pixels above {hot['threshold_events']:.1f} events, "
        f"{hot['share_of_events']:.1%} of all events",
    ]
    lines += [f"           x {pixel['x']}, y {pixel['y']}: {pixel['events']} events" for pixel in hot["first"]]
    lines += [str(Finding(**finding)) for finding in facts["findings"]]
    return "\n".join(lines)


def _words(value: float | None, form: str, otherwise: str) -> str:
    return otherwise if value is None else form.format(value)


def accumulated_image(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return counts ``[2, H, W]`` as an RGB picture: white without events, blue ON, red OFF.

    A channel is scaled to the 99th percentile of its active pixels, so that one hot pixel hides nothing.
    """
    strength = np.zeros(counts.shape, np.float64)
    for channel, values in enumerate(counts):
        active = values[values > 0]
        if active.size:
            strength[channel] = np.clip(values / max(1.0, float(np.percentile(active, 99))), 0.0, 1.0)
    on, off = strength
    picture = np.stack([1 - on, 1 - np.maximum(on, off) * 0.8, 1 - off], axis=-1)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def rate_over_time(recording: EventFile, bins: int = PLOT_BINS) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return window edges in seconds ``[bins + 1]`` and events per second ``[2, bins]``, ON and OFF."""
    times, polarity = recording.events["t"], recording.events["p"]
    start, stop = (int(times[0]), int(times[-1]) + 1) if len(times) else (0, 1)
    edges = np.linspace(start, stop, bins + 1)
    width = (stop - start) / bins / 1e6
    rates = np.stack([np.histogram(times[polarity == sign], edges)[0] / width for sign in (True, False)])
    return edges / 1e6, rates


def draw_events(recording: EventFile) -> str:
    """Return an SVG with the accumulated image and the rate of ON and OFF events over time."""
    width, height, _ = recording.sensor_size
    facts = show_events(recording)
    scale = min(480 / width, 360 / height)
    shown = (width * scale, height * scale)
    picture = base64.b64encode(_png(accumulated_image(event_counts(recording)))).decode()
    title = f"{Path(facts['path']).name}: {facts['events']} events in {facts['duration_s']:.3f} s, {width} x {height}"
    parts = [
        _STYLE,
        svg.text(20, 24, title),
        f'<image x="20" y="40" width="{svg.fixed(shown[0])}" height="{svg.fixed(shown[1])}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{picture}"/>',
        svg.text(20, shown[1] + 58, "events per pixel: ON", "onword"),
        svg.text(150, shown[1] + 58, "OFF", "offword"),
        *_rate_plot(recording, 90.0, shown[1] + 90),
    ]
    return svg.drawing(540, shown[1] + 300, title, parts)


def _rate_plot(recording: EventFile, left: float, top: float) -> list[str]:
    edges, rates = rate_over_time(recording)
    highest = float(rates.max()) or 1.0
    across = svg.Scale(float(edges[0]), float(edges[-1]), left, left + 420)
    up = svg.Scale(0.0, highest, top + 160, top)
    parts = [
        svg.line(left, top, left, top + 160, "axis"),
        svg.line(left, top + 160, left + 420, top + 160, "axis"),
        svg.text(left - 6, top + 4, f"{highest:.3g}", anchor="end"),
        svg.text(left - 6, top + 164, "0", anchor="end"),
        svg.text(left, top - 10, "events per second"),
        svg.text(left, top + 180, f"{edges[0]:.3f} s"),
        svg.text(left + 420, top + 180, f"{edges[-1]:.3f} s", anchor="end"),
    ]
    middle = (edges[1:] + edges[:-1]) / 2
    for values, css in zip(rates, ("on", "off"), strict=True):
        parts.append(svg.path([(across(x), up(y)) for x, y in zip(middle.tolist(), values.tolist(), strict=True)], css))
    return parts


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())


def save_drawing(path: str | Path, recording: EventFile) -> None:
    """Write the picture: ``.svg`` with image and rate, ``.png`` the accumulated image alone, pixel by pixel.

    Raises ``InputError`` E779 for another suffix or a folder that cannot be written.
    """
    file = Path(path)
    if file.suffix.lower() not in (".svg", ".png"):
        fix = "name it .svg or .png"
        raise InputError(Finding("E779", "error", str(file), f"suffix {file.suffix!r}", ".svg or .png", fix=fix))
    drawn = file.suffix.lower() == ".svg"
    content = draw_events(recording).encode() if drawn else _png(accumulated_image(event_counts(recording)))
    try:
        file.write_bytes(content)
    except OSError as error:
        fix = "check the folder and its rights"
        raise InputError(Finding("E779", "error", str(file), f"cannot be written: {error}", fix=fix)) from error

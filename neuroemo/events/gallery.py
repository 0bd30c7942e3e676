"""The gallery: one moment of one video through every simulator, and its events in every representation.

Row one: the video frame, and the events between it and the frame before from the frame differences and from the pixel
model with both presets. Row two: the events of the last few frames, from the pixel model without noise, as temporal
binary representation, histogram, voxel grid and time surface. Blue is ON and vermilion OFF, as in the preview; a
darker colour is a larger number, and the note under each picture says what the darkest stands for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import to_event_array
from neuroemo.events.framediff import FrameDiffSettings, frame_difference
from neuroemo.events.preview import OFF_COLOUR, ON_COLOUR, draw_events, frame_time_us

Picture = npt.NDArray[np.uint8]
Events = npt.NDArray[Any]

COLUMNS = 4
PANEL = 256
GAP = 16
CAPTION = 44
SENS = 0.02
VOXEL_BINS = 4

_DARK = (0, 30, 60)


@dataclass(frozen=True, slots=True)
class GalleryPanel:
    """One picture uint8 [H, W, 3] of the gallery, its title, and a note that says how to read it."""

    title: str
    note: str
    picture: Picture


def face_gallery() -> tuple[GalleryPanel, ...]:
    """Return the gallery of one drawn face of 128 x 128 pixels at 30 frames per second, as it stands in docs/."""
    from neuroemo.datasets.faces_clip import clip_frames

    frames = clip_frames(0, 1, 1, 0.8, 0.5, size=128, frames=12, fps=30.0)
    return gallery(frames, 30.0, number=8)


def gallery(
    frames: npt.NDArray[np.uint8], fps: float, *, number: int, window: int = 4, sens: float = SENS
) -> tuple[GalleryPanel, ...]:
    """Return the eight pictures of the moment of frame ``number``.

    ``frames`` are gray, square, uint8 [F, S, S]; ``window`` is how many frame intervals the representations take.
    ``sens`` is the sensitivity of the frame differences.

    Raises ``InputError`` for other frames, or where fewer than ``window`` frames come before ``number``.
    """
    _check(frames, number, window)
    size = int(frames.shape[1])
    sensor = (size, size, 2)
    times = [frame_time_us(n, fps) for n in range(len(frames))]
    settings = FrameDiffSettings(size=size, steps=len(frames), sens=sens)
    simple, _ = to_event_array(frame_difference(frames, settings, fps=fps))
    pixel = {name: _pixel_events(frames, times, name) for name in ("clean", "noisy")}
    moment = (times[number - 1], times[number])
    span = (times[number - window], times[number])
    first = [
        GalleryPanel("video", f"frame {number} at {times[number] / 1e3:.0f} ms", _gray(frames[number])),
        _events_panel(f"frame differences, Sens {sens:g}", simple, sensor, moment),
        *(_events_panel(f"pixel model, {name}", pixel[name], sensor, moment) for name in pixel),
    ]
    return (*first, *_representations(pixel["clean"], sensor, span))


def _check(frames: npt.NDArray[np.uint8], number: int, window: int) -> None:
    shape = list(getattr(frames, "shape", []))
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or len(shape) != 3 or shape[1] != shape[2]:
        found = f"{getattr(frames, 'dtype', type(frames).__name__)} {shape}"
        raise InputError(Finding("E786", "error", "frames", found, "gray uint8 [F, S, S]", fix="use read_gray"))
    if not 1 <= window <= number < len(frames):
        found, limit = f"frame {number}, window {window}", f"1 <= window <= number < {len(frames)}"
        raise InputError(Finding("E786", "error", "number", found, limit, fix="choose a later frame"))


def _pixel_events(frames: npt.NDArray[np.uint8], times: Sequence[int], name: str) -> Events:
    from neuroemo.events.pixel.settings import preset
    from neuroemo.events.pixel.simulator import simulate_pixels

    events, _ = simulate_pixels(frames, times, preset(name))
    return events


def between(events: Events, span: tuple[int, int]) -> Events:
    """Return the events of ``start < t <= stop``, microseconds."""
    low, high = np.searchsorted(events["t"], span, side="right")
    return events[low:high]


def _events_panel(title: str, events: Events, sensor: tuple[int, int, int], span: tuple[int, int]) -> GalleryPanel:
    shown = between(events, span)
    on = int(np.count_nonzero(shown["p"]))
    note = f"{on:,} ON, {shown.size - on:,} OFF in {(span[1] - span[0]) / 1e3:.0f} ms"
    return GalleryPanel(title, note, draw_events(shown, sensor, sensor[0], sensor[1]))


def _representations(events: Events, sensor: tuple[int, int, int], span: tuple[int, int]) -> list[GalleryPanel]:
    """Return TBR, histogram, voxel grid and time surface of the events of a span."""
    from neuroemo.events.representations import (
        HistogramSettings,
        SurfaceSettings,
        TbrSettings,
        VoxelSettings,
        event_histogram,
        tbr,
        time_surface,
        voxel_grid,
    )

    start, stop = span
    length, shown = stop - start, between(events, span)
    once: dict[str, Any] = {"start_us": start, "count": 1, "closed": "right"}
    codes = tbr(shown, sensor, TbrSettings(dt_us=length / 8, **once)).values()[0, 0]
    counts = event_histogram(shown, sensor, HistogramSettings(dt_us=length, **once)).counts[0]
    voxels = voxel_grid(shown, sensor, VoxelSettings(bins=VOXEL_BINS, start_us=start, end_us=stop)).grid[:, 0]
    surfaces = time_surface(shown, sensor, SurfaceSettings(dt_us=length, tau_us=length / 2, **once)).surfaces[0]
    newer_on = surfaces[0] >= surfaces[1]
    net = counts[0] - counts[1]
    peak = float(abs(voxels).max())
    milliseconds = length / 1e3
    return [
        GalleryPanel("TBR", f"8 slices of {milliseconds / 8:.1f} ms, code / 256", _dark(codes)),
        GalleryPanel(
            "histogram, ON - OFF", f"{milliseconds:.0f} ms, darkest {int(abs(net).max())} events", _signed(net)
        ),
        GalleryPanel("voxel grid", f"{VOXEL_BINS} bins row by row, darkest {peak:.1f}", _signed(_mosaic(voxels))),
        GalleryPanel(
            "time surface",
            f"tau {milliseconds / 2:.0f} ms, newer polarity, darkest now",
            _signed(np.where(newer_on, surfaces[0], -surfaces[1]), 1.0),
        ),
    ]


def _gray(frame: npt.NDArray[np.uint8]) -> Picture:
    return np.repeat(frame[:, :, None], 3, axis=2)


def _mosaic(bins: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return four pictures [4, H, W] as one [2 H, 2 W], row by row."""
    return np.block([[bins[0], bins[1]], [bins[2], bins[3]]])


def _shade(share: npt.NDArray[np.float64], colour: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    return 255.0 + share[..., None] * (np.array(colour) - 255.0)


def _dark(share: npt.NDArray[Any]) -> Picture:
    """Return numbers in [0, 1] from white to dark."""
    return np.rint(_shade(share.astype(np.float64), _DARK)).astype(np.uint8)


def _signed(values: npt.NDArray[Any], limit: float | None = None) -> Picture:
    """Return numbers from vermilion (-limit) over white (0) to blue (+limit); without one, the largest is it.

    >>> _signed(np.array([[2, 0, -2]])).tolist()
    [[[0, 114, 178], [255, 255, 255], [213, 94, 0]]]
    """
    top = float(abs(values).max()) if limit is None else limit
    share = np.clip(values / max(top, 1e-12), -1, 1).astype(np.float64)
    blue, red = _shade(np.maximum(share, 0), ON_COLOUR), _shade(np.maximum(-share, 0), OFF_COLOUR)
    return np.rint(np.where((share >= 0)[..., None], blue, red)).astype(np.uint8)


def _enlarged(picture: Picture) -> Picture:
    import cv2

    return cast(Picture, cv2.resize(picture, (PANEL, PANEL), interpolation=cv2.INTER_NEAREST))


def _corner(index: int) -> tuple[int, int]:
    """Return left and top of a panel's picture."""
    row, column = divmod(index, COLUMNS)
    return GAP + column * (PANEL + GAP), GAP + row * (PANEL + CAPTION + GAP)


def _extent(count: int) -> tuple[int, int]:
    left, top = _corner(min(count, COLUMNS) - 1)[0], _corner(count - 1)[1]
    return left + PANEL + GAP, top + PANEL + CAPTION + GAP


def write_gallery(path: str | Path, panels: Sequence[GalleryPanel]) -> None:
    """Write the panels as one picture, PNG or SVG by the suffix of the path.

    Raises ``InputError`` for no panels, another suffix, or a path that cannot be written.
    """
    file = Path(path)
    makers: dict[str, Callable[[Sequence[GalleryPanel]], bytes]] = {".png": _png, ".svg": _svg}
    maker = makers.get(file.suffix.lower())
    if maker is None or not panels:
        found = f"suffix {file.suffix!r}, {len(panels)} pictures"
        raise InputError(Finding("E789", "error", str(file), found, ".png or .svg, and at least 1 picture"))
    try:
        file.write_bytes(maker(panels))
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E789", "error", str(file), found, fix=fix)) from error


def _encoded(picture: Picture) -> bytes:
    import cv2

    _, data = cv2.imencode(".png", picture[:, :, ::-1])
    return data.tobytes()


def _png(panels: Sequence[GalleryPanel]) -> bytes:
    import cv2

    width, height = _extent(len(panels))
    page = np.full((height, width, 3), 255, dtype=np.uint8)
    for index, panel in enumerate(panels):
        left, top = _corner(index)
        page[top : top + PANEL, left : left + PANEL] = _enlarged(panel.picture)
        cv2.rectangle(page, (left - 1, top - 1), (left + PANEL, top + PANEL), (190, 190, 190), 1)
        for text, below, size in ((panel.title, 17, 0.46), (panel.note, 34, 0.4)):
            place = (left, top + PANEL + below)
            cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 40), 1, cv2.LINE_AA)
    return _encoded(page)


def _svg(panels: Sequence[GalleryPanel]) -> bytes:
    width, height = _extent(len(panels))
    size = f'width="{PANEL}" height="{PANEL}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape("; ".join(f"{panel.title}: {panel.note}" for panel in panels))}">',
        "<style>text{font:13px sans-serif;fill:#282828}.note{font-size:11.5px;fill:#555}"
        "image{image-rendering:pixelated}rect{fill:none;stroke:#bebebe}</style>",
        f'<path fill="#fff" d="M0 0h{width}v{height}H0z"/>',
    ]
    for index, panel in enumerate(panels):
        left, top = _corner(index)
        data = base64.b64encode(_encoded(panel.picture)).decode()
        parts += [
            f'<image x="{left}" y="{top}" {size} href="data:image/png;base64,{data}"/>',
            f'<rect x="{left}" y="{top}" {size}/>',
            f'<text x="{left}" y="{top + PANEL + 17}">{escape(panel.title)}</text>',
            f'<text class="note" x="{left}" y="{top + PANEL + 34}">{escape(panel.note)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"]).encode()

"""The sensor of raw recordings whose headers do not state its size: named by the positions of their events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hw_targets.finding import Finding, InputError, MissingDependencyError
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.image_frames import first_few

SENSORS = ((304, 240), (320, 320), (640, 480), (1280, 720))
"""Width and height of Prophesee's sensors in pixels: Gen 1, GenX320, Gen 3, and Gen 4 or IMX636."""

_LARGEST = (2048, 2048)
_LOOKED_AT = 8


def check_sensor_sizes(entries: Sequence[DatasetEntry]) -> None:
    """Refuse raw recordings whose headers do not say how large the sensor is, naming the size that would hold them.

    The size is told from the positions in the first of these recordings: the smallest Prophesee sensor that has them.

    Raises ``InputError`` when there is one. Headers that cannot be read pass: reading the recording says why.
    """
    unsized = [entry for entry in entries if _has_no_size(entry.path)]
    if not unsized:
        return
    found = f"{len(unsized)} of {len(entries)} recordings do not say how large the sensor is: "
    found += first_few(entry.name for entry in unsized)
    fix = "give the size of the camera in pixels: --sensor WxH"
    reached = [extent for entry in unsized[:_LOOKED_AT] if (extent := _extent(entry.path)) is not None]
    if reached:
        width, height = max(x for x, _ in reached), max(y for _, y in reached)
        fit = next((size for size in SENSORS if size[0] >= width and size[1] >= height), None)
        if fit is not None:
            fix = f"--sensor {fit[0]}x{fit[1]}, the smallest Prophesee sensor that holds the events of "
            fix += (
                f"{len(reached)} of them (columns 0..{width - 1}, rows 0..{height - 1}), unless the camera is another"
            )
    raise InputError(Finding("E897", "error", "event_raw", found, "a geometry in the header, or --sensor", fix=fix))


def _has_no_size(path: Path) -> bool:
    from neuroemo.events.readers.prophesee_header import read_header

    try:
        return read_header(path).size is None
    except (InputError, OSError):
        return False


def _extent(path: Path) -> tuple[int, int] | None:
    """Return one more than the largest column and row of a recording, None where it cannot be read."""
    from neuroemo.events.readers import open_events

    try:
        events = open_events(path, sensor_size=_LARGEST, sort=True).events
    except (InputError, MissingDependencyError):
        return None
    return (int(events["x"].max()) + 1, int(events["y"].max()) + 1) if len(events) else None

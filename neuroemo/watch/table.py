"""The table of a watched recording: one line per event frame, on the disk before the next one is made.

Numbers are the shortest decimals that give back the network's float32, so that the table is the result itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError

HEADER = "time_s,valence,arousal,events\n"


@dataclass(slots=True)
class _Extent:
    """Smallest and largest value so far, and their sum."""

    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")

    def add(self, value: float) -> None:
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)


@dataclass(slots=True)
class Table:
    """A file of lines (time_s, valence, arousal, events); every line is one write, whole or absent.

    Raises ``InputError`` (E982) where the file cannot be written.
    """

    path: Path
    rows: int = 0
    last_us: int = 0
    _extents: tuple[_Extent, _Extent] = field(default_factory=lambda: (_Extent(), _Extent()))
    _file: int = -1

    def __post_init__(self) -> None:
        """Create the file, which must not be there."""
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise self._refusal(error) from error
        self._write(HEADER)

    def add(self, time_us: int, valence: float, arousal: float, events: int) -> None:
        """Write one line."""
        self._write(f"{time_us / 1e6:.6f},{_shortest(valence)},{_shortest(arousal)},{events}\n")
        for extent, value in zip(self._extents, (valence, arousal), strict=True):
            extent.add(value)
        self.rows, self.last_us = self.rows + 1, time_us

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def summary(self) -> dict[str, Any]:
        """Return mean, min and max of both outputs and the frame farthest from the mean, all null without a row.

        Farthest by Euclidean distance, the first of several; it is found in the file, not in memory.
        """
        if not self.rows:
            return {"valence": None, "arousal": None, "farthest": None}
        means = [extent.total / self.rows for extent in self._extents]
        told: dict[str, Any] = {
            name: {"mean": mean, "min": extent.low, "max": extent.high}
            for name, mean, extent in zip(("valence", "arousal"), means, self._extents, strict=True)
        }
        return told | {"farthest": farthest(self.path, means[0], means[1])}

    def _write(self, line: str) -> None:
        data = line.encode()
        try:
            written = os.write(self._file, data)
            if written < len(data):
                os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)
                raise OSError(28, "no space left on device")
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> InputError:
        found, fix = f"cannot be written: {error.strerror or error}", "check the path, its rights and the free space"
        return InputError(Finding("E982", "error", str(self.path), found, fix=fix))


def _shortest(value: float) -> str:
    """Return the shortest decimal that rounds to a float32.

    >>> _shortest(float(np.float32(0.1))), _shortest(-1.0), _shortest(float(np.float32(1e-7)))
    ('0.1', '-1.0', '0.0000001')
    """
    return np.format_float_positional(np.float32(value), unique=True, trim="0")


def farthest(path: Path, valence: float, arousal: float) -> dict[str, Any]:
    """Return the row of a table that lies farthest from a point: frame (from 0), time_s, valence, arousal, distance."""
    best: dict[str, Any] = {"distance": -1.0}
    with path.open(encoding="ascii") as lines:
        next(lines)
        for number, line in enumerate(lines):
            time, *values = (float(word) for word in line.split(",")[:3])
            distance = float(np.hypot(values[0] - valence, values[1] - arousal))
            if distance > best["distance"]:
                best = {
                    "frame": number,
                    "time_s": time,
                    "valence": values[0],
                    "arousal": values[1],
                    "distance": distance,
                }
    return best

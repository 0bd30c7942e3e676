"""Watching: a source of event frames, a network's estimates, a film and a table, all of them streams.

Memory does not grow with the recording: what is held is one chunk of the network, the last seconds of the curves, and
one page.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.watch.binary_stream import Events
from neuroemo.watch.estimates import Predict, estimated
from neuroemo.watch.film import Film
from neuroemo.watch.outputs import Outputs
from neuroemo.watch.page import HEIGHT, WIDTH, Pages
from neuroemo.watch.source import Moment, Source
from neuroemo.watch.table import Table

Progress = Callable[[int, int, str], None]
"""Called with event frames done, event frames expected (0: unknown), and a remark."""

LOWEST_FPS, HIGHEST_FPS = 0.1, 1000.0
USUAL_FPS = 60.0
"""Pages per second of a film without ``fps``, where the event frames come faster."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A network: ``predict`` (see ``estimates``), the ``length`` of its chunks in frames, and its name in the head."""

    predict: Predict
    length: int
    name: str


def watch(
    source: Source,
    estimator: Estimator,
    outputs: Outputs,
    *,
    fps: float | None = None,
    progress: Progress | None = None,
    stop: Callable[[], int] | None = None,
) -> dict[str, Any]:
    """Write film and table of a source; return what they hold, ready for JSON.

    ``fps`` are pages per second of the film, at most one per event frame (the default, up to 60); a page shows all
    events since the page before, and every estimate has its row whatever the pages. When ``stop()`` is not 0 both
    files are ended as they are, and ``interrupted`` is true. ``seconds`` is the time that the event frames cover;
    ``delay_frames`` how many frames an estimate waits for its chunk.

    Raises ``InputError``: E980 a rate out of range or a source without an event frame, E981 and E982 for the files,
    and whatever the source or the network refuses; what was written until then stays under the names of ``growing``.
    """
    rate = _page_rate(source, fps)
    outputs.check()
    outputs.discard()
    work = _Work(source, estimator, outputs, rate)
    with work.ended():
        for moment, valence, arousal in estimated(
            source.moments(), lambda moment: moment.frame.codes, work.predict, estimator.length
        ):
            work.add(moment, valence, arousal)
            if progress is not None:
                progress(work.table.rows, source.expected or 0, _remark(work.table.last_us - source.origin_us))
            if stop is not None and stop():
                work.interrupted = True
                break
    return work.told()


def _remark(time_us: int) -> str:
    from neuroemo.watch.theme import clock

    return f"at {clock(time_us / 1e6)}"


def _page_rate(source: Source, fps: float | None) -> float:
    frames_per_s = 1e6 / source.frame_us
    if fps is None:
        return min(frames_per_s, USUAL_FPS)
    high = min(frames_per_s, HIGHEST_FPS)
    if not LOWEST_FPS <= fps <= high * (1 + 1e-9):
        limit = f"{min(LOWEST_FPS, high):g}..{high:g}, the event frames per second"
        raise InputError(Finding("E980", "error", "fps", f"{fps:g}", limit, fix="leave it out: a page per event frame"))
    return fps


@dataclass(slots=True)
class _Work:
    """Film and table under way."""

    source: Source
    estimator: Estimator
    outputs: Outputs
    rate: float
    table: Table = field(init=False)
    film: Film | None = None
    pages: Pages | None = None
    interrupted: bool = False
    begin_us: int | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "drawing": 0.0, "encoding": 0.0})
    _since: list[Events] = field(default_factory=list)
    _last: tuple[float, Moment] | None = None
    _began: float = field(default_factory=time.process_time)

    def __post_init__(self) -> None:
        self.table = Table(self.outputs.growing_table)

    def predict(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        with self._timed("model"):
            return self.estimator.predict(codes)

    def add(self, moment: Moment, valence: float, arousal: float) -> None:
        frame = moment.frame
        self.begin_us = frame.start_us if self.begin_us is None else self.begin_us
        self.table.add(frame.end_us, valence, arousal, len(frame.events))
        with self._timed("drawing"):
            if self.pages is None:
                shape = None if moment.picture is None else (moment.picture.shape[1], moment.picture.shape[0])
                self.pages = Pages(self.source.name, self.estimator.name, self.source.sensor, shape)
            self.pages.estimate((frame.end_us - self.source.origin_us) / 1e6, valence, arousal)
        self._since.append(frame.events)
        self._last = ((frame.end_us - self.source.origin_us) / 1e6, moment)
        due = 0 if self.film is None else self.film.pages
        if frame.end_us - self.begin_us >= round((due + 1) * 1e6 / self.rate):
            self._page()

    def _page(self) -> None:
        if self.pages is None or self._last is None or not self._since:
            return
        with self._timed("drawing"):
            events = self._since[0] if len(self._since) == 1 else np.concatenate(self._since)
            page = self.pages.page(self._last[0], self._last[1].picture, events)
        self._since = []
        with self._timed("encoding"):
            if self.film is None:
                self.film = Film(self.outputs.growing_film, WIDTH, HEIGHT, self.rate)
            self.film.add(page, round(self.film.pages * 1e6 / self.rate))

    @contextmanager
    def ended(self) -> Iterator[None]:
        """End both files however the block ends."""
        try:
            yield
            # A stop or the end may fall between two pages.
            self._page()
        except InputError as error:
            raise InputError([*error.findings, *self._left()]) from error
        finally:
            self._close()
        if not self.table.rows:
            self.outputs.discard()
            if not self.interrupted:
                limit = f"{self.source.frame_us} us, one event frame"
                raise InputError(Finding("E980", "error", self.source.name, "too short for an event frame", limit))

    def _left(self) -> list[Finding]:
        """Close what is there and say where it is; without a row there is nothing to keep."""
        self._close()
        if not self.table.rows:
            self.outputs.discard()
            return []
        found = f"holds {self.table.rows} event frames, to {_remark(self.table.last_us)[3:]}"
        kept = [path for path in (self.outputs.growing_film, self.outputs.growing_table) if path.exists()]
        return [Finding("W986", "warning", str(path), found) for path in kept]

    def _close(self) -> None:
        self.table.close()
        if self.film is not None:
            self.film.close()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[part] += time.process_time() - start

    def told(self) -> dict[str, Any]:
        """Put both files in their places and say what they hold."""
        facts = self.table.summary()
        if self.table.rows and self.film is not None:
            try:
                self.film.finish(self.outputs.film)
                _place(self.outputs.growing_table, self.outputs.table)
            except InputError as error:
                raise InputError([*error.findings, *self._left()]) from error
        covered = 0 if self.begin_us is None else self.table.last_us - self.begin_us
        in_all = time.process_time() - self._began
        return {
            "source": {"name": self.source.name, "kind": self.source.kind, "sensor": list(self.source.sensor)},
            "frames": self.table.rows,
            "expected_frames": self.source.expected,
            "seconds": covered / 1e6,
            "pages": 0 if self.film is None else self.film.pages,
            "fps": self.rate,
            "delay_frames": self.estimator.length - 1,
            "delay_s": (self.estimator.length - 1) * self.source.frame_us / 1e6,
            **facts,
            "film": str(self.outputs.film) if self.table.rows else None,
            "csv": str(self.outputs.table) if self.table.rows else None,
            "interrupted": self.interrupted,
            "processor_s": self.seconds | {"in_all": in_all},
        }


def _place(growing: Path, final: Path) -> None:
    try:
        os.replace(growing, final)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise InputError(Finding("E982", "error", str(final), found, fix="check the path and its rights")) from error

"""Choosing the sensitivity of the frame differences for a wanted event density of a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.catalogue import Listed
from neuroemo.datasets.clip_source import ClipSource, read_frames, source_of
from neuroemo.datasets.runner import run_jobs
from neuroemo.events.density import SensChoice, choose_sens, count_changes, sens_candidates, try_candidates
from neuroemo.events.framediff import FrameDiffSettings

Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DataSetChoice:
    """The sensitivity chosen, and on how many clips of which split ("train", or "all" where there is none)."""

    choice: SensChoice
    clips: int
    split: str

    def told(self, wanted: float) -> dict[str, Any]:
        """Return the choice as a JSON-ready dictionary, beside the density that was wanted."""
        return {"wanted": wanted, **asdict(self.choice), "clips": self.clips, "split": self.split}


@dataclass(frozen=True, slots=True)
class _Job:
    source: ClipSource
    settings: FrameDiffSettings
    candidates: npt.NDArray[np.float64] | None = None


def sens_of_data_set(
    listed: Listed,
    settings: FrameDiffSettings,
    wanted: float,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> DataSetChoice:
    """Return the sensitivity at which the training clips have the density nearest to ``wanted``, a share of pixels.

    Density is counted over all training clips together, over the frames that ``settings`` use; other splits are
    not looked at, so that nothing of the test clips decides about the input. Clips that cannot be read do not count:
    preparing them says why. Against the level of the last event the clips are read twice.

    Raises ``InputError`` for a density out of reach, or when no clip can be read.
    """
    training = [entry for entry in listed.entries if entry.split == "train"]
    chosen, split = (training, "train") if training else (list(listed.entries), "all")
    sources = [source_of(entry, listed.options) for entry in chosen]

    def total(candidates: npt.NDArray[np.float64] | None) -> tuple[Integers, int]:
        jobs = [_Job(source, settings, candidates) for source in sources]
        return _sum(_count if candidates is None else _try, jobs, workers, scheduler, progress)

    changes, clips = total(None)
    tried = total(sens_candidates(changes, settings.rule))[0] if settings.reference == "event" else None
    return DataSetChoice(choose_sens(changes, wanted, rule=settings.rule, tried=tried), clips, split)


def _sum(
    function: Callable[[_Job], Any],
    jobs: Sequence[_Job],
    workers: int,
    scheduler: str | None,
    progress: Progress | None,
) -> tuple[Integers, int]:
    """Return the sum over the clips that can be read, and their number."""
    total: Integers | None = None
    clips = 0
    refused: list[Finding] = []
    for done, (_, outcome) in enumerate(run_jobs(function, jobs, workers=workers, scheduler=scheduler), start=1):
        if isinstance(outcome, np.ndarray):
            total = outcome.copy() if total is None else total + outcome
            clips += 1
        elif isinstance(outcome, tuple):
            refused += outcome
        if progress is not None:
            progress(done, len(jobs))
    if total is None:
        fix = "check that the data set is what its name says"
        raise InputError([*refused, Finding("E868", "error", "--density", "no clip can be read", fix=fix)])
    return total, clips


def _count(job: _Job) -> Integers | tuple[Finding, ...]:
    """Count the changes of one clip (runs in a worker process)."""
    try:
        return count_changes(read_frames(job.source, job.settings))
    except InputError as error:
        return error.findings


def _try(job: _Job) -> Integers | tuple[Finding, ...]:
    """Simulate one clip at every candidate (runs in a worker process)."""
    candidates = np.zeros(0) if job.candidates is None else job.candidates
    try:
        return try_candidates([read_frames(job.source, job.settings)], job.settings.rule, candidates)
    except InputError as error:
        return error.findings


def chosen_text(chosen: dict[str, Any]) -> str:
    """Return the line that says which sensitivity was chosen."""
    clips = f"{chosen['clips']} clip(s)" + (" of the training split" if chosen["split"] == "train" else "")
    return (
        f"sens {chosen['sens']:.6g} chosen: {chosen['density']['any_polarity']:.2%} of pixels carry an event "
        f"in a step of {clips} (wanted {chosen['wanted']:.2%})"
    )


def bit_warnings(settings: object) -> list[Finding]:
    """Return a warning where a stored clip holds less than the simulator gives: several events become one bit.

    >>> bit_warnings(FrameDiffSettings())
    []
    """
    if not isinstance(settings, FrameDiffSettings) or settings.events_per_step == "one":
        return []
    same = "; with --reference previous the clips are those of one event per step" * (settings.reference == "previous")
    found = f"a clip keeps one bit per pixel, polarity and step: how many events a step held is lost{same}"
    fix = "`neuroemo events VIDEO -o FILE` keeps every event"
    return [Finding("W897", "warning", "--events-per-step several", found, fix=fix)]

"""All work of a table: what is not done yet is done in worker processes, shown, interrupted, and never done twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import read_json
from hw_targets.finding import Finding, InputError
from neuroemo.datasets.runner import DIED, run_jobs
from neuroemo.reproduce.affect_run import STOP, AffectJob, Job, finished, run_job
from neuroemo.reproduce.table1 import Interrupted, stop_file_at_interrupt

if TYPE_CHECKING:
    from neuroemo.console import Console, Report

LOOK_EVERY_S = 1.0
PARTS_OF_A_JOB = 1000


def do_all(
    jobs: Sequence[Job], out: Path, console: Console, *, workers: int | None = None, title: str = "train"
) -> list[dict[str, Any]]:
    """Do what is not finished, and return the records of all jobs in their order.

    Raises:
        InputError: a job failed; the others are finished first.
        Interrupted: Ctrl-C; what was under way is saved.
    """
    records = {at: known for at, job in enumerate(jobs) if (known := finished(job)) is not None}
    missing = [at for at in range(len(jobs)) if at not in records]
    if records:
        console.say(f"{title}: {len(records)} of {len(jobs)} were finished before")
    (out / "runs").mkdir(parents=True, exist_ok=True)
    (out / STOP).unlink(missing_ok=True)  # left by an interrupt for runs that were still under way
    failed: dict[Finding, None] = {}
    try:
        with stop_file_at_interrupt(out / STOP), _watched(jobs, records, console, title):
            todo = [jobs[at] for at in missing]
            processes = min(workers or 2, max(1, len(todo)))
            with closing(run_jobs(run_job, todo, workers=processes, method="spawn")) as outcomes:
                for place, outcome in outcomes:
                    job = jobs[missing[place]]
                    if isinstance(outcome, dict) and outcome.get("stopped"):
                        raise KeyboardInterrupt
                    if isinstance(outcome, dict) and "findings" not in outcome:
                        records[missing[place]] = outcome
                        console.say(f"{len(records)} of {len(jobs)}: {job.name}{_result(job, outcome)}")
                    else:
                        failed |= dict.fromkeys(_failure(job, outcome))
    except KeyboardInterrupt:
        raise Interrupted(len(records), len(jobs)) from None
    if failed:
        raise InputError(list(failed))
    return [records[at] for at in range(len(jobs))]


def _result(job: Job, record: dict[str, Any]) -> str:
    if isinstance(job, AffectJob):
        best, of = record["best_epoch"], record["epochs"]
        return f": validation CCC {record['validation']['ccc']:.3f} (epoch {best} of {of} was best)"
    told = record["emotions"]
    return f": {told['correct']} of {told['clips']} right"


def _failure(job: Job, outcome: Any) -> list[Finding]:
    if outcome is DIED:
        fix = "there may be too little memory: fewer --workers; then the same command continues"
        found = "its worker process died, also when tried again alone"
        return [Finding("E933", "error", job.name, found, fix=fix)]
    return [Finding(**finding) for finding in outcome["findings"]]


@contextmanager
def _watched(jobs: Sequence[Job], records: dict[int, Any], console: Console, title: str) -> Iterator[None]:
    """Show how far all jobs are while they go on: each tells it in its own folder."""
    if console.quiet or len(records) == len(jobs):
        yield
        return
    over = threading.Event()
    with console.progress(title) as report:
        watcher = threading.Thread(target=_watch, args=(jobs, records, report, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def _watch(jobs: Sequence[Job], records: dict[int, Any], report: Report, over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        shares, notes = 0.0, []
        for at, job in enumerate(jobs):
            told = {"share": 1.0} if at in records else _progress_of(job)
            if told is None:
                continue
            shares += float(told["share"])
            if at not in records:
                notes.append(f"{job.name}: {told.get('note', '')}")
        done = int(PARTS_OF_A_JOB * shares)
        report(
            done,
            PARTS_OF_A_JOB * len(jobs),
            f"run {min(len(records) + 1, len(jobs))} of {len(jobs)}; {'; '.join(notes)}",
        )


def _progress_of(job: Job) -> dict[str, Any] | None:
    try:
        told = read_json(job.progress_file, "how far a run is")
        return told if isinstance(told.get("share"), float | int) else None
    except InputError:
        return None

"""Table I from one command: clips, eight networks over several seeds, and the report, resumable at any moment.

Every run is a folder of its own (``table1_run``); whoever shares the folder may share the work: processes of this
machine or the workers of a Dask cluster. A finished run is never trained again, a killed one goes on after its last
epoch, and the report is made from the finished runs alone, so it does not depend on who did what when.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import read_json, write_json
from hw_targets.finding import Finding, InputError
from neuroemo.datasets.runner import DIED, run_jobs
from neuroemo.reproduce.table1_data import Table1Data, open_table_data
from neuroemo.reproduce.table1_run import PROGRESS, STOP, RunJob, finished_run, plan_run, run_job, try_lock
from neuroemo.reproduce.table1_settings import Table1Settings, spec_of

if TYPE_CHECKING:
    from neuroemo.console import Console, Report

LOOK_EVERY_S = 1.0
BASELINES = "baselines.json"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while the runs were under way, with how many are finished."""

    def __init__(self, finished: int, total: int) -> None:
        super().__init__(f"{finished} of {total} runs finished")
        self.finished, self.total = finished, total


def reproduce_table1(settings: Table1Settings, console: Console) -> dict[str, Any]:
    """Do what is not done yet and return the report (``table1_document``), also written to ``settings.out``.

    Raises:
        InputError: the data are not what they should be, a run failed (the others are finished first), or another
            process works in the folder.
        Interrupted: Ctrl-C; the same command continues.
    """
    from neuroemo.reproduce.table1_document import assemble
    from neuroemo.reproduce.table1_files import write_table1

    with own_folder(settings.out):
        data = open_table_data(settings, console)
        try:
            jobs = plan(settings, data)
            baselines = _baselines(data, settings.out, console)
            records = train_all(jobs, settings, console)
            report = assemble(settings, data, jobs, records, baselines)
        finally:
            data.close()
        write_table1(report, settings.out)
    return report


def plan(settings: Table1Settings, data: Table1Data) -> list[RunJob]:
    """Return all runs, seed by seed, so that an unfinished table has whole columns and the time left is even."""
    jobs = []
    for seed in range(settings.seeds):
        for model in settings.models:
            store = data.of(model)
            spec = spec_of(model, store.settings.size, store.settings.steps, len(store.classes))
            jobs.append(plan_run(model, spec, settings.train_settings(seed, spec), store, settings.out))
    return jobs


def train_all(jobs: list[RunJob], settings: Table1Settings, console: Console) -> list[dict[str, Any]]:
    """Train what is not finished, and return the records of all runs in the order of ``jobs``."""
    records = {index: known for index, job in enumerate(jobs) if (known := finished_run(job)) is not None}
    missing = [index for index in range(len(jobs)) if index not in records]
    if records:
        console.say(f"{len(records)} of {len(jobs)} runs were finished before")
    (settings.out / "runs").mkdir(exist_ok=True)
    (settings.out / STOP).unlink(missing_ok=True)  # left by an interrupt for runs that were still under way
    failed: dict[Finding, None] = {}
    try:
        with stop_file_at_interrupt(settings.out / STOP), _watched(jobs, records, console):
            todo = [jobs[index] for index in missing]
            workers = min(settings.workers or 2, max(1, len(todo)))
            outcomes = run_jobs(run_job, todo, workers=workers, scheduler=settings.scheduler, method="spawn")
            with closing(outcomes):
                for place, outcome in outcomes:
                    job = jobs[missing[place]]
                    if isinstance(outcome, dict) and outcome.get("stopped"):
                        raise KeyboardInterrupt
                    if isinstance(outcome, dict) and "findings" not in outcome:
                        records[missing[place]] = outcome
                        console.say(_done_line(job, outcome, len(records), len(jobs)))
                    else:
                        failed |= dict.fromkeys(_failure(job, outcome))
    except KeyboardInterrupt:
        raise Interrupted(len(records), len(jobs)) from None
    if failed:
        raise InputError(list(failed))
    return [records[index] for index in range(len(jobs))]


def _done_line(job: RunJob, record: dict[str, Any], done: int, total: int) -> str:
    share = record["correct"] / record["clips"]
    return (
        f"run {done} of {total}: {job.model}, seed {job.seed}: {share:.1%} of {record['clips']} test clips "
        f"(epoch {record['best_epoch']} of {job.epochs} was best)"
    )


def _failure(job: RunJob, outcome: Any) -> list[Finding]:
    name = f"{job.model}, seed {job.seed}"
    if outcome is DIED:
        fix = "there may be too little memory: fewer --workers; then the same command continues"
        return [Finding("E933", "error", name, "its worker process died, also when tried again alone", fix=fix)]
    return [Finding(**finding) for finding in outcome["findings"]]


def _baselines(data: Table1Data, out: Path, console: Console) -> dict[str, Any]:
    """Return what needs no spiking network: chance, the majority class, the mean frame, the summed events."""
    from neuroemo.training import baseline

    store = data.any
    path, key = out / BASELINES, store.fingerprint()
    try:
        known = read_json(path, "the answers without a network")
    except InputError:
        known = {}
    if known.get("data") == key and "scores" in known:
        return dict(known["scores"])
    console.say("score what needs no network: the majority class, the mean frame, the summed events")
    scores = {
        "majority": baseline.majority_baseline(store).to_dict(),
        "mean_frame": baseline.mean_frame_baseline(store).to_dict(),
        "summed_events": baseline.summed_events_baseline(store).to_dict(),
    }
    write_json(path, {"data": key, "scores": scores})
    return scores


@contextmanager
def own_folder(out: Path) -> Iterator[None]:
    """Have the folder of the table for this process alone."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as file:
        if not try_lock(file):
            fix = "wait for it, stop it, or choose another folder with -o"
            raise InputError(Finding("E932", "error", str(out), "another process makes a table here", fix=fix))
        yield


@contextmanager
def stop_file_at_interrupt(stop: Path) -> Iterator[None]:
    """Let Ctrl-C leave a file that ends the runs of other processes too, before it does what it always does."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def handler(number: int, frame: Any) -> None:
        stop.touch()
        before(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _watched(jobs: list[RunJob], records: dict[int, Any], console: Console) -> Iterator[None]:
    """Show how far all runs are while they go on, wherever they do: each tells it in its own folder."""
    if console.quiet:
        yield
        return
    over = threading.Event()
    with console.progress("train") as report:
        watcher = threading.Thread(target=_watch, args=(jobs, records, report, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def _watch(jobs: list[RunJob], records: dict[int, Any], report: Report, over: threading.Event) -> None:
    total = sum(job.epochs for job in jobs)
    while not over.wait(LOOK_EVERY_S):
        epochs, notes = 0.0, []
        for index, job in enumerate(jobs):
            told = {"epochs": job.epochs} if index in records else _progress_of(job)
            if told is None:
                continue
            epochs += float(told["epochs"])
            if index not in records:
                notes.append(_note(job, told))
        report(int(epochs), total, f"epochs; run {min(len(records) + 1, len(jobs))} of {len(jobs)}: {'; '.join(notes)}")


def _progress_of(job: RunJob) -> dict[str, Any] | None:
    try:
        return read_json(Path(job.folder) / PROGRESS, "how far a run is")
    except InputError:
        return None


def _note(job: RunJob, told: dict[str, Any]) -> str:
    seen = told.get("validation_accuracy")
    so_far = "" if seen is None else f", validation {seen:.0%}"
    return f"{job.model} seed {job.seed} epoch {min(int(told['epochs']) + 1, job.epochs)} of {job.epochs}{so_far}"

"""Runs the same function over many clips: in this process, in worker processes, or on a Dask cluster.

A worker that dies is part of the plan. Whatever it had in hand is run again elsewhere; a clip on which workers keep
dying is given up, and says so. Each job gives exactly one outcome.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from hw_targets.finding import Finding, InputError, MissingDependencyError
from neuroemo.datasets.pool import AHEAD, prepare_worker, start_method

Job = TypeVar("Job")
Result = TypeVar("Result")

CONNECT_S = 30.0

_PER_WORKER = 4


class _Died:
    """What came of a job on which workers died."""


DIED = _Died()
"""The outcome of a job whose worker died, also when it ran alone."""


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int = 2,
    scheduler: str | None = None,
    method: str | None = None,
) -> Generator[tuple[int, Result | _Died], None, None]:
    """Yield (index, ``function(job)``) for every job once, in the order in which they finish.

    ``scheduler`` is the address of a Dask scheduler, e.g. ``tcp://host:8786``; without it ``workers`` processes
    of this machine do the work, and with ``workers=1`` this process itself, which a decoder that crashes takes
    with it. The function must be importable, by name, where it runs. ``method`` is how processes start; "spawn" for
    a function that uses torch, whose thread pools do not survive a fork.

    Raises ``InputError`` when the scheduler cannot be reached, ``MissingDependencyError`` without Dask.
    """
    if scheduler is not None:
        yield from _run_on_cluster(function, jobs, scheduler)
    elif workers <= 1:
        for index, job in enumerate(jobs):
            yield index, function(job)
    else:
        yield from _run_here(function, jobs, workers, method or start_method())


def _run_here(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int, method: str
) -> Iterator[tuple[int, Result | _Died]]:
    """Run in processes; when one dies, those under way are tried again one by one, each in a process of its own."""
    waiting = list(range(len(jobs)))[::-1]
    while waiting:
        suspects: list[int] = []
        yield from _run_pool(function, jobs, waiting, workers, suspects, method)
        for index in suspects:
            alone = [index]
            doubly: list[int] = []
            yield from _run_pool(function, jobs, alone, 1, doubly, method)
            for dead in doubly:
                yield dead, DIED


def _run_pool(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    waiting: list[int],
    workers: int,
    suspects: list[int],
    method: str,
) -> Iterator[tuple[int, Result]]:
    """Empty ``waiting``; stop when a worker dies, with ``suspects`` those that were under way."""
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)
    under_way: dict[Future[Result], int] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < AHEAD * workers:
                under_way[pool.submit(function, jobs[waiting[-1]])] = waiting[-1]
                waiting.pop()
            done = next(as_completed(under_way))
            result = done.result()
            yield under_way.pop(done), result
    except BrokenProcessPool:
        suspects.extend(sorted(under_way.values()))
    finally:
        pool.shutdown(cancel_futures=True)


def _run_on_cluster(
    function: Callable[[Job], Result], jobs: Sequence[Job], address: str
) -> Iterator[tuple[int, Result | _Died]]:
    """Run on a cluster; jobs that Dask gave up are tried again one by one.

    Dask counts a dead worker against all that it had in hand, so sound clips may be given up beside the one that kills.
    """
    client = _connect(address)
    suspects: list[int] = []
    try:
        for index, outcome in _run_window(client, function, jobs, range(len(jobs)), address, alone=False):
            if outcome is DIED:
                suspects.append(index)
            else:
                yield index, outcome
        yield from _run_window(client, function, jobs, sorted(suspects), address, alone=True)
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:
        raise _lost(address, f"connection lost: {error}") from error
    finally:
        client.close()


def _run_window(
    client: Any,
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    indices: Sequence[int],
    address: str,
    *,
    alone: bool,
) -> Iterator[tuple[int, Any]]:
    """Keep a few jobs per thread of the cluster under way; results come here and are let go there at once."""
    from distributed import CancelledError, KilledWorker
    from distributed import as_completed as completed

    under_way: dict[str, int] = {}
    finished = completed(loop=client.loop)
    waiting = iter(indices)

    def top_up() -> None:
        threads = sum(client.nthreads().values())
        while len(under_way) < (1 if alone else max(1, _PER_WORKER * threads)):
            index = next(waiting, None)
            if index is None:
                return
            future = client.submit(function, jobs[index], pure=False)
            under_way[future.key] = index
            finished.add(future)

    top_up()
    while under_way:
        future = next(finished)
        try:
            outcome: Any = future.result()
        except KilledWorker:
            outcome = DIED
        except (CancelledError, ImportError) as error:
            raise _lost(address, f"a worker cannot do the work: {type(error).__name__} {error}") from error
        index = under_way.pop(future.key)
        future.release()
        top_up()
        yield index, outcome


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        found, fix = "distributed is not installed", "pip install distributed, or leave --scheduler out"
        raise MissingDependencyError(Finding("E798", "error", "--scheduler", found, fix=fix)) from error
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
        found = f"no Dask scheduler answers: {(str(error).splitlines() or [''])[0]}"
        raise _lost(address, found) from error


def _lost(address: str, found: str) -> InputError:
    fix = "check the address and the scheduler, and run the same command again: finished clips are kept"
    return InputError(Finding("E798", "error", address, found, fix=fix))

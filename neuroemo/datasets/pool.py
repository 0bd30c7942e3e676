"""A process pool that gives results in the order of the jobs, for rendering and decoding clips."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from hw_targets.finding import Finding, InputError

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 8
"""Jobs in flight per worker: enough to keep it busy, few enough to bound the memory of waiting results."""


_WATCH_S = 1.0


def start_method() -> str:
    """Fork where it is the custom (a script without a main guard then works), else spawn.

    The workers run OpenCV single-threaded and never torch, so the thread pools that torch may already
    have in the parent are not used in the child.
    """
    return "fork" if sys.platform == "linux" else "spawn"


def prepare_worker() -> None:
    """Set up a worker process: OpenCV in one thread, Ctrl-C left to the parent."""
    import cv2

    # Ctrl-C reaches the whole group; the parent alone answers it, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # 0 runs OpenCV in the calling thread and leaves alone a thread pool that did not survive the fork.
    cv2.setNumThreads(0)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed parent cannot tell its workers to stop."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def parallel_map(function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int) -> Iterator[Result]:
    """Yield ``function(job)`` for every job, in order; ``workers <= 1`` runs in this process.

    Raises ``InputError`` when a worker process dies, which a decoder does on some damaged videos.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield function(job)
        return
    context = multiprocessing.get_context(start_method())
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=prepare_worker)
    pending: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) >= AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        fix = "run again with workers=1 to see which one, and check the free memory"
        raise InputError(Finding("E760", "error", "workers", "a worker process died", fix=fix)) from error
    finally:
        pool.shutdown(cancel_futures=True)

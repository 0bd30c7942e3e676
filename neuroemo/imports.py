"""Importing packages that talk while they are imported, and that are deaf to Ctrl-C meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


def import_quietly(name: str) -> Any:
    """Import a module without its greetings, and without losing a Ctrl-C.

    SpikingJelly prints when optional data sets are missing, and catches every exception, KeyboardInterrupt
    included, while it looks for Lava: an interrupt in those seconds would be swallowed.
    """
    if name in sys.modules:
        return sys.modules[name]
    with (
        interrupts_held_back(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return importlib.import_module(name)


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Keep a SIGINT until the block has ended, then raise KeyboardInterrupt.

    Does nothing in other threads, and nothing where interrupts are ignored (a job started in the background).
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        raise KeyboardInterrupt

"""What a verb shows: results on stdout, progress and remarks on stderr, errors as findings with an exit code."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from hw_targets.finding import Finding, NeuroEmoError

Report = Callable[[int, int, str], None]
"""Called with units done, units in all, and a remark."""

LINE_EVERY_S = 15.0
BUG = Finding("E001", "error", "neuroemo", "an error of ours", fix="run again with -v and report what it prints")


class Console:
    """One verb's output. While it runs, ``sys.stdout`` is stderr, so that no library can spoil the result."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        self._result: TextIO = sys.stdout
        sys.stdout = sys.stderr

    def close(self) -> None:
        """Give stdout back."""
        sys.stdout = self._result

    def say(self, text: str) -> None:
        """Print a remark on stderr."""
        if not self.quiet:
            sys.stderr.write(text + "\n")

    def show(self, result: dict[str, Any] | list[Any], text: str) -> None:
        """Print the result on stdout: the JSON object, or its text for people."""
        self._result.write((json.dumps(result, indent=1, allow_nan=False) if self.as_json else text) + "\n")
        self._result.flush()

    def fail(self, findings: tuple[Finding, ...], exit_code: int, more: dict[str, Any] | None = None) -> int:
        """Print findings, with ``more`` in the JSON object, and return the exit code."""
        if self.as_json:
            told = {"ok": False, "exit_code": exit_code, "findings": [f.to_dict() for f in findings]}
            self.show(told | (more or {}), "")
        for finding in findings:
            sys.stderr.write(f"neuroemo: {finding}\n")
        return exit_code

    def _lines(self, title: str) -> Report:
        """Return a progress function for a log file: one line every quarter of a minute."""
        started = spoken = time.monotonic()

        def report(done: int, total: int, note: str) -> None:
            nonlocal spoken
            now = time.monotonic()
            if now - spoken >= LINE_EVERY_S:
                spoken = now
                self.say(f"{title}: {done} of {total}, {time_left(done, total, now - started)} {note}".rstrip())

        return report

    @contextmanager
    def progress(self, title: str) -> Iterator[Report]:
        """Yield a function (done, total, note): a bar with the time left on a terminal, else a line now and then."""
        if self.quiet:
            yield _silence
            return
        if not sys.stderr.isatty():
            yield self._lines(title)
            return
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Terminal(stderr=True)) as bars:
            task = bars.add_task(title, total=None, note="")

            def draw(done: int, total: int, note: str) -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield draw


def time_left(done: int, total: int, elapsed: float) -> str:
    """Return the time left in words, from what the work done so far took.

    >>> time_left(25, 100, 60.0), time_left(0, 100, 1.0)
    ('3 min left', 'time left unknown')
    """
    if not done:
        return "time left unknown"
    seconds = elapsed * (total - done) / done
    return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"


def _silence(done: int, total: int, note: str) -> None:
    """Draw nothing."""


def run_verb(console: Console, verb: Callable[[], int]) -> int:
    """Run a verb and turn whatever happens into an exit code and one clear message."""
    try:
        return verb()
    except NeuroEmoError as error:
        return console.fail(error.findings, error.exit_code)
    except KeyboardInterrupt:
        return console.fail((Finding("E009", "error", "", "interrupted", fix="the same command continues"),), 130)
    except MemoryError:
        return console.fail(
            (
                Finding(
                    "E002",
                    "error",
                    "",
                    "out of memory",
                    fix="use smaller frames, fewer steps or smaller batches",
                ),
            ),
            2,
        )
    except OSError as error:
        where = str(error.filename or "")
        return console.fail((Finding("E003", "error", where, error.strerror or str(error)),), 2)
    except Exception as error:
        if console.verbose:
            traceback.print_exc(file=sys.stderr)
        found = Finding(BUG.code, BUG.severity, BUG.node, f"{type(error).__name__}: {error}", fix=BUG.fix)
        return console.fail((found,), 1)
    finally:
        console.close()

"""`neuroemo reproduce table1` from the command line: the table on stdout, how to go on after Ctrl-C."""

from __future__ import annotations

import shlex
from argparse import Namespace

from hw_targets.finding import Finding
from neuroemo.console import Console
from neuroemo.reproduce.table1_settings import command_line, settings_from


def table1(args: Namespace, console: Console) -> int:
    """Train the networks of Table I and show them beside the paper's accuracies."""
    settings = settings_from(args)
    from neuroemo.reproduce.table1 import Interrupted, reproduce_table1
    from neuroemo.reproduce.table1_files import FILES
    from neuroemo.reproduce.table1_text import table_text

    try:
        report = reproduce_table1(settings, console)
    except KeyboardInterrupt as error:
        done = f", {error}" if isinstance(error, Interrupted) else " before the first run"
        found = Finding("E935", "error", str(args.output), f"interrupted{done}", fix=f"to continue: {_again(args)}")
        return console.fail((found,), 130)
    written = [str(settings.out / name) for name in FILES]
    text = f"{table_text(report)}\n\nlook at {settings.out / 'report.html'}; also {', '.join(FILES[2:])}, {FILES[0]}"
    console.show({"ok": True} | report | {"written": written}, text)
    return 0


def _again(args: Namespace) -> str:
    """Return the command that continues: the same, with its place and its workers."""
    words = ["-o", str(args.output)]
    words += [] if args.workers is None else ["--workers", str(args.workers)]
    words += [] if args.scheduler is None else ["--scheduler", args.scheduler]
    return f"{command_line(args)} {shlex.join(words)}"

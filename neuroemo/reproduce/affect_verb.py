"""`neuroemo reproduce affect-tableN` from the command line: the table on stdout, how to go on after Ctrl-C."""

from __future__ import annotations

import shlex
from argparse import Namespace

from hw_targets.finding import Finding
from neuroemo.console import Console
from neuroemo.reproduce.affect_settings import command_line, settings_from


def affect_table(args: Namespace, console: Console) -> int:
    """Train the networks of a table of the second paper and show them beside its figures."""
    settings = settings_from(args)
    from neuroemo.reproduce.affect_files import FILES, table_text
    from neuroemo.reproduce.affect_tables import reproduce_affect_table
    from neuroemo.reproduce.table1 import Interrupted

    try:
        report = reproduce_affect_table(settings, console)
    except KeyboardInterrupt as error:
        done = f", {error}" if isinstance(error, Interrupted) else " before the first run"
        found = Finding("E935", "error", str(args.output), f"interrupted{done}", fix=f"to continue: {_again(args)}")
        return console.fail((found,), 130)
    written = [str(settings.folder / name) for name in FILES]
    look = f"look at {settings.folder / 'report.html'}; also {', '.join(FILES[2:])}, {FILES[0]}"
    console.show({"ok": True} | report | {"written": written}, f"{table_text(report)}\n\n{look}")
    return 0


def _again(args: Namespace) -> str:
    """Return the command that continues: the same, with its place and its workers."""
    words = ["-o", str(args.output)]
    words += [] if args.workers is None else ["--workers", str(args.workers)]
    return f"{command_line(args)} {shlex.join(words)}"

"""The verb `reproduce`: which table or figure, and its result shown. Heavy imports are late."""

from __future__ import annotations

from argparse import Namespace

from neuroemo.console import Console


def reproduce(args: Namespace, console: Console) -> int:
    """Make a table or a figure of the paper anew."""
    if args.what == "table1":
        from neuroemo.reproduce.table1_verb import table1

        return table1(args, console)
    if args.what == "table2":
        from neuroemo.energy.verb import table2

        return table2(args, console)
    if args.what.startswith("affect-"):
        from neuroemo.reproduce.affect_verb import affect_table

        return affect_table(args, console)
    from neuroemo.reproduce import figure2, figure3

    return (figure2 if args.what == "figure2" else figure3).run(args, console)

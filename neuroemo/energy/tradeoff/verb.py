"""`neuroemo energy tradeoff REPORT ...`: accuracy against energy of several networks, for people or as JSON."""

from __future__ import annotations

import json
import shlex
import shutil
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console
from neuroemo.energy.options import printable

REPORT, PAGE = "report.json", "report.html"


def tradeoff(args: Namespace, console: Console) -> int:
    """Put several energy reports into one picture of accuracy against energy."""
    from neuroemo.energy.schema import read_energy_report
    from neuroemo.energy.tradeoff.document import read_evaluation, tradeoff_document
    from neuroemo.energy.tradeoff.text import tradeoff_text

    names = names_of(args.reports)
    evaluations = {names[report]: read_evaluation(scored) for report, scored in _pairs(args.ann, names).items()}
    reports = {name: read_energy_report(path) for path, name in names.items()}
    document = tradeoff_document(reports, evaluations, args.scenario, _command(args))
    told: dict[str, Any] = {"ok": True, "exit_code": 0} | document
    text = tradeoff_text(document)
    if args.output is not None:
        told["written"] = [str(path) for path in write_tradeoff(document, args.output, force=args.force)]
        text += f"\nlook at {args.output / PAGE}"
    console.show(told, text)
    return 0


def names_of(paths: list[Path]) -> dict[Path, str]:
    """Return what each report is called in the picture: its folder's name, or with the folders above to tell apart.

    >>> list(names_of([Path("cost/a"), Path("cost/b/report.json")]).values())
    ['a', 'b']
    >>> list(names_of([Path("one/cost"), Path("two/cost")]).values())
    ['one/cost', 'two/cost']
    """
    folders = {path: path.resolve().parent if path.suffix == ".json" else path.resolve() for path in paths}
    twice = [path for path, count in Counter(paths).items() if count > 1]
    twice += [path for path in folders if sum(folder == folders[path] for folder in folders.values()) > 1]
    if twice:
        raise InputError(Finding("E878", "error", str(twice[0]), "is named twice", "each report once"))
    depth = 1
    while len({folder.parts[-depth:] for folder in folders.values()}) < len(folders):
        depth += 1
    return {path: printable("/".join(folder.parts[-depth:])) for path, folder in folders.items()}


def _pairs(texts: list[str] | None, names: dict[Path, str]) -> dict[Path, Path]:
    """Read REPORT=EVALUATION texts."""
    found: dict[Path, Path] = {}
    for text in texts or []:
        report, equals, scored = text.partition("=")
        path = Path(report)
        if not equals or not scored or path not in names or path in found:
            limit = "REPORT=EVALUATION, REPORT one of " + ", ".join(map(str, names))
            raise InputError(Finding("E878", "error", "--ann", repr(text), limit))
        found[path] = Path(scored)
    return found


def _command(args: Namespace) -> str:
    words = ["neuroemo", "energy", "tradeoff", *map(str, args.reports)]
    for text in args.ann or []:
        words += ["--ann", text]
    words += ["--scenario", args.scenario] if args.scenario else []
    return printable(shlex.join(words))


def write_tradeoff(document: dict[str, Any], folder: Path, *, force: bool = False) -> list[Path]:
    """Write report.json and report.html, both or none.

    Raises:
        InputError: ``folder`` exists and ``force`` is not given, or holds something that is no curve.
    """
    from export.swap import folder_aside, put_in_place
    from neuroemo.energy.tradeoff.page import render_tradeoff

    _refuse(folder, force)
    aside = folder_aside(folder)
    try:
        (aside / REPORT).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (aside / PAGE).write_text(render_tradeoff(document), encoding="utf-8")
        put_in_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [folder / REPORT, folder / PAGE]


def _refuse(folder: Path, force: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        found = "not a folder of its own"
    elif not force:
        found = "already exists"
    elif any(folder.iterdir()) and not _is_ours(folder / REPORT):
        found = "holds something that is no curve: it is not replaced"
    else:
        return
    fix = "choose another name" + (", or --force" if found == "already exists" else "")
    raise InputError(Finding("E879", "error", str(folder), found, "a new folder", fix=fix))


def _is_ours(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("kind") == "tradeoff")
    except (OSError, ValueError, AttributeError):
        return False


def rendered_anew(report: dict[str, Any], path: Path) -> str:
    """Return the page of a curve that was read from ``path``.

    Raises:
        InputError: the report is damaged, or of another version.
    """
    from neuroemo.energy.tradeoff.document import SCHEMA
    from neuroemo.energy.tradeoff.page import render_tradeoff

    try:
        if report.get("schema") != SCHEMA:
            raise ValueError(f"schema {report.get('schema')!r}, this version reads {SCHEMA}")
        return render_tradeoff(report)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        fix = "make it again with `neuroemo energy tradeoff`"
        raise InputError(Finding("E879", "error", str(path), f"not a curve: {error!r}", fix=fix)) from error

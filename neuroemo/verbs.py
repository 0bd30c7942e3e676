"""The verbs: parsed arguments in, a result shown, an exit code out. Heavy imports happen here, late."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console


def demo(args: Namespace, console: Console) -> int:
    """Run the whole pipeline."""
    from neuroemo.demo.run import run_demo
    from neuroemo.demo.settings import DemoSettings
    from neuroemo.report.summary import summary_lines

    if args.force and args.output.exists():
        _remove_run(args.output)
    settings = DemoSettings(args.output, args.videos, args.small, args.seed, args.lava_clips)
    report = run_demo(settings, console.say, console.progress)
    console.show(report, "\n".join(summary_lines(report)))
    return 0


def report(args: Namespace, console: Console) -> int:
    """Write the pages anew from report.json: of a demo, of a bundle, or of an energy report."""
    from export.storage import read_json
    from neuroemo.report.html import write_report

    path, page = args.folder / "report.json", args.folder / "report.html"
    written = [page]
    told = read_json(path, "the report of a demo, of a bundle or of `neuroemo energy`")
    if "stage" in told:
        written += _bundle_pages(args.folder)
    elif told.get("kind") == "energy":
        _energy_page(path, page)
    elif told.get("kind") == "tradeoff":
        from neuroemo.energy.tradeoff.verb import rendered_anew

        page.write_text(rendered_anew(told, path), encoding="utf-8")
    elif told.get("kind") == "table1":
        from neuroemo.reproduce.table1_files import write_table1_anew

        written = write_table1_anew(told, path)
    elif told.get("kind") == "affect-table":
        from neuroemo.reproduce.affect_files import write_affect_table_anew

        written = write_affect_table_anew(told, path)
    else:
        write_report(path, page)
    listed = [str(file) for file in written]
    console.show({"ok": True, "report": str(page), "written": listed}, f"wrote {', '.join(listed)}")
    return 0


def _energy_page(path: Path, page: Path) -> None:
    from neuroemo.energy.page import render_page
    from neuroemo.energy.schema import read_energy_report

    page.write_text(render_page(read_energy_report(path)), encoding="utf-8")


def _bundle_pages(folder: Path) -> list[Path]:
    from export.page import model_card, page_html, report_markdown
    from export.storage import read_json

    told = read_json(folder / "report.json", "the report of a bundle")
    pages = {"report.html": page_html(told), "report.md": report_markdown(told), "MODEL_CARD.md": model_card(told)}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages if name != "report.html"]


def _remove_run(folder: Path) -> None:
    """Remove what a demo left, and nothing else: a folder without ``stages.json`` is not ours to delete."""
    import shutil

    if any(folder.iterdir()) and not (folder / "stages.json").is_file():
        raise InputError(
            Finding(
                "E016",
                "error",
                str(folder),
                "is not the folder of a demo: it has no stages.json",
                fix="choose another folder with -o",
            )
        )
    shutil.rmtree(folder)

"""The whole pipeline on real video files: render or take videos, events, train, export, simulate, price, report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.bundle import write_json
from hw_targets.finding import Finding, InputError, MissingDependencyError, VerificationError
from neuroemo import pipeline
from neuroemo.demo.settings import DemoSettings
from neuroemo.demo.stages import Stages

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore

Bars = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]


def run_demo(settings: DemoSettings, log: Callable[[str], None], bars: Bars) -> dict[str, Any]:
    """Run every stage that is not done yet, write ``report.json`` and ``report.html``, and return the report.

    Raises:
        InputError: the videos cannot be used.
        VerificationError: the export, or Lava, does not compute what it should; the report is written first.
    """
    from importlib.metadata import version

    from neuroemo.datasets.folder import scan_folder
    from neuroemo.datasets.folder_key import folder_key
    from neuroemo.demo.gather import assemble
    from neuroemo.report.html import write_report

    _check(settings)
    out = settings.out
    identity = {
        "version": version("neuroemo"),
        "small": settings.small,
        "seed": settings.seed,
        "videos": None if settings.videos is None else folder_key(scan_folder(settings.videos), settings.events()),
    }
    stages = Stages(out, identity, log)
    videos = settings.videos or out / "videos"
    results: dict[str, Any] = {}
    if settings.videos is None:
        results["video"] = stages.run(
            "video", "1/7 render talking faces to H.264", lambda: _render(settings, videos, bars)
        )
    results["events"] = stages.run("events", "2/7 simulate the event camera", lambda: _events(settings, videos, bars))
    results["snn"] = stages.run(
        "snn", "3/7 train the spiking network", lambda: _train(settings, settings.model, "snn", bars)
    )
    results["ann"] = stages.run(
        "ann", "3/7 train its ANN twin", lambda: _train(settings, f"{settings.model}-ann", "ann", bars)
    )
    results["export"] = stages.run("export", "4/7 export to Loihi 2", lambda: _export(settings, log))
    results["simulate"] = stages.run("simulate", "5/7 simulate the whole test set", lambda: _simulate(settings, bars))
    results["lava"] = stages.run(
        f"lava-{settings.lava_clips}", f"5/7 run {settings.lava_clips} clips in Lava", lambda: _lava(settings)
    )
    results["energy"] = stages.run("energy", "6/7 count operations and price them", lambda: _energy(settings))
    log("7/7 write the report")
    report = assemble(settings, results, stages.timings)
    write_json(out / "report.json", report)
    write_report(out / "report.json", out / "report.html")
    _judge(report, out)
    return report


def _check(settings: DemoSettings) -> None:
    if settings.lava_clips < 1:
        raise InputError(Finding("E014", "error", "--lava-clips", str(settings.lava_clips), "at least 1"))


def _judge(report: dict[str, Any], out: Path) -> None:
    """Raise if the report shows that something does not compute what it should."""
    wrong = report["lava"].get("mismatched_spikes", 0)
    findings = []
    if not report["export"]["ok"]:
        errors = [f for f in report["export"]["findings"] if f["severity"] == "error"]
        findings += [Finding(**finding) for finding in errors]
    if wrong:
        first = report["lava"]["first_mismatch"]
        findings.append(
            Finding(
                "E502",
                "error",
                "lava",
                f"{wrong} of {report['lava']['compared_spikes']} spikes differ from the simulator, first {first}",
                "0",
                str(wrong),
                f"see {out / 'report.html'}",
            )
        )
    if findings:
        raise VerificationError(findings)


def _render(settings: DemoSettings, videos: Path, bars: Bars) -> dict[str, Any]:
    from neuroemo.datasets.faces import render_faces

    with bars("  render") as progress:
        render_faces(videos, settings.faces(), progress=lambda done, total: progress(done, total, ""))
    return {"settings": asdict(settings.faces())}


def _events(settings: DemoSettings, videos: Path, bars: Bars) -> dict[str, Any]:
    from neuroemo.datasets.folder import scan_folder
    from neuroemo.datasets.store import prepare_store

    with bars("  decode and difference") as progress:
        store = prepare_store(
            videos,
            settings.out / "clips.h5",
            settings.events(),
            force=True,
            progress=lambda done, total: progress(done, total, ""),
        )
    findings = scan_folder(videos).findings
    return {
        "clips": len(store),
        "density": asdict(store.density()),
        "findings": [f.to_dict() for f in findings],
    }


def _store(settings: DemoSettings) -> ClipStore:
    from neuroemo.datasets.store import ClipStore

    return ClipStore.open(settings.out / "clips.h5")


def _train(settings: DemoSettings, model: str, name: str, bars: Bars) -> dict[str, Any]:
    with bars("  train") as progress:
        return pipeline.train_network(
            model, settings.out / "clips.h5", settings.out / name, settings.training(), progress
        )


def _export(settings: DemoSettings, log: Callable[[str], None]) -> dict[str, Any]:
    from neuroemo.deployment.model import ModelOptions, load_model_argument
    from neuroemo.deployment.run import ExportSettings, export_network

    bundle = settings.out / "bundle"
    result = export_network(
        load_model_argument(str(settings.out / "snn"), ModelOptions()),
        bundle,
        ExportSettings(data=settings.out / "clips.h5", force=True),
        log=lambda text: log(f"  {text}"),
    )
    return result | {"file_bytes": (bundle / "target" / "model.net").stat().st_size}


def _simulate(settings: DemoSettings, bars: Bars) -> dict[str, Any]:
    from neuroemo.simulation.run import simulate_clips

    with bars("  simulate") as progress:
        return simulate_clips(settings.out / "bundle", settings.out / "clips.h5", progress=progress)


def _lava(settings: DemoSettings) -> dict[str, Any]:
    from neuroemo.simulation.run import simulate_clips
    from neuroemo.simulation.settings import SimulationSettings

    judged = SimulationSettings(backend="both", limit=settings.lava_clips)
    try:
        return simulate_clips(settings.out / "bundle", settings.out / "clips.h5", judged)
    except MissingDependencyError as error:
        return {"skipped": str(error)}


def _energy(settings: DemoSettings) -> dict[str, Any]:
    from neuroemo.energy import measure_energy

    return measure_energy(settings.out / "snn", settings.out / "clips.h5")

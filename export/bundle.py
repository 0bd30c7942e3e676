"""The bundle: a folder that holds the chip's file, what it was made from, and the means to check it again.

::

    target/model.net    what the vendor's tools load
    model.nir           the folded network for other frameworks
    chip.json           what a netx file cannot say: names, scales, payload, steps, voting, encoding, and for a network
                        that estimates numbers the readout that makes values of its spikes
    captured.npz        the network as it was trained, as a graph
    graph.npz           the folded float graph
    vectors/            known-answer test: inputs.npz, model.npz (the trained network's own spikes), expected.npz
                        (every layer's spikes in the fixed-point simulator), state.npz (u and v after the last step)
    report.json         the comparison that led to the verdict; report.md and report.html say the same to people
    MODEL_CARD.md       what it is, for whoever finds it
    manifest.json       hashes of all files, versions, arguments, verdict
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from export.compile import Compiled
from export.deployment import Deployment, split_input
from export.reference import run_graph
from export.storage import (
    SCHEMA,
    file_hash,
    load_arrays,
    load_graph,
    read_json,
    save_arrays,
    save_graph,
    write_json,
)
from export.swap import folder_aside, put_in_place
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import Array
from hw_targets.readout import ValueReadout

__all__ = [
    "check_bundle",
    "file_hash",
    "load_chip",
    "load_deployment",
    "load_graph",
    "load_readout",
    "read_json",
    "save_graph",
    "write_bundle",
    "write_json",
]

CHANGED = ("E420", "E421")
"""Codes that say: a file of the bundle is missing, or is not the one that was written."""
A_BUNDLE = "a bundle written by `neuroemo export`"


@dataclass(frozen=True, slots=True)
class Vectors:
    """The known-answer test: clips [T, N, ...] and the trained network's own spikes on them, by neuron layer."""

    clips: Array
    model: dict[str, Array]


def write_bundle(
    out: Path, compiled: Compiled, vectors: Vectors, report: dict[str, Any], details: dict[str, Any]
) -> None:
    """Write a bundle aside and put it in place of ``out`` in one step: a killed run leaves the old one or none."""
    aside = folder_aside(out)
    try:
        _fill(aside, compiled, vectors, report, details)
        put_in_place(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(folder: Path, compiled: Compiled, vectors: Vectors, report: dict[str, Any], details: dict[str, Any]) -> None:
    from export.nir_writer import write_nir
    from export.page import model_card, page_html, report_markdown

    deployment = compiled.deployment
    (folder / "target").mkdir()
    (folder / "vectors").mkdir()
    deployment.target.write(deployment.chip, folder / "target" / "model.net")
    read = (report["model"] or {}).get("readout")
    write_json(folder / "chip.json", chip_description(deployment) | ({} if read is None else {"readout": read}))
    save_graph(compiled.captured, folder / "captured.npz")
    save_graph(compiled.folded, folder / "graph.npz")
    write_nir(compiled.folded, folder / "model.nir", metadata={"made_by": "neuroemo export"})
    run = deployment.simulate(vectors.clips, keep_state=True)
    save_arrays(folder / "vectors" / "inputs.npz", {"clips": vectors.clips})
    save_arrays(folder / "vectors" / "model.npz", vectors.model)
    save_arrays(folder / "vectors" / "expected.npz", run.spikes)
    save_arrays(folder / "vectors" / "state.npz", run.final)
    kept = report | {"bundle": None}
    write_json(folder / "report.json", kept)
    (folder / "report.md").write_text(report_markdown(kept), encoding="utf-8")
    (folder / "report.html").write_text(page_html(kept), encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card(kept), encoding="utf-8")
    write_json(folder / "manifest.json", _manifest(folder, report, details))


def _manifest(folder: Path, report: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "verdict": "verified" if report["ok"] else "FAILED",
        "target": report["target"],
        "allowed": report["allowed"],
        "arguments": report["arguments"],
        "versions": versions(),
        "sha256": {path.relative_to(folder).as_posix(): file_hash(path) for path in files},
        "details": details,
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that an export depends on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("neuroemo", "torch", "spikingjelly", "norse", "nir", "numpy", "h5py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def chip_description(deployment: Deployment) -> dict[str, Any]:
    """Return what the chip's file cannot say, as a JSON-ready dictionary."""
    chip = deployment.chip
    return {
        "schema": SCHEMA,
        "target": deployment.target.name,
        "encoding": deployment.encoding,
        "binarised": deployment.binarised,
        "steps": chip.steps,
        "dt_us": chip.dt_us,
        "first_frame": chip.first_frame,
        "voting": chip.voting,
        "layers": [{"name": layer.name, "scale": layer.scale, "payload": layer.payload} for layer in chip.layers],
    }


def load_chip(folder: Path) -> Any:
    """Read the chip graph of a bundle: integers from the chip's file, names and scales from ``chip.json``.

    Raises:
        InputError: the folder is not a bundle, or a file in it is damaged.
    """
    return _chip(folder, read_json(folder / "chip.json", A_BUNDLE))


def _chip(folder: Path, description: dict[str, Any]) -> Any:
    from hw_targets.registry import deploy_target

    try:
        target = deploy_target(str(description["target"]))
        chip = target.read(
            folder / "target" / "model.net",
            steps=int(description["steps"]),
            first_frame=description["first_frame"],
            payload=int(description["layers"][0]["payload"]),
        )
        layers = tuple(
            replace(layer, name=str(said["name"]), scale=float(said["scale"]))
            for layer, said in zip(chip.layers, description["layers"], strict=True)
        )
        dt_us = None if description["dt_us"] is None else float(description["dt_us"])
        return replace(chip, layers=layers, voting=int(description["voting"]), dt_us=dt_us)
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        found = f"chip.json does not fit model.net: {error!r}"
        raise InputError(Finding("E062", "error", str(folder), found)) from error


def load_readout(folder: Path) -> ValueReadout | None:
    """Return how values are read from a bundle's output spikes; None for a network that votes for classes.

    Raises:
        InputError: the folder is not a bundle, or its ``chip.json`` is damaged.
    """
    told = read_json(folder / "chip.json", A_BUNDLE).get("readout")
    return None if told is None else ValueReadout.from_dict(told)


def load_deployment(folder: Path) -> Deployment:
    """Read everything that is needed to run a bundle's network, on the host and on the chip.

    Raises:
        InputError: the folder is not a bundle, or a file in it is damaged.
    """
    from hw_targets.registry import deploy_target

    description = read_json(folder / "chip.json", A_BUNDLE)
    chip = _chip(folder, description)
    encoding = description.get("encoding", "graded" if chip.payload > 1 else "spikes")
    if encoding not in ("graded", "host", "spikes"):
        raise InputError(Finding("E065", "error", "chip.json", f"encoding {encoding!r}", "graded, host, spikes"))
    host = None
    if encoding == "host":
        try:
            host, _, _ = split_input(load_graph(folder / "graph.npz"), "host")
        except UnsupportedError as error:
            raise InputError(error.findings) from error
    return Deployment(
        deploy_target(str(description["target"])), chip, encoding, host, bool(description.get("binarised", False))
    )


def check_bundle(folder: Path) -> list[Finding]:
    """Compare a bundle's files with its manifest, and its known answers with what the simulator says now."""
    manifest = read_json(folder / "manifest.json", A_BUNDLE)
    findings = _changed_files(folder, dict(manifest.get("sha256", {})))
    if any(finding.code == "E420" for finding in findings):
        return findings
    clips = load_vectors(folder, "inputs.npz", "clips")["clips"]
    expected = load_vectors(folder, "expected.npz")
    deployment = load_deployment(folder)
    spikes, final = _answers_now(deployment, clips, expected)
    findings += _wrong_answers(expected, spikes, "spikes")
    if (folder / "vectors" / "state.npz").is_file():
        findings += _wrong_answers(load_vectors(folder, "state.npz"), final, "final states")
    return findings


def load_vectors(folder: Path, file: str, *names: str) -> dict[str, Array]:
    """Read one file of known answers; ``names`` must be among its arrays."""
    arrays = load_arrays(folder / "vectors" / file)
    if missing := [name for name in names if name not in arrays]:
        raise InputError(Finding("E066", "error", f"vectors/{file}", f"no array {', '.join(missing)}", A_BUNDLE))
    return arrays


def _answers_now(
    deployment: Deployment, clips: Array, expected: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the spikes and the final states that the simulator gives now.

    A layer on the host is float: where rounding may decide, its known spikes are taken as they are, and the chip is
    fed with them, so that the answer does not depend on the machine.
    """
    if deployment.host is None:
        run = deployment.simulate(clips, keep_state=True)
        return run.spikes, run.final
    host = run_graph(deployment.host, clips)
    spikes = {}
    for name, computed in host.spikes.items():
        known = expected.get(name, computed)
        fits = known.shape == computed.shape
        spikes[name] = np.where(host.ties[name], known, computed) if fits else computed
    fed = expected.get(next(reversed(spikes)), host.output).astype(np.float32)
    run = deployment.target.simulate(deployment.chip, fed, keep_state=True)
    return spikes | run.spikes, run.final


def _changed_files(folder: Path, hashes: dict[str, str]) -> list[Finding]:
    findings = []
    for name, wanted in sorted(hashes.items()):
        path = folder / name
        if not path.is_file():
            findings.append(Finding("E420", "error", name, "missing", fix="export again"))
        elif file_hash(path) != wanted:
            found = "its sha256 differs from the manifest's"
            findings.append(Finding("E421", "error", name, found, fix="export again"))
    return findings


def _wrong_answers(known: dict[str, Array], computed: dict[str, Array], what: str) -> list[Finding]:
    findings = []
    for name, wanted in known.items():
        fits = name in computed and computed[name].shape == wanted.shape
        wrong = int(np.count_nonzero(computed[name] != wanted)) if fits else int(wanted.size)
        if wrong:
            found = f"{wrong} of {wanted.size} known {what} differ"
            fix = "the chip file was changed after it was verified: export again"
            findings.append(Finding("E422", "error", name, found, "0", str(wrong), fix))
    return findings

"""The bundle: a folder that holds the chip's file, what it was made from, and the means to check it again.

::

    target/model.net    what the vendor's tools load
    chip.json           what a netx file cannot say: names, scales, payload, steps, voting
    graph.npz           the folded float graph
    vectors/            known-answer test: inputs.npz, and every layer's spikes in expected.npz
    report.json         the comparison that led to the verdict
    manifest.json       hashes of all files, versions, arguments, verdict
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import NODE_TYPES, Array, Graph
from hw_targets.registry import Target

SCHEMA = 1


def write_bundle(
    out: Path,
    target: Target,
    folded: Graph,
    chip: Any,
    clips: Array,
    report: dict[str, Any],
    details: dict[str, Any],
) -> None:
    """Write a bundle aside and rename it to ``out``, so that a killed run leaves the old one or none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        (aside / "target").mkdir()
        (aside / "vectors").mkdir()
        target.write(chip, aside / "target" / "model.net")
        write_json(aside / "chip.json", chip_description(chip, target.name))
        save_graph(folded, aside / "graph.npz")
        save_arrays(aside / "vectors" / "inputs.npz", {"clips": clips})
        save_arrays(aside / "vectors" / "expected.npz", target.simulate(chip, clips).spikes)
        write_json(aside / "report.json", report | {"bundle": None})
        write_json(aside / "manifest.json", _manifest(aside, report, details))
        _swap(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(aside: Path, out: Path) -> None:
    os.chmod(aside, 0o755)
    if out.exists():
        old = out.with_name(f".{out.name}.old-{os.getpid()}")
        os.rename(out, old)
        os.rename(aside, out)
        shutil.rmtree(old)
    else:
        os.rename(aside, out)


def _manifest(folder: Path, report: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "verdict": "verified" if report["ok"] else "FAILED",
        "target": report["target"],
        "versions": versions(),
        "sha256": {path.relative_to(folder).as_posix(): file_hash(path) for path in files},
        "details": details,
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that an export depends on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("neuroemo", "torch", "spikingjelly", "numpy", "h5py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def file_hash(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, aside first and then renamed."""
    aside = path.with_name(path.name + ".partial")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")
    os.replace(aside, path)


def save_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays as a compressed .npz whose bytes depend on nothing but the arrays."""
    from io import BytesIO

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def load_arrays(path: Path) -> dict[str, Array]:
    """Read an .npz file without ever unpickling.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise InputError(Finding("E060", "error", str(path), f"not a readable array file: {error}")) from error


def save_graph(graph: Graph, path: Path) -> None:
    """Write a graph as arrays plus one JSON header."""
    arrays: dict[str, Array] = {}
    nodes = []
    for index, node in enumerate(graph.nodes):
        entry: dict[str, Any] = {"type": type(node).__name__}
        for item in fields(node):
            value = getattr(node, item.name)
            if isinstance(value, np.ndarray):
                arrays[f"{index}.{item.name}"] = value
            else:
                entry[item.name] = value
        nodes.append(entry)
    header = {
        "schema": SCHEMA,
        "nodes": nodes,
        **{f.name: getattr(graph, f.name) for f in fields(graph) if f.init and f.name != "nodes"},
    }
    save_arrays(path, {"header": np.array(json.dumps(header, sort_keys=True)), **arrays})


def load_graph(path: Path) -> Graph:
    """Read a graph that ``save_graph`` wrote.

    Raises:
        InputError: the file is missing, damaged or not a graph.
    """
    arrays = load_arrays(path)
    try:
        header = json.loads(arrays.pop("header").item())
        if header.pop("schema") != SCHEMA:
            raise ValueError("another schema version")
        nodes = []
        for index, entry in enumerate(header.pop("nodes")):
            values = {
                key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key != "type"
            }
            stored = {
                key.split(".", 1)[1]: value for key, value in arrays.items() if key.split(".", 1)[0] == str(index)
            }
            nodes.append(NODE_TYPES[entry["type"]](**values, **stored))
        header["input_shape"] = tuple(header["input_shape"])
        return Graph(nodes=tuple(nodes), **header)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(Finding("E061", "error", str(path), f"not a graph: {error!r}")) from error


def chip_description(chip: Any, target: str) -> dict[str, Any]:
    """Return what the chip's file cannot say, as a JSON-ready dictionary."""
    return {
        "schema": SCHEMA,
        "target": target,
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
    from hw_targets.registry import get_target

    description = read_json(folder / "chip.json", "a bundle written by `neuroemo export`")
    try:
        target = get_target(description["target"])
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
        return replace(chip, layers=layers, voting=int(description["voting"]), dt_us=float(description["dt_us"]))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            Finding("E062", "error", str(folder), f"chip.json does not fit model.net: {error!r}")
        ) from error


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(Finding("E063", "error", str(path), "no such file", what)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(Finding("E064", "error", str(path), f"not JSON: {error}", what)) from error
    if not isinstance(value, dict):
        raise InputError(Finding("E064", "error", str(path), f"a JSON {type(value).__name__}", what))
    return value


def check_bundle(folder: Path) -> list[Finding]:
    """Compare a bundle's files with its manifest, and its known answers with what the simulator says now."""
    from hw_targets.registry import get_target

    manifest = read_json(folder / "manifest.json", "a bundle written by `neuroemo export`")
    findings = []
    for name, wanted in sorted(dict(manifest.get("sha256", {})).items()):
        path = folder / name
        if not path.is_file():
            findings.append(Finding("E420", "error", name, "missing", fix="export again"))
        elif file_hash(path) != wanted:
            findings.append(
                Finding("E421", "error", name, "its sha256 differs from the manifest's", fix="export again")
            )
    if any(finding.code == "E420" for finding in findings):
        return findings
    chip = load_chip(folder)
    clips = load_arrays(folder / "vectors" / "inputs.npz")["clips"]
    run = get_target(str(manifest["target"])).simulate(chip, clips)
    for name, wanted in load_arrays(folder / "vectors" / "expected.npz").items():
        wrong = int(np.count_nonzero(run.spikes[name] != wanted)) if name in run.spikes else wanted.size
        if wrong:
            findings.append(
                Finding(
                    "E422",
                    "error",
                    name,
                    f"{wrong} of {wanted.size} known spikes differ",
                    "0",
                    str(wrong),
                    "the chip file was changed after it was verified: export again",
                )
            )
    return findings

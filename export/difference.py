"""What changed between two bundles: the chip's integers first, then what was asked for, proven and written.

Two bundles are *the same* when the chip computes the same with either: every integer, shape and setting that a
run depends on is equal (names, scales and step lengths are not integers of the chip). They are *identical* when
every file has the same bytes but for the time of writing in the manifest.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import A_BUNDLE, load_deployment
from export.storage import file_hash, load_graph, read_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Graph

NEEDED = ("manifest.json", "report.json", "chip.json", "target/model.net", "graph.npz")
NOT_BEHAVIOUR = {"name", "scale"}
"""Fields of a chip layer that say where its integers come from, not what they compute."""

ASKED_FOR = ("model", "input_encoding", "weight_bits", "lossy", "proved_on")
"""Entries of report.json, besides all of manifest.json, that say what was exported and how."""

_DAMAGE = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OSError, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class _Bundle:
    """A bundle read whole: its JSON files, the chip graph, the folded graph, and every file's (size, sha256)."""

    folder: Path
    manifest: dict[str, Any]
    report: dict[str, Any]
    said: dict[str, Any]
    chip: Any
    host: Graph | None
    graph: Graph
    files: dict[str, tuple[int, str]]
    settings: dict[str, Any]
    proof: dict[str, dict[str, Any]]
    findings: list[str]


def compare_bundles(a: Path, b: Path) -> dict[str, Any]:
    """Return what changed from bundle ``a`` to bundle ``b``, as a JSON-ready dictionary.

    ``same``: the chip behaves the same; ``identical``: the same bytes but for the time of writing. Layers are
    matched by name, and those that are left over by position and kind.

    Raises:
        InputError: a folder is not a bundle, or a file in it is damaged.
    """
    one, two = _read(a), _read(b)
    chip = _chip_settings(one, two)
    layers = _layers(one, two)
    files = _files(one, two)
    host = _graph(one.host, two.host)
    moved = any(entry["status"] != "same" or entry["a"] != entry["b"] for entry in layers)
    contents = [entry for entry in files if entry["name"] != "manifest.json"]
    untouched = all(entry["status"] == "identical" for entry in contents)
    return {
        "ok": True,
        "exit_code": 0,
        "a": str(a),
        "b": str(b),
        "same": not moved and host["same"] and not any(entry["behaviour"] for entry in chip),
        "identical": untouched and _untimed(one.manifest) == _untimed(two.manifest),
        "findings": [finding.to_dict() for bundle in (one, two) for finding in _broken_seals(bundle)],
        "chip": chip,
        "layers": layers,
        "agreement": _agreement(one, two, layers),
        "settings": _changes(one.settings, two.settings),
        "noticed": _noticed(one, two),
        "host": host,
        "graph": _graph(one.graph, two.graph),
        "files": files,
    }


def _read(folder: Path) -> _Bundle:
    for name in NEEDED:
        # A named pipe or a device would be waited for without end: only plain files are opened.
        if not (folder / name).is_file():
            fix = "give the folder that `neuroemo export -o` wrote"
            raise InputError(Finding("E430", "error", str(folder / name), "no such file", A_BUNDLE, fix=fix))
    try:
        manifest, report, said = (read_json(folder / name, A_BUNDLE) for name in NEEDED[:3])
        json.dumps((manifest, report, said), allow_nan=False)  # what cannot be printed as JSON is not read either
        deployment = load_deployment(folder)
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return _Bundle(
            folder,
            manifest,
            report,
            said,
            deployment.chip,
            deployment.host,
            load_graph(folder / "graph.npz"),
            {path.relative_to(folder).as_posix(): (path.stat().st_size, file_hash(path)) for path in found},
            _settings(manifest, report),
            {str(layer["name"]): dict(layer) for layer in report.get("layers", [])},
            [f"{item['code']} {item['node']}: {item['found']}" for item in report.get("findings", [])],
        )
    except _DAMAGE as error:
        raise InputError(
            Finding("E431", "error", str(folder), f"a damaged bundle: {error!r}", A_BUNDLE, fix="export again")
        ) from error


def _settings(manifest: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was asked for or installed as {dotted name: value}."""
    settings: dict[str, Any] = {}
    asked = {key: report[key] for key in ASKED_FOR if key in report}
    for key, value in (asked | manifest).items():
        if key not in ("schema", "created", "sha256"):
            settings |= dict(_leaves(key, value))
    return settings


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of everything in nested dictionaries.

    >>> list(_leaves("details", {"spec": {"steps": 8}, "classes": ["sad"]}))
    [('details.spec.steps', 8), ('details.classes', ['sad'])]
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def _changes(one: dict[str, Any], two: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = {name: (one.get(name), two.get(name)) for name in (*one, *two)}
    return [{"what": name, "a": a, "b": b} for name, (a, b) in pairs.items() if _text(a) != _text(b)]


def _text(value: Any) -> str:
    """Return a value as JSON: unlike ``==``, it tells 1 from 1.0 and from True."""
    return json.dumps(value, sort_keys=True)


def _untimed(manifest: dict[str, Any]) -> str:
    return _text({key: value for key, value in manifest.items() if key != "created"})


def _broken_seals(bundle: _Bundle) -> Iterator[Finding]:
    """Yield a warning for every file that is not the one whose hash the manifest holds."""
    sealed = bundle.manifest.get("sha256")
    for name, wanted in sorted(sealed.items()) if isinstance(sealed, dict) else ():
        if bundle.files.get(name, (0, ""))[1] != wanted:
            found = "is not the file that was verified: its sha256 differs from the manifest's"
            fix = f"see `neuroemo verify {bundle.folder}`"
            yield Finding("W432", "warning", str(bundle.folder / name), found, fix=fix)


def _chip_settings(one: _Bundle, two: _Bundle) -> list[dict[str, Any]]:
    """Return the settings of a run that differ: from chip.json, and from the chip graph itself."""

    def settings(bundle: _Bundle) -> dict[str, Any]:
        said = {key: value for key, value in bundle.said.items() if key not in ("layers", "schema")}
        held = {item.name: getattr(bundle.chip, item.name) for item in fields(bundle.chip) if item.name != "layers"}
        return said | {name: _plain(value) for name, value in held.items()}

    changes = _changes(settings(one), settings(two))
    return [change | {"behaviour": change["what"] != "dt_us"} for change in changes]


def _pairs(one: list[Any], two: list[Any]) -> list[tuple[int | None, int | None]]:
    """Match layers by name, then those left over by position and kind; the order is that of ``two``."""
    free = dict(enumerate(one))
    found: dict[int, int] = {}
    for index, layer in enumerate(two):
        match = next((i for i, other in free.items() if other.name == layer.name), None)
        if match is not None:
            found[index] = match
            del free[match]
    for index, layer in enumerate(two):
        if index not in found and index in free and free[index].kind == layer.kind:
            found[index] = index
            del free[index]
    pairs: list[tuple[int | None, int | None]] = [(found.get(index), index) for index in range(len(two))]
    return pairs + [(index, None) for index in free]


def _layers(one: _Bundle, two: _Bundle) -> list[dict[str, Any]]:
    ours, theirs = list(one.chip.layers), list(two.chip.layers)
    entries = []
    for i, j in _pairs(ours, theirs):
        if i is None or j is None:
            layer = theirs[j] if j is not None else ours[i or 0]
            shown = {"status": "added" if i is None else "removed", "shape": list(layer.output_shape)}
            entries.append({"name": layer.name, "a": i, "b": j} | shown)
        else:
            entries.append({"name": theirs[j].name, "a": i, "b": j} | _layer(ours[i], theirs[j], one, two))
    return entries


def _layer(a: Any, b: Any, one: _Bundle, two: _Bundle) -> dict[str, Any]:
    """Return what differs between two layers: arrays counted, everything else as it is."""
    arrays: dict[str, dict[str, Any]] = {}
    changes: list[dict[str, Any]] = []
    for item in (item for item in fields(b) if item.init):
        left, right = getattr(a, item.name), getattr(b, item.name)
        if isinstance(right, np.ndarray):
            arrays[item.name] = _array(left, right)
        elif left != right:
            changes.append({"what": item.name, "a": _plain(left), "b": _plain(right)})
    differs = any(array["differ"] for array in arrays.values())
    status = "changed" if differs or any(change["what"] not in NOT_BEHAVIOUR for change in changes) else "same"
    cores = (one.proof.get(a.name, {}).get("cores"), two.proof.get(b.name, {}).get("cores"))
    if cores[0] != cores[1]:
        changes.append({"what": "cores", "a": cores[0], "b": cores[1]})
    return {"status": status, "changes": changes, "arrays": arrays}


def _plain(value: Any) -> Any:
    """Return a field of a chip graph as something that JSON knows."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _array(a: Array, b: Array) -> dict[str, Any]:
    """Count how many numbers differ and by how much; arrays of other shapes differ in every number.

    >>> _array(np.array([1, 2, 3]), np.array([1, 5, 3]))
    {'count': 3, 'differ': 1, 'largest': 3, 'a_shape': [3], 'b_shape': [3]}
    """
    shapes = {"a_shape": list(a.shape), "b_shape": list(b.shape)}
    if a.shape != b.shape:
        return {"count": int(b.size), "differ": int(b.size), "largest": None} | shapes
    unequal = (a != b) & ~((a != a) & (b != b))  # two NaN are no difference
    largest = float(np.abs(a[unequal].astype(np.float64) - b[unequal].astype(np.float64)).max(initial=0.0))
    whole = np.issubdtype(a.dtype, np.integer) and np.issubdtype(b.dtype, np.integer)
    number = _plain(int(largest) if whole else largest)
    return {"count": int(b.size), "differ": int(np.count_nonzero(unequal)), "largest": number} | shapes


def _agreement(one: _Bundle, two: _Bundle, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how well chip and model agree in either bundle, as their reports say; None where they do not."""

    def checked(bundle: _Bundle, index: int | None) -> Any:
        if index is None:
            return None
        proof = bundle.proof.get(bundle.chip.layers[index].name, {}).get("verify")
        return _number(proof.get("agreement")) if isinstance(proof, dict) else None

    verify = [bundle.report.get("verify") for bundle in (one, two)]
    whole = [value if isinstance(value, dict) else {} for value in verify]
    return {
        **{
            name: {"a": _number(whole[0].get(name)), "b": _number(whole[1].get(name))}
            for name in ("label_agreement", "rate_error_mean", "rate_error_max", "clips")
        },
        "layers": [
            {"name": entry["name"], "a": checked(one, entry["a"]), "b": checked(two, entry["b"])} for entry in layers
        ],
    }


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _noticed(one: _Bundle, two: _Bundle) -> dict[str, list[str]]:
    """Return the findings that only one of the two reports holds, as lines."""
    pairs = {"only_a": (one.findings, two.findings), "only_b": (two.findings, one.findings)}
    return {side: [line for line in lines if line not in others] for side, (lines, others) in pairs.items()}


def _graph(a: Graph | None, b: Graph | None) -> dict[str, Any]:
    """Say which float nodes differ: where none does, a change of the integers came from the quantisation."""
    ours, theirs = a.nodes if a else (), b.nodes if b else ()
    kept = {node.name: node for node in ours}
    in_order = [node.name for node in ours] == [node.name for node in theirs]
    changed, added = [], []
    for node in theirs:
        other = kept.pop(node.name, None)
        if other is None:
            added.append(node.name)
        elif type(other) is not type(node) or any(
            not _equal(getattr(other, item.name), getattr(node, item.name)) for item in fields(node)
        ):
            changed.append(node.name)
    return {"same": in_order and not changed, "changed": changed, "added": added, "removed": list(kept)}


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.shape == right.shape and bool(np.array_equal(left, right, equal_nan=True))
    return type(left) is type(right) and bool(left == right)


def _files(one: _Bundle, two: _Bundle) -> list[dict[str, Any]]:
    entries = []
    for name in sorted({*one.files, *two.files}):
        left, right = one.files.get(name), two.files.get(name)
        status = "identical" if left and right and left[1] == right[1] else "differs"
        if not (left and right):
            status = "only in a" if left else "only in b"
        sizes = {"a_bytes": left[0] if left else None, "b_bytes": right[0] if right else None}
        entries.append({"name": name, "status": status} | sizes)
    return entries


def difference_text(result: dict[str, Any]) -> str:
    """Return a comparison as lines for people, what matters most first."""
    settings = {change["what"]: change for change in result["settings"]}
    lines = [_headline(result), f"A {result['a']}", f"B {result['b']}"]
    lines += [line for finding in result["findings"] for line in str(Finding(**finding)).splitlines()]
    lines += [_line(settings.pop(name)) for name in ("verdict", "target") if name in settings]
    lines += [_line(change) for change in result["chip"]]
    lines += [line for entry in result["layers"] for line in _layer_lines(entry)]
    lines += _agreement_lines(result["agreement"])
    lines += [f"only in {side[-1].upper()}: {line}" for side, found in result["noticed"].items() for line in found]
    lines += [_line(change) for change in settings.values()]
    for part, graph in (("host part", result["host"]), ("float graph", result["graph"])):
        names = [f"{name} {how}" for how in ("changed", "added", "removed") for name in graph[how]]
        if not graph["same"]:
            lines.append(f"{part}: {', '.join(names) or 'another order'}")
    if result["graph"]["same"] and not result["same"]:
        lines.append("float graph: equal, so what differs came after it: integers or settings of a run")
    return "\n".join(map(_printable, [*lines, *_file_lines(result["files"], result["identical"])]))


def _printable(line: str) -> str:
    """Replace what could move a terminal's cursor or start a line of its own: names come from files."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _headline(result: dict[str, Any]) -> str:
    if result["identical"]:
        return "identical: every file has the same bytes, the time of writing aside"
    if result["same"]:
        return "the same chip: every integer and every setting of a run is equal"
    moved = sum(entry["status"] != "same" or entry["a"] != entry["b"] for entry in result["layers"])
    settings = sum(change["behaviour"] for change in result["chip"])
    if not moved and not settings:
        return "NOT the same: the chip is equal, the layer on the host is not"
    return f"NOT the same chip: {moved} of {len(result['layers'])} layers and {settings} settings of a run differ"


def _line(change: dict[str, Any]) -> str:
    return f"{change['what']}: {_show(change['a'])} -> {_show(change['b'])}"


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else _text(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _layer_lines(entry: dict[str, Any]) -> Iterator[str]:
    if entry["status"] in ("added", "removed"):
        yield f"layer {entry['name']}: {entry['status']}, neurons {'x'.join(map(str, entry['shape']))}"
        return
    parts = []
    for name, array in entry["arrays"].items():
        if array["a_shape"] != array["b_shape"]:
            parts.append(f"{name} {array['a_shape']} -> {array['b_shape']}")
        elif array["differ"]:
            parts.append(f"{array['differ']} of {array['count']} {name} integers differ, by up to {array['largest']}")
    parts += [f"{change['what']} {_show(change['a'])} -> {_show(change['b'])}" for change in entry["changes"]]
    if entry["a"] != entry["b"]:
        parts.append(f"position {entry['a']} -> {entry['b']}")
    if parts:
        yield f"layer {entry['name']}: {'; '.join(parts)}"


def _agreement_lines(agreement: dict[str, Any]) -> Iterator[str]:
    for name, change in agreement.items():
        if name != "layers" and change["a"] != change["b"]:
            yield _line({"what": name} | change)
    for layer in agreement["layers"]:
        if layer["a"] is not None and layer["b"] is not None and layer["a"] != layer["b"]:
            yield f"agreement of {layer['name']}: {layer['a']:.4%} -> {layer['b']:.4%}"


def _file_lines(files: list[dict[str, Any]], identical: bool) -> Iterator[str]:
    for entry in files:
        if entry["status"] == "differs" and not identical:
            yield f"file {entry['name']}: differs, {entry['a_bytes']} -> {entry['b_bytes']} bytes"
        elif entry["status"].startswith("only"):
            yield f"file {entry['name']}: {entry['status'][:-1]}{entry['status'][-1].upper()}"
    same = sum(entry["status"] == "identical" for entry in files)
    yield f"{same} of {len(files)} files identical"

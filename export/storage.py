"""Files of arrays, graphs and JSON whose bytes depend on nothing but their content, read without ever unpickling."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import NODE_TYPES, Array, Graph

SCHEMA = 1
DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged or a crafted file may raise, in numpy, zipfile and json."""


def file_hash(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, aside first and then renamed."""
    aside = path.with_name(path.name + ".partial")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")
    os.replace(aside, path)


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


def save_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays as a compressed .npz whose bytes depend on nothing but the arrays."""
    from io import BytesIO

    # Weights hardly compress: the fastest level is four times as fast as the default and costs a few per cent.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1)


def load_arrays(path: Path) -> dict[str, Array]:
    """Read an .npz file without ever unpickling.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DAMAGE as error:
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
    except DAMAGE as error:
        raise InputError(Finding("E061", "error", str(path), f"not a graph: {error!r}")) from error

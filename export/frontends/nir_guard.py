"""Opening a NIR file that nobody vouches for: what it declares is checked before anything is read.

``nir.read`` 1.0.8 runs no code from the file and unpickles nothing: it turns HDF5 datasets into arrays and text,
and makes nodes of the classes in a fixed list. It does follow links into other files, calls itself for every
nested group, and reads whatever size a dataset declares (a kilobyte can declare terabytes of zeros). It checks
types with the height of a kernel for both of its sides and without groups, which refuses sound networks;
the check is therefore off, and the front end does its own.

One thing is left to HDF5: a text whose stored length was damaged makes it take up to 4 GiB for a moment before it
notices. Numbers that were changed to other finite numbers cannot be noticed at all; NIR stores no checksum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError, MissingDependencyError

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 20_000
MAX_DEPTH = 24
MAX_TEXTS = 100_000
MAX_BYTES = 2**31
NOT_A_FILE = "check the path, and write the file again with nir.write"


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for a node that ``nir`` cannot make: ``reason`` is empty where its kind is not one of NIR's."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes by name and edges by name, as they stand in the file."""

    nodes: dict[str, Any]
    edges: list[tuple[Any, Any]]
    metadata: dict[str, Any]


def import_nir() -> Any:
    """Return the module ``nir``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        found = f"the package nir cannot be imported ({error})"
        raise MissingDependencyError(Finding("E177", "error", "nir", found, fix="pip install nir")) from error
    return nir


def open_network(path: Path) -> Network:
    """Return what stands in the file at ``path``, with a ``Broken`` in the place of each unreadable node.

    Raises:
        InputError: it is missing, damaged, not NIR, or declares more than it may.
        MissingDependencyError: the package ``nir`` is not installed.
    """
    nir = import_nir()
    import h5py

    if not path.is_file():
        raise unreadable(path, "no such file")
    try:
        with h5py.File(path, "r") as file:
            refused = _refusal(file)
    except Exception as error:  # HDF5 raises whatever the damage happens to meet
        raise unreadable(path, f"not a readable HDF5 file: {_text(error)}") from error
    if refused:
        raise unreadable(path, refused)
    try:
        with np.errstate(all="ignore"):  # nir works out shapes in floats before anything was checked
            graph = nir.read(path, type_check=False)
        if isinstance(graph, nir.NIRGraph):
            return Network(dict(graph.nodes), list(graph.edges), dict(graph.metadata))
        problem: Exception = TypeError(f"the outermost node is a {type(graph).__name__}, not a graph")
    except Exception as error:  # nir answers damage with any of a dozen types
        problem = error
    return _by_node(path, problem)


def unreadable(path: Path, found: str) -> InputError:
    """Return the error about a whole file."""
    return InputError(Finding("E160", "error", str(path), found, "a NIR file", fix=NOT_A_FILE))


def _text(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}" if words else type(error).__name__


def _refusal(file: h5py.File) -> str:
    """Return why the file must not be read, empty where it may: links, size, depth, kinds of data."""
    import h5py

    waiting: list[tuple[Any, int]] = [(file, 0)]
    seen: set[int] = set()
    texts = size = 0
    while waiting:
        item, depth = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            return f"{item.name} is linked from two places, perhaps from within itself"
        seen.add(address)
        if len(seen) > MAX_OBJECTS or depth > MAX_DEPTH:
            return f"more than {MAX_OBJECTS} groups and datasets, or nested more than {MAX_DEPTH} deep"
        if isinstance(item, h5py.Group):
            for name in item:
                if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                    return f"{item.name}/{name} is a link to somewhere else"
                waiting.append((item[name], depth + 1))
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                return f"{item.name} keeps its data in another file"
            if item.dtype.kind not in "biufSO" or (item.dtype.kind == "O" and not h5py.check_string_dtype(item.dtype)):
                return f"{item.name} holds {item.dtype}, neither numbers nor text"
            more_texts, more = _declared(item)
            texts, size = texts + more_texts, size + more
            if texts > MAX_TEXTS:
                return f"{item.name} brings the file to {texts} declared texts, at most {MAX_TEXTS} are read"
            size += _length_of_texts(item, MAX_BYTES - size) if more_texts else 0
            if size > MAX_BYTES:
                return f"{item.name} brings the file to {size} declared bytes, at most {MAX_BYTES} are read"
        else:
            return f"{item.name} is neither a group nor a dataset"
    return ""


def _declared(data: h5py.Dataset) -> tuple[int, int]:
    """Return (texts, bytes) that reading ``data`` would make, from its declaration alone."""
    count = int(np.prod([int(n) for n in data.shape or ()], dtype=object)) if data.shape else 1
    return (count, 0) if data.dtype.kind == "O" else (0, count * data.dtype.itemsize)


def _length_of_texts(data: h5py.Dataset, limit: int) -> int:
    """Add up the lengths of texts one by one: many small entries may all point at one huge text."""
    total = 0
    for index in np.ndindex(*(data.shape or ())):
        value = data[index]
        total += len(value) if isinstance(value, bytes | str) else 0
        if total > limit:
            break
    return total


def _by_node(path: Path, problem: Exception) -> Network:
    """Read node by node what ``nir.read`` refused as a whole, so that every bad node is named at once."""
    nir = import_nir()
    import h5py
    from nir.serialization import hdf2dict

    try:
        with h5py.File(path, "r") as file:
            root = file["node"]
            edges = [(_name(a), _name(b)) for a, b in root["edges"][()]]
            contents = {name: hdf2dict(group) for name, group in root["nodes"].items()}
            metadata = hdf2dict(root["metadata"]) if "metadata" in root else {}
    except Exception as error:  # the first problem is the one worth telling
        raise unreadable(path, f"nir cannot read it: {_text(problem)}") from error
    nodes: dict[str, Any] = {}
    for name, content in contents.items():
        kind = str(content.get("type", "nothing"))
        try:
            with np.errstate(all="ignore"):
                nodes[name] = nir.dict2NIRNode(content)
        except Exception as error:
            known = isinstance(getattr(nir, kind, None), type)
            nodes[name] = Broken(kind, f"nir cannot make a {kind} of it: {_text(error)}" if known else "")
    if not any(isinstance(node, Broken) for node in nodes.values()):
        raise unreadable(path, f"nir cannot read it: {_text(problem)}") from problem
    return Network(nodes, edges, metadata)


def _name(value: Any) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)

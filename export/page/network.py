"""The network drawn layer by layer: what was captured, what it was folded into, what the chip holds.

A row is one layer of the chip: all captured nodes that end in its neurons or were folded into its synapses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from export.page import svg
from export.page.letters import fitted, width
from export.page.words import count, percent, plural, shape, size

WIDTH, BOX, GAP = 300.0, 44.0, 14.0
CORE, CORES_DRAWN, CORES_PER_ROW = 9.0, 48, 24


@dataclass(slots=True)
class Row:
    """The nodes of one layer in the three forms; ``chip`` is None where no chip layer was made."""

    name: str
    captured: list[dict[str, Any]] = field(default_factory=list)
    folded: list[dict[str, Any]] = field(default_factory=list)
    chip: dict[str, Any] | None = None


def layer_rows(report: dict[str, Any]) -> list[Row]:
    """Match captured nodes, folded nodes and chip layers, in data-flow order.

    A node that a pass left in place keeps its name and stands beside itself; one that vanished went into the
    synapses of the neurons that follow it. ``report`` is a completed one.
    """
    network = report["network"] or {}
    captured = _groups(network.get("captured") or [])
    folded = _groups(network.get("folded") or [])
    keys, position = list(folded), 0
    for name in captured:
        if name not in keys:
            keys.insert(position, name)
        position = keys.index(name) + 1
    keys += [layer["name"] for layer in report["layers"] or [] if layer["name"] not in keys]
    rows = {key: Row(key, folded=folded.get(key, [])) for key in keys}
    home = {node["name"]: key for key, nodes in folded.items() for node in nodes}
    for key, nodes in captured.items():
        for node in nodes:
            rows[home.get(node["name"], key)].captured.append(node)
    for layer in report["layers"] or []:
        rows[layer["name"]].chip = layer
    return [row for row in rows.values() if row.captured or row.folded or row.chip]


def _groups(nodes: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Cut a graph after each layer of neurons; a group is named after what it ends in."""
    groups: dict[str, list[dict[str, Any]]] = {}
    waiting: list[dict[str, Any]] = []
    for node in nodes:
        waiting.append(node)
        if node["type"] == "LIF":
            groups.setdefault(node["name"], []).extend(waiting)
            waiting = []
    if waiting:
        groups.setdefault(waiting[-1]["name"], []).extend(waiting)
    return groups


def nodes_picture(nodes: Sequence[dict[str, Any]], what: str) -> str:
    """Draw nodes as boxes from top to bottom, with the shape each hands on."""
    parts: list[str] = []
    for index, node in enumerate(nodes):
        top = index * (BOX + GAP)
        if index:
            parts += _arrow_down(top - GAP)
        parts += _node(node, top)
    spoken = ", then ".join(f"{node['name']} ({node['type']}) to {shape(node['output_shape'])}" for node in nodes)
    return svg.drawing(WIDTH, len(nodes) * (BOX + GAP) - GAP, f"{what}: {spoken}", parts, "boxes")


def _node(node: dict[str, Any], top: float) -> list[str]:
    known = node["parameters"]
    parameters = plural(known, "parameter") if known else ""
    detail = f"{node['type']}, {node['detail']}" if node["detail"] else node["type"]
    css = "box neuron" if node["type"] == "LIF" else "box"
    return [
        svg.rect(0.75, top + 0.75, WIDTH - 1.5, BOX - 1.5, css, radius=5, title=f"{node['name']}: {detail}"),
        *_two_ends(top + 18, node["name"], shape(node["output_shape"]), "strong", ""),
        *_two_ends(top + 34, detail, parameters, "tick", "tick"),
    ]


def _two_ends(y: float, left: str, right: str, left_css: str, right_css: str) -> list[str]:
    """Write a line of two texts, the left one cut where it would run into the right one."""
    size_left, size_right = (11.0 if css == "tick" else 12.5 for css in (left_css, right_css))
    shown = fitted(right, 150, size_right)
    room = WIDTH - 30 - width(shown, size_right)
    return [
        svg.text(10, y, fitted(left, room, size_left, bold=left_css == "strong"), left_css),
        svg.text(WIDTH - 10, y, shown, right_css, "end"),
    ]


def _arrow_down(top: float) -> list[str]:
    x, bottom = WIDTH / 2, top + GAP - 2
    return [
        svg.line(x, top + 1, x, bottom, "flow"),
        svg.path([(x - 4, bottom - 4), (x, bottom), (x + 4, bottom - 4)], "flow"),
    ]


def chip_picture(layer: dict[str, Any], chip: str) -> str:
    """Draw one layer as the chip holds it: sizes, number of cores, and how full each core is."""
    host = layer["where"] == "host"
    placed = layer["placement"] or {}
    cores = placed.get("cores", layer["cores"])
    lines = list(_chip_lines(layer, cores))
    parts = [
        *_two_ends(18, layer["name"], "host, in float" if host else chip, "strong", "tick"),
        *(
            part
            for index, (left, right) in enumerate(lines)
            for part in _two_ends(35 + 16 * index, left, right, "tick", "tick")
        ),
    ]
    y = 35.0 + 16 * len(lines)
    if not host:
        for label, share, limit in _bars(placed):
            parts += _bar(y, label, share, bold=limit)
            y += 17
        if cores:
            squares, y = _core_squares(y, int(cores))
            parts += squares
    box = svg.rect(0.75, 0.75, WIDTH - 1.5, y - 3, "box host" if host else "box chip", radius=5, title=layer["name"])
    return svg.drawing(WIDTH, y - 1, _spoken(layer, chip, cores, placed), [box, *parts], "boxes")


def _chip_lines(layer: dict[str, Any], cores: float | None) -> Iterator[tuple[str, str]]:
    kernel = f" {shape(layer['kernel'])}" if layer["kernel"] else ""
    stride = f", stride {_stride(layer['stride'])}" if layer["stride"] else ""
    yield f"{layer['kind']}{kernel}{stride}", f"{shape(layer['input_shape'])} → {shape(layer['output_shape'])}"
    known = [plural(layer[key], key[:-1]) for key in ("neurons", "weights") if layer[key] is not None]
    yield ", ".join(known), "" if cores is None or layer["where"] == "host" else plural(cores, "core")


def _stride(sizes: Sequence[float]) -> str:
    return count(sizes[0]) if len(set(sizes)) == 1 else shape(sizes)


def _bars(placed: dict[str, Any]) -> Iterator[tuple[str, float, bool]]:
    """Yield (label, share, whether this is what asks for the cores) of what is known about a core's use."""
    for key, name, used, write in (
        ("neuron_share", "neurons", "neurons_per_core", count),
        ("memory_share", "memory", "bytes_per_core", size),
        ("axon_share", "axons", "", count),
    ):
        share = placed.get(key)
        if share is not None:
            amount = placed.get(used)
            yield name if amount is None else f"{name} {write(amount)}", share, placed.get("limited_by") == name


def _bar(y: float, label: str, share: float, *, bold: bool) -> list[str]:
    left, right = 128.0, WIDTH - 62
    length = (right - left) * min(share, 1.0)
    return [
        svg.text(10, y + 4, fitted(label, left - 14, 11, bold=bold), "tick strong" if bold else "tick"),
        svg.rect(left, y - 4, right - left, 8, "track", radius=1.5),
        svg.rect(left, y - 4, max(length, 0.8), 8, "f-over" if share > 1 else "f-chip", radius=1.5),
        svg.text(WIDTH - 10, y + 4, percent(share), "tick", "end"),
    ]


def _core_squares(y: float, cores: int) -> tuple[list[str], float]:
    """Draw one square per core, and say how many were not drawn."""
    drawn = min(cores, CORES_DRAWN)
    parts = [
        svg.rect(
            10 + (CORE + 2) * (index % CORES_PER_ROW), y - 3 + (CORE + 2) * (index // CORES_PER_ROW), CORE, CORE, "core"
        )
        for index in range(drawn)
    ]
    bottom = y - 3 + (CORE + 2) * -(-drawn // CORES_PER_ROW)
    if cores > drawn:
        parts.append(svg.text(10, bottom + 10, f"and {plural(cores - drawn, 'core')} more", "tick"))
        bottom += 16
    return parts, bottom + 8


def _spoken(layer: dict[str, Any], chip: str, cores: float | None, placed: dict[str, Any]) -> str:
    if layer["where"] == "host":
        shapes = f"{shape(layer['input_shape'])} to {shape(layer['output_shape'])}"
        return f"{layer['name']} runs on the host in float, {shapes}"
    words = [f"{layer['name']} on {chip}, {layer['kind']}, to {shape(layer['output_shape'])}"]
    words += [] if cores is None else [plural(cores, "core")]
    words += [f"{label}, {percent(share)} of a core" for label, share, _ in _bars(placed)]
    return "; ".join(words)


def total_words(report: dict[str, Any]) -> str:
    """Say what the whole network takes on the chip, as far as it is known."""
    placed = report["placement"]
    if not placed:
        return ""
    said = [plural(placed["cores"], "core")]
    if placed["cores_per_chip"]:
        said[0] += f" (one chip has {count(placed['cores_per_chip'])})"
    said += [] if placed["chips"] is None else [plural(placed["chips"], "chip")]
    said += [] if placed["neurons"] is None else [plural(placed["neurons"], "neuron")]
    said += [] if placed["weight_bytes"] is None else [f"{size(placed['weight_bytes'])} of weights"]
    return ", ".join(said)

"""The report of an export: one JSON-ready dictionary from which every page, table and console line is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.compile import Checked, Compiled
from hw_targets.graph import LIF, Array, AvgPool2d, Conv2d, Graph, Linear, MaxPool2d, Node

SCHEMA = 2
BINS = 64


def tool() -> dict[str, str]:
    """Return what wrote a report."""
    from importlib.metadata import version

    return {"name": "neuroemo", "version": version("neuroemo")}


def describe_graph(graph: Graph) -> list[dict[str, Any]]:
    """Return every node of a graph with its shapes, its number of parameters and its settings in words."""
    return [
        {
            "name": node.name,
            "type": type(node).__name__,
            "input_shape": list(shape_in),
            "output_shape": list(shape_out),
            "parameters": _parameters(node),
            "detail": _detail(node),
        }
        for node, shape_in, shape_out in graph.layers()
    ]


def _parameters(node: Node) -> int:
    if isinstance(node, Conv2d | Linear):
        return int(node.weight.size + (0 if node.bias is None else node.bias.size))
    return 0


def _detail(node: Node) -> str:
    match node:
        case Conv2d():
            size = "x".join(map(str, node.weight.shape[2:]))
            extras = [("stride", node.stride, (1, 1)), ("padding", node.padding, (0, 0))]
            extras.append(("dilation", node.dilation, (1, 1)))
            words = [f"{name} {value[0]}x{value[1]}" for name, value, plain in extras if value != plain]
            return ", ".join([size, *words, *([f"groups {node.groups}"] if node.groups > 1 else [])])
        case AvgPool2d() | MaxPool2d():
            return f"{node.kernel[0]}x{node.kernel[1]}, stride {node.stride[0]}x{node.stride[1]}"
        case LIF():
            reset = "" if node.reset == "zero" else ", subtractive reset"
            memory = "" if node.current_decay == 1.0 else f", current decay {node.current_decay:.4g}"
            sign = ">=" if node.inclusive else ">"
            return f"decay {node.decay:.4g}, fires at v {sign} {node.threshold:.4g}{memory}{reset}"
        case Linear():
            return f"{node.weight.shape[1]} to {node.weight.shape[0]}"
    return ""


def describe_layers(compiled: Compiled, agreement: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every layer that runs after the export, on the host or on the chip, in data-flow order."""
    folded = {neuron: synapse for synapse, neuron in synapse_of(compiled.folded).items()}
    host = compiled.deployment.host
    layers = [] if host is None else [_host_layer(host, agreement)]
    for layer, placed in zip(compiled.chip.layers, compiled.placement, strict=True):
        layers.append(_chip_layer(layer, placed, folded.get(layer.name)) | {"verify": agreement.get(layer.name)})
    return layers


def synapse_of(graph: Graph) -> dict[Any, str]:
    """Return, for each synapse node of a folded graph, the name of the neuron layer it feeds."""
    feeds: dict[Any, str] = {}
    waiting: Any = None
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear):
            waiting = node
        elif isinstance(node, LIF) and waiting is not None:
            feeds[waiting] = node.name
            waiting = None
    return feeds


def _chip_layer(layer: Any, placed: Any, synapse: Any) -> dict[str, Any]:
    conv = layer.kind == "conv"
    return {
        "name": layer.name,
        "where": "chip",
        "kind": layer.kind,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "kernel": list(layer.weight.shape[2:]) if conv else None,
        "stride": list(layer.stride) if conv else None,
        "neurons": layer.neurons,
        "weights": layer.synapses,
        "scale": layer.scale,
        "payload": layer.payload,
        "threshold": layer.threshold,
        "voltage_decay": layer.voltage_decay,
        "current_decay": layer.current_decay,
        "bias_max": int(np.abs(layer.bias).max(initial=0)),
        "worst_sum": layer.largest_sum,
        "zero_weights": float((layer.weight == 0).mean()),
        "clipped_weights": layer.clipped,
        "cores": placed.cores,
        "placement": placed.to_dict() if hasattr(placed, "to_dict") else None,
        "histogram": None if synapse is None else histogram(synapse.weight, layer.weight / layer.scale),
    }


def _host_layer(host: Graph, agreement: dict[str, dict[str, Any]]) -> dict[str, Any]:
    synapse, name = next(iter(synapse_of(host).items()))
    conv = isinstance(synapse, Conv2d)
    return {
        "name": name,
        "where": "host",
        "kind": "conv" if conv else "dense",
        "input_shape": list(host.input_shape),
        "output_shape": list(host.shapes[-1]),
        "kernel": list(synapse.weight.shape[2:]) if conv else None,
        "stride": list(synapse.stride) if conv else None,
        "neurons": int(np.prod(host.shapes[-1])),
        "weights": int(synapse.weight.size),
        "scale": None,
        "payload": 1,
        "threshold": None,
        "voltage_decay": None,
        "current_decay": None,
        "bias_max": None,
        "worst_sum": None,
        "zero_weights": float((synapse.weight == 0).mean()),
        "cores": 0,
        "placement": None,
        "histogram": None,
        "verify": agreement.get(name),
    }


def histogram(before: Array, after: Array) -> dict[str, list[float]]:
    """Return counts of weights in ``BINS`` equal bins around zero, before and after quantisation.

    >>> histogram(np.array([-1.0, 0.3]), np.array([-1.0, 0.25]))["before"][0]
    1
    """
    largest = float(max(np.abs(before).max(initial=0.0), np.abs(after).max(initial=0.0))) or 1.0
    edges = np.linspace(-largest, largest, BINS + 1)
    return {
        "edges": edges.tolist(),
        "before": np.histogram(before, edges)[0].tolist(),
        "after": np.histogram(after, edges)[0].tolist(),
    }


def describe_placement(compiled: Compiled) -> dict[str, Any]:
    """Return what the chip part needs in all."""
    summarise = getattr(compiled.deployment.target, "summarise", None)
    if summarise is not None:
        return dict(summarise(compiled.placement))
    return {"cores": sum(placed.cores for placed in compiled.placement)}


def describe_network(checked: Checked | Compiled) -> dict[str, Any]:
    """Return the captured and the folded graph, node by node."""
    return {
        "captured": describe_graph(checked.captured),
        "folded": None if checked.folded is None else describe_graph(checked.folded),
    }


def describe_checked(checked: Checked) -> dict[str, Any]:
    """Return what a check reached: the graphs, and the layers with their cores where there are integers."""
    if checked.folded is None or checked.deployment is None:
        return {"network": describe_network(checked), "layers": [], "placement": None}
    compiled = Compiled(checked.captured, checked.folded, checked.deployment, checked.placement, checked.findings)
    return {
        "network": describe_network(checked),
        "layers": describe_layers(compiled, {}),
        "placement": describe_placement(compiled),
    }

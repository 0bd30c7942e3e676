"""NIR graphs made in memory, and their equations by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from export.frontends.nir_file import Options, read_network
from export.frontends.nir_guard import Network
from export.nir_writer import write_nir
from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear

nir = pytest.importorskip("nir")
torch.set_num_threads(1)


DT = 1e-3


SAID = {"steps": 5, "dt_us": 1000.0, "inclusive": True}


def lif(*shape, tau=2e-3, r=1.0, leak=0.0, threshold=0.3, reset=0.0):
    return nir.LIF(*(np.full(shape, float(value)) for value in (tau, r, leak, threshold, reset)))


def conv(outputs=3, inputs=2, size=(8, 8), kernel=(3, 3), stride=1, padding=1, dilation=1, groups=1, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.1, 0.4, (outputs, inputs // groups, *kernel))
    return nir.Conv2d(size, weight, stride, padding, dilation, groups, np.full(outputs, 0.05))


def linear(outputs, inputs, seed=1):
    return nir.Linear(np.random.default_rng(seed).normal(0.05, 0.3, (outputs, inputs)))


def flatten(*shape, start=0, end=-1):
    return nir.Flatten({"input": np.array(shape)}, start, end)


def chain(*nodes, shape=(2, 8, 8), output=(4,), **more):
    """A NIR graph of the nodes in a row, named a, b, c, ..."""
    named = {"input": nir.Input(np.array(shape))}
    named |= {chr(97 + at): node for at, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(output))
    names = list(named)
    return nir.NIRGraph(named, list(pairwise(names)), type_check=False, **more)


def usual():
    return chain(conv(), lif(3, 8, 8), flatten(3, 8, 8), linear(4, 192), lif(4))


def in_memory(graph, **said):
    return read_network(Network(graph.nodes, graph.edges, graph.metadata), Options(**{**SAID, **said}))


def written(graph, tmp_path):
    nir.write(tmp_path / "x.nir", graph)
    return tmp_path / "x.nir"


def clips_of(shape, count=3, steps=5, seed=2, rate=0.4):
    return (np.random.default_rng(seed).random((steps, count, *shape)) < rate).astype(np.float32)


def refused(graph, kind, **said):
    with pytest.raises(kind) as caught:
        in_memory(graph, **said)
    return caught.value.findings


def codes(findings):
    return [(finding.code, finding.node) for finding in findings]


def pool(kind, size, stride, padding=(0, 0)):
    return kind(np.array(size), np.array(stride), np.array(padding))


def cuba(*shape, syn=4e-3, mem=2e-3, r=1.0, w_in=1.0, threshold=0.1):
    values = (syn, mem, r, 0.0, threshold, 0.0, w_in)
    return nir.CubaLIF(*(np.full(shape, value) for value in values))


def ours(tmp_path, dt_us=1000.0):
    rng = np.random.default_rng(0)
    nodes = (
        Conv2d("c", rng.normal(0.1, 0.4, (3, 2, 3, 3)), None, padding=(1, 1)),
        LIF("n", 0.3, 0.5),
        AvgPool2d("p", (2, 2), (2, 2)),
        Flatten("f"),
        Linear("l", rng.normal(0.05, 0.3, (4, 48))),
        LIF("o", 0.3, 0.3),
    )
    write_nir(Graph(nodes, (2, 8, 8), 5, dt_us, "float", 2), tmp_path / "a.nir")
    return tmp_path / "a.nir"

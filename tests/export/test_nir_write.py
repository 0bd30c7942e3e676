"""Graphs written as NIR and read back here; what NIR cannot say is told."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from export.frontends.nir_file import read_nir
from export.nir_writer import nir_findings, with_unit_resistance, write_nir
from export.reference import run_graph
from hw_targets.finding import InputError, MissingDependencyError, UnsupportedError
from hw_targets.graph import LIF, BatchNorm, Conv2d, Graph, MaxPool2d

nir = pytest.importorskip("nir")
torch.set_num_threads(1)
from tests.export.nir_write_parts import STEPS, assert_busy, assert_same_graph, clips_for, lattice, pooled, small  # noqa: E402

GRAPHS = {
    "leaky": small,
    "strict comparison": lambda: small(inclusive=False),
    "decay without a short binary form": lambda: small(decay=1 / 3, gain=1 / 3, threshold=0.2),
    "forgets everything": lambda: small(decay=1.0),
    "integrate and fire": lambda: small(decay=0.0),
    "above rest zero": lambda: small(rest=0.125),
    "synaptic memory": lambda: small(current_decay=0.3, threshold=2.0),
    "steps counted, dt unknown": lambda: small(dt_us=None),
    "gray first frame": lambda: replace(small(), first_frame="float"),
    "dt of a third": lambda: small(dt_us=1000 / 3, decay=0.3),
    "average pool": pooled,
    "two comparisons": lambda: small().replace_nodes(
        (*small().nodes[:4], replace(small().nodes[4], inclusive=False), *small().nodes[5:])
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_written_is_read_back(name, tmp_path):
    graph = GRAPHS[name]()
    write_nir(graph, tmp_path / "a.nir")
    source = read_nir(tmp_path / "a.nir")
    assert_same_graph(source.graph, graph)
    clips = clips_for(graph)
    wanted = run_graph(graph, clips).spikes
    assert_busy(wanted)
    found = run_graph(source.graph, clips).spikes
    for layer, spikes in wanted.items():
        np.testing.assert_array_equal(found[layer], spikes)


def test_equal_graphs_make_equal_bytes(tmp_path):
    write_nir(small(), tmp_path / "a.nir", metadata={"author": "me", "epochs": 3})
    time.sleep(1.1)  # HDF5 keeps times in seconds, where it keeps them
    write_nir(small(), tmp_path / "b.nir", metadata={"author": "me", "epochs": 3})
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nir", "b.nir"]
    assert nir.read(tmp_path / "a.nir").metadata["author"] == "me"


def test_the_equations_are_those_of_nir(tmp_path):
    """By hand: decay 1/4 at dt 1 ms is tau 4 ms; gain 1 then needs r = 4; IF integrates r dt = gain."""
    write_nir(small(decay=0.25, gain=1.0, rest=0.125), tmp_path / "lif.nir")
    node = nir.read(tmp_path / "lif.nir").nodes["features_1"]
    assert isinstance(node, nir.LIF)
    assert node.tau.shape == (3, 4, 4)
    assert [np.unique(getattr(node, key)).tolist() for key in ("tau", "r", "v_leak", "v_reset", "v_threshold")] == [
        [0.004],
        [4.0],
        [0.125],
        [0.125],
        [0.75],
    ]
    write_nir(small(decay=0.0, gain=2.0), tmp_path / "if.nir")
    node = nir.read(tmp_path / "if.nir").nodes["features_1"]
    assert isinstance(node, nir.IF)
    assert node.r[0, 0, 0] == 2000.0
    write_nir(small(decay=0.25, current_decay=0.5), tmp_path / "cuba.nir")
    node = nir.read(tmp_path / "cuba.nir").nodes["features_1"]
    assert isinstance(node, nir.CubaLIF)
    assert [getattr(node, key)[0, 0, 0] for key in ("tau_mem", "tau_syn", "r", "w_in")] == [0.004, 0.002, 4.0, 2.0]


def test_what_nir_cannot_say_stands_in_the_metadata(tmp_path):
    write_nir(small(dt_us=None, inclusive=False), tmp_path / "a.nir")
    noted = nir.read(tmp_path / "a.nir").metadata["neuroemo"]
    assert noted["dt_us"] == 100.0
    assert bool(noted["dt_is_nominal"]) is True
    assert noted["spike_comparison"] == ">"
    assert noted["reset"] == "v_reset, in the same step"
    assert (noted["steps"], noted["voting"], noted["first_frame"]) == (STEPS, 2, "spikes")


def test_all_that_nir_lacks_is_named_at_once(tmp_path):
    one = np.ones(3)
    odd = (BatchNorm("bn", one, one, one, one, 1e-5), MaxPool2d("pool", (2, 2), (2, 2)))
    nodes = small().nodes
    graph = Graph((nodes[0], odd[0], nodes[1], odd[1]), (2, 8, 8), STEPS, 1000.0)
    with pytest.raises(UnsupportedError) as caught:
        write_nir(graph, tmp_path / "a.nir")
    assert [(f.code, f.node) for f in caught.value.findings] == [("E440", "bn"), ("E440", "pool")]
    assert "NIR has no MaxPool2d" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"reset": "subtract"}, "E441", "soft reset"),
        ({"decay": 1.5}, "E442", "decay 1.5"),
        ({"current_decay": 0.0}, "E442", "current_decay 0"),
        ({"decay": 0.0, "current_decay": 0.5}, "E443", "synaptic memory without a leak"),
        ({"threshold": float("nan")}, "E444", "threshold holds values that are not finite"),
    ],
)
def test_neurons_without_an_equation_are_refused(change, code, text, tmp_path):
    with pytest.raises(UnsupportedError, match=text) as caught:
        write_nir(small(**change), tmp_path / "a.nir")
    assert {f.code for f in caught.value.findings} == {code}
    assert len(caught.value.findings) == 3
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    graph = small()
    graph.nodes[3].weight[2, 2] = np.inf
    with pytest.raises(UnsupportedError, match=r"E444 fc\.0: weight"):
        write_nir(graph, tmp_path / "a.nir")


@pytest.mark.parametrize("metadata", [{"a": [1]}, {"neuroemo": "x"}, {"a/b": 1}, {"": 1}, {"a": 2**63}, {"a": None}])
def test_metadata_that_would_change_or_take_our_place_is_refused(metadata, tmp_path):
    with pytest.raises(InputError, match="E446"):
        write_nir(small(), tmp_path / "a.nir", metadata=metadata)


def test_metadata_at_the_edge_is_kept(tmp_path):
    write_nir(small(), tmp_path / "a.nir", metadata={"a": 2**63 - 1, "b": "", "c": True, "d": 0.5})
    kept = nir.read(tmp_path / "a.nir").metadata
    assert (kept["a"], kept["b"], bool(kept["c"]), kept["d"]) == (2**63 - 1, "", True, 0.5)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="E445"):
        write_nir(small(), tmp_path / "no" / "a.nir")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="E445"):
        write_nir(small(), tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_without_nir_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(MissingDependencyError, match="pip install nir"):
        write_nir(small(), tmp_path / "a.nir")


def test_where_known_readers_go_wrong_is_told():
    codes = {(f.code, f.node) for f in nir_findings(small())}
    assert codes == {("W441", "features.1"), ("W441", "fc.1"), ("W441", "fc.3"), ("W442", "features.1")}
    assert nir_findings(small(inclusive=False, decay=0.5, gain=0.5)) == []
    tall = Conv2d("tall", np.ones((2, 1, 3, 1)), groups=2)
    assert [f.code for f in nir_findings(Graph((tall,), (2, 8, 8), 1, None))] == ["W440"]


def test_layers_that_the_check_of_nir_gets_wrong_are_still_read_back(tmp_path):
    rng = np.random.default_rng(5)
    conv = Conv2d("tall", lattice(rng, 4, 1, 3, 1), None, dilation=(2, 1), groups=2)
    graph = Graph((conv, LIF("n", 0.5, 0.5)), (2, 8, 8), STEPS, 1000.0)
    write_nir(graph, tmp_path / "a.nir")
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "a.nir")
    source = read_nir(tmp_path / "a.nir")
    assert_same_graph(source.graph, graph)
    clips = clips_for(graph)
    wanted = run_graph(graph, clips).spikes
    assert_busy(wanted)
    np.testing.assert_array_equal(source.spikes(clips)["n"], wanted["n"])


def test_unit_resistance_changes_no_spike():
    graph = small(decay=0.25)
    unit = with_unit_resistance(graph)
    assert [node.gain for node in unit.neurons()] == [0.25] * 3
    clips = clips_for(graph)
    wanted = run_graph(graph, clips).spikes
    assert_busy(wanted)
    for name, spikes in run_graph(unit, clips).spikes.items():
        np.testing.assert_array_equal(spikes, wanted[name])

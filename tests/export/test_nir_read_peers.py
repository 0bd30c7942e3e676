"""NIR files of SpikingJelly and Norse give their own spikes; the replay finds graphs that differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from export.frontends.nir_file import read_nir
from export.frontends.nir_guard import Network
from export.frontends.nir_replay import interpret, replay_check
from export.reference import run_graph
from hw_targets.finding import InputError
from hw_targets.graph import LIF

nir = pytest.importorskip("nir")
torch.set_num_threads(1)
from tests.export.nir_read_parts import DT, chain, clips_of, codes, in_memory, ours, usual  # noqa: E402


def spikingjelly_model(kind):
    from spikingjelly.activation_based import functional, layer, neuron
    from torch import nn

    torch.manual_seed(0)

    def spiking():
        return {
            "lif": lambda: neuron.LIFNode(tau=2.5, v_threshold=0.3),
            "no input decay": lambda: neuron.LIFNode(tau=2.5, v_threshold=0.8, decay_input=False),
            "if": lambda: neuron.IFNode(v_threshold=0.7),
            "plif": lambda: neuron.ParametricLIFNode(init_tau=3.0, v_threshold=0.2),
            "reset": lambda: neuron.LIFNode(tau=2.0, v_threshold=0.3, v_reset=0.1),
            "cuba": lambda: neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=0.9),
        }[kind]()

    parts = [layer.Conv2d(2, 3, 3, padding=1, bias=False), spiking(), layer.AvgPool2d(2)]
    model = nn.Sequential(*parts, layer.Flatten(), layer.Linear(48, 6), spiking())
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.1, 0.4)
    functional.set_step_mode(model, "s")
    return model.eval()


def norse_file(tmp_path, dt):
    """A file as Norse 1.1 writes it: one value per layer, which nir only stores without compression."""
    norse = pytest.importorskip("norse.torch")
    torch.manual_seed(0)
    model = norse.SequentialState(
        torch.nn.Linear(16, 8), norse.LIFBoxCell(dt=1e-3), torch.nn.Linear(8, 4), norse.LIFBoxCell(dt=1e-3)
    )
    for module in model:
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 2.0, 4.0)
    graph = norse.to_nir(model, torch.rand(1, 16), dt=dt)
    graph.nodes["input"], graph.nodes["output"] = nir.Input(np.array([16])), nir.Output(np.array([4]))
    nir.write(tmp_path / "norse.nir", graph, compression=None)
    return model, tmp_path / "norse.nir"


@pytest.mark.parametrize(
    "clips",
    [np.zeros((5, 2, 2, 9, 9)), np.zeros((5, 2)), np.full((5, 1, 2, 8, 8), np.nan)],
    ids=["size", "axes", "NaN"],
)
def test_clips_that_do_not_suit_are_refused(clips):
    with pytest.raises(InputError, match="E164"):
        in_memory(usual()).spikes(clips)


def test_the_replay_finds_a_graph_that_differs_and_layers_that_say_nothing():
    source = in_memory(usual())
    clips = clips_of((2, 8, 8))
    assert replay_check(source, clips) == []
    nodes = list(source.graph.nodes)
    nodes[1] = LIF("b", 0.5, 0.3, gain=0.6)
    object.__setattr__(source, "graph", source.graph.replace_nodes(tuple(nodes)))
    (finding,) = replay_check(source, clips)
    assert (finding.code, finding.node) == ("E176", "b")
    quiet = replay_check(in_memory(usual()), np.zeros_like(clips))
    assert ("W161", "e") in codes(quiet)
    assert {f.severity for f in quiet} == {"warning"}


def test_the_interpreter_keeps_an_array_per_neuron():
    """By hand: with dt/tau 1/2 and 1, input 1 and threshold 0.6, the potentials are 0.5, 0.75 and 1.0, 1.0."""
    node = nir.LIF(np.array([2e-3, 1e-3]), np.ones(2), np.zeros(2), np.full(2, 0.6), np.zeros(2))
    graph = chain(node, shape=(2,), output=(2,))
    network = Network(graph.nodes, graph.edges, {})
    fired = interpret(network, np.ones((3, 1, 2)), dt_s=DT, inclusive={"a": True})
    assert fired["a"][:, 0].tolist() == [[0, 1], [1, 1], [0, 1]]


@pytest.mark.parametrize("kind", ["lif", "no input decay", "if", "plif", "reset", "cuba"])
def test_files_of_spikingjelly_give_its_own_spikes(kind, tmp_path):
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    from spikingjelly.activation_based import functional

    model = spikingjelly_model(kind)
    clips = clips_of((2, 8, 8), steps=12)
    exchange.export_to_nir(model, torch.from_numpy(clips[0]), save_path=tmp_path / "sj.nir", dt=1e-3)
    functional.reset_net(model)
    seen = {1: [], 5: []}
    with torch.no_grad():
        for frame in clips:
            value = torch.from_numpy(frame)
            for at, module in enumerate(model):
                value = module(value)
                if at in seen:
                    seen[at].append(value.numpy().astype(np.uint8))
    source = read_nir(tmp_path / "sj.nir", steps=12, dt_us=1000.0, inclusive=True)
    run = run_graph(source.graph, clips)
    literal = source.spikes(clips)
    assert source.findings == ()
    for name, wanted in zip(run.spikes, seen.values(), strict=True):
        wanted = np.stack(wanted)
        assert 0.005 < wanted.mean() < 0.995, "silent or saturated: nothing is shown"
        np.testing.assert_array_equal(run.spikes[name], wanted)
        np.testing.assert_array_equal(literal[name], wanted)
    if kind == "no input decay":
        with pytest.raises(InputError, match=r"probably --dt 0\.001"):
            read_nir(tmp_path / "sj.nir", steps=12, dt_us=10_000.0, inclusive=True)
        assert read_nir(tmp_path / "sj.nir", steps=12, dt_us=100.0, inclusive=True).findings[0].code == "W160"


def test_files_of_norse_give_its_own_spikes(tmp_path):
    """Norse writes tau = dt / tau_mem_inv, which is the time constant only for dt = 1."""
    model, path = norse_file(tmp_path, dt=1.0)
    clips = clips_of((16,), steps=12)
    state, wanted = None, []
    with torch.no_grad():
        for frame in clips:
            spikes, state = model(torch.from_numpy(frame), state)
            wanted.append(spikes.numpy().astype(np.uint8))
    source = read_nir(path, steps=12, dt_us=1000.0, inclusive=False)
    assert 0.005 < np.mean(wanted) < 0.995, "silent or saturated: nothing is shown"
    np.testing.assert_array_equal(run_graph(source.graph, clips).output, wanted)
    np.testing.assert_array_equal(list(source.spikes(clips).values())[-1], wanted)


def test_the_scaled_time_constants_of_norse_are_noticed(tmp_path):
    _, path = norse_file(tmp_path, dt=1e-3)
    with pytest.raises(InputError, match="E169") as caught:
        read_nir(path, steps=12, dt_us=1000.0, inclusive=False)
    assert "dt/tau = 0.001 s / 1e-05 s = 100" in str(caught.value)


def test_the_library_loads_without_nir():
    """nir is imported late: the module must load where it is missing."""
    code = "import sys; sys.modules['nir'] = None; import export.frontends.nir_file, export.nir_writer"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_copy_under_another_name_is_the_same_network(tmp_path):
    path = ours(tmp_path)
    shutil.copy(path, tmp_path / "b.h5")
    assert read_nir(tmp_path / "b.h5").graph.steps == 5

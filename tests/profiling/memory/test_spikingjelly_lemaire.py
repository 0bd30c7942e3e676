"""SpikingJelly 2's own Lemaire profiler on the same network: equal where conventions agree, and by what it differs.

They agree with ``access="whole"``, ``approximate=True`` and int32: every access costs a whole 64-bit access, and
the fan-out is the paper's. Two conventions differ: SpikingJelly keeps weights and biases in one memory, here
they have one each; and it takes the paper's fan-out only, so that stride and borders are overcounted.
"""

from __future__ import annotations

from typing import Any

import pytest

from neuroemo.profiling.memory import LemaireOptions, price_lemaire
from neuroemo.profiling.memory.sram import Sram
from neuroemo.profiling.prices import load_prices

torch = pytest.importorskip("torch")
op_counter = pytest.importorskip("spikingjelly.activation_based.op_counter", reason="SpikingJelly 2 counts operations")
if not hasattr(op_counter, "LemaireEnergyProfiler"):
    pytest.skip("this SpikingJelly has no Lemaire profiler", allow_module_level=True)

STEPS = 4
PRICES = load_prices("cmos45")
AS_SPIKINGJELLY = LemaireOptions(access="whole", approximate=True)


def network(*, bias: bool, leak: bool = False, stride: int = 1) -> Any:
    from spikingjelly.activation_based import functional, layer, neuron

    torch.set_num_threads(1)
    torch.manual_seed(3)
    spiking = neuron.LIFNode if leak else neuron.IFNode
    size = (12 - 3) // stride + 1
    model = torch.nn.Sequential(
        layer.Conv2d(2, 6, 3, stride=stride, bias=bias),
        spiking(),
        layer.Conv2d(6, 4, 3, bias=bias),
        spiking(),
        layer.Flatten(),
        layer.Linear(4 * (size - 2) ** 2, 5, bias=bias),
        spiking(),
    ).eval()
    functional.set_step_mode(model, "m")
    for weights in model.parameters():
        weights.data.mul_(2.0)
    return model


def spikes() -> Any:
    return (torch.rand(STEPS, 1, 2, 12, 12, generator=torch.Generator().manual_seed(5)) < 0.3).float()


def theirs(model: Any) -> Any:
    from spikingjelly.activation_based import functional

    functional.reset_net(model)
    profiler = op_counter.LemaireEnergyProfiler(config=op_counter.LemaireEnergyConfig(strict=False))
    profiler.bind_model(model)
    with torch.no_grad(), profiler:
        model(spikes())
    return profiler.get_report()


def ours(model: Any, options: LemaireOptions = AS_SPIKINGJELLY) -> Any:
    from spikingjelly.activation_based import functional

    from neuroemo.profiling import count_operations

    functional.reset_net(model)
    counts = count_operations(model, [spikes()])
    assert counts.partial == {}
    return price_lemaire(counts, PRICES, "int32", "snn", options=options), counts


@pytest.mark.filterwarnings("ignore:Lemaire formulas")
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_equal_without_biases(leak: bool, stride: int) -> None:
    model = network(bias=False, leak=leak, stride=stride)
    report = theirs(model)
    priced, _ = ours(model)
    assert report.counts["synop"] > 0
    assert report.total_pj == pytest.approx(priced.total_pj, rel=1e-9)
    parts = priced.parts()
    potential = parts["potential reads"] + parts["potential writes"]
    assert report.breakdown_pj["potential_pj"] == pytest.approx(potential, rel=1e-9)


@pytest.mark.filterwarnings("ignore:Lemaire formulas")
def test_biases_differ_by_the_memory_that_they_share_with_the_weights() -> None:
    model = network(bias=True)
    report = theirs(model)
    priced, counts = ours(model)
    memory = Sram.of(PRICES.rows, "whole")
    difference = 0.0
    for name, layer in counts.layers.items():
        if layer.geometry is None:
            continue
        weights, biases = layer.geometry.weights, layer.geometry.biases
        together = memory.access_pj(weights + biases, 32)
        for part, words in (("weight reads", weights), ("bias reads", biases)):
            reads = priced.layers[name][part] / memory.access_pj(words, 32)
            difference += reads * (together - memory.access_pj(words, 32))
    assert difference > 0
    assert report.total_pj - priced.total_pj == pytest.approx(difference, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Lemaire formulas")
def test_the_counted_fan_out_costs_less_than_the_papers() -> None:
    model = network(bias=False, stride=2)
    exact, counts = ours(model, LemaireOptions(access="whole"))
    report = theirs(model)
    assert report.counts["synop"] > counts.total.acs
    assert report.total_pj > 1.2 * exact.total_pj

"""Our counts beside those of the counters that others publish: equal to the last operation where inputs are 0 or 1.

Slow, and only where the peers are installed (benchmarks/requirements-profile.txt). Each is set up as the benchmark
sets it up. What they count on graded inputs is a matter of convention: here is what each one's is.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from neuroemo.profiling import count_operations

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PEERS = {
    "neurobench": "neurobench",
    "sinabs": "sinabs",
    "spikingjelly_synop": "spikingjelly.activation_based.op_counter",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import profile_parts
    finally:
        sys.path.remove(str(BENCHMARKS))
    return profile_parts


def totals_of(parts, subject, peer: str) -> dict[str, int]:
    pytest.importorskip(PEERS[peer])
    (tool,) = [tool for tool in parts.tools(subject)[0] if tool.name == peer]
    tool.run()
    return tool.run()  # the second run tells whether the first one left something behind


def ours(subject) -> dict[str, int]:
    counts = count_operations(subject.model(), [subject.clips])
    assert not counts.partial
    return {"acs": counts.total.acs, "macs": counts.total.macs, "dense": counts.total.dense_macs}


def random_network(seed: int) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """Convolutions of any kernel, stride (beyond the kernel too), padding, dilation and groups, then a linear layer."""
    from spikingjelly.activation_based import layer, neuron

    draw = random.Random(seed)
    torch.manual_seed(seed)
    shape = (draw.choice((1, 2, 4)), draw.randint(9, 17), draw.randint(9, 17))
    modules, values = [], torch.zeros(1, *shape)
    for _ in range(draw.randint(1, 3)):
        groups = draw.choice([n for n in (1, 2, 4) if values.shape[1] % n == 0])
        settings = {
            "kernel_size": (draw.randint(1, 3), draw.randint(1, 3)),
            "stride": (draw.randint(1, 4), draw.randint(1, 4)),
            "padding": (draw.randint(0, 2), draw.randint(0, 2)),
            "dilation": (draw.randint(1, 2), draw.randint(1, 2)),
        }
        module = layer.Conv2d(
            values.shape[1], groups * draw.randint(1, 4), groups=groups, bias=draw.random() < 0.5, **settings
        )
        if min(values.shape[2:]) + 2 * min(settings["padding"]) < 5:
            break
        values = module(values)
        modules += [module, neuron.IFNode(v_threshold=0.1)]
    return nn.Sequential(*modules, layer.Flatten(), layer.Linear(values.numel(), 5)).eval(), shape


def random_subject(parts, seed: int):
    network, shape = random_network(seed)
    # Four samples: the mean over them that sinabs takes is exact in float32.
    clips = (torch.rand(5, 4, *shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    return parts.Subject("random", network, clips, "s")


@pytest.fixture(scope="module", params=["stride", "maxpool"])
def binary(parts, request):
    return parts.build_subject(request.param, parts.Size(side=16, channels=8, stages=2, steps=6, batch=4))


def check_equal(parts, subject, peer: str) -> None:
    mine, theirs = ours(subject), totals_of(parts, subject, peer)
    assert mine["acs"] > 0 == mine["macs"]
    if peer == "neurobench":
        assert theirs == mine
    else:
        assert theirs == {"synops": mine["acs"]}


@pytest.mark.parametrize("peer", PEERS)
def test_equal_on_networks_whose_inputs_are_spikes(parts, binary, peer):
    check_equal(parts, binary, peer)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("seed", range(25))
def test_equal_on_random_networks(parts, peer, seed):
    check_equal(parts, random_subject(parts, seed), peer)


def test_the_random_networks_are_of_every_kind():
    convolutions = [module for seed in range(25) for module in random_network(seed)[0] if isinstance(module, nn.Conv2d)]
    for kind in (
        lambda conv: conv.groups > 1,
        lambda conv: max(conv.dilation) > 1,
        lambda conv: conv.stride[0] > conv.kernel_size[0],
        lambda conv: conv.padding[0] > 0,
        lambda conv: conv.bias is not None,
    ):
        assert sum(map(kind, convolutions)) >= 5


@pytest.mark.parametrize("peer", ["neurobench", "spikingjelly_synop"])
def test_equal_on_all_steps_in_one_call(parts, peer):
    subject = parts.build_subject("stride", parts.Size(side=16, channels=8, stages=2, steps=6, batch=4), mode="m")
    check_equal(parts, subject, peer)


@pytest.fixture(scope="module")
def graded(parts):
    return parts.build_subject("avgpool", parts.Size(side=16, channels=8, stages=2, steps=6, batch=4))


def test_graded_inputs_neurobench_has_the_same_sum(parts, graded):
    mine, theirs = ours(graded), totals_of(parts, graded, "neurobench")
    assert theirs["acs"] + theirs["macs"] == mine["acs"] + mine["macs"]
    assert theirs["macs"] > mine["macs"] > 0  # of a call with one graded input it makes all of it MACs
    assert theirs["dense"] == mine["dense"]


def test_graded_inputs_spikingjelly_counts_the_first_layer_only(parts, graded):
    first = count_operations(graded.model(), [graded.clips]).layers["network.0"]
    assert totals_of(parts, graded, "spikingjelly_synop") == {"synops": first.acs}


def test_graded_inputs_sinabs_counts_the_spikes_that_entered_the_pool(parts, graded):
    counts = count_operations(graded.model(), [graded.clips], pooling="spike_unit").total
    # A pool window of 2 x 2 passes on a quarter for each spike: sinabs counts value * 4.
    assert totals_of(parts, graded, "sinabs") == {"synops": counts.acs + counts.macs}


def test_one_half_among_many_spikes(parts):
    subject = parts.build_subject("stride", parts.Size(side=16, channels=8, stages=2, steps=6, batch=4))
    subject.clips[0, 0, 0, 5, 5] = 0.5
    mine, exact = ours(subject), parts.exact_counts(subject)
    assert mine["macs"] == exact["graded"] > 0
    assert mine["macs"] <= 9 * 8
    # The peers give the whole call up: the first layer of that step.
    assert totals_of(parts, subject, "neurobench")["macs"] > mine["macs"]
    lost = exact["events"] - totals_of(parts, subject, "spikingjelly_synop")["synops"]
    assert lost > mine["macs"]

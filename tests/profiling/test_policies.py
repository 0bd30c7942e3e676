"""Each convention a caller can choose, against an enumeration of that convention."""

import itertools

import numpy as np
import pytest
import torch
from brute_force import enumerate_spikes, probe_module
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neuroemo.profiling import count_operations


def reads_through_pool(pool, behind, shape):
    """Fan-out of every input of a pool by experiment: which windows it is in, and what each of them costs behind."""
    reads = np.zeros(shape, dtype=np.int64)
    for position in itertools.product(*map(range, shape)):
        probe = torch.zeros(1, *shape)
        probe[(0, *position)] = 1
        with torch.no_grad():
            covered = pool(probe)[0] != 0
        reads[position] = int(behind.reshape(covered.shape)[covered.numpy()].sum())
    return reads


POOLS = [
    (nn.AvgPool2d(2), (2, 6, 6), nn.Conv2d(2, 3, 2), False),
    (nn.AvgPool2d(2), (2, 7, 6), nn.Conv2d(2, 3, 3, padding=1), False),
    (nn.AvgPool2d(3, stride=2, padding=1), (2, 7, 7), nn.Conv2d(2, 3, 3, stride=2), False),
    (nn.AvgPool2d((2, 3), stride=(1, 2)), (1, 5, 7), nn.Conv2d(1, 2, 2), False),
    (nn.AvgPool2d(2), (2, 4, 6), nn.Linear(12, 5), True),
    (nn.AdaptiveAvgPool2d(2), (2, 5, 3), nn.Linear(8, 4), True),
    (nn.AvgPool1d(3), (2, 8), nn.Conv1d(2, 2, 2), False),
    (nn.AvgPool3d(2), (1, 4, 4, 5), nn.Conv3d(1, 2, 2), False),
    (nn.AvgPool2d(3, stride=1), (1, 6, 7), nn.Conv2d(1, 2, 2, stride=2, padding=1), False),
    (nn.AvgPool2d(3, stride=2), (1, 7, 7), nn.Linear(9, 4), True),
]


def reads_of_merged_weights(pool, behind, shape, flat):
    """Fan-out once pool and synapses are one linear map, by experiment: outputs that move with each input."""
    net = nn.Sequential(pool, *([nn.Flatten()] if flat else []), behind).double()
    with torch.no_grad():
        behind.weight.fill_(1.0)
        size = int(np.prod(shape))
        inputs = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().reshape(size + 1, *shape)
        outputs = net(inputs).reshape(size + 1, -1)
    net.float()
    return (outputs[1:] != outputs[0]).sum(dim=1).numpy().reshape(shape)


@pytest.mark.parametrize("policy", ["spike_unit", "folded"])
@pytest.mark.parametrize(("pool", "shape", "behind", "flat"), POOLS, ids=lambda value: str(value))
def test_spikes_are_followed_through_average_pools(policy, pool, shape, behind, flat):
    batch = torch.from_numpy(np.random.default_rng(0).choice([0, 0, 1, 0.5], size=(3, *shape))).float()
    net = nn.Sequential(pool, *([nn.Flatten()] if flat else []), behind)
    with torch.no_grad():
        pooled_shape = tuple(pool(batch).shape[1:])
    pooled_reads = probe_module(behind, (int(np.prod(pooled_shape)),) if flat else pooled_shape)
    reads = (
        reads_through_pool(pool, pooled_reads, shape)
        if policy == "spike_unit"
        else reads_of_merged_weights(pool, behind, shape, flat)
    )
    counts = count_operations(net, [batch], time_first=False, pooling=policy)
    found = counts.layers["2" if flat else "1"]
    assert (found.acs, found.macs, found.spikes_in) == enumerate_spikes(batch.numpy(), reads)
    assert found.acs > 0
    assert found.dense_macs == 3 * int((reads if policy == "folded" else pooled_reads).sum())
    assert found.elements == batch.numel()
    assert not counts.notes


def test_spike_units_are_what_sum_pooling_sends():
    # One window of four spikes: averaging sends one graded 1.0, a chip that sums sends four spikes.
    net = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 5, 1))
    batch = torch.ones(1, 1, 2, 2)
    by_policy = {
        policy: count_operations(net, [batch], time_first=False, pooling=policy).total.acs
        for policy in ("event", "spike_unit", "folded")
    }
    assert by_policy == {"event": 5, "spike_unit": 20, "folded": 20}


def test_a_pool_that_feeds_no_synapses_is_noted():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    nn.init.ones_(net[0].weight)
    counts = count_operations(net, [torch.ones(1, 1, 4, 4)], time_first=False, pooling="folded")
    assert "met no synapses directly" in counts.notes["1"]
    assert counts.layers["4"].spikes_in == 4  # the pooled values themselves


def test_the_policy_is_printed_with_the_result():
    net = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 5, 1))
    counts = count_operations(net, [torch.ones(1, 1, 2, 2)], time_first=False, pooling="spike_unit")
    assert counts.to_json()["policy"]["pooling"].startswith("sum pooling")


@pytest.mark.parametrize("loop", [False, True])
def test_batch_normalisation_is_a_layer_of_its_own_when_it_is_counted(loop):
    net = nn.Sequential(layer.Conv2d(1, 4, 1), layer.BatchNorm2d(4), neuron.IFNode())
    functional.set_step_mode(net, "s" if loop else "m")
    clip = torch.ones(3, 2, 1, 5, 5)
    counts = count_operations(net, [clip], loop_steps=loop, batch_norm="counted")
    norm = counts.layers["1"]
    assert (norm.kind, norm.macs, norm.acs, norm.dense_macs) == ("element", 3 * 2 * 100, 0, 3 * 2 * 100)
    assert norm.per_step[:, 1].tolist() == [200, 200, 200]
    assert counts.total.macs == norm.macs
    assert "one multiply-accumulate per element" in counts.policy.batch_norm
    assert count_operations(net, [clip], loop_steps=loop).layers.keys() == {"0", "2"}


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (neuron.IFNode(), ("IF", 0, 1, 0)),
        (neuron.IFNode(v_reset=None), ("IF", 0, 1, 1)),
        (neuron.LIFNode(), ("LIF", 1, 1, 0)),
        (neuron.LIFNode(v_reset=None), ("LIF", 1, 1, 1)),
        (neuron.ParametricLIFNode(), ("PLIF", 1, 1, 0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_neurons_carry_the_rule_of_their_update(node, rule):
    node.step_mode = "m"
    counts = count_operations(nn.Sequential(node), [torch.full((4, 2, 3), 2.5)])
    found = counts.layers["0"]
    assert (found.rule.name, found.rule.macs, found.rule.acs, found.rule.reset_acs) == rule
    assert found.neuron_updates == 4 * 2 * 3
    assert found.spikes_out == found.table[..., 3].sum() > 0
    assert not counts.is_partial


class OwnDynamics(neuron.LIFNode):
    def neuronal_charge(self, x):
        self.v = self.v + x.square()


@pytest.mark.parametrize("node", [OwnDynamics(), neuron.QIFNode()], ids=lambda value: type(value).__name__)
def test_neurons_of_unknown_dynamics_make_the_count_partial(node):
    node.step_mode = "m"
    counts = count_operations(nn.Sequential(node), [torch.full((2, 1, 3), 2.5)])
    assert counts.layers["0"].rule is None
    assert "what one of them costs is not known" in counts.partial["0"]
    assert counts.layers["0"].neuron_updates == 6

import copy
import json

import numpy as np
import pytest
import torch
from brute_force import enumerate_spikes, probe_module
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from hw_targets.finding import InputError
from neuroemo.profiling import SpikeLayer, count_operations, count_spike_layers, merge_counts
from neuroemo.profiling.counting.fanout import conv_fan_out, linear_fan_out

STEPS, SAMPLES = 5, 3
SYNAPSES = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


def fire():
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, surrogate_function=surrogate.ATan())


def spiking_net(mode="m", seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        fire(),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 6, 3, stride=2, groups=2),
        layer.BatchNorm2d(6),
        fire(),
        layer.Flatten(),
        layer.Linear(24, 10),
        fire(),
        layer.VotingLayer(5),
    )
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.BatchNorm2d):
                module.bias.fill_(0.3)
    functional.set_step_mode(net, mode)
    return net


def frames(seed=0, steps=STEPS, samples=SAMPLES):
    """Spikes with a gray first frame, [T, N, 2, 10, 10]."""
    generator = torch.Generator().manual_seed(seed)
    clip = (torch.rand(steps, samples, 2, 10, 10, generator=generator) < 0.3).float()
    clip[0] = torch.rand(samples, 2, 10, 10, generator=generator)
    return clip


class StepLoop(nn.Module):
    """A model that loops over time itself."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, clip):
        return torch.stack([self.net(frame) for frame in clip])


def recorded(model, batch):
    """Inputs of every synaptic module, by hooks that share nothing with the counter."""
    calls = {}
    handles = [
        module.register_forward_hook(lambda m, x, y: calls.setdefault(m, []).append(x[0].detach().clone()))
        for module in model.modules()
        if isinstance(module, SYNAPSES)
    ]
    functional.reset_net(model)
    model.eval()
    with torch.no_grad():
        model(batch)
    functional.reset_net(model)
    for handle in handles:
        handle.remove()
    return calls


def brute_force(model, batch):
    """(acs, macs, spikes, dense) of every synaptic module, and (AC, MAC) by step, one element at a time."""
    results = {}
    for module, inputs in recorded(model, batch).items():
        axes = 1 + len(getattr(module, "kernel_size", ()))
        reads = probe_module(module, tuple(inputs[0].shape[-axes:]))
        stacked = torch.cat(inputs).reshape(*batch.shape[:2], *reads.shape).numpy()
        steps = [enumerate_spikes(step, reads) for step in stacked]
        totals = tuple(map(sum, zip(*steps, strict=True)))
        dense = int(reads.sum()) * stacked.shape[0] * stacked.shape[1]
        results[module] = (*totals, dense), [list(step[:2]) for step in steps]
    return results


def assert_equals_brute_force(counts, model, batch):
    expected = brute_force(model, batch)
    names = {module: name for name, module in model.named_modules()}
    assert expected
    for module, (totals, steps) in expected.items():
        found = counts.layers[names[module]]
        assert (found.acs, found.macs, found.spikes_in, found.dense_macs) == totals, names[module]
        assert found.per_step.tolist() == steps
        assert found.per_sample.sum(axis=0).tolist() == list(totals[:2])
    return expected


def test_multi_step_network_equals_brute_force():
    net, batch = spiking_net(), frames()
    counts = count_operations(net, [batch])
    assert_equals_brute_force(counts, net, batch)
    assert not counts.is_partial
    assert counts.layers["0"].macs > 0 < counts.layers["0"].acs  # gray first frame, then spikes
    assert counts.layers["4"].macs > 0  # behind the average pool
    assert counts.layers["8"].macs == 0 < counts.layers["8"].acs
    assert (counts.samples, counts.steps) == (SAMPLES, STEPS)


@pytest.mark.parametrize("inside", [True, False])
def test_single_step_loops_count_the_same(inside):
    batch = frames()
    reference = count_operations(spiking_net(), [batch])
    single = spiking_net("s")
    counts = (
        count_operations(StepLoop(single), [batch]) if inside else count_operations(single, [batch], loop_steps=True)
    )
    assert not counts.notes
    for name, expected in reference.layers.items():
        found = counts.layers[f"net.{name}" if inside else name].to_json()
        assert {**found, "calls": 0} == {**expected.to_json(), "calls": 0}
        assert counts.layers[f"net.{name}" if inside else name].calls == STEPS
    if inside:
        assert_equals_brute_force(counts, StepLoop(single), batch)


@pytest.mark.parametrize("container", [layer.SeqToANNContainer, layer.MultiStepContainer])
def test_containers_that_fold_or_loop_over_time(container):
    torch.manual_seed(1)
    net = nn.Sequential(container(nn.Conv2d(2, 3, 3, padding=2, stride=2), nn.BatchNorm2d(3)), fire())
    net[1].step_mode = "m"
    counts = count_operations(net, [frames()])
    assert_equals_brute_force(counts, net, frames())


def test_neurons_are_layers_of_their_own():
    net, batch = spiking_net(), frames()
    spikes = {}
    net[2].register_forward_hook(lambda m, x, y: spikes.update(out=int((y != 0).sum())))
    counts = count_operations(net, [batch])
    first = counts.layers["2"]
    assert (first.kind, first.type) == ("neuron", "LIFNode")
    assert first.neuron_updates == STEPS * SAMPLES * 4 * 10 * 10
    assert first.spikes_out == spikes["out"] > 0
    assert (first.acs, first.macs, first.dense_macs, first.synapses, first.spikes_in) == (0, 0, 0, 0, 0)
    assert counts.total.neuron_updates == STEPS * SAMPLES * (400 + 24 + 10)


def test_the_policy_covers_and_shows_what_is_free():
    counts = count_operations(spiking_net(), [frames()])
    rules = {name: module.rule for name, module in counts.covered.items()}
    assert rules == {"1": "batch_norm", "3": "pooling", "5": "batch_norm", "7": "flatten", "10": "voting"}
    assert set(rules.values()) <= counts.policy.to_dict().keys()
    assert counts.covered["1"].elements == STEPS * SAMPLES * 400


def test_several_batches_are_sums_and_samples_stay_apart():
    net, batches = spiking_net(), [frames(1), frames(2, samples=2)]
    together = count_operations(net, batches)
    apart = [count_operations(net, [batch]) for batch in batches]
    assert together.samples == SAMPLES + 2
    assert together.total.acs == sum(part.total.acs for part in apart)
    assert together.total.synapses == apart[0].total.synapses
    assert (
        together.layers["0"].per_sample.tolist() == np.concatenate([p.layers["0"].per_sample for p in apart]).tolist()
    )
    assert merge_counts(apart).to_json() == together.to_json()
    one = [count_operations(net, [frames(1)[:, n : n + 1]]).total.macs for n in range(SAMPLES)]
    assert together.total.per_sample[:SAMPLES, 1].tolist() == one


def test_state_is_reset_before_and_after_so_that_counts_repeat():
    net, batch = spiking_net().eval(), frames()
    first = count_operations(net, [batch]).to_json()
    assert all(isinstance(net[i].v, float) for i in (2, 6, 9))  # after: the initial scalar, no tensor
    with torch.no_grad():
        net(batch)  # leaves charge in the membranes
    assert isinstance(net[2].v, torch.Tensor)
    assert count_operations(net, [batch]).to_json() == first
    assert count_operations(net, [batch, batch]).total.acs == 2 * first["total"]["acs"]


def test_the_model_is_left_as_it_was():
    net = spiking_net()
    net.train()
    net[1].eval()  # a frozen normalisation inside a training model
    before, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    count_operations(net, [frames()])
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in net.parameters())


def test_hooks_and_modes_are_put_back_when_the_model_fails():
    net = spiking_net()
    net.train()
    bad = frames()
    bad[1, 0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"E095 0: 1 values are NaN"):
        count_operations(net, [bad])
    with pytest.raises(RuntimeError):
        count_operations(net, [torch.zeros(STEPS, SAMPLES, 7, 10, 10)])
    assert net.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert isinstance(net[2].v, float)


def test_the_counted_output_is_the_output():
    net, batch = spiking_net().eval(), frames()
    outputs = []
    net.register_forward_hook(lambda m, x, y: outputs.append(y))
    count_operations(net, [batch])
    functional.reset_net(net)
    with torch.no_grad():
        net(batch)
    assert torch.equal(*outputs)


def test_trap_one_graded_value_among_a_million_spikes():
    conv = layer.Conv2d(2, 32, 3, padding=1, step_mode="m")
    spikes = torch.ones(8, 2, 2, 181, 181)  # 1,048,352 elements
    spikes[3, 1, 1, 0, 7] = 0.5
    counts = count_operations(conv, [spikes]).layers["Conv2d"]
    assert counts.macs == 32 * 6
    assert counts.acs == 16 * 2 * 32 * (3 * 181 - 2) ** 2 - 32 * 6
    assert counts.per_step[:, 1].tolist() == [0, 0, 0, 192, 0, 0, 0, 0]
    assert counts.per_sample[:, 1].tolist() == [0, 192]


def test_trap_gray_first_frame_of_a_multi_step_call():
    conv = layer.Conv2d(2, 4, 3, step_mode="m")
    clip = torch.ones(3, 1, 2, 5, 5)
    clip[0] = 0.25
    counts = count_operations(conv, [clip]).layers["Conv2d"]
    dense = 3 * 3 * 9 * 2 * 4
    assert counts.per_step.tolist() == [[0, dense], [dense, 0], [dense, 0]]


def test_trap_signed_spikes_and_amplitude_two():
    linear = nn.Linear(4, 10)
    batch = torch.tensor([[[1.0, -1.0, 0.0, 2.0]]])
    counts = count_operations(linear, [batch]).layers["Linear"]
    assert (counts.acs, counts.macs, counts.dense_macs, counts.synapses) == (20, 10, 40, 40)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.fc(torch.ones_like(self.fc(x)))


@pytest.mark.parametrize("loop", [False, True])
def test_trap_module_called_twice_counts_twice_under_one_name(loop):
    model = StepLoop(Twice()) if loop else Twice()
    batch = torch.ones(3, 2, 4)
    batch[1] = 0  # the first of the two calls costs nothing at this step
    counts = count_operations(model, [batch])
    found = counts.layers["net.fc" if loop else "fc"]
    assert (found.acs, found.dense_macs, found.synapses) == (5 * 2 * 16, 6 * 2 * 16, 16)
    assert found.calls == (6 if loop else 2)
    assert found.per_step[:, 0].tolist() == [64, 32, 64]
    assert not counts.notes


def test_a_shared_module_is_counted_under_its_first_name():
    fc = nn.Linear(4, 4)
    counts = count_operations(nn.Sequential(fc, nn.Sequential(fc)), [torch.ones(1, 1, 4)])
    assert counts.layers["0"].calls == 2
    assert "1.0" not in counts.layers


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), (2, 9)),
        (nn.Conv2d(2, 4, (3, 2), padding="same", dilation=(1, 2)), (2, 5, 6)),
        (nn.Conv2d(2, 2, 2, padding="same"), (2, 5, 5)),
        (nn.Conv2d(2, 2, 2, padding="valid"), (2, 5, 5)),
        (nn.Conv3d(1, 2, 2, stride=3), (1, 4, 5, 4)),
        (nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 5)),
        (nn.ConvTranspose2d(2, 4, 3, groups=2, dilation=2), (2, 3, 4)),
        (nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2)),
        (nn.Linear(6, 5), (6,)),
    ],
    ids=lambda value: str(value),
)
def test_every_kind_of_layer_as_a_plain_ann_call(module, shape):
    batch = torch.from_numpy(np.random.default_rng(0).choice([0, 1, 0.5], size=(3, *shape))).float()
    counts = count_operations(module, [batch], time_first=False)
    found = counts.layers[type(module).__name__]
    reads = probe_module(module, shape)
    assert (found.acs, found.macs, found.spikes_in) == enumerate_spikes(batch.numpy(), reads)
    assert found.dense_macs == 3 * reads.sum()
    assert (counts.samples, counts.steps) == (3, 1)


def test_bfloat16_is_counted():
    linear = nn.Linear(4, 2).to(torch.bfloat16)
    counts = count_operations(linear, [torch.ones(1, 1, 4, dtype=torch.bfloat16)])
    assert counts.total.acs == 8


class Readout(nn.Module):
    """One dense layer after the mean over time."""

    def __init__(self):
        super().__init__()
        self.conv = layer.Conv1d(1, 1, 3, step_mode="m")
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.conv(x).mean(0).squeeze(1))


def test_a_readout_after_time_is_counted_once_and_noted():
    counts = count_operations(Readout(), [torch.ones(3, 2, 1, 6)])
    head = counts.layers["head"]
    assert head.acs + head.macs == 2 * 4 * 2
    assert head.per_step.sum(axis=1).tolist() == [0, 0, 16]
    assert counts.notes == {"head": "1 calls for 3 steps: attributed to the last", "unused": "never called"}
    assert not counts.is_partial


def test_simulator_runs_are_counted_by_the_same_code():
    net, batch = spiking_net(), frames()
    live = count_operations(net, [batch])
    inputs = recorded(net, batch)
    fired = inputs[net[8]][0].numpy()
    simulated = count_spike_layers(
        [
            SpikeLayer("0", conv_fan_out((2, 10, 10), 4, (3, 3), padding=1), batch.numpy(), neurons=400),
            SpikeLayer("4", conv_fan_out((4, 5, 5), 6, (3, 3), stride=2, groups=2), inputs[net[4]][0].numpy()),
            SpikeLayer("8", linear_fan_out(24, 10), inputs[net[8]][0].numpy().astype(np.uint8)),
        ]
    )
    for name in ("0", "4", "8"):
        same = {"calls": 0, "type": "", "geometry": None}
        assert simulated.layers[name].to_json() | same == live.layers[name].to_json() | same
    assert simulated.layers["0.neurons"].neuron_updates == live.layers["2"].neuron_updates
    neurons = SpikeLayer("8", linear_fan_out(24, 10), fired, neurons=24, outputs=fired)
    assert count_spike_layers([neurons]).layers["8.neurons"].spikes_out == live.layers["6"].spikes_out > 0
    assert (simulated.samples, simulated.steps, simulated.is_partial) == (SAMPLES, STEPS, False)


def test_results_are_json():
    counts = count_operations(spiking_net(), [frames()])
    data = json.loads(json.dumps(counts.to_json()))
    assert data["total"]["acs"] == sum(layer["acs"] for layer in data["layers"].values())
    assert sum(data["total"]["per_step"]["macs"]) == data["total"]["macs"]
    assert data["policy"]["graded"]


def test_importing_the_package_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, neuroemo.profiling as p; p.load_prices('cmos45'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Counting over a data loader, the exact cuts of a result, and spikes that are counted ahead of their synapses."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hw_targets.finding import InputError
from neuroemo.profiling import count_operations


def spiking_net(mode="m"):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        neuron.LIFNode(v_threshold=0.2),
        layer.Conv2d(4, 3, 3, stride=2),
        neuron.LIFNode(v_threshold=0.1),
        layer.Flatten(),
        layer.Linear(27, 5),
        neuron.IFNode(v_threshold=0.2, v_reset=None),
    )
    functional.set_step_mode(net, mode)
    return net


def clips(samples, steps=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clip = (torch.rand(steps, samples, 2, 8, 8, generator=generator) < 0.4).float()
    clip[0] = torch.rand(samples, 2, 8, 8, generator=generator)
    return clip


def test_a_data_loader_of_pairs_is_streamed_with_progress():
    data = clips(7).transpose(0, 1)
    loader = DataLoader(TensorDataset(data, torch.arange(7)), batch_size=3)
    seen = []
    net = spiking_net()
    streamed = count_operations(
        net, ((x.transpose(0, 1), y) for x, y in loader), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(3, None), (6, None), (7, None)]
    whole = count_operations(net, [clips(7)])
    for name, found in streamed.layers.items():
        assert np.array_equal(found.table, whole.layers[name].table), name


def test_the_length_of_a_loader_is_the_total_of_its_progress():
    loader = DataLoader(TensorDataset(torch.ones(7, 4), torch.arange(7)), batch_size=3)
    seen = []
    count_operations(nn.Linear(4, 2), loader, time_first=False, progress=lambda *now: seen.append(now))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_summed_samples_keep_exact_moments():
    net = spiking_net()
    apart = count_operations(net, [clips(3), clips(2, seed=1)])
    summed = count_operations(net, [clips(3), clips(2, seed=1)], keep_samples=False)
    assert (summed.samples, summed.kept) == (5, False)
    acs, macs = apart.total.per_sample.astype(object).T
    assert summed.squares == apart.squares == ((acs * acs).sum(), (macs * macs).sum(), (acs * macs).sum())
    for name, found in summed.layers.items():
        assert found.table.shape == (4, 1, 4)
        assert np.array_equal(found.table[:, 0], apart.layers[name].table.sum(axis=1))
        assert found.squares == apart.layers[name].squares
        assert found.neuron_updates == apart.layers[name].neuron_updates
    with pytest.raises(InputError, match=r"E807 samples: were summed"):
        summed.of_samples([0])


def test_memory_does_not_grow_with_the_samples_of_a_stream():
    import tracemalloc

    model = nn.Linear(64, 4)

    def peak(batches):
        stream = (torch.ones(8, 2000, 64) for _ in range(batches))
        tracemalloc.start()
        count_operations(model, stream, keep_samples=False)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak(1)
    assert peak(12) < 1.2 * peak(3)


def same_tables(cut, run):
    assert cut.samples == run.samples
    assert cut.steps == run.steps
    for name, found in run.layers.items():
        mine = cut.layers[name]
        assert np.array_equal(mine.table, found.table), name
        assert (mine.dense_macs, mine.neuron_updates, mine.elements) == (
            found.dense_macs,
            found.neuron_updates,
            found.elements,
        )
    assert cut.squares == run.squares


def test_cuts_equal_shorter_and_smaller_runs():
    net, batch = spiking_net(), clips(5)
    counts = count_operations(net, [batch])
    same_tables(counts.first_steps(3), count_operations(net, [batch[:3]]))
    same_tables(counts.first_steps(4), counts)
    same_tables(counts.of_samples([3, 1]), count_operations(net, [batch[:, [3, 1]]]))


def test_stopping_each_sample_at_a_step_of_its_own():
    net, batch = spiking_net(), clips(3)
    counts = count_operations(net, [batch])
    stopped = counts.until([1, 4, 2])
    alone = [count_operations(net, [batch[:steps, index : index + 1]]).total for index, steps in enumerate((1, 4, 2))]
    assert stopped.total.acs == sum(each.acs for each in alone)
    assert stopped.total.macs == sum(each.macs for each in alone)
    assert stopped.total.neuron_updates == sum(each.neuron_updates for each in alone)
    assert stopped.total.per_sample.tolist() == [each.per_sample[0].tolist() for each in alone]


@pytest.mark.parametrize(
    ("cut", "code"),
    [
        (lambda counts: counts.first_steps(0), "E808"),
        (lambda counts: counts.first_steps(5), "E808"),
        (lambda counts: counts.until([1, 2]), "E808"),
        (lambda counts: counts.of_samples([]), "E800"),
        (lambda counts: counts.of_samples([3]), "E800"),
    ],
)
def test_cuts_that_do_not_fit_are_refused(cut, code):
    with pytest.raises(InputError) as caught:
        cut(count_operations(spiking_net(), [clips(3)]))
    assert [finding.code for finding in caught.value.findings] == [code]


def test_a_layer_that_runs_once_cannot_be_cut_in_time():
    class Readout(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 7)

        def forward(self, x):
            return self.head(x.mean(0))

    with pytest.raises(InputError, match=r"E809 steps: which steps and samples head ran in is not known"):
        count_operations(Readout(), [torch.ones(5, 1, 3)]).first_steps(1)


def test_stages_pair_synapses_with_the_neurons_behind_them():
    stages = count_operations(spiking_net(), [clips(2)]).stages()
    assert [(stage.name, stage.neuron.type) for stage in stages] == [
        ("0", "LIFNode"), ("2", "LIFNode"), ("5", "IFNode"),
    ]  # fmt: skip


class Between(nn.Module):
    """Neurons, something done to their spikes, synapses; run step by step."""

    def __init__(self, tamper):
        super().__init__()
        self.neurons, self.synapses, self.tamper = neuron.IFNode(), nn.Linear(6, 5), tamper
        self.arrived = []

    def forward(self, clip):
        self.arrived.clear()
        for frame in clip:
            spikes = self.tamper(self.neurons(frame))
            self.arrived.append(spikes.clone())
            self.synapses(spikes)


def cleared(spikes):
    spikes[:, 0] = 0
    return spikes


def through_data(spikes):
    spikes.data[:, 0] = 0.5
    return spikes


def through_numpy(spikes):
    spikes.numpy()[:, 0] = 0.5
    return spikes


def turned(spikes):
    # Same memory, same length, another order: as many rows of other spikes.
    return spikes.t().contiguous().t() if spikes.shape[0] != spikes.shape[1] else spikes.t()


@pytest.mark.parametrize("tamper", [lambda x: x, cleared, through_data, through_numpy, turned], ids=str)
@pytest.mark.parametrize("samples", [3, 6])
def test_spikes_are_counted_as_they_arrive_whatever_was_done_to_them(tamper, samples):
    clip = (torch.rand(5, samples, 6, generator=torch.Generator().manual_seed(2)) < 0.5) * 2.0
    net = Between(tamper)
    found = count_operations(net, [clip]).layers["synapses"]
    for step, spikes in enumerate(net.arrived):
        units, graded = (spikes == 1).sum(dim=1) * 5, ((spikes != 0) & (spikes != 1)).sum(dim=1) * 5
        assert found.table[step, :, 0].tolist() == units.tolist()
        assert found.table[step, :, 1].tolist() == graded.tolist()
    assert found.acs > 0


def test_spikes_made_in_inference_mode_are_counted():
    class Inference(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = spiking_net("s")

        def forward(self, clip):
            with torch.inference_mode():
                return torch.stack([self.net(frame) for frame in clip])

    found = count_operations(Inference(), [clips(2)])
    expected = count_operations(spiking_net("s"), [clips(2)], loop_steps=True)
    assert found.total.table.tolist() == expected.total.table.tolist()

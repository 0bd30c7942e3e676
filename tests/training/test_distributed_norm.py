"""Synchronised batch normalisation against torch's own on the whole batch, with threads in place of processes."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from hw_targets.finding import UnsupportedError
from neuroemo.training.synchronised_norm import SynchronisedBatchNorm, global_statistics, synchronise_batch_norm


class Threads:
    """A sum over ``size`` threads: each waits for all, as processes do."""

    def __init__(self, size):
        self.barrier, self.parts = threading.Barrier(size, timeout=20), {}

    def sum_(self, tensor):
        self.parts[threading.get_ident()] = tensor.clone()
        self.barrier.wait()
        tensor.copy_(torch.stack([self.parts[name] for name in sorted(self.parts)]).sum(dim=0))
        self.barrier.wait()
        return tensor

    def run(self, works):
        errors = []

        def guarded(work):
            try:
                work()
            except BaseException as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def random_norm(kind, channels, **settings):
    norm = kind(channels, **settings)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.normal_()
    return nn.Sequential(norm)


def normalise(network, clips, gradient):
    """Return output, gradient of the input, gradients of the parameters."""
    inputs = clips.clone().requires_grad_()
    output = network(inputs)
    output.backward(gradient)
    return output.detach(), inputs.grad, [parameter.grad for parameter in network.parameters()]


def close(found, wanted, tolerance):
    scale = max(float(wanted.abs().max()), 1e-30)
    assert float((found.double() - wanted.double()).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("shares", [(4, 3), (1, 0), (2, 0, 3), (5,)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_shares_of_a_batch_come_out_as_the_whole_batch_does_in_float64(shares, offset, momentum):
    torch.manual_seed(sum(shares))
    clips = torch.randn(6, sum(shares), 3, 5, 4) * torch.tensor([0.5, 1.0, 3.0]).view(3, 1, 1) + offset
    gradient = torch.randn_like(clips)
    whole = random_norm(layer.BatchNorm2d, 3, step_mode="m", momentum=momentum)
    together = Threads(len(shares))
    networks = [copy.deepcopy(whole) for _ in shares]
    results = {}

    def work(rank, part, part_gradient):
        synchronise_batch_norm(networks[rank], together.sum_)
        for _ in range(2):  # the second batch moves the running statistics again
            networks[rank].zero_grad()
            results[rank] = normalise(networks[rank], part, part_gradient)

    parts = list(zip(clips.split(shares, dim=1), gradient.split(shares, dim=1), strict=True))
    together.run([lambda rank=rank, pair=pair: work(rank, *pair) for rank, pair in enumerate(parts)])
    golden = copy.deepcopy(whole).double()
    for _ in range(2):
        golden.zero_grad()
        wanted = normalise(golden, clips.double(), gradient.double())
    far = 1 + 4 * offset  # the last digit of an input, in units of the spread, is as much larger
    for place in (0, 1):
        close(torch.cat([results[rank][place] for rank in range(len(shares))], dim=1), wanted[place], 3e-7 * far)
    for number in (0, 1):
        summed = sum(results[rank][2][number].double() for rank in range(len(shares)))
        close(summed, wanted[2][number], 1e-6)
    for network in networks:
        close(network[0].running_mean, golden[0].running_mean, 1e-7)
        close(network[0].running_var, golden[0].running_var, 1e-7)
        assert int(network[0].num_batches_tracked) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_process_agrees_with_torch_to_the_last_digits(dtype):
    torch.manual_seed(1)
    clips, gradient = (torch.randn(2, 7, 4, 9, 9).to(dtype) for _ in range(2))
    own = random_norm(layer.BatchNorm2d, 4, step_mode="m")
    other = copy.deepcopy(own)
    synchronise_batch_norm(other, lambda sums: sums)
    found, wanted = normalise(other, clips, gradient), normalise(own, clips, gradient)
    tolerance = 3e-7 if dtype == torch.float32 else 2**-8
    assert found[0].dtype == found[1].dtype == dtype
    for place in (0, 1):
        close(found[place], wanted[place], tolerance)
    for mine, theirs in zip(found[2], wanted[2], strict=True):
        close(mine, theirs, 1e-6)


def test_statistics_by_hand_and_in_pieces(monkeypatch):
    monkeypatch.setattr("neuroemo.training.synchronised_norm.CHUNK", 3)
    images = torch.arange(24.0).view(6, 2, 2, 1)
    count, mean, variance = global_statistics(images, lambda sums: sums)
    channels = np.arange(24.0).reshape(6, 2, 2).transpose(1, 0, 2).reshape(2, -1)
    assert count == 12
    np.testing.assert_allclose(mean, channels.mean(axis=1), rtol=1e-15)
    np.testing.assert_allclose(variance, channels.var(axis=1), rtol=1e-15)


def test_a_channel_far_from_zero_keeps_its_variance():
    images = torch.tensor([2.0**23, 2.0**23 + 1]).view(2, 1, 1, 1)
    assert float(global_statistics(images, lambda sums: sums)[2]) == 0.25


def test_evaluation_uses_running_statistics_and_exchanges_nothing():
    own = random_norm(nn.BatchNorm2d, 3)
    own[0].running_mean.uniform_()
    other = copy.deepcopy(own)
    synchronise_batch_norm(other, lambda sums: pytest.fail("evaluation exchanged sums"))
    frames = torch.randn(4, 3, 5, 5)
    assert torch.equal(other.eval()(frames), own.eval()(frames))
    assert torch.equal(other[0].running_mean, own[0].running_mean)


def test_parameters_and_names_stay_the_same_objects():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 1), layer.BatchNorm2d(3, step_mode="m")), nn.BatchNorm2d(3))
    parameters, names = list(network.parameters()), list(network.state_dict())
    synchronise_batch_norm(network, lambda sums: sums)
    assert isinstance(network[0][1], SynchronisedBatchNorm)
    assert isinstance(network[1], SynchronisedBatchNorm)
    assert all(one is other for one, other in zip(network.parameters(), parameters, strict=True))
    assert list(network.state_dict()) == names


def test_what_cannot_be_synchronised_is_refused_by_name_all_at_once():
    network = nn.Sequential(
        nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    )
    with pytest.raises(UnsupportedError) as caught:
        synchronise_batch_norm(network, lambda sums: sums)
    found = [(finding.code, finding.node, finding.found) for finding in caught.value.findings]
    assert found == [
        ("E914", "0", "BatchNorm1d cannot be normalised over several processes"),
        ("E914", "2.0", "BatchNorm2d cannot be normalised over several processes"),
    ]
    assert isinstance(network[1], nn.BatchNorm2d), "a refusal changes nothing"

"""Batch normalisation over several processes: shares of a batch, in threads that sum, train as the whole batch does."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from neuroemo.training.fast import fast_network
from tests.training.fast_support import SMALL, firing_network, largest_error, random_clips


class Sum:
    """What sums a tensor over ``size`` threads in place."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size, timeout=60)
        self.lock = threading.Lock()
        self.total = None

    def __call__(self, tensor):
        with self.lock:
            self.total = tensor.clone() if self.total is None else self.total + tensor
        self.barrier.wait()
        tensor.copy_(self.total)
        if self.barrier.wait() == 0:
            self.total = None
        self.barrier.wait()
        return tensor


def share_of(network, clips, weights, together):
    fast = fast_network(network, SMALL, sum_over_processes=together)
    votes = fast(clips)
    (votes * weights).sum().backward()
    return votes.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("sizes", [(2, 3), (5, 0)])
def test_shares_of_a_batch_train_as_the_whole(sizes):
    whole = firing_network(SMALL)
    shares = [copy.deepcopy(whole) for _ in sizes]
    clips = random_clips(SMALL, 5)
    weights = torch.randn(SMALL.steps, 5, SMALL.classes, generator=torch.Generator().manual_seed(0))
    votes, gradients = share_of(whole, clips, weights, None)
    together = Sum(len(sizes))
    with ThreadPoolExecutor(len(sizes)) as pool:
        parts = list(
            pool.map(share_of, shares, clips.split(sizes, 1), weights.split(sizes, 1), [together] * len(sizes))
        )
    assert torch.equal(torch.cat([part[0] for part in parts], 1), votes)
    summed = {name: sum(part[1][name] for part in parts) for name in gradients}
    assert largest_error(summed, gradients) < 1e-5
    for share in shares:
        for (name, value), wanted in zip(share.named_buffers(), whole.buffers(), strict=True):
            torch.testing.assert_close(value, wanted, rtol=2e-7, atol=1e-9, msg=name)

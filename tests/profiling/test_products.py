"""Products outside the known layers: counted from their operands, against loops over every pair of factors."""

import numpy as np
import pytest
import torch
from brute_force import enumerate_spikes, probe_module
from torch import nn

from hw_targets.finding import InputError
from neuroemo.profiling import count_operations
from neuroemo.profiling.counting.products import count_pairs

VALUES = [0.0, 0.0, 1.0, -1.0, 0.5, 2.0]


def draw(seed, *shape, values=VALUES):
    return torch.from_numpy(np.random.default_rng(seed).choice(values, size=shape)).float()


def enumerate_pairs(left, right):
    """(acs, macs) of one matrix product, one pair of factors at a time."""
    acs = macs = 0
    for row in left.tolist():
        for column in zip(*right.tolist(), strict=True):
            for a, b in zip(row, column, strict=True):
                if a == 0 or b == 0:
                    continue
                if abs(a) == 1 or abs(b) == 1:
                    acs += 1
                else:
                    macs += 1
    return acs, macs


@pytest.mark.parametrize("seed", range(20))
def test_pairs_equal_enumeration(seed):
    rng = np.random.default_rng(seed)
    m, k, n = rng.integers(1, 6, 3).tolist()
    left, right = draw(seed, 3, m, k), draw(seed + 100, 3, k, n)
    counts = count_pairs(left, right)
    for index in range(3):
        assert (int(counts.acs[index]), int(counts.macs[index])) == enumerate_pairs(left[index], right[index])
    assert counts.spikes_in.tolist() == [int((left[i] != 0).sum() + (right[i] != 0).sum()) for i in range(3)]


def test_pairs_of_nan_are_refused():
    with pytest.raises(InputError, match="E848 product: 1 values are NaN"):
        count_pairs(torch.tensor([[[torch.nan, 1.0]]]), torch.ones(1, 2, 1))


class SpikeAttention(nn.Module):
    """Attention of a spiking transformer (Zhou et al., ICLR 2023): spikes times spikes, no softmax."""

    def __init__(self, heads=2, width=8):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, tokens):  # [T, N, L, D]
        def heads(layer):
            spikes = (layer(tokens) > 0).float()
            return spikes.unflatten(-1, (self.heads, -1)).transpose(2, 3)

        self.seen = q, k, v = heads(self.query), heads(self.key), heads(self.value)
        self.scores = q @ k.transpose(-1, -2)
        return torch.matmul(self.scores, v)


def test_spiking_attention_is_counted_head_by_head():
    torch.manual_seed(0)
    net, tokens = SpikeAttention(), draw(3, 4, 3, 5, 8)
    counts = count_operations(net, [tokens])
    q, k, v = (x.reshape(4, 3, 2, *x.shape[3:]) for x in net.seen)
    expected = np.zeros((4, 3, 2), dtype=int)
    for t in range(4):
        for n in range(3):
            for head in range(2):
                expected[t, n] += enumerate_pairs(q[t, n, head], k[t, n, head].T)
                expected[t, n] += enumerate_pairs(net.scores[t, n, head], v[t, n, head])
    found = counts.layers["SpikeAttention:matmul"]
    assert found.table[..., :2].tolist() == expected.tolist()
    assert found.acs > 0
    assert found.dense_macs == 4 * 3 * 2 * (5 * 4 * 5 + 5 * 5 * 4)
    assert found.geometry.kind == "product"
    assert not counts.is_partial
    assert counts.layers["query"].acs + counts.layers["query"].macs == int((tokens != 0).sum()) * 8


@pytest.mark.parametrize("fused", [False, True])
def test_dot_product_attention_is_counted_as_the_products_it_is_written_with(fused):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            if fused:
                return nn.functional.scaled_dot_product_attention(x, x, x, scale=1.0)
            self.weights = (x @ x.transpose(-1, -2)).softmax(-1)
            return self.weights @ x

    spikes = draw(1, 2, 3, 4, 6, values=[0.0, 1.0])
    counts = count_operations(Attention(), [spikes])
    assert not counts.is_partial
    (found,) = (layer for name, layer in counts.layers.items() if name.startswith("Attention:"))
    acs = sum(enumerate_pairs(x, x.T)[0] for x in spikes.flatten(0, 1))
    # Every weight of the softmax is positive: a spike of the values meets all 4 of them.
    acs += 4 * int((spikes != 0).sum())
    assert (found.acs, found.macs) == (acs, 0)
    assert found.dense_macs == 2 * 3 * 2 * (4 * 6 * 4)


def test_multi_head_attention_is_counted_whole():
    torch.manual_seed(1)
    module = nn.MultiheadAttention(8, 2, batch_first=True)

    class Wrap(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = module

        def forward(self, x):
            return self.attention(x, x, x, need_weights=True)[0]

    x = draw(5, 3, 4, 8)
    counts = count_operations(Wrap(), [x], time_first=False)
    assert not counts.is_partial
    projections = counts.layers["attention.in_proj_weight"]
    assert projections.acs + projections.macs == int((x != 0).sum()) * 24
    assert counts.layers["attention.out_proj"].macs == 3 * 4 * 8 * 8  # graded values, none 0
    dense = sum(layer.dense_macs for layer in counts.layers.values())
    assert dense == 3 * 4 * 8 * 32 + 3 * 2 * 2 * (4 * 4 * 4)
    assert counts.samples == 3


class Functional(nn.Module):
    """The weights of a layer used without calling it."""

    def __init__(self, module, call):
        super().__init__()
        self.inner, self.call = module, call

    def forward(self, x):
        return self.call(x, self.inner.weight)


@pytest.mark.parametrize(
    ("module", "call", "shape"),
    [
        (nn.Linear(6, 5), torch.nn.functional.linear, (6,)),
        (nn.Linear(6, 5), lambda x, w: x @ w.t(), (6,)),
        (nn.Linear(6, 5), lambda x, w: torch.einsum("ni,oi->no", x, w), (6,)),
        (nn.Conv2d(2, 4, 3, stride=2), lambda x, w: torch.nn.functional.conv2d(x, w, stride=2), (2, 7, 6)),
        (nn.ConvTranspose1d(2, 3, 3), torch.nn.functional.conv_transpose1d, (2, 5)),
    ],
    ids=["linear", "matmul", "einsum", "conv2d", "conv_transpose1d"],
)
def test_weights_used_outside_their_layer_are_counted_under_its_name(module, call, shape):
    batch = draw(2, 3, *shape)
    counts = count_operations(Functional(module, call), [batch], time_first=False)
    reads = probe_module(module, shape)
    found = counts.layers["inner"]
    assert (found.acs, found.macs, found.spikes_in) == enumerate_spikes(batch.numpy(), reads)
    assert found.dense_macs == 3 * reads.sum()
    assert found.per_sample.sum(axis=1).tolist() == [sum(enumerate_spikes(x, reads)[:2]) for x in batch.numpy()]
    assert not counts.is_partial


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_copied_borders_are_counted_as_the_spikes_they_copy(mode):
    conv = nn.Conv2d(1, 3, 3, padding=1, padding_mode=mode)
    batch = draw(7, 2, 1, 5, 5)
    counts = count_operations(conv, [batch], time_first=False)
    padded = nn.functional.pad(batch, (1, 1, 1, 1), mode=mode).numpy()
    reads = probe_module(nn.Conv2d(1, 3, 3), (1, 7, 7))
    found = counts.layers["Conv2d"]
    assert (found.acs, found.macs, found.spikes_in) == enumerate_spikes(padded, reads)
    assert not counts.is_partial


def test_an_explicit_output_size_is_the_size_that_is_counted():
    class Up(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose1d(1, 1, 3, stride=2, padding=1)

        def forward(self, x):
            return self.up(x, output_size=(6,))

    found = count_operations(Up(), [torch.ones(1, 1, 3)], time_first=False).layers["up"]
    reads = probe_module(nn.ConvTranspose1d(1, 1, 3, stride=2, padding=1, output_padding=1), (1, 3))
    assert found.acs == reads.sum() == 8


class OwnForward(nn.Linear):
    """A layer whose forward is the user's own: the input is doubled on its way."""

    def forward(self, x):
        return super().forward(x * 2)


class Forgetful(nn.Linear):
    def forward(self, x):
        return x


def test_a_forward_of_the_users_own_is_counted_as_what_it_multiplies():
    counts = count_operations(nn.Sequential(OwnForward(4, 3)), [torch.ones(1, 2, 4)])
    assert (counts.layers["0"].acs, counts.layers["0"].macs) == (0, 2 * 4 * 3)  # twos are no spikes
    assert not counts.is_partial


def test_a_layer_that_runs_without_multiplying_is_listed():
    counts = count_operations(nn.Sequential(Forgetful(4, 4)), [torch.ones(1, 2, 4)])
    assert "no product of its weights was seen" in counts.partial["0"]


def test_a_recurrent_network_of_torch_is_listed():
    counts = count_operations(nn.LSTM(4, 4), [torch.ones(2, 3, 4)])
    assert counts.is_partial

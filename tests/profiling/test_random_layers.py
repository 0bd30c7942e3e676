"""At least 300 random layers, live and called as networks call them, against the enumeration of every spike."""

import numpy as np
import pytest
import torch
from brute_force import enumerate_conv, enumerate_spikes, probe_module
from torch import nn

from neuroemo.profiling import count_operations

PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
VALUES = [0.0, 0.0, 0.0, 1.0, -1.0, 0.25, 2.0]


def random_conv(rng):
    """A random convolution that torch accepts, stride beyond the kernel included, and the shape of its input."""
    axes = int(rng.integers(1, 4))
    groups = int(rng.integers(1, 3))
    kernel = rng.integers(1, 4, axes)
    settings = {
        "stride": rng.integers(1, 6, axes),
        "padding": rng.integers(0, 3, axes),
        "dilation": rng.integers(1, 3, axes),
    }
    least = settings["dilation"] * (kernel - 1) + 1 - 2 * settings["padding"]
    space = np.maximum(rng.integers(1, {1: 9, 2: 6, 3: 4}[axes] + 1, axes), np.maximum(least, 1))
    inputs, outputs = (groups * int(rng.integers(1, 3)) for _ in range(2))
    plain = {name: tuple(value.tolist()) for name, value in settings.items()}
    module = PLAIN[axes](inputs, outputs, tuple(kernel.tolist()), groups=groups, bias=bool(rng.integers(2)), **plain)
    return module, (inputs, *space.tolist())


def random_transposed(rng):
    axes = int(rng.integers(1, 4))
    groups, stride = int(rng.integers(1, 3)), rng.integers(1, 4, axes)
    inputs, outputs = (groups * int(rng.integers(1, 3)) for _ in range(2))
    kernel = tuple(rng.integers(1, 4, axes).tolist())
    module = TRANSPOSED[axes](
        inputs, outputs, kernel, stride=tuple(stride.tolist()), output_padding=tuple((stride - 1).tolist()),
        groups=groups,
    )  # fmt: skip
    return module, (inputs, *rng.integers(1, 4, axes).tolist())


def random_linear(rng):
    inputs, outputs = rng.integers(1, 12, 2).tolist()
    return nn.Linear(inputs, outputs), (inputs,)


def expected_reads(module, shape):
    """The fan-out of every input element: every (output, tap) pair walked where torch has a forward convolution."""
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return probe_module(module, shape)
    with torch.no_grad():
        out_shape = tuple(module(torch.zeros(1, *shape)).shape[1:])
    where = (module.kernel_size, module.stride, module.padding, module.dilation, module.groups)
    return enumerate_conv(shape, out_shape, *where)


@pytest.mark.parametrize("block", range(10))
def test_random_layers_equal_enumeration(block):
    rng = np.random.default_rng(block)
    for index in range(36):
        module, shape = (random_conv, random_conv, random_transposed, random_linear)[index % 4](rng)
        steps, samples = rng.integers(1, 4, 2).tolist()
        batch = torch.from_numpy(rng.choice(VALUES, size=(steps, samples, *shape))).float()
        reads = expected_reads(module, shape)
        counts = count_operations(nn.Sequential(module), [batch], loop_steps=True)
        found = counts.layers["0"]
        for step in range(steps):
            for sample in range(samples):
                acs, macs, spikes = enumerate_spikes(batch[step, sample].numpy(), reads)
                assert found.table[step, sample].tolist() == [acs, macs, spikes, 0], (module, shape)
        assert found.dense_macs == int(reads.sum()) * steps * samples
        assert (found.synapses, found.elements) == (int(reads.sum()), batch.numel())
        assert found.geometry.input_shape == tuple(shape)
        assert found.geometry.weights == module.weight.numel()
        assert not counts.is_partial


@pytest.mark.parametrize("block", range(4))
def test_zero_weights_are_skipped_tap_by_tap(block):
    rng = np.random.default_rng(100 + block)
    for index in range(15):
        module, shape = (random_conv, random_transposed, random_linear)[index % 3](rng)
        with torch.no_grad():
            module.weight.mul_(torch.from_numpy(rng.integers(0, 2, tuple(module.weight.shape))))
        batch = torch.from_numpy(rng.choice(VALUES, size=(2, *shape))).float()
        counts = count_operations(module, [batch], time_first=False, skip_zero_weights=True)
        found = next(iter(counts.layers.values()))
        reads = nonzero_reads(module, shape)
        assert (found.acs, found.macs, found.spikes_in) == enumerate_spikes(batch.numpy(), reads)
        assert found.dense_macs == 2 * int(expected_reads(module, shape).sum())  # what a dense pass would do anyway
        assert "zero weights are skipped" in counts.policy.zeros


def nonzero_reads(module, shape):
    """Fan-out over non-zero weights by experiment: weights of 0 and 1, one input element 1 at a time."""
    import copy

    twin = copy.deepcopy(module).double()
    size = int(np.prod(shape))
    with torch.no_grad():
        twin.weight.copy_((twin.weight != 0).double())
        if twin.bias is not None:
            twin.bias.zero_()
        outputs = twin(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, -1).sum(dim=1)
    return outputs.round().long().numpy().reshape(shape)

"""The dense path against a convolution written out in integers, on the odd shapes that libraries get wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hw_targets.finding import CapacityError
from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.simulation.dense_sums import DenseSums, exact_products
from hw_targets.loihi2.simulation.plan import Plan


def convolution(frames, weight, stride, padding, dilation, groups):
    """Sums [B, H, W, C] of frames [B, H, W, C], one tap after the other, in int64."""
    count, height, width, _ = frames.shape
    outputs, inputs, rows, columns = weight.shape
    padded = np.zeros((count, height + 2 * padding[0], width + 2 * padding[1], frames.shape[3]), np.int64)
    padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = frames
    high, wide = (
        (padded.shape[1 + axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    )
    sums = np.zeros((count, high, wide, outputs), np.int64)
    each = outputs // groups
    for i in range(rows):
        for j in range(columns):
            top, left = i * dilation[0], j * dilation[1]
            taken = padded[:, top : top + (high - 1) * stride[0] + 1 : stride[0]]
            taken = taken[:, :, left : left + (wide - 1) * stride[1] + 1 : stride[1]]
            for group in range(groups):
                out, source = slice(group * each, (group + 1) * each), slice(group * inputs, (group + 1) * inputs)
                sums[..., out] += taken[..., source] @ weight[out, :, i, j].T
    return sums


def pair(rng, low, high):
    return int(rng.integers(low, high)), int(rng.integers(low, high))


def drawn(rng, ordinary):
    groups = 1 if ordinary else int(rng.choice([1, 1, 1, 2, 3]))
    inputs, each = int(rng.integers(1 + ordinary, 5)), int(rng.integers(1 + ordinary, 5))
    size = pair(rng, 8, 24) if ordinary else pair(rng, 1, 13)
    kernel = pair(rng, 1, 6)
    stride = tuple(int(rng.integers(1, k + 1)) for k in kernel) if ordinary else pair(rng, 1, 4)
    padding = tuple(int(rng.integers(0, k)) for k in kernel) if ordinary else pair(rng, 0, 4)
    dilation = (1, 1) if ordinary else [(1, 1), (1, 1), (2, 1), (2, 2), (1, 3)][rng.integers(5)]
    weight = rng.integers(-99, 100, (each * groups, inputs, *kernel))
    out = tuple(
        (size[a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 if size else 0 for a in (0, 1)
    )
    if min(out) < 1 or any(size[a] + 2 * padding[a] < dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)):
        return None
    return ChipLayer(
        "n", "conv", weight, np.zeros(len(weight), int), 1, 0, (inputs * groups, *size), (len(weight), *out),
        4096, stride, padding, dilation, groups,
    )  # fmt: skip


def compare(rng, ordinary, large):
    layer = drawn(rng, ordinary)
    if layer is None:
        return 0
    frames = int(rng.choice([1, 2, 7, 16, 20]))
    channels, height, width = layer.input_shape
    messages = rng.integers(0, 2, (frames, height, width, channels)).astype(np.uint8)
    if large:
        messages = messages.astype(np.int32) * rng.integers(-200_000, 200_000, messages.shape).astype(np.int32)
    plan = Plan(layer, layer.input_shape)
    with exact_products():
        found = DenseSums(plan).sums(messages, plan.bound(int(np.abs(messages).max(initial=1)), large))
    wanted = convolution(messages, layer.weight, layer.stride, layer.padding, layer.dilation, layer.groups)
    np.testing.assert_array_equal(found, wanted, err_msg=f"{layer}")
    return 1


@pytest.mark.parametrize(("ordinary", "large"), [(True, False), (False, False), (False, True)])
def test_150_shapes_equal_a_convolution_written_out(ordinary, large):
    rng = np.random.default_rng(ordinary + 2 * large)
    assert sum(compare(rng, ordinary, large) for _ in range(150)) > 90


@pytest.mark.slow
@pytest.mark.parametrize("ordinary", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_8900_shapes_equal_a_convolution_written_out(ordinary, seed):
    rng = np.random.default_rng(1000 + seed)
    assert sum(compare(rng, ordinary, bool(rng.integers(2))) for _ in range(1000)) > 600


def test_a_sum_that_no_floating_point_number_holds_is_refused():
    layer = ChipLayer("huge", "dense", np.ones((1, 2), int), np.zeros(1, int), 1, 0, (2,), (1,))
    with pytest.raises(CapacityError, match=r"E233.*huge.*9007199254740992"):
        DenseSums(Plan(layer, (2,))).sums(np.ones((1, 2), np.uint8), 2**53)
    assert DenseSums(Plan(layer, (2,))).sums(np.ones((1, 2), np.uint8), 2**53 - 1).tolist() == [[2.0]]


def test_products_are_exact_whatever_the_program_has_set():
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # bfloat16 where the processor has it
    try:
        rng = np.random.default_rng(3)
        weight = rng.integers(-127, 128, (64, 512))
        layer = ChipLayer("n", "dense", weight, np.zeros(64, int), 1, 0, (512,), (64,))
        messages = rng.integers(0, 2, (64, 512)).astype(np.uint8)
        with exact_products():
            found = DenseSums(Plan(layer, (512,))).sums(messages, 512 * 127)
        np.testing.assert_array_equal(found, messages.astype(int) @ weight.T)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_what_torch_is_set_to_is_put_back_when_many_run_at_once():
    import torch

    def settings():
        return (
            torch.get_float32_matmul_precision(),
            torch._C._get_nnpack_enabled(),
            torch._C._get_mkldnn_enabled(),
            torch.is_inference_mode_enabled(),
        )

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            compare(rng, ordinary=False, large=False)

    before = settings()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert settings() == before
    with pytest.raises(ZeroDivisionError), exact_products():
        raise ZeroDivisionError
    assert settings() == before

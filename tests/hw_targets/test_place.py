"""Cores, memory and kernel copies on Loihi 2, against a search over every split."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hw_targets.loihi2 import place as module
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.place import ChipSize, place, summarise


def dense(n_out, n_in, name="fc"):
    weight = np.ones((n_out, n_in), dtype=np.int64)
    return ChipLayer(name, "dense", weight, np.zeros(n_out, int), 100, 2048, (n_in,), (n_out,))


def conv(filters, channels, kernel, height, width, name="conv", **more):
    """A convolution by its output map; the input map is what an unpadded, undilated one needs."""
    weight = np.ones((filters, channels // more.get("groups", 1), kernel, kernel), dtype=np.int64)
    stride, padding = more.get("stride", (1, 1)), more.get("padding", (0, 0))
    size = [(n - 1) * s + kernel - 2 * p for n, s, p in zip((height, width), stride, padding, strict=True)]
    shapes = (channels, *size), (filters, height, width)
    return ChipLayer(name, "conv", weight, np.zeros(filters, int), 100, 2048, *shapes, **more)


def network(*layers):
    return ChipGraph(layers, layers[0].input_shape, 4, 1000.0, "spikes")


def one(layer):
    layers, findings = place(network(layer))
    assert findings == []
    return layers[0]


def test_a_dense_layer_is_split_by_its_outputs():
    # 256 rows of 4608 bytes: 28 rows fill 129024 of 131072 bytes, 256 / 28 needs 10 cores of at most 26 rows.
    layer = one(dense(256, 4608))
    assert (layer.cores, layer.neurons_per_core, layer.bytes_per_core) == (10, 26, 26 * 4608)
    assert (layer.weight_bytes, layer.weight_bytes_total, layer.kernel_copies) == (256 * 4608, 256 * 4608, 1)
    assert layer.memory_share == 26 * 4608 / 131072
    assert layer.neuron_share == 26 / 8192
    assert layer.limited_by == "memory"


def test_a_small_layer_takes_one_core():
    layer = one(dense(10, 20))
    assert (layer.cores, layer.neurons_per_core, layer.bytes_per_core) == (1, 10, 200)


def test_a_convolution_shares_its_kernel_within_a_core_and_copies_it_between_cores_of_positions():
    # 32 filters at 126 x 126 positions: 508032 neurons, 63 cores at least. Splitting by filter alone is impossible
    # (15876 neurons per filter); 32 filters at 252 positions fill 8064 neurons and hold the whole kernel.
    layer = one(conv(32, 2, 3, 126, 126))
    assert layer.cores == 63
    assert (layer.kernel_copies, layer.neurons_per_core) == (63, 8064)
    assert layer.weight_bytes == 32 * 2 * 9
    assert layer.weight_bytes_total == 63 * 32 * 2 * 9
    assert layer.limited_by == "neurons"


def test_a_convolution_split_by_filters_alone_has_one_copy():
    # 1024 filters of 512 * 9 = 4608 bytes at 4 positions: memory decides, and filters can be parted freely.
    layer = one(conv(1024, 512, 3, 2, 2))
    assert (layer.cores, layer.kernel_copies) == (math.ceil(1024 / (131072 // 4608)), 1)
    assert layer.limited_by == "memory"


@pytest.mark.parametrize("seed", range(30))
def test_no_split_of_a_convolution_needs_fewer_cores(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    filters, channels, kernel, height, width = (int(n) for n in rng.integers(1, [9, 4, 4, 7, 7]))
    size = ChipSize(128, int(rng.integers(1, 30)), int(rng.integers(channels * kernel**2, 80)))
    monkeypatch.setattr(module, "LOIHI2", size)
    layer = one_with(conv(filters, channels, kernel, height, width))
    positions, filter_bytes = height * width, channels * kernel**2
    options = []
    for kept in range(1, filters + 1):
        for block in range(1, positions + 1):
            if kept * block <= size.neurons and kept * filter_bytes <= size.synapse_bytes:
                cores = sum(1 for _ in range(0, filters, kept) for _ in range(0, positions, block))
                options.append((cores, len(range(0, positions, block))))
    assert (layer.cores, layer.kernel_copies) == min(options)
    assert layer.neuron_share <= 1
    assert layer.memory_share <= 1


def one_with(layer):
    return place(network(layer))[0][0]


@pytest.mark.parametrize("seed", range(30))
def test_no_split_of_a_dense_layer_needs_fewer_cores(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    n_out, n_in = (int(n) for n in rng.integers(1, [40, 12]))
    size = ChipSize(128, int(rng.integers(1, 20)), int(rng.integers(n_in, 60)))
    monkeypatch.setattr(module, "LOIHI2", size)
    rows = [r for r in range(1, n_out + 1) if r <= size.neurons and r * n_in <= size.synapse_bytes]
    assert one_with(dense(n_out, n_in)).cores == min(len(range(0, n_out, r)) for r in rows)


def test_a_neuron_that_no_core_can_hold_is_refused_and_one_that_just_fits_is_not():
    layers, findings = place(network(dense(2, 131_073)))
    assert [(f.code, f.severity, f.node, f.over) for f in findings] == [("E302", "error", "fc", "1")]
    assert "131073 bytes" in findings[0].found
    assert "pool" in findings[0].fix
    assert layers[0].memory_share > 1
    assert place(network(dense(2, 131_072)))[1] == []
    wide_filter = conv(4, 8192, 4, 1, 1)
    assert place(network(wide_filter))[1] == []  # 8192 * 16 = 131072 bytes
    assert [f.code for f in place(network(conv(4, 8193, 4, 1, 1)))[1]] == ["E302"]


def test_more_than_one_chip_is_a_warning_that_says_how_many():
    assert place(network(*[dense(8192, 16)] * 128))[1] == []
    layers, findings = place(network(*[dense(8192, 16)] * 129))
    assert [(f.code, f.severity, f.over) for f in findings] == [("W301", "warning", "1")]
    assert "2 chips" in findings[0].fix
    assert summarise(layers) == {
        "cores": 129,
        "chips": 2,
        "cores_per_chip": 128,
        "neurons": 129 * 8192,
        "weight_bytes": 129 * 131072,
        "weight_bytes_total": 129 * 131072,
    }


def test_a_placement_is_json_and_leaves_out_what_is_not_known():
    told = json.loads(json.dumps(one(conv(4, 2, 3, 5, 5)).to_dict()))
    assert told["limited_by"] == "neurons"
    assert told["weight_bytes_total"] == told["weight_bytes"] * told["kernel_copies"] == 72
    assert "in_axons_per_core" not in told
    assert "unrolled_bytes" not in told


def test_groups_store_fewer_weights_per_filter():
    whole, grouped = conv(8, 8, 3, 4, 4), conv(8, 8, 3, 4, 4, groups=8)
    assert one(whole).bytes_per_core == 8 * 8 * 9
    assert one(grouped).bytes_per_core == 8 * 9
    assert replace(grouped).groups == 8

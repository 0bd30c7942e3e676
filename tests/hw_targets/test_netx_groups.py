"""Convolutions of more groups than Lava counts: written with fewer groups, the same sums."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import lava_available, run_lava
from hw_targets.loihi2.netx.reader import open_netx
from hw_targets.loihi2.netx.writer import fewer_groups, write_netx
from hw_targets.loihi2.simulation.engine import Simulator


def depthwise(channels):
    """A logical OR over 2x2 pixels of each channel, as a max pool of spikes is exported."""
    weight = np.full((channels, 1, 2, 2), 127, dtype=np.int64)
    shapes = {"input_shape": (channels, 4, 4), "output_shape": (channels, 2, 2)}
    constants = {"bias": np.zeros(channels, dtype=np.int64), "threshold": 0, "voltage_decay": 4095}
    layer = ChipLayer("or", "conv", weight, stride=(2, 2), groups=channels, **constants, **shapes)
    return ChipGraph((layer,), shapes["input_shape"], 5, None, "spikes")


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "fewer"),
    [(127, 1, 1, 127), (128, 1, 1, 64), (130, 2, 3, 65), (131, 1, 2, 1), (256, 1, 1, 64)],
)
def test_fewer_groups_are_the_same_convolution(groups, inputs, outputs, fewer):
    rng = np.random.default_rng(groups)
    weight = rng.integers(-127, 128, (groups * outputs, inputs, 3, 2)).astype(np.float64)
    wide, found = fewer_groups(weight, groups)
    assert (found, wide.shape) == (fewer, (groups * outputs, groups * inputs // fewer, 3, 2))
    frames = torch.from_numpy(rng.integers(0, 2, (2, groups * inputs, 5, 4)).astype(np.float64))
    sums = [conv2d(frames, torch.from_numpy(kernel), groups=n) for kernel, n in ((weight, groups), (wide, found))]
    assert torch.equal(*sums)


@pytest.mark.parametrize(("channels", "groups"), [(127, 127), (128, 64)])
def test_the_file_has_no_more_groups_than_lava_counts(channels, groups, tmp_path):
    chip = depthwise(channels)
    write_netx(chip, tmp_path / "or.net")
    with h5py.File(tmp_path / "or.net") as file:
        assert int(file["layer/1/groups"][()]) == groups
    read = open_netx(tmp_path / "or.net", steps=5, first_frame="spikes")
    assert not [finding for finding in read.findings if finding.code == "W245"]
    clips = (np.random.default_rng(0).random((5, 2, channels, 4, 4)) < 0.2).astype(np.float32)
    wanted = clips.reshape(5, 2, channels, 2, 2, 2, 2).max(axis=(4, 6))
    for each in (chip, read.chip):
        np.testing.assert_array_equal(Simulator(each).run(clips, record="all").output, wanted)


@pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.lava
def test_lava_takes_the_maximum_of_128_channels(tmp_path):
    chip = depthwise(128)
    write_netx(chip, tmp_path / "or.net")
    clips = (np.random.default_rng(1).random((5, 1, 128, 4, 4)) < 0.2).astype(np.float32)
    judged = run_lava(chip, tmp_path / "or.net", clips, timeout_s=300)
    wanted = clips.reshape(5, 1, 128, 2, 2, 2, 2).max(axis=(4, 6))
    assert wanted.any()
    np.testing.assert_array_equal(judged.run.output, wanted)

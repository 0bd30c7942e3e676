"""Bundles, bare netx files and clips for the tests of `neuroemo simulate`."""

from __future__ import annotations

import json

import h5py
import numpy as np

from neuroemo import cli

T, N = 7, 5


def run(capsys, *arguments):
    code = cli.run(["simulate", *map(str, arguments)])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json", "-q")
    shown = json.loads(out)
    assert shown["exit_code"] == code
    return code, shown


def neurons(group, threshold, decay=1024):
    group["type"] = b"CUBA"
    group["iDecay"], group["vDecay"], group["vThMant"] = np.int64(4096), np.int64(decay), np.int64(threshold)


def write_net(path, shape=(2, 4, 4), seed=3):
    """A convolution of 3 channels and a dense layer of 6 neurons that all fire, as any tool could have written it."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/0/shape"] = b"input", np.array(shape)
        conv = file.create_group("layer/1")
        conv["type"], conv["shape"] = b"conv", np.array([3, *shape[1:]])
        conv["weight"] = rng.integers(-20, 60, (3, shape[0], 3, 3))
        for key, value in (("stride", 1), ("padding", 1), ("dilation", 1), ("groups", 1)):
            conv[key] = value
        neurons(conv.create_group("neuron"), 100)
        file["layer/2/type"] = b"flatten"
        dense = file.create_group("layer/3")
        dense["type"], dense["shape"] = b"dense", np.array([6])
        dense["weight"] = rng.integers(-60, 90, (6, 3 * shape[1] * shape[2]))
        dense["bias"] = rng.integers(-20, 20, 6)
        neurons(dense.create_group("neuron"), 150)
    return path


def spikes(shape=(N, T, 2, 4, 4), seed=0, density=0.3):
    return (np.random.default_rng(seed).random(shape) < density).astype(np.uint8)


def put(path, values):
    np.save(path, values)
    return path

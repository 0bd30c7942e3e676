"""Netx files of every layer, and what Lava makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hw_targets.loihi2.netx.reader import NetxFile, open_netx

LIF = {"type": "CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": 80}


SDNN = {"type": "SDNN", "vThMant": 3}


def put(group: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            put(group.create_group(key), value)
        elif value is not None:
            group[key] = value


def write(path: Path, *entries: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        put(file, {"layer": {str(index): entry for index, entry in enumerate(entries)}})
    return path


def image_in(**changes: Any) -> dict[str, Any]:
    return {"type": "input", "shape": [2, 5, 6]} | changes


def conv(**changes: Any) -> dict[str, Any]:
    weight = np.arange(-27, 27).reshape(3, 2, 3, 3)
    pairs = {"stride": [1, 2], "padding": [1, 0], "dilation": 1, "groups": 1}
    return {"type": "conv", "shape": [3, 5, 2], "weight": weight, "neuron": dict(LIF)} | pairs | changes


def dense(**changes: Any) -> dict[str, Any]:
    weight = np.array([[3, -5, 7, 0], [1, 127, -128, 9], [2, 4, 6, -8]])
    return {"type": "dense", "shape": [3], "weight": weight, "neuron": dict(LIF)} | changes


def recurrent(**changes: Any) -> dict[str, Any]:
    back = np.array([[0, -40, 30], [20, 1, -1], [64, 0, 2]])
    return dense(type="dense_rec", weight_rec=back) | changes


def neuron(**changes: Any) -> dict[str, Any]:
    return LIF | changes


def opened(path: Path, *entries: dict[str, Any], **more: Any) -> NetxFile:
    return open_netx(write(path / "model.net", *entries), steps=4, **more)


def codes(file: NetxFile) -> list[str]:
    assert all(finding.severity == "warning" for finding in file.findings)
    return [finding.code for finding in file.findings]


# -- what Lava reads, and holds -----------------------------------------------------------------------------------

rng = np.random.default_rng(0)


CHANNELS = {"vThMant": np.array([5, 80, 3]), "vDecay": np.array([0, 4096, 7]), "iDecay": np.array([4096, 9, 0], "i4")}


READABLE: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a convolution": ([image_in(), conv()], []),
    "words as lists and as strings": ([image_in(type=np.array([b"input"])), conv(type=np.array(["conv"], "O"))], []),
    "kernels of five axes": ([image_in(), conv(weight=conv()["weight"][..., None])], []),
    "scalar pairs": ([image_in(), conv(shape=[3, 2, 2], stride=2, padding=0)], []),
    "groups and dilation": (
        [image_in(), conv(weight=np.ones((4, 1, 2, 2), int), groups=2, shape=[4, 5, 3], dilation=[2, 1])],
        [],
    ),
    "fractions of weights": ([image_in(), conv(weight=np.linspace(-9, 9, 54).reshape(3, 2, 3, 3))], ["W241"]),
    "whole floats": ([image_in(), conv(weight=conv()["weight"].astype("f4"))], []),
    "kernels beyond 32 bits": ([image_in(), conv(weight=np.full((3, 2, 3, 3), 2**31 + 5))], ["W245"]),
    "bias per channel": ([image_in(), conv(bias=[1.0, -2.0, 4095.0])], []),
    "bias per neuron": ([image_in(), conv(bias=np.arange(30).reshape(2, 5, 3))], []),
    "bias beyond 16 bits": ([image_in(), conv(bias=[40000, -32769, 3])], ["W245"]),
    "constants per channel": ([image_in(), conv(neuron=neuron(**CHANNELS))], []),
    "constants in lists of one": ([image_in(), conv(neuron=neuron(vThMant=np.array([80], "i2")))], []),
    "a threshold that wraps in its type": (
        [image_in(), conv(neuron=neuron(vThMant=np.array([600], "i2")))],
        ["W245"] * 2,
    ),
    "a threshold of 16 bits that does not": ([image_in(), conv(neuron=neuron(vThMant=np.int16(600)))], []),
    "a threshold too large for the chip": ([image_in(), conv(neuron=neuron(vThMant=2**20))], ["W245"]),
    "a negative threshold": ([image_in(), conv(neuron=neuron(vThMant=-3))], ["W245"]),
    "decays beyond the chip": ([image_in(), conv(neuron=neuron(vDecay=5000, iDecay=-3))], ["W245"] * 2),
    "ignored keys": ([image_in(), conv(delay=[0, 1, 0], neuron=neuron(refDelay=3, wgtExp=1))], ["W242"] * 3),
    "ignored keys at rest": (
        [image_in(), conv(delay=[0], inChannels=2, neuron=neuron(refDelay=1, gradedSpike=False, tauRho=0.5))],
        [],
    ),
    "unknown keys": ([image_in(colour=3), conv(neuron=neuron(mood=1))], ["W243"] * 2),
    "a dense layer alone": ([dense()], []),
    "a flat input": ([{"type": "input", "shape": [4]}, dense()], []),
    "an image into a dense layer": ([{"type": "input", "shape": [1, 2, 2]}, {"type": "flatten"}, dense()], []),
    "a shape of three axes": ([dense(shape=[3, 1, 1])], []),
    "flat weights": ([dense(weight=dense()["weight"].ravel())], []),
    "one bias for all": ([dense(bias=7)], []),
    "one bias in a list": ([dense(bias=[7.9])], ["W241"]),
    "no neurons": ([dense(neuron=None)], ["W248"]),
    "constants per neuron": ([dense(neuron=neuron(**CHANNELS))], []),
    "excitatory": ([dense(weight=rng.integers(0, 256, (3, 4)))], []),
    "excitatory and too large": ([dense(weight=rng.integers(200, 300, (3, 4)))], ["W240"]),
    "inhibitory, a power of two": ([dense(weight=np.array([[-128, -64]] * 3))], ["W240"]),
    "inhibitory with a zero": ([dense(weight=np.array([[0, -128]] * 3))], ["W240"]),
    "inhibitory with a zero, all ones": ([dense(weight=np.array([[0, -1]] * 3))], ["W240"]),
    "too large of both signs": ([dense(weight=np.array([[300, -300, 5]] * 3))], ["W240"]),
    "one delay": ([dense(delay=3)], []),
    "a delay per output": ([dense(delay=[0, 1, 62])], []),
    "a delay per input": ([dense(delay=[0.0, 1.5, 3.0, 70.0])], ["W247"]),
    "a delay per synapse": ([dense(delay=rng.integers(0, 9, (3, 4)))], []),
    "negative delays beside too long ones": ([dense(delay=[-3.0, 1.0, 80.0])], ["W247"]),
    "recurrence": ([recurrent()], []),
    "recurrence of flat weights": (
        [recurrent(weight=recurrent()["weight"].ravel(), weight_rec=recurrent()["weight_rec"].ravel())],
        [],
    ),
    "inhibitory recurrence": ([recurrent(weight_rec=-128 * (1 - np.eye(3, dtype=int)))], ["W240"]),
    "excitation beside recurrence of both signs": ([recurrent(weight=np.full((3, 4), 200))], ["W240"]),
    "recurrence without delay": ([recurrent(delay=0, weight=np.eye(3, dtype=int))], ["W240"]),
    "recurrence with delays": ([recurrent(delay=[0, 3, 1], weight=np.eye(3, dtype=int))], ["W240"]),
    "sigma-delta recurrence": ([recurrent(neuron=SDNN, bias=[1, 2, 3])], []),
    "lif input": ([image_in(neuron=neuron()), conv()], []),
    "lif input with a transform": ([image_in(neuron=neuron(), weight=[76.0], bias=3), conv()], ["W242"]),
    "sigma-delta": (
        [
            image_in(neuron=SDNN),
            conv(neuron=SDNN, bias=[5, 600000, -1]),
            {"type": "flatten"},
            dense(weight=rng.integers(-9, 9, (3, 30)), neuron=SDNN | {"sigma_output": True}),
        ],
        ["W245"],
    ),
    "a sigma-delta threshold that wraps": ([image_in(neuron=SDNN | {"vThMant": 2**20 + 7}), conv()], ["W245"]),
    "a wide sigma-delta threshold": ([image_in(neuron=SDNN | {"vThMant": np.array([40], "i2")}), conv()], ["W245"]),
    "flatten long before": ([image_in(), {"type": "flatten"}, conv(), dense(weight=rng.integers(-9, 9, (3, 30)))], []),
}

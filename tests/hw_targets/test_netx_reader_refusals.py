"""What the netx reader refuses or warns of, and what it reads back from our own writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hw_targets.finding import InputError, UnsupportedError
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.netx.reader import open_netx, read_netx
from hw_targets.loihi2.netx.writer import write_netx
from tests.hw_targets.netx_constants import assert_same, of_chip
from tests.hw_targets.netx_reader_parts import (
    READABLE,
    SDNN,
    codes,
    conv,
    dense,
    image_in,
    neuron,
    opened,
    recurrent,
    write,
)

# -- refusals -----------------------------------------------------------------------------------------------------

flat = {"type": "flatten"}


REFUSED: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a pool": ([image_in(), {"type": "pool"}, conv()], "E042", "layer 1: layer type 'pool'"),
    "an average in the middle": ([dense(), {"type": "average", "shape": 3}, dense()], "E042", "before the end"),
    "an unknown type": ([{"type": "foo"}], "E042", "layer type 'foo'"),
    "dense_comp": ([dense(type="dense_comp")], "E042", "dense_comp"),
    "resonators": ([dense(neuron=neuron(type="RF_PHASE"))], "E043", "neuron type 'RF_PHASE'"),
    "messageBits": ([dense(neuron=neuron(messageBits=8))], "E043", "messageBits"),
    "complex weights": ([dense(weight={"real": [[1]], "imag": [[1]]})], "E043", "complex weights"),
    "an input in the middle": ([dense(), {"type": "input", "shape": [3]}], "E043", "input behind neurons"),
    "delays on oblong recurrence": ([recurrent(delay=0)], "E044", "4 inputs and 3 neurons share"),
    "a bias on sigma neurons": ([dense(neuron=SDNN | {"sigma_output": 1}, bias=3)], "E043", "bias on sigma"),
    "constants per neuron": ([image_in(), conv(neuron=neuron(vDecay=np.zeros((2, 5, 3), int)))], "E043", "per channel"),
    "thresholds of SDNN": ([dense(neuron=SDNN | {"vThMant": [1, 2, 3]})], "E043", "one integer for SDNN"),
    "no weight but 0": ([dense(weight=np.zeros((3, 4), int))], "E043", "all dense weights are 0"),
    "an image without flatten": ([image_in(), conv(), dense(weight=np.ones((3, 30)))], "E044", "no flatten behind"),
    "flatten behind flat": ([dense(), flat, dense(weight=np.eye(3))], "E044", "flatten behind a flat layer"),
    "a conv of nothing": ([conv()], "E044", "unknown input"),
    "a conv of a flat layer": ([dense(), conv()], "E044", r"input of shape \(3,\)"),
    "a wrong output": ([image_in(), conv(shape=[3, 5, 3])], "E044", r"shape \(3, 5, 3\); .*give \(3, 5, 2\)"),
    "a kernel too large": ([image_in(), conv(dilation=9)], "E044", "give"),
    "stride 0": ([image_in(), conv(stride=0)], "E044", "stride 0; limit at least 1"),
    "stride below 0": ([image_in(), conv(stride=[1, -2])], "E044", "stride -2"),
    "padding below 0": ([image_in(), conv(padding=-1)], "E044", "padding -1; limit at least 0"),
    "stride in a list of one": ([image_in(), conv(stride=[1])], "E044", r"stride of shape \(1,\)"),
    "stride as float": ([image_in(), conv(stride=1.0)], "E041", "stride holds float64, not integers"),
    "no stride": ([image_in(), conv(stride=None)], "E041", "stride is missing"),
    "groups 0": ([image_in(), conv(groups=0)], "E044", r"groups \[0\]"),
    "groups in a list": ([image_in(), conv(groups=[1])], "E044", "one integer"),
    "groups that do not divide": ([image_in(), conv(groups=3)], "E044", "3 groups for 2 input channels"),
    "too many kernel channels": ([image_in(), conv(weight=np.ones((3, 3, 3, 3)))], "E044", "2 input channels"),
    "a flat kernel": ([image_in(), conv(weight=np.ones(54))], "E044", r"weight of shape \(54,\)"),
    "enormous padding": ([image_in(), conv(padding=10**6)], "E045", "2 x 2000005 x 2000006"),
    "no neurons in a conv": ([image_in(), conv(neuron=None)], "E041", "neuron is missing"),
    "rows that are not the shape": ([dense(shape=[4])], "E044", "for 4 neurons"),
    "columns that are not the input": ([{"type": "input", "shape": [5]}, dense()], "E044", "4 inputs behind"),
    "weights of three axes": ([dense(weight=np.ones((3, 2, 2)))], "E044", r"\(3, 2, 2\)"),
    "a wrong weight_rec": ([recurrent(weight_rec=np.eye(4))], "E044", r"weight_rec of shape \(4, 4\)"),
    "no weight_rec": ([dense(type="dense_rec")], "E041", "weight_rec is missing"),
    "a bias of the wrong length": ([dense(bias=[1, 2])], "E044", r"bias of shape \(2,\)"),
    "a bias in C, H, W order": ([image_in(), conv(bias=np.zeros((3, 5, 2)))], "E044", r"\(2, 5, 3\) \(W, H, C\)"),
    "one bias for a conv": ([image_in(), conv(bias=3)], "E044", r"bias of shape \(\)"),
    "a bias beyond 32 bits": ([dense(bias=2**31)], "E046", "beyond 32 bits"),
    "a delay of the wrong length": ([dense(delay=[1, 2])], "E044", r"delay of shape \(2,\)"),
    "a delay below 0": ([dense(delay=-1)], "E046", "a delay of -1 steps"),
    "a delay that is no number": ([dense(delay=np.nan)], "E046", "no numbers"),
    "NaN": ([dense(weight=np.full((3, 4), np.nan))], "E046", "no numbers"),
    "infinity": ([dense(weight=np.full((3, 4), np.inf))], "E046", "no numbers"),
    "a broken threshold": ([dense(neuron=neuron(vThMant=80.5))], "E046", "vThMant 80.5 is no whole number"),
    "a threshold beyond all": ([dense(neuron=neuron(vThMant=2**25))], "E046", "below 33554432"),
    "a decay beyond all": ([dense(neuron=neuron(vDecay=2**20 + 1))], "E046", "limit 0 to 4096"),
    "unsigned decays beyond": ([dense(neuron=neuron(iDecay=np.full(3, 5000, "u2")))], "E046", "iDecay 5000"),
    "decays as truth": ([dense(neuron=neuron(iDecay=True))], "E041", "holds bool"),
    "words as weights": ([dense(weight=np.full((3, 4), b"x"))], "E041", "not numbers"),
    "numbers as a type": ([dense(type=3)], "E041", "type is no word"),
    "a type of the wrong depth": ([dense(type=np.array([[b"dense"]]))], "E041", "type is no word"),
    "no weights at all": ([dense(weight=np.zeros((3, 0)))], "E044", r"\(3, 0\)"),
    "a shape of 0": ([{"type": "input", "shape": [0]}, dense()], "E044", "at least 1 on every axis"),
    "a shape of two axes": ([image_in(shape=[5, 6]), dense()], "E044", r"limit \(C, H, W\) or \(N,\)"),
    "two transforms": ([image_in(neuron=neuron(), weight=[1, 2]), conv()], "E044", "one number"),
    "no layer": ([], "E044", "no layer has neurons"),
    "inputs only": ([image_in()], "E044", "no layer has neurons"),
    "averages that do not divide": ([dense(), {"type": "average", "shape": [2]}], "E044", "2 averages of 3 neurons"),
    "a group for a dataset": ([dense(shape={})], "E041", "shape is no array"),
    "a dataset for a group": ([dense(neuron=3)], "E041", "neuron is no group"),
}


# -- files that are not trusted ------------------------------------------------------------------------------------


def tampered(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    path = write(tmp_path / "bad.net", dense())
    with h5py.File(path, "r+") as file:
        entry = file["layer/0"]
        del entry["weight"]
        change(entry)
    return path


def virtual(entry: Any) -> None:
    layout = h5py.VirtualLayout((3, 4), "i8")
    layout[:] = h5py.VirtualSource("other.h5", "weight", (3, 4))
    entry.create_virtual_dataset("weight", layout)


def external(entry: Any) -> None:
    entry.create_dataset("weight", (3, 4), "i8", external=[("other.raw", 0, h5py.h5f.UNLIMITED)])


def soft(entry: Any) -> None:
    entry["elsewhere"] = np.ones((3, 4), int)
    entry["weight"] = h5py.SoftLink("elsewhere")


def compressed(entry: Any) -> None:
    entry.create_dataset("weight", (3, 2**28), "i8", chunks=(1, 2**20), compression="gzip")


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path, name):
    entries, code, text = REFUSED[name]
    with pytest.raises(InputError, match=text) as refused:
        opened(tmp_path, *entries)
    assert refused.value.findings[0].code == code


def test_all_unknown_things_are_named_at_once(tmp_path):
    with pytest.raises(InputError) as refused:
        opened(tmp_path, image_in(), {"type": "pool"}, conv(neuron=neuron(type="RF")), {"type": "unpool"}, dense())
    assert [finding.code for finding in refused.value.findings] == ["E042", "E043", "E042"]


@pytest.mark.parametrize("dtype", ["f8", "f4", "u8"])
def test_types_at_which_lava_hangs_are_read_with_a_warning(tmp_path, dtype):
    file = opened(tmp_path, dense(neuron=neuron(vThMant=np.array(80, dtype))))
    assert (file.chip.layers[0].threshold, codes(file)) == (80, ["W244"])


def test_gaps_in_the_numbering_are_refused_unless_they_are_not_reached(tmp_path):
    path = write(tmp_path / "gap.net", dense(), dense())
    with h5py.File(path, "r+") as file:
        file.move("layer/1", "layer/2")
    with pytest.raises(InputError, match="layer 1 of 2 is missing"):
        open_netx(path, steps=1)
    assert len(open_netx(path, steps=1, layers=1).chip.layers) == 1


@pytest.mark.parametrize(
    "fields", [{"padding": [128, 0], "shape": [3, 259, 2]}, {"stride": [200, 2], "shape": [3, 1, 2]}]
)
def test_fields_of_8_bits_are_warned_of(tmp_path, fields):
    assert codes(opened(tmp_path, image_in(), conv(**fields))) == ["W245"]


def test_a_bit_depth_that_is_enough_is_not_warned_of(tmp_path):
    assert codes(opened(tmp_path, image_in(), conv(padding=[127, 0], shape=[3, 257, 2]))) == []


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (lambda entry: entry.__setitem__("weight", h5py.ExternalLink("other.h5", "weight")), "E045", "ExternalLink"),
        (soft, "E045", "SoftLink"),
        (virtual, "E045", "stored in another file"),
        (external, "E045", "stored in another file"),
        (
            lambda entry: entry.create_dataset("weight", (3, 10**12), "i8", chunks=(1, 1024)),
            "E045",
            "24000000000000 bytes",
        ),
        (lambda entry: entry.create_dataset("weight", (3, 4), "i8", chunks=(1, 1)), "E045", "stores 0 bytes"),
        (compressed, "E045", "6442450944 bytes"),
        (lambda entry: entry.create_dataset("weight", data=h5py.Empty("i8")), "E041", "no array"),
        (lambda entry: entry.create_dataset("weight", (3, 4), h5py.vlen_dtype(np.int64)), "E041", "not numbers"),
        (lambda entry: entry.create_dataset("weight", (3, 4), h5py.ref_dtype), "E041", "not numbers"),
        (
            lambda entry: entry.create_dataset("weight", data=np.ones((3, 4), complex)),
            "E041",
            "complex128, not numbers",
        ),
    ],
)
def test_data_outside_the_file_or_beyond_reason_is_not_read(tmp_path, change, code, text):
    path = tampered(tmp_path, change)
    with pytest.raises(InputError, match=text) as refused:
        open_netx(path, steps=1)
    assert refused.value.findings[0].code == code


def test_compressed_weights_are_read(tmp_path):
    path = tampered(tmp_path, lambda entry: entry.create_dataset("weight", data=dense()["weight"], compression="gzip"))
    np.testing.assert_array_equal(open_netx(path, steps=1).chip.layers[0].weight, dense()["weight"])


def test_words_of_variable_length_that_lead_nowhere_are_refused_before_hdf5_loops(tmp_path):
    """The object behind the last word is what is free; with a size of 0 the HDF5 library never returns."""
    path = write(tmp_path / "loop.net", dense())
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL")
    assert open_netx(path, steps=1).chip.layers[0].kind == "dense"
    at, end = start + 16, start + int.from_bytes(data[start + 8 : start + 16], "little")
    while int.from_bytes(data[at : at + 2], "little"):
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    assert int.from_bytes(data[at + 8 : at + 16], "little") == end - at
    data[at + 8 : at + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"words stored at byte {start} are damaged"):
        open_netx(path, steps=1)


# -- the path of our own files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([image_in(), conv(weight=np.full((3, 2, 3, 3), 0.5))], "not whole numbers"),
        ([dense(weight=np.array([[0, -128]] * 3))], "3 of 6 dense weights change"),
        ([image_in(), conv(delay=[1])], "delay; netx ignores"),
        ([dense(mood=1)], "unknown keys mood"),
    ],
)
def test_our_own_files_are_read_without_a_warning_or_not_at_all(tmp_path, entries, text):
    with pytest.raises(InputError, match=f"not a readable netx file: .*{text}") as refused:
        read_netx(write(tmp_path / "model.net", *entries), steps=1)
    assert {finding.code for finding in refused.value.findings} == {"E041"}


@pytest.mark.parametrize("name", READABLE)
def test_what_is_written_reads_back_as_the_same_constants(tmp_path, name):
    first = opened(tmp_path, *READABLE[name][0]).chip
    late = [layer.recurrent is not None and layer.delay is not None for layer in first.layers]
    if any(late) or any(layer.weight_exponent for layer in first.layers):
        with pytest.raises(UnsupportedError, match=r"E048 layer0: (weight exponent -|delays on a recurrent)"):
            write_netx(first, tmp_path / "again.net")
        return
    write_netx(first, tmp_path / "again.net")
    if "W240" in READABLE[name][1]:  # weights that Lava has changed once may change again
        return
    again = open_netx(tmp_path / "again.net", steps=4).chip
    assert_same(of_chip(again), of_chip(first))
    assert (again.input_shape, again.steps) == (first.input_shape, first.steps)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight_exponent": -2}, "weight exponent -2"),
        ({"neuron": "sigma_delta", "spike_exponent": 5}, "messages with exponent 5"),
        ({"neuron": "sigma_delta", "threshold": np.array([1])}, "thresholds per channel"),
        ({"neuron": "sigma", "bias": np.array([1])}, "a bias on neurons of kind 'sigma'"),
        ({"neuron": "delta"}, "'delta' neurons in a layer of kind 'dense'"),
        ({"kind": "dense_rec", "recurrent": np.array([[1]]), "delay": np.array([[1, 0]])}, "delays on a recurrent"),
    ],
)
def test_what_netx_cannot_say_is_not_written(tmp_path, changes, text):
    fields = {"kind": "dense", "weight": np.array([[10, -3]]), "bias": np.array([0]), "threshold": 11}
    layer = ChipLayer(**{"name": "n", "voltage_decay": 0, "input_shape": (2,), "output_shape": (1,)} | fields | changes)
    with pytest.raises(UnsupportedError, match=text):
        write_netx(ChipGraph((layer,), (2,), 3, 1.0, "spikes"), tmp_path / "model.net")
    assert not (tmp_path / "model.net").exists()


def test_a_positive_exponent_is_written_into_the_weights(tmp_path):
    layer = ChipLayer("n", "dense", np.array([[10, -3]]), np.array([0]), 11, 0, (2,), (1,), weight_exponent=2)
    write_netx(ChipGraph((layer,), (2,), 3, 1.0, "spikes"), tmp_path / "model.net")
    assert read_netx(tmp_path / "model.net", steps=3).layers[0].weight.tolist() == [[40, -12]]

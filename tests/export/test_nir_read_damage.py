"""NIR files of ours that were changed, cut or flipped: refused by name, or read as before."""

from __future__ import annotations

import os
import sys

import h5py
import numpy as np
import pytest
import torch

from export.frontends import nir_guard
from export.frontends.nir_file import read_nir
from hw_targets.finding import InputError, MissingDependencyError, UnsupportedError

nir = pytest.importorskip("nir")
torch.set_num_threads(1)
from tests.export.nir_read_parts import SAID, chain, codes, conv, lif, ours, usual, written  # noqa: E402


def set_note(where, key, value):
    def spoil(file):
        group = file[f"{where}/metadata/neuroemo"]
        del group[key]
        if value is not None:
            group[key] = value

    return spoil


def edit(change):
    """Damage done to the HDF5 tree of a sound file."""

    def spoil(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def cut(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def replace_data(name, **made):
    def change(file):
        del file[name]
        file.create_dataset(name, **made)

    return edit(change)


def many_links(file):
    """A tree of 40 levels in 40 groups, each linked twice from the one above: 2**40 paths."""
    group = file["node/nodes"].create_group("deep")
    for _ in range(20):
        below = group.create_group("left")
        group["right"] = below
        group = below


def texts_without_end(file):
    del file["node/edges"]
    file.create_dataset("node/edges", (10**9, 2), dtype=h5py.string_dtype(), chunks=(1000, 2))


def link_out(file):
    del file["node/nodes/a"]
    file["node/nodes/a"] = h5py.ExternalLink("/etc/hostname", "/")


def one_huge_text(file):
    del file["version"]
    file["version"] = "x" * 1000
    del file["node/edges"]
    file.create_dataset("node/edges", data=np.array([["input", "a"]], dtype=object), dtype=h5py.string_dtype())


LOST = "E160"


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), LOST),
    "text": (lambda path: path.write_text("not a network"), LOST),
    "garbage behind the signature": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 9), LOST),
    "cut to a half": (cut(0.5), LOST),
    "cut to a tenth": (cut(0.1), LOST),
    "cut by a byte": (lambda path: os.truncate(path, path.stat().st_size - 1), LOST),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."), LOST),
    "no node": (edit(lambda file: file.pop("node")), LOST),
    "no nodes": (edit(lambda file: file.pop("node/nodes")), LOST),
    "no edges": (edit(lambda file: file.pop("node/edges")), LOST),
    "no type of the graph": (edit(lambda file: file.pop("node/type")), LOST),
    "type of the graph": (replace_data("node/type", data="LIF"), LOST),
    "node is an array": (replace_data("node", data=[1, 2]), LOST),
    "no type of a node": (edit(lambda file: file.pop("node/nodes/a/type")), "E166"),
    "unknown type of a node": (replace_data("node/nodes/a/type", data="os.system"), "E166"),
    "type is a number": (replace_data("node/nodes/a/type", data=5), "E166"),
    "no weight": (edit(lambda file: file.pop("node/nodes/a/weight")), "E165"),
    "a field too many": (edit(lambda file: file["node/nodes/a"].create_dataset("size", data=1)), "E165"),
    "weights are text": (replace_data("node/nodes/a/weight", data="abc"), "E165"),
    "weights are complex": (replace_data("node/nodes/a/weight", data=np.ones((3, 2, 3, 3), complex)), LOST),
    "weights are empty": (replace_data("node/nodes/a/weight", data=np.ones((3, 0, 3, 3))), "E165"),
    "weights are flat": (replace_data("node/nodes/d/weight", data=np.ones((4, 192, 1))), "E175"),
    "weights of NaN": (replace_data("node/nodes/d/weight", data=np.full((4, 192), np.nan)), "E165"),
    "terabytes of weights": (
        replace_data("node/nodes/d/weight", shape=(10**6, 10**6), dtype="f8", chunks=(10, 10)),
        LOST,
    ),
    "neurons of different shapes": (replace_data("node/nodes/b/tau", data=np.ones(3)), "E165"),
    "padding of words": (replace_data("node/nodes/a/padding", data="reflect"), "E165"),
    "shape of text": (replace_data("node/nodes/input/shape", data="wide"), "E172"),
    "shape of minus one": (replace_data("node/nodes/input/shape", data=[-1, 8, 8]), "E172"),
    "edges are numbers": (replace_data("node/edges", data=np.ones((3, 2))), LOST),
    "edges of three": (replace_data("node/edges", data=np.array([[b"a", b"b", b"c"]])), LOST),
    "edges in a loop": (replace_data("node/edges", data=np.array([[b"a", b"b"], [b"b", b"a"]])), "E168"),
    "edges to nobody": (replace_data("node/edges", data=np.array([[b"input", b"zz"]])), "E168"),
    "texts without end": (edit(texts_without_end), LOST),
    "links without end": (edit(many_links), LOST),
    "a loop of links": (edit(lambda file: file["node/nodes"].__setitem__("self", file["node"])), LOST),
    "a soft link": (edit(lambda file: file["node"].__setitem__("x", h5py.SoftLink("/node"))), LOST),
    "a link to another file": (edit(link_out), LOST),
    "a type of its own": (edit(lambda file: file["node"].__setitem__("x", np.dtype("f8"))), LOST),
    "edges of one pair": (edit(one_huge_text), "E168"),
}


def test_a_file_of_ours_needs_no_options_and_takes_those_that_agree(tmp_path):
    path = ours(tmp_path)
    for said in ({}, SAID, {"voting": 2, "first_frame": "float"}):
        graph = read_nir(path, **said).graph
        assert (graph.dt_us, graph.steps, graph.first_frame, graph.voting) == (1000.0, 5, "float", 2)
    (finding,) = read_nir(path, steps=7).findings
    assert (finding.code, finding.limit) == ("W162", "5")


def test_options_against_the_file_are_refused_all_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read_nir(ours(tmp_path), dt_us=100.0, inclusive=False, first_frame="spikes", voting=1)
    names = [f.node.removeprefix("a.nir: ") for f in caught.value.findings]
    assert names == ["--dt", "--first-frame", "--voting", "n", "o"]
    assert {f.code for f in caught.value.findings} == {"E162"}
    assert "0.0001 s; limit 0.001 s, as the file says" in str(caught.value)


def test_a_nominal_dt_stays_nominal_until_the_caller_says_it(tmp_path):
    path = ours(tmp_path, dt_us=None)
    assert read_nir(path).graph.dt_us is None
    assert read_nir(path, dt_us=100.0).graph.dt_us == 100.0
    with pytest.raises(InputError, match="E162"):
        read_nir(path, dt_us=1000.0)


@pytest.mark.parametrize(
    ("where", "key", "value", "words"),
    [
        ("node", "schema", 2, "notes of version"),
        ("node", "dt_us", "soon", "dt_us is 'soon'"),
        ("node", "dt_us", -1.0, "dt_us is"),
        ("node", "dt_us", np.ones(3), "dt_us is"),
        ("node", "steps", 2.5, "steps is"),
        ("node", "voting", None, "voting is None"),
        ("node", "first_frame", "grey", "first_frame is 'grey'"),
        ("node", "spike_comparison", 1, "spike_comparison is"),
        ("node", "reset", "by subtraction", "reset is 'by subtraction'"),
        ("node/nodes/n", "spike_comparison", "=>", "spike_comparison is '=>'"),
        ("node/nodes/n", "decay", 0.31, "decay is noted as"),
        ("node/nodes/n", "name", "o", "a second layer of the name o"),
    ],
)
def test_notes_that_were_changed_are_refused(where, key, value, words, tmp_path):
    path = ours(tmp_path)
    with h5py.File(path, "r+") as file:
        set_note(where, key, value)(file)
    with pytest.raises(InputError, match="E163") as caught:
        read_nir(path)
    assert words in str(caught.value)


def test_metadata_of_others_is_passed_over(tmp_path):
    graph = chain(conv(), lif(3, 8, 8), output=(3, 8, 8), metadata={"dt_us": 5.0, "author": "me"})
    with pytest.raises(InputError, match="E161"):
        read_nir(written(graph, tmp_path))


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused_with_their_name(name, tmp_path):
    path = written(usual(), tmp_path)
    spoil, code = DAMAGE[name]
    spoil(path)
    with pytest.raises((InputError, UnsupportedError)) as caught:
        read_nir(path, **SAID)
    found = caught.value.findings
    assert code in {finding.code for finding in found}, str(caught.value)
    assert all("x.nir" in finding.node for finding in found)
    assert isinstance(caught.value, UnsupportedError) == all(f.code in ("E166", "E172") for f in found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.nir"], "nothing was run or written"


def test_every_bad_node_is_named_at_once(tmp_path):
    path = written(usual(), tmp_path)
    with h5py.File(path, "r+") as file:
        file["node/nodes/a/type"][()] = "Conv9d"
        del file["node/nodes/d/weight"]
    with pytest.raises(InputError) as caught:
        read_nir(path, **SAID)
    assert codes(caught.value.findings) == [("E166", "x.nir: a"), ("E165", "x.nir: d")]
    assert "a Conv9d has no place" in str(caught.value)


def test_a_file_is_read_up_to_the_limit_of_declared_bytes(tmp_path, monkeypatch):
    path = written(usual(), tmp_path)
    with h5py.File(path) as file:
        sizes = []
        file.visititems(lambda _, item: sizes.append(item.nbytes if getattr(item, "dtype", "O") != "O" else 0))
        texts = []
        file.visititems(lambda _, item: texts.append(item) if getattr(item, "dtype", "") == "O" else None)
        total = sum(sizes) + sum(len(text) for item in texts for text in np.ravel(item[()]))
    monkeypatch.setattr(nir_guard, "MAX_BYTES", total)
    read_nir(path, **SAID)
    monkeypatch.setattr(nir_guard, "MAX_BYTES", total - 1)
    with pytest.raises(InputError, match=f"{total} declared bytes, at most {total - 1} are read"):
        read_nir(path, **SAID)


def test_missing_files_and_folders_are_told(tmp_path):
    for path in (tmp_path / "none.nir", tmp_path):
        with pytest.raises(InputError, match=r"E160.*no such file"):
            read_nir(path, **SAID)


def test_without_nir_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(MissingDependencyError, match="pip install nir") as caught:
        read_nir(tmp_path / "a.nir", **SAID)
    assert caught.value.exit_code == 6


def test_a_flipped_byte_is_read_or_refused_and_never_a_traceback(tmp_path):
    sound = written(usual(), tmp_path)
    data = sound.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for at in rng.integers(0, len(data), 60):
        spoiled = bytearray(data)
        spoiled[at] ^= 1 << int(rng.integers(8))
        sound.write_bytes(spoiled)
        try:
            read_nir(sound, **SAID)
            outcomes["read"] += 1
        except (InputError, UnsupportedError):
            outcomes["refused"] += 1
    assert outcomes["refused"] > 5
    assert outcomes["read"] > 5

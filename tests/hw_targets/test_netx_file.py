"""The chip file: what Lava needs in it, what comes back out of it, and what damage does."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hw_targets.finding import InputError
from hw_targets.loihi2.netx.reader import read_netx
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.simulate import simulate


def test_round_trip_simulates_the_same(tmp_path, exported):
    _, spec, clips, compiled = exported
    write_netx(compiled.chip, tmp_path / "a.net")
    back = read_netx(tmp_path / "a.net", steps=spec.steps, first_frame="float", payload=compiled.chip.payload)
    ours, theirs = simulate(compiled.chip, clips).spikes, simulate(back, clips).spikes
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_byte_identical_twice(tmp_path, exported):
    compiled = exported[3]
    write_netx(compiled.chip, tmp_path / "a.net")
    write_netx(compiled.chip, tmp_path / "b.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_every_number_is_int64(tmp_path, exported):
    write_netx(exported[3].chip, tmp_path / "a.net")
    kinds = set()
    with h5py.File(tmp_path / "a.net") as file:
        file.visititems(lambda name, item: kinds.add(str(item.dtype)) if isinstance(item, h5py.Dataset) else None)
    assert {kind for kind in kinds if "S" not in kind} == {"int64"}


def test_unknown_layer_type_is_named(tmp_path, exported):
    write_netx(exported[3].chip, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        del file["layer/1/type"]
        file["layer/1/type"] = np.bytes_("pool")
    with pytest.raises(InputError, match=r"layer 1: layer type 'pool'"):
        read_netx(tmp_path / "a.net", steps=8)


def test_damage_is_an_input_error(tmp_path, exported):
    write_netx(exported[3].chip, tmp_path / "a.net")
    whole = (tmp_path / "a.net").read_bytes()
    (tmp_path / "short.net").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.net").write_text("not HDF5")
    for name in ("short.net", "text.net"):
        with pytest.raises(InputError, match="not a readable netx file"):
            read_netx(tmp_path / name, steps=8)
    with pytest.raises(InputError, match="no such file"):
        read_netx(tmp_path / "none.net", steps=8)


def test_a_fraction_of_a_weight_is_refused_where_netx_would_cut_it_off(tmp_path, exported):

    write_netx(exported[3].chip, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        weight = file["layer/1/weight"][()].astype(float)
        del file["layer/1/weight"]
        file["layer/1/weight"] = weight
    whole = read_netx(tmp_path / "a.net", steps=2)
    np.testing.assert_array_equal(whole.layers[0].weight, exported[3].chip.layers[0].weight)
    with h5py.File(tmp_path / "a.net", "r+") as file:
        file["layer/1/weight"][0, 0, 0, 0] += 0.5
    with pytest.raises(InputError, match="not whole numbers"):
        read_netx(tmp_path / "a.net", steps=2)

"""Bundles: proven, reproducible, never half written, and able to re-check themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from export import bundle as bundle_module
from export.bundle import check_bundle, load_chip, load_graph, save_graph
from export.exporter import export_model
from export.reference import run_graph
from export.verify import Tolerance
from hw_targets.finding import CapacityError, InputError
from hw_targets.loihi2.simulate import simulate


def export(exported, out, **more):
    network, _, clips, _ = exported
    # An untrained network decides by ties, so its labels flip; its layers do not.
    tolerance = Tolerance(label_agreement=0.5)
    return export_model(network, clips, out=out, dt_us=33333.0, first_frame="float", tolerance=tolerance, **more)


def test_export_is_verified_and_checks_itself_again(tmp_path, exported):
    result = export(exported, tmp_path / "b")
    shown = result.to_dict()
    assert shown["ok"]
    assert shown["exit_code"] == 0
    assert all(layer["verify"]["folded_mismatches"] == 0 for layer in shown["layers"])
    assert check_bundle(tmp_path / "b") == []
    assert len(list((tmp_path / "b" / "target").glob("*.net"))) == 1


def test_loaded_chip_computes_the_same(tmp_path, exported):
    export(exported, tmp_path / "b")
    clips = exported[2]
    ours, theirs = simulate(exported[3].chip, clips), simulate(load_chip(tmp_path / "b"), clips)
    assert list(ours.spikes) == list(theirs.spikes)
    assert all((ours.spikes[name] == theirs.spikes[name]).all() for name in ours.spikes)


def test_two_exports_are_byte_identical_but_for_the_time(tmp_path, exported):
    export(exported, tmp_path / "a")
    export(exported, tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*")):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        if path.name == "manifest.json":
            one, two = json.loads(path.read_text()), json.loads(other.read_text())
            one.pop("created"), two.pop("created")
            assert one == two
        elif path.is_file():
            assert path.read_bytes() == other.read_bytes(), path.name


def test_existing_bundle_is_kept_without_force(tmp_path, exported):
    export(exported, tmp_path / "b")
    with pytest.raises(InputError, match="already exists"):
        export(exported, tmp_path / "b")
    export(exported, tmp_path / "b", force=True)
    assert check_bundle(tmp_path / "b") == []


def test_a_crash_while_writing_leaves_the_old_bundle_and_no_rubbish(tmp_path, exported, monkeypatch):
    export(exported, tmp_path / "b")
    old = (tmp_path / "b" / "manifest.json").read_text()

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, "_manifest", crash)
    with pytest.raises(KeyboardInterrupt):
        export(exported, tmp_path / "b", force=True)
    assert (tmp_path / "b" / "manifest.json").read_text() == old
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_one_flipped_bit_in_the_chip_file_is_found(tmp_path, exported):
    import h5py

    export(exported, tmp_path / "b")
    with h5py.File(tmp_path / "b" / "target" / "model.net", "r+") as file:
        weight = file["layer/1/weight"][()]
        weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] ^= 64
        file["layer/1/weight"][...] = weight
    codes = {finding.code for finding in check_bundle(tmp_path / "b")}
    assert codes == {"E421", "E422"}


def test_missing_file_is_named(tmp_path, exported):
    export(exported, tmp_path / "b")
    (tmp_path / "b" / "graph.npz").unlink()
    assert [str(f.node) for f in check_bundle(tmp_path / "b")] == ["graph.npz"]


def test_graph_file_round_trip_and_damage(tmp_path, exported):
    _, _, clips, compiled = exported
    save_graph(compiled.folded, tmp_path / "g.npz")
    one, two = (run_graph(g, clips).spikes for g in (compiled.folded, load_graph(tmp_path / "g.npz")))
    assert all((one[name] == two[name]).all() for name in one)
    (tmp_path / "g.npz").write_bytes((tmp_path / "g.npz").read_bytes()[:200])
    with pytest.raises(InputError, match="not a readable array file"):
        load_graph(tmp_path / "g.npz")


def test_nan_weight_names_the_layer(exported, tmp_path):
    import copy

    from hw_targets.finding import UnsupportedError

    network = copy.deepcopy(exported[0])
    network.features[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(UnsupportedError, match=r"E204 features\.0: 9|E204 features\.0: 1") as caught:
        export_model(network, exported[2], out=tmp_path / "b", dt_us=1.0, first_frame="float")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "b").exists()


def test_huge_threshold_does_not_fit(exported, tmp_path):
    import copy

    network = copy.deepcopy(exported[0])
    network.features[2].v_threshold = 1e9
    with pytest.raises(CapacityError, match="rounds to zero"):
        export_model(network, exported[2], out=tmp_path / "b", dt_us=1.0, first_frame="float")
    assert not (tmp_path / "b").exists()


def test_no_clips_is_an_input_error(exported):
    with pytest.raises(InputError, match="no clips to verify with"):
        export_model(exported[0], [], dt_us=1.0)


def test_a_silent_layer_proves_nothing(exported, tmp_path):
    network, _, clips, _ = exported
    result = export_model(network, np.zeros_like(clips[:, :2]), out=tmp_path / "b", dt_us=1.0, first_frame="float")
    assert not result.ok
    assert "E410" in {finding.code for finding in result.findings}
    assert result.to_dict()["exit_code"] == 5
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["verdict"] == "FAILED"

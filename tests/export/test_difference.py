"""Two bundles compared: differences planted in the files are found exactly, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from export.bundle import load_chip
from export.difference import compare_bundles, difference_text
from export.exporter import Provenance, export_model
from export.storage import load_arrays, save_arrays
from export.verify import Tolerance
from hw_targets.finding import InputError
from hw_targets.registry import get_target


@pytest.fixture(scope="module")
def original(exported, tmp_path_factory):
    """A real bundle, never changed by a test."""
    out = tmp_path_factory.mktemp("difference") / "original"
    tolerance = Tolerance(label_agreement=0.5)  # an untrained network decides by ties
    details = {"spec": {"steps": 8}, "classes": ["sad", "happy"]}
    result = export_model(
        exported[0],
        exported[2],
        out=out,
        dt_us=33333.0,
        first_frame="float",
        tolerance=tolerance,
        provenance=Provenance(details=details),
    )
    assert all(layer["verify"]["spikes"] > 0 for layer in result.to_dict()["layers"])
    return out


@pytest.fixture
def other(original, tmp_path):
    """A copy to plant differences in."""
    shutil.copytree(original, tmp_path / "other")
    return tmp_path / "other"


def edit(folder, name, change):
    """Change a JSON file of a bundle in place and seal the bundle again."""
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    seal(folder)


def seal(folder):
    """Write the hashes of all files into the manifest, as an export would have."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def netx(folder, change):
    """Change the chip's file in place, without the code under test, and seal the bundle again."""
    import h5py

    with h5py.File(folder / "target" / "model.net", "r+") as file:
        change(file["layer"])
    seal(folder)


def layer_of(result, status="changed"):
    """Return the only layer of that status; every other one must be the same."""
    found = [entry for entry in result["layers"] if entry["status"] != "same"]
    assert [entry["status"] for entry in found] == [status]
    return found[0]


def test_a_bundle_equals_its_copy(original, other):
    edit(other, "manifest.json", lambda manifest: manifest.update(created="2001-01-01T00:00:00+00:00"))
    result = compare_bundles(original, other)
    assert (result["ok"], result["exit_code"], result["same"], result["identical"]) == (True, 0, True, True)
    assert result["findings"] == result["chip"] == result["settings"] == []
    assert all(entry["status"] == "same" for entry in result["layers"])
    text = difference_text(result).splitlines()
    assert text[0].startswith("identical")
    assert len(text) == 4


def test_two_weights_are_counted_and_the_largest_change_is_named(original, other):
    planted = {}

    def change(layers):
        weight = layers["1/weight"][()]
        flat = weight.reshape(-1)
        before = flat.copy()
        flat[0] += 100 if flat[0] < 0 else -100
        flat[5] += 3 if flat[5] < 0 else -3
        planted["size"] = flat.size
        assert [int(n) for n in np.abs(flat - before)[[0, 5]]] == [100, 3]
        layers["1/weight"][...] = weight

    netx(other, change)
    result = compare_bundles(original, other)
    assert (result["same"], result["identical"]) == (False, False)
    entry = layer_of(result)
    weight = entry["arrays"]["weight"]
    assert (weight["differ"], weight["largest"], weight["count"]) == (2, 100, planted["size"])
    assert entry["arrays"]["bias"]["differ"] == 0
    assert entry["changes"] == []
    assert result["graph"]["same"]
    text = difference_text(result)
    assert f"2 of {planted['size']} weight integers differ, by up to 100" in text
    assert "NOT the same chip: 1 of 4 layers" in text
    assert "float graph: equal" in text


def test_one_bias_and_one_threshold(original, other):
    before = {}

    def change(layers):
        bias = layers["1/bias"][()]
        bias[2] -= 7
        layers["1/bias"][...] = bias
        before["threshold"] = int(layers["1/neuron/vThMant"][()])
        before["decay"] = int(layers["1/neuron/vDecay"][()])
        layers["1/neuron/vThMant"][...] = before["threshold"] + 11
        layers["1/neuron/vDecay"][...] = before["decay"] - 1

    netx(other, change)
    entry = layer_of(compare_bundles(original, other))
    assert (entry["arrays"]["bias"]["differ"], entry["arrays"]["bias"]["largest"]) == (1, 7)
    assert entry["arrays"]["weight"]["differ"] == 0
    assert {c["what"]: (c["a"], c["b"]) for c in entry["changes"]} == {
        "threshold": (before["threshold"], before["threshold"] + 11),
        "voltage_decay": (before["decay"], before["decay"] - 1),
    }


@pytest.mark.parametrize(
    ("key", "value", "behaviour"), [("steps", 5, True), ("voting", 5, True), ("dt_us", 10000.0, False)]
)
def test_settings_of_a_run(original, other, key, value, behaviour):
    before = json.loads((original / "chip.json").read_text())[key]
    assert before != value
    edit(other, "chip.json", lambda chip: chip.update({key: value}))
    result = compare_bundles(original, other)
    assert result["chip"] == [{"what": key, "a": before, "b": value, "behaviour": behaviour}]
    assert result["same"] is not behaviour
    assert not result["identical"]
    assert f"{key}: " in difference_text(result)


def test_a_setting_that_only_one_bundle_knows_counts_as_behaviour(original, other):
    edit(other, "chip.json", lambda chip: chip.update(clock="slow"))
    result = compare_bundles(original, other)
    assert [(c["what"], c["a"], c["b"]) for c in result["chip"]] == [("clock", None, "slow")]
    assert not result["same"]
    assert "clock: none -> slow" in difference_text(result)


def test_scale_and_payload(original, other):
    edit(other, "chip.json", lambda chip: chip["layers"][1].update(scale=chip["layers"][1]["scale"] * 2))
    result = compare_bundles(original, other)
    assert result["same"]  # a scale is how the integers came about; the chip does not know it
    assert [c["what"] for c in result["layers"][1]["changes"]] == ["scale"]
    edit(other, "chip.json", lambda chip: chip["layers"][0].update(payload=31))
    result = compare_bundles(original, other)
    assert not result["same"]
    changes = {c["what"]: (c["a"], c["b"]) for c in layer_of(result)["changes"]}
    assert changes["payload"] == (63, 31)


def test_a_renamed_layer_is_found_by_its_position_and_is_the_same(original, other):
    edit(other, "chip.json", lambda chip: chip["layers"][1].update(name="new"))
    edit(other, "report.json", lambda report: report["layers"][1].update(name="new"))
    result = compare_bundles(original, other)
    assert result["same"]
    assert (result["layers"][1]["a"], result["layers"][1]["b"]) == (1, 1)
    assert [(c["what"], c["b"]) for c in result["layers"][1]["changes"]] == [("name", "new")]


def rewrite(folder, layers, names):
    """Write the bundle's chip with other layers."""
    chip = load_chip(folder)
    get_target("loihi2").write(replace(chip, layers=tuple(layers(chip.layers))), folder / "target" / "model.net")

    def keep(description):
        known = {layer["name"]: layer for layer in description["layers"]}
        description["layers"] = [known.get(name) or {"name": name, "scale": 1.0, "payload": 1} for name in names]

    edit(folder, "chip.json", keep)


def test_an_added_and_a_removed_layer(original, other):
    names = [layer["name"] for layer in json.loads((original / "chip.json").read_text())["layers"]]
    last = load_chip(original).layers[-1]
    extra = replace(
        last,
        name="extra",
        weight=np.eye(last.weight.shape[0], dtype=np.int64) - 2 * np.eye(last.weight.shape[0], k=1, dtype=np.int64),
        bias=np.zeros(last.weight.shape[0], dtype=np.int64),
        input_shape=last.output_shape,
    )
    rewrite(other, lambda layers: [*layers, extra], [*names, "extra"])
    added = compare_bundles(original, other)
    assert layer_of(added, "added") == {
        "name": "extra",
        "a": None,
        "b": 4,
        "status": "added",
        "shape": list(last.output_shape),
    }
    removed = compare_bundles(other, original)
    assert (layer_of(removed, "removed")["a"], layer_of(removed, "removed")["b"]) == (4, None)
    assert not added["same"]
    assert not removed["same"]
    assert "layer extra: added" in difference_text(added)
    assert "layer extra: removed" in difference_text(removed)


def test_a_layer_of_another_size_is_matched_and_both_shapes_are_shown(original, other):
    names = [layer["name"] for layer in json.loads((original / "chip.json").read_text())["layers"]]
    last = load_chip(original).layers[-1]
    half = last.weight.shape[0] // 2
    smaller = replace(last, weight=last.weight[:half], bias=last.bias[:half], output_shape=(half,))
    rewrite(other, lambda layers: [*layers[:-1], smaller], names)
    result = compare_bundles(original, other)
    entry = layer_of(result)
    weight = entry["arrays"]["weight"]
    assert (weight["a_shape"], weight["b_shape"]) == (list(last.weight.shape), [half, last.weight.shape[1]])
    assert (weight["differ"], weight["largest"]) == (half * last.weight.shape[1], None)
    assert {"what": "output_shape", "a": [2 * half], "b": [half]} in entry["changes"]
    assert f"weight {weight['a_shape']} -> {weight['b_shape']}" in difference_text(result)


def test_a_float_weight_is_found_in_the_graph(original, other):
    arrays = load_arrays(other / "graph.npz")
    name = next(key for key in arrays if key.endswith(".weight"))
    arrays[name] = arrays[name].copy()
    arrays[name].reshape(-1)[0] += 1e-6
    save_arrays(other / "graph.npz", arrays)
    seal(other)
    result = compare_bundles(original, other)
    assert result["same"]
    assert not result["graph"]["same"]
    nodes = json.loads(arrays["header"].item())["nodes"]
    assert result["graph"]["changed"] == [nodes[int(name.split(".")[0])]["name"]]


def test_a_layer_on_the_host_belongs_to_what_runs(exported, tmp_path):
    tolerance = Tolerance(label_agreement=0.5)
    told = {"dt_us": 33333.0, "first_frame": "float", "tolerance": tolerance, "input_encoding": "host"}
    export_model(exported[0], exported[2], out=tmp_path / "a", **told)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert compare_bundles(tmp_path / "a", tmp_path / "b")["identical"]
    arrays = load_arrays(tmp_path / "b" / "graph.npz")
    first = next(key for key in arrays if key.endswith(".weight"))
    arrays[first].reshape(-1)[0] += 1.0
    save_arrays(tmp_path / "b" / "graph.npz", arrays)
    result = compare_bundles(tmp_path / "a", tmp_path / "b")
    assert not result["same"]
    assert len(result["host"]["changed"]) == 1
    assert all(entry["status"] == "same" for entry in result["layers"])
    assert f"host part: {result['host']['changed'][0]} changed" in difference_text(result)
    assert "the layer on the host is not" in difference_text(result)


def test_verdict_details_versions_and_findings(original, other):
    def manifest(value):
        value["verdict"] = "FAILED"
        value["versions"]["torch"] = "9.9"
        value["details"]["spec"]["steps"] = 16
        value["details"]["classes"] = ["sad", "angry"]
        value["arguments"] = {"allow": ["W414"]}

    def report(value):
        value["findings"].append({"code": "E413", "severity": "error", "node": "features.3", "found": "12.00%"})
        value["verify"]["label_agreement"] = 0.25
        value["layers"][1]["verify"]["agreement"] = 0.5
        value["layers"][1]["cores"] = 99

    edit(other, "report.json", report)
    edit(other, "manifest.json", manifest)
    result = compare_bundles(original, other)
    assert result["same"]
    assert not result["identical"]
    assert {c["what"]: c["b"] for c in result["settings"]} == {
        "verdict": "FAILED",
        "versions.torch": "9.9",
        "details.spec.steps": 16,
        "details.classes": ["sad", "angry"],
        "arguments.allow": ["W414"],
    }
    assert result["noticed"] == {"only_a": [], "only_b": ["E413 features.3: 12.00%"]}
    assert result["agreement"]["label_agreement"]["b"] == 0.25
    assert result["agreement"]["layers"][1]["b"] == 0.5
    assert [c["what"] for c in result["layers"][1]["changes"]] == ["cores"]
    lines = difference_text(result).splitlines()
    assert lines[3] == "verdict: verified -> FAILED"
    assert any(line.startswith("only in B: E413") for line in lines)
    assert any("cores 1 -> 99" in line for line in lines)


def test_a_file_changed_after_it_was_verified_is_said(original, other):
    (other / "graph.npz").write_bytes((original / "graph.npz").read_bytes() + b" ")
    result = compare_bundles(original, other)
    assert [(f["code"], f["node"]) for f in result["findings"]] == [("W432", str(other / "graph.npz"))]
    assert "is not the file that was verified" in difference_text(result)
    (other / "graph.npz").write_bytes((original / "graph.npz").read_bytes())
    assert compare_bundles(original, other)["findings"] == []


def test_files_that_only_one_bundle_has(original, other):
    (other / "notes.txt").write_text("mine")
    result = compare_bundles(original, other)
    assert {"name": "notes.txt", "status": "only in b", "a_bytes": None, "b_bytes": 4} in result["files"]
    assert result["same"]
    assert not result["identical"]
    assert "file notes.txt: only in B" in difference_text(result)
    assert "file notes.txt: only in A" in difference_text(compare_bundles(other, original))


@pytest.mark.parametrize(
    "name", ["manifest.json", "report.json", "chip.json", "target/model.net", "graph.npz", "../nowhere"]
)
def test_a_missing_file_or_a_pipe_is_refused_by_name(original, other, name):
    if name == "../nowhere":
        with pytest.raises(InputError, match=r"E430 .*nowhere.*no such file"):
            compare_bundles(original, other / name)
        return
    (other / name).unlink()
    with pytest.raises(InputError, match=r"E430 .*no such file"):
        compare_bundles(original, other)
    os.mkfifo(other / name)
    with pytest.raises(InputError, match="E430"):
        compare_bundles(other, original)


@pytest.mark.parametrize("name", ["manifest.json", "report.json", "chip.json", "target/model.net", "graph.npz"])
def test_damaged_files_are_input_errors_never_tracebacks(original, other, name):
    rng = np.random.default_rng(1)
    sound = (original / name).read_bytes()
    for _ in range(15):
        damaged = bytearray(sound)
        for place in rng.integers(0, len(damaged), 8):
            damaged[place] = rng.integers(256)
        (other / name).write_bytes(
            bytes(damaged[: int(rng.integers(1, len(damaged)))] if rng.random() < 0.3 else damaged)
        )
        try:
            result = compare_bundles(original, other)
        except InputError:
            continue
        json.dumps(result, allow_nan=False)
        assert difference_text(result)
        assert not result["identical"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.json", '{"layers": 3}'),
        ("report.json", '{"layers": [{}]}'),
        ("report.json", '{"findings": ["x"]}'),
        ("manifest.json", '{"details": NaN}'),
        ("manifest.json", '{"details": 1e999}'),
        ("manifest.json", '{"a":' * 980 + "1" + "}" * 980),
        ("chip.json", '{"target": "abacus"}'),
    ],
    ids=lambda value: value[:20],
)
def test_json_of_another_form_is_an_input_error(original, other, name, text):
    (other / name).write_text(text)
    with pytest.raises(InputError):
        compare_bundles(original, other)


def test_a_report_may_say_little_and_may_lie(original, other):
    edit(other, "report.json", lambda report: [report.pop(key) for key in list(report)])
    result = compare_bundles(original, other)
    assert result["agreement"]["label_agreement"]["b"] is None
    edit(
        other, "report.json", lambda report: report.update(verify={"label_agreement": "all"}, verdict="fine\x1b[2J\nA")
    )
    text = difference_text(compare_bundles(original, other))
    assert "\x1b" not in text
    assert "\nA\n" not in text
    assert result["same"]

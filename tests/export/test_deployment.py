"""Input encodings, allowed losses, calibration, and the verdict repeated from the bundle alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from export import bundle as bundle_module
from export import swap
from export.bundle import check_bundle, load_deployment
from export.exporter import compile_model, export_model
from export.reference import run_graph
from export.reverify import verify_bundle
from export.verify import Tolerance
from hw_targets.finding import CapacityError, InputError, UnsupportedError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.quantize import worst_sum
from hw_targets.registry import get_target
from tests import stranger

LOOSE = Tolerance(chip_agreement=0.9, label_agreement=0.0)


def spikes(shape=(6, 4, 2, 8, 8), seed=0):
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(np.float32)


def export(exported, out, **more):
    network, _, clips, _ = exported
    more = {"dt_us": 33333.0, "first_frame": "float", "tolerance": LOOSE} | more
    return export_model(network, clips, out=out, **more)


# --- input encodings ---------------------------------------------------------------------------------------------


def test_the_first_layer_on_the_host_is_the_model_itself(exported, tmp_path):
    result = export(exported, tmp_path / "b", input_encoding="host")
    first, *rest = result.layers
    assert (first["where"], first["cores"], first["verify"]["chip_mismatches"]) == ("host", 0, 0)
    assert [layer["where"] for layer in rest] == ["chip"] * 3
    deployment = load_deployment(tmp_path / "b")
    assert deployment.chip.payload == 1
    assert deployment.chip.input_shape == tuple(first["output_shape"])
    run = deployment.simulate(exported[2])
    assert list(run.spikes) == [layer["name"] for layer in result.layers]
    assert check_bundle(tmp_path / "b") == []
    assert verify_bundle(tmp_path / "b")["ok"]


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_lava_is_credited_with_the_layers_it_ran_and_no_others(exported, tmp_path):
    result = export(exported, tmp_path / "b", input_encoding="host")
    shown = verify_bundle(tmp_path / "b", against="lava")
    chip = [layer for layer in result.layers if layer["where"] == "chip"]
    assert [layer["name"] for layer in shown["lava"]["layers"]] == [layer["name"] for layer in chip]
    steps, clips = exported[2].shape[:2]
    assert shown["lava"]["compared_spikes"] == steps * clips * sum(layer["neurons"] for layer in chip)
    assert shown["lava"]["mismatched_spikes"] == 0


def test_the_host_layer_feeds_the_chip_what_the_float_network_computes(exported):
    network, _, clips, _ = exported
    made = compile_model(network, clips, get_target("loihi2"), first_frame="float", input_encoding="host")
    received, _ = made.deployment.chip_input(clips)
    assert (made.folded.first_frame, made.folded.input_shape) == ("float", made.captured.input_shape)
    first = made.folded.neurons()[0].name
    np.testing.assert_array_equal(received, run_graph(made.folded, clips).spikes[first])


def test_losing_the_gray_frame_must_be_allowed_by_name(exported, tmp_path):
    with pytest.raises(UnsupportedError, match="E461 input: the gray first frame becomes spikes"):
        export(exported, tmp_path / "b", input_encoding="spikes")
    assert not (tmp_path / "b").exists()
    result = export(exported, tmp_path / "b", input_encoding="spikes", allow=["E461"])
    assert result.report["allowed"] == ["E461"]
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["allowed"] == ["E461"]
    assert ("W412", "features.2") in {(finding.code, finding.node) for finding in result.findings}
    deployment = load_deployment(tmp_path / "b")
    received, _ = deployment.chip_input(exported[2])
    np.testing.assert_array_equal(received[0], exported[2][0] >= 0.5)
    assert set(np.unique(received)) == {0.0, 1.0}


def test_a_network_of_one_layer_cannot_run_on_the_host():
    from spikingjelly.activation_based import layer

    model = stranger.made(layer.Conv2d(2, 3, 3), stranger.lif())
    with pytest.raises(UnsupportedError, match="E462"):
        export_model(model, spikes(), input_encoding="host")


def test_tensors_and_pairs_are_taken_too():
    model, clips = stranger.conv_only(), spikes()
    one = export_model(model, torch.from_numpy(clips), tolerance=LOOSE)
    pairs = [(clips[:, :2], np.array([0, 1])), (clips[:, 2:], np.array([2, 0]))]
    two = export_model(model, pairs, tolerance=LOOSE)
    assert one.verify["layers"] == two.verify["layers"]
    assert "accuracy" in two.verify
    assert "accuracy" not in one.verify
    assert (one.ok, one.exit_code, one.bundle) == (True, 0, None)


# --- allowed losses ----------------------------------------------------------------------------------------------


def test_a_soft_reset_is_refused_then_allowed_and_priced(tmp_path):
    model, clips = stranger.soft_reset(), spikes()
    with pytest.raises(UnsupportedError, match="E201 1: reset 'subtract'"):
        export_model(model, clips)
    result = export_model(model, clips, allow=["E201"], out=tmp_path / "b", tolerance=LOOSE)
    assert [(f.code, f.severity) for f in result.findings if f.node == "1"] == [
        ("E201", "warning"),
        ("W412", "warning"),
    ]
    assert result.report["lossy"] == ["1"]
    assert result.layers[0]["verify"]["captured_mismatches"] == 0
    # the second layer was not touched, so nothing of it may be excused
    assert result.layers[1]["verify"]["folded_mismatches"] == 0
    assert verify_bundle(tmp_path / "b")["ok"]


def test_an_allowance_that_is_not_needed_is_not_recorded():
    result = export_model(stranger.conv_only(), spikes(), allow=["E201", "E205"], tolerance=LOOSE)
    assert result.report["allowed"] == []


def test_a_word_that_is_no_loss_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"E465 E130: not a loss.*E201.*E205.*E461"):
        export_model(stranger.conv_only(), spikes(), allow=["E130"])


# --- calibration -------------------------------------------------------------------------------------------------


def wide():
    from spikingjelly.activation_based import layer

    torch.manual_seed(0)
    net = stranger.made(layer.Flatten(), layer.Linear(6000, 4), stranger.lif(v_threshold=20.0))
    net[1].weight.data.abs_()
    return net


def test_calibration_keeps_the_bits_that_the_worst_case_would_cost():
    clips = (np.random.default_rng(0).random((4, 6, 6, 50, 20)) < 0.01).astype(np.float32)
    careful = export_model(wide(), clips, tolerance=LOOSE)
    calibrated = export_model(wide(), clips, calibrate=True, tolerance=LOOSE)
    assert worst_sum(careful.compiled.chip.layers[0].weight) <= 131071
    assert worst_sum(calibrated.compiled.chip.layers[0].weight) > 131071
    assert calibrated.compiled.chip.layers[0].weight.max() == 127 > careful.compiled.chip.layers[0].weight.max()
    # what no clip of the calibration did is refused where it happens
    with pytest.raises(CapacityError, match="a synaptic sum reaches"):
        calibrated.compiled.deployment.simulate(np.ones((4, 1, 6, 50, 20), np.float32))


# --- the bundle on its own ---------------------------------------------------------------------------------------


def test_the_verdict_repeats_itself_and_notices_a_changed_graph(exported, tmp_path):
    export(exported, tmp_path / "b")
    shown = verify_bundle(tmp_path / "b")
    assert (shown["ok"], shown["verdict"]) == (True, "verified")
    assert [layer["folded_mismatches"] for layer in shown["verify"]["layers"]] == [0, 0, 0, 0]
    (tmp_path / "b" / "graph.npz").write_bytes((tmp_path / "b" / "captured.npz").read_bytes())
    again = verify_bundle(tmp_path / "b")
    assert again["exit_code"] == 5
    assert {finding["code"] for finding in again["findings"]} == {"E421"}


def test_final_states_are_part_of_the_known_answers(exported, tmp_path):
    export(exported, tmp_path / "b")
    path = tmp_path / "b" / "vectors" / "state.npz"
    states = dict(np.load(path))
    states["features.2"][1, 0, 0, 0, 0] += 1
    np.savez(path, **states)
    found = [(f.code, f.node, f.found) for f in check_bundle(tmp_path / "b") if f.code == "E422"]
    assert found == [("E422", "features.2", f"1 of {states['features.2'].size} known final states differ")]


@pytest.mark.parametrize(
    "victim", ["chip.json", "graph.npz", "captured.npz", "vectors/model.npz", "vectors/inputs.npz"]
)
def test_a_damaged_bundle_is_an_error_and_never_a_crash(victim, exported, tmp_path):
    export(exported, tmp_path / "b")
    for damage in (b"", b"{}", b"PK\x03\x04 broken"):
        (tmp_path / "b" / victim).write_bytes(damage)
        with contextlib.suppress(InputError):  # exit code 2: said, not crashed
            assert verify_bundle(tmp_path / "b")["exit_code"] == 5


# --- nothing half written ----------------------------------------------------------------------------------------

STAGES = ("folder_aside", "chip_description", "save_graph", "save_arrays", "write_json", "_manifest", "put_in_place")


def killed_while(exported, out, stage, when):
    """Fork, kill the child without mercy before or after ``stage``, and wait for it."""
    child = os.fork()
    if child == 0:
        whole = getattr(bundle_module, stage)

        def deadly(*arguments, **more):
            if when == "after":
                whole(*arguments, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(bundle_module, stage, deadly)
        try:
            export(exported, out, force=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was to die"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_stage_leaves_the_old_bundle_or_none(stage, when, exported, tmp_path):
    out = tmp_path / "b"
    killed_while(exported, out, stage, when)
    done = (stage, when) == ("put_in_place", "after")
    assert out.exists() == done
    shutil.rmtree(out, ignore_errors=True)
    export(exported, out, weight_bits=7)
    killed_while(exported, out, stage, when)
    assert check_bundle(out) == []
    bits = json.loads((out / "report.json").read_text())["weight_bits"]
    assert bits == (8 if done else 7)
    export(exported, out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b"], "the next export clears what a killed one left"


def test_two_names_change_places_where_the_system_can_and_where_it_cannot(tmp_path, monkeypatch):
    for possible in (True, False):
        if not possible:
            monkeypatch.setattr(swap, "_exchange", lambda *_: False)
        for name in ("old", "new"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "said").write_text(name)
        swap.put_in_place(tmp_path / "new", tmp_path / "old")
        assert (tmp_path / "old" / "said").read_text() == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["old"]

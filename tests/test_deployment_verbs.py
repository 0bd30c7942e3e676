"""The deployment verbs on networks of strangers: factory, weights, clips, NIR, and what each prints."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import save_file

from export.page import check_report
from hw_targets.loihi2 import lava
from neuroemo import cli
from tests import stranger

GOOD = ("tests.stranger:good", "--input-shape", stranger.SHAPE, "--steps", stranger.STEPS)
LOOSE = ("--min-agreement", 0.9, "--min-labels", 0.5)


def run(capsys, *arguments):
    code = cli.run([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json", "-q")
    shown = json.loads(out)
    if arguments[0] in ("export", "check"):
        assert check_report(shown) == []
    return code, shown


@pytest.fixture
def clips(tmp_path):
    spikes = (np.random.default_rng(1).random((6, 12, 2, 8, 8)) < 0.4).astype(np.uint8)
    np.save(tmp_path / "clips.npy", spikes.swapaxes(0, 1))
    np.savez(tmp_path / "clips.npz", clips=spikes.swapaxes(0, 1), labels=np.arange(12) % 2)
    return tmp_path / "clips.npz"


@pytest.fixture
def weights(tmp_path):
    save_file(stranger.good().state_dict(), tmp_path / "good.safetensors")
    return tmp_path / "good.safetensors"


@pytest.fixture
def bundle(tmp_path, clips, weights, capsys):
    code, _, err = run(
        capsys, "export", *GOOD, "--weights", weights, "--data", clips, "-o", tmp_path / "b", *LOOSE, "--dt", 0.01
    )
    assert code == 0, err
    return tmp_path / "b"


def test_what_a_factory_export_prints_and_writes(capsys, tmp_path, clips, weights):
    command = ("export", *GOOD, "--weights", weights, "--data", clips, "-o", tmp_path / "b", *LOOSE)
    code, shown = run_json(capsys, *command)
    assert (code, shown["ok"], shown["exit_code"], shown["findings"]) == (0, True, 0, [])
    assert [layer["name"] for layer in shown["layers"]] == ["2", "6"]
    assert shown["proved_on"] == "12 of 12 clips of clips.npz"
    assert set(shown["verify"]["accuracy"]) == {"float", "folded", "chip"}
    assert len(list((tmp_path / "b" / "target").glob("*.net"))) == 1
    names = {path.relative_to(tmp_path / "b").as_posix() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert names == {
        "MODEL_CARD.md", "captured.npz", "chip.json", "graph.npz", "manifest.json", "model.nir", "report.html",
        "report.json", "report.md", "target/model.net", "vectors/expected.npz", "vectors/inputs.npz",
        "vectors/model.npz", "vectors/state.npz",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["verdict"] == "verified"
    assert set(manifest["sha256"]) == names - {"manifest.json"}
    assert manifest["arguments"]["weights"] == "good.safetensors"
    kept = json.loads((tmp_path / "b" / "report.json").read_text())
    assert kept == {key: None if key == "bundle" else value for key, value in shown.items() if key in kept}


def test_a_second_export_is_the_same_to_the_byte(capsys, tmp_path, clips, weights, bundle):
    run(capsys, "export", *GOOD, "--weights", weights, "--data", clips, "-o", tmp_path / "c", *LOOSE, "--dt", 0.01)
    code, shown = run_json(capsys, "diff", bundle, tmp_path / "c")
    assert (code, shown["same"], shown["identical"]) == (0, True, True)
    for path in (path for path in bundle.rglob("*") if path.is_file()):
        one, two = path.read_bytes(), (tmp_path / "c" / path.relative_to(bundle)).read_bytes()
        if path.name == "manifest.json":
            keep = [line for line in one.splitlines() if b'"created"' not in line]
            assert keep == [line for line in two.splitlines() if b'"created"' not in line]
        else:
            assert one == two, path.name


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(capsys, tmp_path, clips, weights):
    before = sorted(tmp_path.iterdir())
    command = ("export", *GOOD, "--weights", weights, "--data", clips, "-o", tmp_path / "b", *LOOSE, "--dry-run")
    code, out, _ = run(capsys, *command)
    assert code == 0
    assert "nothing written (--dry-run); it would be" in out
    assert sorted(tmp_path.iterdir()) == before


def test_the_next_command_is_printed_and_works(capsys, bundle, tmp_path):
    _, out, _ = run(capsys, "check", *GOOD, "--target", "loihi2")
    assert out.splitlines()[-1] == (
        "next: neuroemo export tests.stranger:good --input-shape 2,8,8 --steps 6 --target loihi2"
    )
    code, out, _ = run(capsys, "verify", bundle)
    assert (code, out.splitlines()[-1]) == (0, f"{bundle}: every hash and every known answer agrees")


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_verify_against_lava_compares_every_spike(capsys, bundle):
    code, shown = run_json(capsys, "verify", bundle, "--against", "lava")
    assert code == 0
    assert shown["lava"]["mismatched_spikes"] == 0
    assert shown["lava"]["compared_spikes"] == 6 * 8 * (4 * 8 * 8 + 6)
    assert all(layer["spikes"] > 0 for layer in shown["lava"]["layers"])


def test_without_lava_the_exit_code_is_6(capsys, bundle, monkeypatch):
    monkeypatch.setattr(lava, "lava_available", lambda: False)
    code, shown = run_json(capsys, "verify", bundle, "--against", "lava")
    assert (code, shown["findings"][0]["code"]) == (6, "E601")


def test_a_lava_that_disagrees_is_exit_code_5_with_the_place(capsys, bundle, monkeypatch):
    from hw_targets.loihi2.lava import LavaRun
    from hw_targets.loihi2.simulate import ChipRun, simulate
    from hw_targets.loihi2.target import Loihi2

    def judge(self, chip, path, clips, timeout_s, **_):
        spikes = {name: value.copy() for name, value in simulate(chip, clips).spikes.items()}
        spikes["6"][3, 1, 2] ^= 1
        return LavaRun(ChipRun(spikes), 0.001)

    monkeypatch.setattr(Loihi2, "judge", judge)
    code, shown = run_json(capsys, "verify", bundle, "--against", "lava")
    assert code == 5
    assert [(f["code"], f["node"]) for f in shown["findings"]] == [("E423", "6")]
    assert shown["lava"]["first_mismatch"] == {"layer": "6", "step": 3, "clip": 1, "neuron": [2]}


def test_the_nir_of_a_bundle_makes_the_same_chip_again(capsys, tmp_path, bundle, clips):
    again = ("export", bundle / "model.nir", "--data", clips, "-o", tmp_path / "n", *LOOSE)
    code, shown = run_json(capsys, *again)
    assert (code, shown["model"]["framework"], shown["model"]["voting"]) == (0, "nir", 3)
    assert all(layer["verify"]["captured_mismatches"] == 0 for layer in shown["layers"])
    code, shown = run_json(capsys, "diff", bundle, tmp_path / "n")
    assert shown["same"]
    code, shown = run_json(capsys, *again[:2], "--dt", "1", "-o", tmp_path / "wrong")
    assert code == 2
    assert "0.01" in json.dumps(shown["findings"])


def test_a_checkpoint_is_one_file_too(capsys, tmp_path):
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.training.checkpoint import Description, load_model, save_model
    from tests.conftest import random_clips, spiking_network

    network, spec = spiking_network()
    settings = FrameDiffSettings(spec.size, spec.steps, 0.001, spec.first_frame)
    save_model(tmp_path / "net", network, Description(spec, settings, ("left", "right"), 33333.0))
    moved = (tmp_path / "net" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    assert load_model(moved)[1].classes == ("left", "right")
    np.save(tmp_path / "clips.npy", random_clips(spec, 4, 1).swapaxes(0, 1))
    command = ("export", moved, "--data", tmp_path / "clips.npy", "-o", tmp_path / "b", *LOOSE)
    code, shown = run_json(capsys, *command)
    assert (code, shown["model"]["kind"], shown["model"]["classes"]) == (0, "checkpoint", ["left", "right"])
    code, shown = run_json(capsys, "simulate", tmp_path / "b", "--clips", tmp_path / "clips.npy")
    assert code == 0
    assert {answer["predicted"] for answer in shown["answers"]} <= {"left", "right"}


def test_targets_are_a_list_with_every_limit_and_its_source(capsys):
    code, shown = run_json(capsys, "targets")
    assert code == 0
    assert {target["name"]: target["kind"] for target in shown} == {
        "loihi1": "deploy", "loihi2": "deploy", "speck": "check", "xylo": "check",
    }  # fmt: skip
    for target in shown:
        for limit in target["limits"]:
            assert {"name", "value", "unit", "source"} <= set(limit)
            assert limit["source"]


def test_one_network_for_two_chips(capsys, tmp_path, clips, weights):
    command = ("export", *GOOD, "--weights", weights, "--data", clips, "--target", "loihi1", *LOOSE)
    code, shown = run_json(capsys, *command, "-o", tmp_path / "b")
    assert (code, shown["target"]) == (0, "loihi1")
    assert run_json(capsys, "verify", tmp_path / "b")[0] == 0


def test_a_module_that_is_ready_made(capsys):
    model = ("tests.stranger:ready_made", *GOOD[1:])
    assert run_json(capsys, "check", *model, "--target", "loihi2")[0] == 0

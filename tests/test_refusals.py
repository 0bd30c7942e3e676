"""Wrong models, files and flags: each gives its message, its code and its exit status, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import save_file

from export.page import check_report
from neuroemo import cli
from tests import stranger

SHAPE = ("--input-shape", stranger.SHAPE, "--steps", stranger.STEPS)


def run(capsys, *arguments):
    code = cli.run([str(argument) for argument in (*arguments, "--json", "-q")])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    shown = json.loads(told.out)
    if arguments[0] in ("export", "check") and "stage" in shown:
        assert check_report(shown) == []
    return code, shown


def weights(path, model="good", **changes):
    tensors = {name: value.clone() for name, value in getattr(stranger, model)().state_dict().items()}
    for name, change in changes.items():
        name = name.replace("_", ".", 1)
        if change is None:
            del tensors[name]
        else:
            tensors[name] = change(tensors.get(name))
    save_file(tensors, path)
    return path


def array(path, values):
    np.save(path, values)
    return path


def clips(shape=(3, 6, 2, 8, 8), value=None, dtype=np.float32):
    spikes = (np.random.default_rng(0).random(shape) < 0.4).astype(dtype)
    if value is not None:
        spikes.flat[0] = value
    return spikes


def garbage(path):
    path.write_bytes(b"\x89 this is nothing \x00\x01" * 20)
    return path


MODELS = {
    "soft reset": ("soft_reset", 3, "E201", "reset"),
    "residual": ("residual", 3, "E102", "joins 2 branches"),
    "max pool of currents": ("max_pool_of_currents", 3, "E130", "not of spikes"),
    "padded convolution after an odd pool": ("odd_pool", 3, "E131", "does not tile"),
    "no neuron at the end": ("no_neuron_at_the_end", 3, "E113", "ends in synapses"),
    "two synapse layers": ("two_synapses", 3, "E110", "two synapse layers in a row"),
    "unknown layer": ("unknown_layer", 3, "E100", "Tanh"),
    "threshold below rest": ("low_threshold", 3, "E202", "threshold -0.5"),
    "weights vanish": ("huge_threshold", 4, "E210", "rounds to zero"),
    "not a number": ("nan_weight", 3, "E204", "NaN"),
    "dead layer": ("dead_layer", 3, None, "zero"),
    "another frame size": ("wrong_size", 2, "E032", "the network itself fails"),
    "factory raises": ("raises", 2, "E646", "the disk is on fire"),
    "factory returns a number": ("not_a_module", 2, "E647", "int"),
    "no such factory": ("nothing_here", 2, "E646", "nothing_here"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_model(name, capsys, tmp_path):
    factory, status, code, text = MODELS[name]
    out = tmp_path / "bundle"
    found, shown = run(capsys, "export", f"tests.stranger:{factory}", *SHAPE, "-o", out)
    assert (found, shown["exit_code"], shown["ok"]) == (status, status, False)
    assert shown["layers"] == []
    assert shown["verify"] is None
    errors = [finding for finding in shown["findings"] if finding["severity"] == "error"]
    assert code is None or code in {finding["code"] for finding in errors}
    assert any(text in json.dumps(finding) for finding in errors)
    assert all(finding["fix"] or finding["limit"] for finding in errors)
    assert list(tmp_path.iterdir()) == []


GOOD = "tests.stranger:good"
COMMANDS = {
    "no such model": (lambda t: ["export", t / "none"], 2, "E640", "no such model"),
    "a pickle": (lambda t: ["export", garbage(t / "net.pt")], 2, "E641", "could run code"),
    "an unknown file": (lambda t: ["export", garbage(t / "net.onnx")], 2, "E644", ".onnx"),
    "shape and steps missing": (lambda t: ["export", GOOD], 2, "E643", "--steps"),
    "module not importable": (lambda t: ["export", "no_such_package:net", *SHAPE], 2, "E646", "no_such_package"),
    "another kind of option": (
        lambda t: ["export", GOOD, *SHAPE, "--spike-comparison", ">"], 2, "E642", "means nothing"),
    "shape of two numbers": (lambda t: ["export", GOOD, "--input-shape", "8,8", "--steps", 6], 2, "E010", "C,H,W or F"),
    "no steps": (lambda t: ["export", GOOD, "--input-shape", "2,8,8", "--steps", 0], 2, "E010", "less than 1"),
    "nine bits": (lambda t: ["export", GOOD, *SHAPE, "--weight-bits", 9], 2, "E010", "9"),
    "unknown flag": (lambda t: ["export", GOOD, *SHAPE, "--fast"], 2, "E010", "--fast"),
    "unknown chip": (lambda t: ["export", GOOD, *SHAPE, "--target", "tpu"], 2, "E011", "no such target"),
    "check-only chip": (lambda t: ["export", GOOD, *SHAPE, "--target", "speck"], 2, "E018", "not exported"),
    "not a loss": (lambda t: ["export", GOOD, *SHAPE, "--allow", "E999"], 2, "E465", "E201"),
    "graded without gray": (lambda t: ["export", GOOD, *SHAPE, "--input-encoding", "graded"], 2, "E460", "pure spikes"),
    "weights missing": (lambda t: ["export", GOOD, *SHAPE, "--weights", t / "w"], 2, "E075", "no such file"),
    "weights damaged": (lambda t: ["export", GOOD, *SHAPE, "--weights", garbage(t / "w")], 2, "E076", "safetensors"),
    "weight lacking": (
        lambda t: ["export", GOOD, *SHAPE, "--weights", weights(t / "w", **{"0_weight": None})], 2, "E071", "0.weight"),
    "weight of another shape": (
        lambda t: ["export", GOOD, *SHAPE, "--weights", weights(t / "w", **{"0_weight": lambda v: v[:2].contiguous()})],
        2, "E073", "(2, 2, 3, 3)"),
    "weight not a number": (
        lambda t: ["export", GOOD, *SHAPE, "--weights", weights(t / "w", **{"0_weight": lambda v: v * float("nan")})],
        2, "E074", "72 of 72"),
    "clips missing": (lambda t: ["export", GOOD, *SHAPE, "--data", t / "x.npy"], 2, "E653", "no such file"),
    "clips damaged": (lambda t: ["export", GOOD, *SHAPE, "--data", garbage(t / "x.npy")], 2, "E654", "readable"),
    "archive damaged": (lambda t: ["export", GOOD, *SHAPE, "--data", garbage(t / "x.npz")], 2, "E654", "readable"),
    "clips of objects": (
        lambda t: ["export", GOOD, *SHAPE, "--data", array(t / "x.npy", np.array([{}, {}]))], 2, "E656", "object"),
    "clips of another shape": (
        lambda t: ["export", GOOD, *SHAPE, "--data", array(t / "x.npy", clips((3, 6, 2, 9, 8)))], 2, "E655", "9, 8"),
    "clips with time first": (
        lambda t: ["export", GOOD, *SHAPE, "--data", array(t / "x.npy", clips((6, 3, 2, 8, 8)))],
        2, "E673", "swapaxes"),
    "clips with NaN": (
        lambda t: ["export", GOOD, *SHAPE, "--data", array(t / "x.npy", clips(value=np.nan))], 2, "E030", "finite"),
    "clips that are no spikes": (
        lambda t: ["export", GOOD, *SHAPE, "--data", array(t / "x.npy", clips(value=5))], 2, "E052", "0 and 1"),
    "an empty limit": (lambda t: ["export", GOOD, *SHAPE, "--limit", 0], 2, "E010", "less than 1"),
    "not a bundle": (lambda t: ["verify", t], 2, "E063", "manifest.json"),
    "difference of nothing": (lambda t: ["diff", t / "a", t / "b"], 2, None, "a"),
    "check of nothing": (lambda t: ["check", t / "none", "--target", "loihi2"], 2, "E640", "no such model"),
    "simulate nothing": (lambda t: ["simulate", t / "none", "--clips", t], 2, "E063", "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_file_or_flag(name, capsys, tmp_path):
    command, status, code, text = COMMANDS[name]
    arguments = command(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    if arguments[0] == "export":
        arguments += ["-o", tmp_path / "bundle"]
    found, shown = run(capsys, *arguments)
    assert (found, shown["exit_code"]) == (status, status)
    assert code is None or code in {finding["code"] for finding in shown["findings"]}
    assert text in json.dumps(shown["findings"])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_every_fault_of_a_network_is_reported_at_once(capsys, tmp_path):
    code, shown = run(capsys, "check", "tests.stranger:many_faults", *SHAPE, "--target", "loihi2")
    assert code == 3
    assert [(f["code"], f["node"]) for f in shown["findings"] if f["severity"] == "error"] == [
        ("E100", "1"),
        ("E201", "2"),
        ("E100", "3"),
    ]


def test_a_silent_layer_is_written_and_marked_failed(capsys, tmp_path):
    code, shown = run(capsys, "export", "tests.stranger:silent", *SHAPE, "-o", tmp_path / "b")
    assert code == 5
    assert "E410" in {finding["code"] for finding in shown["findings"]}
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["verdict"] == "FAILED"
    code, again = run(capsys, "verify", tmp_path / "b")
    assert code == 5
    assert "E424" in {finding["code"] for finding in again["findings"]}


def test_an_ann_has_nothing_to_export(capsys, tmp_path):
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.models.emotion import build_network, spec_by_name
    from neuroemo.training.checkpoint import Description, save_model

    spec = spec_by_name("tiny-ann")
    settings = FrameDiffSettings(spec.size, spec.steps, 0.001, "float")
    save_model(tmp_path / "ann", build_network(spec), Description(spec, settings, ("a", "b"), 1.0))
    code, shown = run(capsys, "export", tmp_path / "ann", "-o", tmp_path / "b")
    assert (code, shown["findings"][0]["code"]) == (2, "E649")
    assert not (tmp_path / "b").exists()


def test_an_existing_folder_is_kept(capsys, tmp_path):
    (tmp_path / "b").mkdir()
    code, shown = run(capsys, "export", GOOD, *SHAPE, "-o", tmp_path / "b")
    assert (code, shown["findings"][0]["code"]) == (2, "E660")
    assert list((tmp_path / "b").iterdir()) == []

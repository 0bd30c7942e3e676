"""`neuroemo simulate`: any netx file or bundle, clips of any kind, answers, spikes on disk, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from safetensors.torch import save_file

from hw_targets.loihi2 import lava
from hw_targets.loihi2.simulation.record import ChipRun
from hw_targets.loihi2.target import Loihi2
from neuroemo import cli
from neuroemo.simulation import run as running
from neuroemo.simulation.clips import holds_arrays
from tests import stranger
from tests.hw_targets import brute_force

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


def write_dense(path, shape=(1, 1, 3), weight=((50, 10, -30), (-10, 60, 20)), threshold=40):
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/0/shape"] = b"input", np.array(shape)
        if len(shape) == 3:
            file["layer/1/type"] = b"flatten"
        dense = file.create_group(f"layer/{2 if len(shape) == 3 else 1}")
        dense["type"], dense["shape"], dense["weight"] = b"dense", np.array([2]), np.array(weight)
        neurons(dense.create_group("neuron"), threshold, 0)
    return path


def spikes(shape=(N, T, 2, 4, 4), seed=0, density=0.3):
    return (np.random.default_rng(seed).random(shape) < density).astype(np.uint8)


def golden(net, clips, **more):
    """Messages, u and v of each population [N, T, ...] from the twin in plain Python integers."""
    traces = brute_force.run(net, clips.swapaxes(0, 1), **more)
    found = [brute_force.arrays(traces, index) for index in range(len(traces[0]))]
    return [{key: value.swapaxes(0, 1) for key, value in each.items()} for each in found]


@pytest.fixture
def net(tmp_path):
    return write_net(tmp_path / "any.net")


@pytest.fixture
def clips(tmp_path):
    np.save(tmp_path / "clips.npy", spikes())
    return tmp_path / "clips.npy"


@pytest.fixture
def bundle(tmp_path, capsys):
    """A bundle of a stranger's network with its clips in clips.npz, and its labels."""
    save_file(stranger.good().state_dict(), tmp_path / "good.safetensors")
    np.savez(tmp_path / "clips.npz", clips=spikes((12, 6, 2, 8, 8), 1, 0.4), labels=np.arange(12) % 2)
    export = ("tests.stranger:good", "--input-shape", stranger.SHAPE, "--steps", stranger.STEPS, "-q", "--json")
    export += ("--weights", tmp_path / "good.safetensors", "--data", tmp_path / "clips.npz", "-o", tmp_path / "b")
    assert cli.run(["export", *map(str, export), "--min-agreement", "0.9", "--min-labels", "0.5"]) == 0
    capsys.readouterr()
    return tmp_path / "b"


def put(path, values):
    np.save(path, values)
    return path


# --- any netx file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["aligned", "pipeline"])
def test_a_bare_file_gives_what_plain_integers_give(capsys, tmp_path, net, clips, mode):
    out = tmp_path / "out.npz"
    code, shown = run_json(
        capsys, net, "--clips", clips, "--mode", mode, "--save", out, "--batch", 2,
        "--probe", "layer0:3,7,40-42", "--probe", "layer1",
    )  # fmt: skip
    assert (code, shown["ok"], shown["mode"], shown["clips"], shown["steps"]) == (0, True, mode, N, T)
    first, second = golden(net, spikes(), aligned=mode == "aligned")
    with np.load(out, allow_pickle=False) as saved:
        assert set(saved.files) == {"layer0", "layer1", "out", "counts"} | {
            f"layer{i}_{kind}" for i in (0, 1) for kind in "auv"
        }
        assert (saved["layer0"].shape, saved["layer0"].dtype) == ((N, T, 3, 4, 4), np.uint8)
        for index, wanted in enumerate((first, second)):
            assert 0.02 < wanted["messages"].mean() < 0.9
            np.testing.assert_array_equal(saved[f"layer{index}"], wanted["messages"])
        np.testing.assert_array_equal(saved["out"], second["messages"])
        totals = [each["messages"].reshape(N, T, -1).sum(2) for each in (first, second)]
        np.testing.assert_array_equal(saved["counts"], np.stack(totals, axis=1))
        chosen = [3, 7, 40, 41, 42]
        np.testing.assert_array_equal(saved["layer0_a"], first["drive"].reshape(N, T, -1)[:, :, chosen])
        np.testing.assert_array_equal(saved["layer0_u"], first["u"].reshape(N, T, -1)[:, :, chosen])
        kept = np.where(saved["layer1"], 0, saved["layer1_v"])
        np.testing.assert_array_equal(kept, second["v"])
    # Two layers of synapses: in Lava's clock the answers to T frames come out two steps late.
    late = 2 if mode == "pipeline" else 0
    waited = np.concatenate([spikes(), np.zeros_like(spikes()[:, :late])], axis=1)
    rates = golden(net, waited, aligned=mode == "aligned")[1]["messages"][:, late:].mean(axis=1)
    assert [answer["rates"] for answer in shown["answers"]] == rates.tolist()
    assert [answer["predicted"] for answer in shown["answers"]] == [str(i) for i in rates.argmax(axis=1)]
    for layer, wanted in zip(shown["layers"], (first, second), strict=True):
        assert layer["spikes"] == wanted["messages"].sum()
        assert layer["rate"] == pytest.approx(wanted["messages"].mean())


def test_answers_do_not_depend_on_the_batch_or_the_path(capsys, net, clips):
    answers = []
    for more in ((), ("--batch", 1), ("--batch", 4), ("--path", "event"), ("--path", "dense", "--threads", 2)):
        answers.append(run_json(capsys, net, "--clips", clips, *more)[1]["answers"])
    assert all(each == answers[0] for each in answers)
    assert sum(answers[0][0]["spikes"].values()) > 0


def test_flat_clips_are_taken_where_the_first_layer_is_dense(capsys, tmp_path):
    flat = spikes((4, 6, 3), 5)
    wanted = golden(write_dense(tmp_path / "a.net"), flat)[0]["messages"]
    for shape, stored in (((1, 1, 3), flat), ((3,), flat), ((3, 1, 1), flat), ((3,), flat.reshape(4, 6, 3, 1, 1))):
        net = write_dense(tmp_path / "b.net", shape)
        code, shown = run_json(capsys, net, "--clips", put(tmp_path / "x.npy", stored), "--save", tmp_path / "o.npz",
                               "--force", "--mode", "pipeline")  # fmt: skip
        assert code == 0
        with np.load(tmp_path / "o.npz") as saved:
            np.testing.assert_array_equal(saved["out"], wanted)
    assert wanted.any()
    code, shown = run_json(
        capsys, write_net(tmp_path / "c.net"), "--clips", put(tmp_path / "x.npy", spikes((2, 6, 32)))
    )
    assert (code, shown["findings"][0]["code"]) == (2, "E655")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.float32, ">i4", np.float64])
def test_graded_input_of_any_number_type(capsys, tmp_path, dtype):
    net = write_dense(tmp_path / "a.net")
    values = np.random.default_rng(1).integers(-3, 6, (3, 5, 3))
    clips = put(tmp_path / "x.npy", values.astype(dtype))
    code, out, err = run(capsys, net, "--clips", clips, "--save", tmp_path / "o.npz", "--mode", "pipeline", "--json")
    assert code == 0
    assert "values from -3 to 5: the input is graded (--input-message-bits 24)" in err
    assert json.loads(out)["input_message_bits"] == 24
    wanted = golden(net, values, graded=True)[0]["messages"]
    with np.load(tmp_path / "o.npz") as saved:
        np.testing.assert_array_equal(saved["out"], wanted)
    assert wanted.any()


def test_message_bits_are_never_guessed_against_the_user(capsys, tmp_path):
    net, values = write_dense(tmp_path / "a.net"), np.full((2, 3, 3), 256)
    clips = put(tmp_path / "x.npy", values)
    code, shown = run_json(capsys, net, "--clips", clips, "--input-message-bits", 0)
    assert (code, shown["findings"][0]["code"]) == (2, "E689")
    assert "would make each of them 1" in shown["findings"][0]["found"]
    code, shown = run_json(capsys, net, "--clips", clips, "--input-message-bits", 8)
    assert (code, shown["findings"][0]["code"], shown["findings"][0]["over"]) == (2, "E690", "1")
    assert run_json(capsys, net, "--clips", put(clips, values - 1), "--input-message-bits", 8)[0] == 0
    assert run_json(capsys, net, "--clips", put(clips, values > 0), "--input-message-bits", 0)[0] == 0
    assert run(capsys, net, "--clips", clips, "--input-message-bits", 7)[0] == 2


def test_a_folder_of_clips_with_labels(capsys, tmp_path, net):
    clips = spikes()
    for index, clip in enumerate(clips):
        (tmp_path / "many" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "many" / "ab"[index % 2] / f"{index}.npy", clip)
    assert holds_arrays(tmp_path / "many")
    code, shown = run_json(capsys, net, "--clips", tmp_path / "many")
    assert code == 0
    rates = {answer["clip"]: answer["rates"] for answer in shown["answers"]}
    assert list(rates) == ["a/0.npy", "a/2.npy", "a/4.npy", "b/1.npy", "b/3.npy"]
    wanted = golden(net, clips, aligned=True)[1]["messages"].mean(axis=1)
    assert [rates[f"{'ab'[i % 2]}/{i}.npy"] for i in range(N)] == wanted.tolist()
    np.save(tmp_path / "many" / "a" / "9.npy", clips[0][:-1])
    code, shown = run_json(capsys, net, "--clips", tmp_path / "many")
    assert (code, [f["code"] for f in shown["findings"]]) == (2, ["E679"])


# --- bundles -----------------------------------------------------------------------------------------------------


def test_a_bundle_and_its_bare_file_say_the_same(capsys, tmp_path, bundle):
    code, shown = run_json(capsys, bundle, "--clips", tmp_path / "clips.npz", "--save", tmp_path / "b.npz")
    assert code == 0
    assert [layer["name"] for layer in shown["layers"]] == ["2", "6"]
    assert shown["classes"] == ["0", "1"]
    labels = [answer["label"] for answer in shown["answers"]]
    assert labels == [str(i % 2) for i in range(12)]
    right = np.mean([answer["label"] == answer["predicted"] for answer in shown["answers"]])
    assert shown["accuracy"] == pytest.approx(right)
    again = run_json(capsys, bundle / "target" / "model.net", "--clips", tmp_path / "clips.npz",
                     "--save", tmp_path / "n.npz")  # fmt: skip
    assert again[0] == 0
    with np.load(tmp_path / "b.npz") as one, np.load(tmp_path / "n.npz") as two:
        assert one.files == two.files == ["layer0", "layer1", "counts", "out"]
        assert all((one[name] == two[name]).all() for name in one.files)
        assert one["layer0"].any()
        assert one["layer1"].any()
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "n.npz").read_bytes()


def test_a_bundle_whose_first_layer_runs_on_the_host(capsys, tmp_path, exported):
    from export.exporter import export_model
    from export.verify import Tolerance

    network, _, clips, _ = exported
    loose = Tolerance(chip_agreement=0.5, label_agreement=0.0)
    export_model(network, clips, out=tmp_path / "b", input_encoding="host", first_frame="float", dt_us=1.0,
                 tolerance=loose)  # fmt: skip
    file = put(tmp_path / "x.npy", clips.swapaxes(0, 1))
    code, shown = run_json(capsys, tmp_path / "b", "--clips", file, "--save", tmp_path / "o.npz", "--probe", "layer2:1")
    assert code == 0
    with np.load(tmp_path / "b" / "vectors" / "expected.npz") as expected, np.load(tmp_path / "o.npz") as saved:
        names = list(expected.files)
        for wanted, name in zip(names, ("host0", "layer0", "layer1", "layer2"), strict=True):
            np.testing.assert_array_equal(saved[name].swapaxes(0, 1), expected[wanted])
            assert saved[name].any()
        assert saved["counts"].shape == (8, 3, len(clips))
    assert [layer["name"] for layer in shown["layers"]] == names
    assert all(layer["rate"] > 0 for layer in shown["layers"])


# --- what is written ---------------------------------------------------------------------------------------------


def test_predictions_are_written_and_never_overwritten(capsys, tmp_path, net, clips):
    code, shown = run_json(capsys, net, "--clips", clips, "-o", tmp_path / "answers")
    assert code == 0
    kept = json.loads((tmp_path / "answers" / "predictions.json").read_text())
    assert kept["answers"] == shown["answers"]
    with (tmp_path / "answers" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == [answer["predicted"] for answer in shown["answers"]]
    assert [float(row["rate 0"]) for row in rows] == [answer["rates"][0] for answer in shown["answers"]]
    with (tmp_path / "answers" / "counts.csv").open() as file:
        counts = list(csv.DictReader(file))
    assert len(counts) == 2 * T
    assert sum(int(row["spikes"]) for row in counts) == sum(layer["spikes"] for layer in shown["layers"])
    assert all(os.path.isfile(path) for path in shown["written"])
    code, shown = run_json(capsys, net, "--clips", clips, "-o", tmp_path / "answers")
    assert (code, {f["code"] for f in shown["findings"]}) == (2, {"E696"})
    assert run(capsys, net, "--clips", clips, "-o", tmp_path / "answers", "--force")[0] == 0
    (tmp_path / "o.npz").write_text("mine")
    assert run_json(capsys, net, "--clips", clips, "--save", tmp_path / "o.npz")[0] == 2
    assert (tmp_path / "o.npz").read_text() == "mine"


def test_a_table_is_no_formula(tmp_path, capsys, net):
    (tmp_path / "many").mkdir()
    for name, clip in zip(("=cmd|x", "+1", "@a", "-b", "plain"), spikes(), strict=True):
        np.save(tmp_path / "many" / f"{name}.npy", clip)
    assert run(capsys, net, "--clips", tmp_path / "many", "-o", tmp_path / "a")[0] == 0
    with (tmp_path / "a" / "predictions.csv").open() as file:
        assert {row["clip"] for row in csv.DictReader(file)} == {
            "'=cmd|x.npy",
            "'+1.npy",
            "'@a.npy",
            "'-b.npy",
            "plain.npy",
        }


def test_people_get_a_short_table_and_the_next_command(capsys, tmp_path, net):
    code, out, _ = run(capsys, net, "--clips", put(tmp_path / "x.npy", spikes((30, T, 2, 4, 4))))
    assert code == 0
    lines = out.splitlines()
    assert "... and 10 more: -o FOLDER writes all" in lines
    assert sum(line.startswith("layer") for line in lines) == 3
    assert lines[-1] == f"next: neuroemo simulate {net} --clips {tmp_path / 'x.npy'} -o runs/answers"


def test_the_next_command_is_about_the_same_network(capsys, tmp_path, net, clips):
    said = ("--layers", 2, "--mode", "pipeline", "--input-message-bits", 0)
    code, out, _ = run(capsys, net, "--clips", clips, *said)
    assert code == 0
    kept = "--mode pipeline --layers 2 --input-message-bits 0"
    assert out.splitlines()[-1] == f"next: neuroemo simulate {net} --clips {clips} {kept} -o runs/answers"


def test_silence_is_said(capsys, tmp_path, net):
    code, out, _ = run(capsys, net, "--clips", put(tmp_path / "x.npy", np.zeros((3, 1, 2, 4, 4), np.uint8)))
    assert code == 0
    assert "no output neuron fired in 3 of 3 clips: these answers say nothing" in out


# --- Lava --------------------------------------------------------------------------------------------------------


def played_by(change):
    """A judge that is a twin in plain integers, and changes some of its spikes."""

    def judge(self, chip, path, clips, *, timeout_s=600.0, mode="aligned", **more):
        traces = brute_force.run(path, np.asarray(clips), aligned=mode == "aligned")
        spikes = {}
        for index, layer in enumerate(chip.layers):
            spikes[layer.name] = brute_force.arrays(traces, index)["messages"].astype(np.uint8)
        change(spikes)
        return SimpleNamespace(run=ChipRun(spikes), seconds_per_step=0.5)

    return judge


def test_a_judge_that_agrees(capsys, monkeypatch, net, clips):
    monkeypatch.setattr(Loihi2, "judge", played_by(lambda spikes: None))
    code, shown = run_json(capsys, net, "--clips", clips, "--backend", "both", "--batch", 2)
    assert code == 0
    assert shown["lava"]["mismatched_spikes"] == 0
    assert shown["lava"]["compared_spikes"] == N * T * (48 + 6)
    assert all(layer["spikes"] > 0 for layer in shown["lava"]["layers"])
    code, alone = run_json(capsys, net, "--clips", clips, "--backend", "lava")
    assert (code, alone["answers"]) == (0, shown["answers"])


def test_one_message_that_differs_is_named(capsys, monkeypatch, tmp_path, net, clips):
    calls = []

    def change(spikes):
        calls.append(len(spikes["layer0"][0]))
        if len(calls) == 2:  # the second batch: clips 2 and 3
            spikes["layer0"][4, 1, 2, 0, 3] ^= 1
            spikes["layer1"][1, 0, 5] ^= 1

    monkeypatch.setattr(Loihi2, "judge", played_by(change))
    args = (net, "--clips", clips, "--backend", "both", "--batch", 2, "--save", tmp_path / "o.npz")
    code, shown = run_json(capsys, *args)
    assert (code, shown["ok"], calls) == (5, False, [2, 2, 1])
    (finding,) = [finding for finding in shown["findings"] if finding["severity"] == "error"]
    with np.load(tmp_path / "o.npz") as saved:
        ours = int(saved["layer0"][3, 4, 2, 0, 3])
    assert (finding["code"], finding["node"]) == ("E685", "layer0")
    assert "2 of 1890 messages differ from Lava's (layer0 1, layer1 1)" in finding["found"]
    assert f"clip 3, step 4, neuron (2, 0, 3): fast {ours}, Lava {1 - ours}" in finding["found"]
    first = {"layer": "layer0", "step": 4, "clip": 3, "neuron": [2, 0, 3], "fast": ours, "lava": 1 - ours}
    assert shown["lava"]["first_mismatch"] == first
    calls.clear()
    code, out, _ = run(capsys, *args, "--force")
    assert code == 5
    assert "E685 layer0" in out


def test_without_lava_the_exit_code_is_6(capsys, monkeypatch, net, clips):
    monkeypatch.setattr(lava, "lava_available", lambda: False)
    code, shown = run_json(capsys, net, "--clips", clips, "--backend", "lava")
    assert (code, shown["findings"][0]["code"]) == (6, "E601")


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.parametrize("mode", ["aligned", "pipeline"])
def test_the_real_lava_agrees_on_a_bare_file(capsys, net, clips, mode):
    code, shown = run_json(capsys, net, "--clips", clips, "--backend", "both", "--mode", mode, "--limit", 3)
    assert (code, shown["lava"]["mismatched_spikes"]) == (0, 0)
    assert all(layer["spikes"] > 0 for layer in shown["lava"]["layers"])


# --- what is refused ---------------------------------------------------------------------------------------------


def broken(path, cut):
    path.write_bytes(path.read_bytes()[:cut])
    return path


def changed(value, at=(1, 2, 0, 0, 0), dtype=np.float64):
    values = spikes().astype(dtype)
    values[at] = value
    return values


WRONG = {
    "no such file": (lambda p: p, "E653", "no such file"),
    "not numpy": (lambda p: p.write_bytes(b"hello" * 9) and p, "E654", "not a readable array file"),
    "cut off": (lambda p: broken(put(p, spikes()), 300), "E670", "cut off"),
    "cut in the header": (lambda p: broken(put(p, spikes()), 40), "E654", "not a readable"),
    "objects": (lambda p: put(p, np.array([{}, {}], object)), "E656", "object"),
    "texts": (lambda p: put(p, np.array(["a"])), "E656", "<U1"),
    "complex": (lambda p: put(p, spikes().astype(complex)), "E656", "complex"),
    "no clips": (lambda p: put(p, spikes((0, T, 2, 4, 4))), "E672", "no clips"),
    "no steps": (lambda p: put(p, spikes((N, 0, 2, 4, 4))), "E672", "no steps"),
    "one clip alone": (lambda p: put(p, spikes((T, 32))), "E655", "(7, 32)"),
    "another frame": (lambda p: put(p, spikes((N, T, 2, 4, 5))), "E655", "(5, 7, 2, 4, 5)"),
    "axes exchanged": (lambda p: put(p, spikes((N, T, 4, 4, 2))), "E655", "(5, 7, 4, 4, 2)"),
    "NaN": (lambda p: put(p, changed(np.nan)), "E674", "1 values are NaN, the first in clip 1, step 2, at (0, 0, 0)"),
    "infinite": (lambda p: put(p, changed(-np.inf)), "E675", "1 values are infinite"),
    "fractions": (lambda p: put(p, changed(0.5)), "E676", "no whole numbers, the first in clip 1, step 2"),
    "too large": (lambda p: put(p, changed(2**31, dtype=np.int64)), "E677", "1 values do not fit 32 bits"),
    "too large a float": (lambda p: put(p, changed(1e30)), "E677", "do not fit"),
    "unsigned": (lambda p: put(p, changed(2**63, dtype=np.uint64)), "E677", "do not fit"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_clips(capsys, tmp_path, net, name):
    make, code, text = WRONG[name]
    made = make(tmp_path / "x.npy")
    before = sorted(path.name for path in tmp_path.iterdir())
    status, shown = run_json(capsys, net, "--clips", made, "--save", tmp_path / "o.npz", "-o", tmp_path / "a")
    assert (status, [finding["code"] for finding in shown["findings"]]) == (2, [code])
    assert text in shown["findings"][0]["found"]
    assert shown["findings"][0]["limit"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_all_faults_of_the_values_at_once(capsys, tmp_path, net):
    values = spikes().astype(np.float32)
    values[0, 0, 0, 0, :3], values[4, 6, 1, 3, 3] = (np.nan, np.nan, np.inf), 0.25
    code, shown = run_json(capsys, net, "--clips", put(tmp_path / "x.npy", values))
    told = {finding["code"]: finding["found"] for finding in shown["findings"]}
    assert (code, set(told)) == (2, {"E674", "E675", "E676"})
    assert told["E674"].startswith("2 values are NaN, the first in clip 0, step 0, at (0, 0, 0)")
    assert told["E676"].endswith("the first in clip 4, step 6, at (1, 3, 3)")


def test_exchanged_axes_are_recognised_for_a_bundle(capsys, tmp_path, bundle):
    time_first = put(tmp_path / "x.npy", spikes((6, 4, 2, 8, 8)))
    code, shown = run_json(capsys, bundle, "--clips", time_first)
    assert (code, shown["findings"][0]["code"]) == (2, "E673")
    assert "swapaxes(0, 1)" in shown["findings"][0]["fix"]
    assert run_json(capsys, bundle, "--clips", put(tmp_path / "x.npy", spikes((4, 6, 2, 8, 8))))[0] == 0
    code, shown = run_json(capsys, bundle, "--clips", put(tmp_path / "x.npy", spikes((4, 5, 2, 8, 8))))
    assert (code, shown["findings"][0]["code"]) == (2, "E655")
    code, shown = run_json(capsys, bundle, "--clips", put(tmp_path / "x.npy", 3 * spikes((4, 6, 2, 8, 8))))
    assert (code, shown["findings"][0]["code"]) == (2, "E689")


def test_a_gray_first_frame_has_its_own_range(capsys, tmp_path, exported):
    from export.exporter import export_model
    from export.verify import Tolerance

    network, spec, clips, _ = exported
    loose = Tolerance(chip_agreement=0.5, label_agreement=0.0)
    export_model(network, clips, out=tmp_path / "b", first_frame="float", dt_us=1.0, tolerance=loose)
    files = clips.swapaxes(0, 1).copy()
    code, shown = run_json(capsys, tmp_path / "b", "--clips", put(tmp_path / "x.npy", files))
    assert (code, shown["input_message_bits"]) == (0, 24)
    files[2, 0, 1, 3, 3] = 1.5
    files[2, 3, 1, 3, 3] = 0.5
    code, shown = run_json(capsys, tmp_path / "b", "--clips", put(tmp_path / "x.npy", files))
    told = {finding["code"]: finding["found"] for finding in shown["findings"]}
    assert (code, set(told)) == (2, {"E676", "E678"})
    assert "clip 2, step 0, at (1, 3, 3)" in told["E678"]
    assert "clip 2, step 3, at (1, 3, 3)" in told["E676"]
    assert spec.steps == files.shape[1]


OPTIONS = {
    "split of an array": (("--split", "test"), "E687", "--split"),
    "probe of no layer": (("--probe", "layer7", "--probe", "layer0:48"), "E681", "layer7"),
    "probe twice": (("--probe", "layer0", "--probe", "layer0:1"), "E682", "twice"),
    "probe of no neuron": (("--probe", "layer0:48"), "E683", "0 to 47"),
    "probe of words": (("--probe", "layer0:a-b"), "E683", "a-b"),
    "another suffix": (("--save", "out.npy"), "E694", ".npz"),
    "no clips at all": (("--limit", 0), "E010", "less than 1"),
    "no threads": (("--threads", 0), "E010", "less than 1"),
    "a mode": (("--mode", "fast"), "E010", "pipeline"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options(capsys, net, clips, name):
    options, code, text = OPTIONS[name]
    status, shown = run_json(capsys, net, "--clips", clips, *options)
    assert (status, shown["findings"][0]["code"]) == (2, code)
    assert text in json.dumps(shown["findings"])


def test_options_of_files_mean_nothing_for_a_bundle(capsys, bundle, tmp_path):
    options = ("--layers", 2, "--input-message-bits", 8)
    code, shown = run_json(capsys, bundle, "--clips", tmp_path / "clips.npz", *options)
    assert (code, [finding["code"] for finding in shown["findings"]]) == (2, ["E687", "E687"])


def test_a_file_that_is_no_network(capsys, tmp_path, clips):
    (tmp_path / "bad.net").write_bytes(b"nothing" * 50)
    assert run_json(capsys, tmp_path / "bad.net", "--clips", clips)[1]["findings"][0]["code"] == "E041"
    assert run_json(capsys, tmp_path / "none.net", "--clips", clips)[1]["findings"][0]["code"] == "E040"


# --- interruption and size ---------------------------------------------------------------------------------------


def test_an_interruption_leaves_nothing(capsys, monkeypatch, tmp_path, net, clips):
    whole, done = running.SpikeArchive.append, []

    def interrupted(self, arrays):
        whole(self, arrays)
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(running.SpikeArchive, "append", interrupted)
    before = sorted(tmp_path.iterdir())
    args = (net, "--clips", clips, "--batch", 1, "--save", tmp_path / "o.npz", "-o", tmp_path / "a")
    code, shown = run_json(capsys, *args)
    assert (code, shown["findings"][0]["code"]) == (130, "E697")
    assert "after 1 of 5" in shown["findings"][0]["found"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_ctrl_c_in_a_terminal(tmp_path, net):
    clips = put(tmp_path / "x.npy", spikes((40000, T, 2, 4, 4)))
    args = [
        sys.executable,
        "-m",
        "neuroemo",
        "simulate",
        net,
        "--clips",
        clips,
        "--save",
        tmp_path / "o.npz",
        "--batch",
        1,
    ]
    process = subprocess.Popen(
        [str(each) for each in args],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".o.npz.aside-*/0.npy")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "interrupted after" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any.net", "x.npy"]


def test_a_full_disk_is_foreseen(capsys, monkeypatch, tmp_path, net, clips):
    from neuroemo.simulation import save

    monkeypatch.setattr(save.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    code, shown = run_json(capsys, net, "--clips", clips, "--save", tmp_path / "o.npz")
    assert (code, shown["findings"][0]["code"]) == (2, "E686")
    assert not list(tmp_path.glob(".o.npz*"))


MEASURE = """
import sys
from neuroemo import cli
code = cli.run(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_clips(tmp_path, net):
    peaks = []
    for count in (200, 20000):
        clips = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (count, 100, 2, 4, 4))
        clips[:, ::3, 0] = 1
        clips.flush()
        del clips
        args = ("simulate", net, "--clips", tmp_path / "x.npy", "--save", tmp_path / "o.npz", "--force", "-q")
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, args)], capture_output=True, text=True, check=True
        )
        code, peak = done.stdout.split()[-2:]
        assert code == "0"
        peaks.append(int(peak) / 1024)
    with zipfile.ZipFile(tmp_path / "o.npz") as archive:
        assert sum(item.file_size for item in archive.infolist()) > 2**27
    assert peaks[1] < peaks[0] + 60, peaks  # the larger file has 256 MB, its answers 30

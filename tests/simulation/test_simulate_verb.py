"""`neuroemo simulate`: any netx file or bundle, clips of any kind, answers and spikes on disk."""

from __future__ import annotations

import csv
import json
import os

import h5py
import numpy as np
import pytest

from neuroemo.simulation.clips import holds_arrays
from tests.hw_targets import brute_force
from tests.simulation.verb_parts import N, T, neurons, put, run, run_json, spikes, write_net


def write_dense(path, shape=(1, 1, 3), weight=((50, 10, -30), (-10, 60, 20)), threshold=40):
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/0/shape"] = b"input", np.array(shape)
        if len(shape) == 3:
            file["layer/1/type"] = b"flatten"
        dense = file.create_group(f"layer/{2 if len(shape) == 3 else 1}")
        dense["type"], dense["shape"], dense["weight"] = b"dense", np.array([2]), np.array(weight)
        neurons(dense.create_group("neuron"), threshold, 0)
    return path


def golden(net, clips, **more):
    """Messages, u and v of each population [N, T, ...] from the twin in plain Python integers."""
    traces = brute_force.run(net, clips.swapaxes(0, 1), **more)
    found = [brute_force.arrays(traces, index) for index in range(len(traces[0]))]
    return [{key: value.swapaxes(0, 1) for key, value in each.items()} for each in found]


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

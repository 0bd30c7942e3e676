"""A run of valence and arousal on the chip: bundle, verdict, values and scores, simulation, Lava, and refusals."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export.bundle import load_readout
from export.exporter import export_model
from export.page import check_report
from export.verify import Tolerance
from hw_targets.finding import InputError, UnsupportedError
from hw_targets.loihi2 import lava
from neuroemo import cli
from neuroemo.affect.predict import predict
from neuroemo.affect.run import AffectDescription, open_affect, save_affect
from neuroemo.datasets.event_frame_file import FrameIndex, write_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.deployment.model import ModelOptions, load_model_argument
from neuroemo.deployment.run import ExportSettings, export_network
from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.models.affect.spiking_parts import layers, neurons
from tests import stranger
from tests.models.test_spiking_affect import bits_for, settled

SIZE, BITS, FRAMES = 16, 4, 2
MADE = EventFrameSettings(size=SIZE, n_bits=BITS, slow_motion=None)
SMALL = {"size": SIZE, "frames": FRAMES, "n_bits": BITS, "neurons_per_value": 2, "window": 6}
MEAN = (0.125, -0.25)
LOOSE = ("--min-agreement", "0.8", "--max-value-difference", "0.5")
KINDS = ("spiking-plif", "spiking-resnet")


def described(spec):
    return AffectDescription(spec, MADE, {"fingerprint": "none"}, MEAN, "random")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        network = settled(kind, **SMALL)
        save_affect(folder / kind, network, described(network.spec))
    ann = AffectSpec("ann", "ic3d", size=SIZE, frames=FRAMES, n_bits=BITS, width=8)
    save_affect(folder / "ann", build_affect(ann), described(ann))
    return folder


def make_store(path, settings=MADE, splits=("train", "test", "test")):
    """Three clips of 5, 3 and 1 frames; the tail of a clip is answered twice and scored once."""
    clip = np.repeat(np.arange(3), (5, 3, 1))
    rng = np.random.default_rng(5)
    events = rng.random((9, BITS, settings.size, settings.size)) < 0.15
    codes = (events << np.arange(BITS)[:, None, None]).sum(axis=1).astype(np.uint8)
    values = rng.uniform(-0.9, 0.9, (9, 2)).astype(np.float32)
    values[6, 0] = np.nan
    index = FrameIndex(
        settings, ("a", "b", "c"), ("s0", "s1", "s2"), splits, np.where(np.array(splits) == "", [0, 1, 2], -1), (),
        np.full(3, -1), clip,
        np.arange(9) * 4e4, np.full(9, 7), np.arange(9), ("arousal", "valence"), values,
    )  # fmt: skip
    write_frames(path, (zlib.compress(code.tobytes(), 4) for code in codes), index, b"{}")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "frames.h5")


def call(capsys, *arguments):
    code = cli.run([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


@pytest.fixture(scope="module")
def bundles(runs, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    for kind in KINDS:
        assert cli.run(["export", str(runs / kind), "--data", str(store), "-o", str(folder / kind), *LOOSE, "-q"]) == 0
    return folder


def read_by_hand(spikes, frame):
    """Return valence and arousal at the end of a frame from output spikes [T, 4 K], K = 2, by counting one by one."""
    end = BITS * (frame + 1)
    shown = spikes[max(0, end - SMALL["window"]) : end]
    told = []
    for output in range(2):
        more = sum(int(row[4 * output]) + int(row[4 * output + 1]) for row in shown)
        less = sum(int(row[4 * output + 2]) + int(row[4 * output + 3]) for row in shown)
        told.append((more - less) / (2 * len(shown)))
    return told


def rmse_pcc_ccc(truth, guess):
    correlation = np.corrcoef(truth, guess)[0, 1]
    spread = truth.var() + guess.var() + (truth.mean() - guess.mean()) ** 2
    return {
        "rmse": np.sqrt(np.mean((truth - guess) ** 2)),
        "pcc": correlation,
        "ccc": 2 * correlation * truth.std() * guess.std() / spread,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_has_the_scores_before_and_after_quantisation(kind, runs, store, bundles):
    report = json.loads((bundles / kind / "report.json").read_text())
    told = report["verify"]["values"]
    assert check_report(report) == []
    assert report["verify"]["label_agreement"] is None
    assert "accuracy" not in report["verify"]
    assert report["model"]["classes"] is None
    run = open_affect(runs / kind)
    with EventFrames.open(store) as frames:
        indices = frames.indices("test")
        truth, trained = frames.affect(indices), predict(run.network, run.spec, frames, indices)
    vectors = np.load(bundles / kind / "vectors" / "expected.npz")["output"]
    # Clip b has 3 frames: chunks (0, 1) and (1, 2), of the second the last is new; clip c has one, shown twice.
    places = ((0, 0), (0, 1), (1, 1), (2, 0))
    chip = np.array([read_by_hand(vectors[:, chunk], frame) for chunk, frame in places])
    assert told["scored"] == 3, "one frame has no arousal"
    assert told["outputs"] == ["valence", "arousal"]
    for place, entry in enumerate(told["scores"]):
        known = np.isfinite(truth[:, place])
        assert entry["output"] == told["outputs"][place]
        for world, guess in (("float", trained), ("folded", trained), ("chip", chip)):
            hand = rmse_pcc_ccc(truth[known, place].astype(float), guess[known, place].astype(float))
            assert entry[world] == pytest.approx(hand, abs=1e-6), world
        constant = entry["constant"]
        assert constant["rmse"] == pytest.approx(np.sqrt(np.mean((truth[known, place] - MEAN[place]) ** 2)), abs=1e-6)
        assert constant["pcc"] is None
        assert constant["ccc"] == 0


def test_what_is_printed_and_shown(capsys, runs, store, tmp_path):
    code, out, _ = call(capsys, "export", runs / "spiking-plif", "--data", store, "-o", tmp_path / "b", *LOOSE)
    assert code == 0
    lines = out.splitlines()
    heads = next(number for number, line in enumerate(lines) if "RMSE" in line)
    assert lines[heads].split() == ["3", "frames", "RMSE", "PCC", "CCC"]
    named = [line.rsplit(maxsplit=3)[0] for line in lines[heads + 1 : heads + 7]]
    worlds = ("as trained", "on the chip", "always the training mean")
    assert named == [f"{output}, {world}" for output in ("valence", "arousal") for world in worlds]
    assert lines[heads + 3].split()[-2:] == ["-", "0.0000"], "a constant has no correlation"
    assert "chunks of frames.h5 (test): values differ by" in out
    assert "labels agree" not in out
    told = json.loads((tmp_path / "b" / "report.json").read_text())["verify"]["values"]["scores"][0]
    page, markdown = ((tmp_path / "b" / name).read_text() for name in ("report.html", "report.md"))
    assert "RMSE of valence, chip simulated" in page
    assert "Same label" not in page
    assert f"| {told['chip']['rmse']:.4g} |" in markdown
    assert "2 neurons for more and as many for less, over 6 steps, every 4 steps" in markdown
    assert "Accuracy: unknown" not in (tmp_path / "b" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_verified_again_and_a_changed_readout_is_found(kind, bundles, capsys, tmp_path):
    code, out, _ = call(capsys, "verify", bundles / kind, "--json", "-q")
    told = json.loads(out)
    assert (code, told["verify"]["label_agreement"]) == (0, None)
    assert told["verify"]["values"]["scored"] == 0
    shutil.copytree(bundles / kind, tmp_path / "b")
    chip = json.loads((tmp_path / "b" / "chip.json").read_text())
    chip["readout"]["window"] = 7
    (tmp_path / "b" / "chip.json").write_text(json.dumps(chip))
    code, out, _ = call(capsys, "verify", tmp_path / "b")
    assert code == 5
    assert "E421 chip.json" in out
    chip["readout"]["window"] = 0
    (tmp_path / "b" / "chip.json").write_text(json.dumps(chip))
    with pytest.raises(InputError, match=r"E990 readout: window 0"):
        load_readout(tmp_path / "b")


@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.parametrize("kind", KINDS)
def test_every_spike_is_lavas(kind, bundles, capsys):
    code, out, _ = call(capsys, "verify", bundles / kind, "--against", "lava", "--json", "-q")
    told = json.loads(out)["lava"]
    assert code == 0
    assert told["mismatched_spikes"] == 0
    neurons_in_all = 6 * 4 * 4 + (2 if kind == "spiking-resnet" else 1) * 8 * 2 * 2 + 12 + 8
    assert told["compared_spikes"] == 3 * FRAMES * BITS * neurons_in_all
    assert all(layer["spikes"] for layer in told["layers"])


@pytest.mark.parametrize("kind", KINDS)
def test_simulation_tells_values_and_scores(kind, bundles, store, capsys):
    code, out, _ = call(capsys, "simulate", bundles / kind, "--clips", store, "--json", "-q")
    told, report = json.loads(out), json.loads((bundles / kind / "report.json").read_text())
    assert code == 0
    assert told["outputs"] == ["valence", "arousal"]
    assert told["classes"] == ["valence, more", "valence, less", "arousal, more", "arousal, less"]
    assert "accuracy" not in told
    for entry in report["verify"]["values"]["scores"]:
        assert told["scores"][entry["output"]] == pytest.approx(entry["chip"], abs=1e-12)
    vectors = np.load(bundles / kind / "vectors" / "expected.npz")["output"]
    for chunk, answer in enumerate(told["answers"]):
        hand = [read_by_hand(vectors[:, chunk], frame) for frame in range(FRAMES)]
        assert np.allclose(answer["values"], hand, rtol=0, atol=1e-12)
        assert answer["predicted"] == f"valence {hand[-1][0]:+.2f}, arousal {hand[-1][1]:+.2f}"
    code, out, _ = call(capsys, "simulate", bundles / kind, "--clips", store, "--split", "all")
    assert [line.split("  ")[0] for line in out.splitlines()[:6]] == [
        "a from frame 0", "a from frame 2", "a from frame 3", "b from frame 0", "b from frame 1", "c from frame 0",
    ]  # fmt: skip
    assert "valence: RMSE " in out


def test_clips_without_truth_have_values_and_no_scores(bundles, runs, tmp_path, capsys):
    network = settled("spiking-plif", **SMALL)
    bits = bits_for(network.spec, chunks=4, seed=8)
    np.save(tmp_path / "clips.npy", bits.flatten(1, 2).numpy())
    code, out, _ = call(capsys, "simulate", bundles / "spiking-plif", "--clips", tmp_path / "clips.npy", "--json", "-q")
    assert code == 0
    assert "scores" not in json.loads(out)
    command = ("export", runs / "spiking-plif", "--data", tmp_path / "clips.npy", "-o", tmp_path / "b", *LOOSE)
    code, out, _ = call(capsys, *command, "--json", "-q")
    told = json.loads(out)["verify"]["values"]
    assert (code, told["scored"], told["scores"], told["values"]) == (0, 0, None, 4 * FRAMES)


def test_values_too_far_from_the_networks_fail_the_bundle(runs, store):
    model = load_model_argument(str(runs / "spiking-resnet"), ModelOptions())

    def exported(limit):
        return export_network(
            model, None, ExportSettings(data=store, tolerance=Tolerance(chip_agreement=0.5, value_difference=limit))
        )

    difference = exported(1.0)["verify"]["values"]["difference_mean"]
    assert difference > 0
    assert exported(difference)["ok"]
    failed = exported(difference * 0.9)
    assert failed["exit_code"] == 5
    assert [finding["code"] for finding in failed["findings"] if finding["severity"] == "error"] == ["E994"]


@pytest.mark.parametrize("command", ["export", "check"])
def test_anns_are_refused_by_name(command, runs, store, capsys, tmp_path):
    more = ("--data", store, "-o", tmp_path / "b") if command == "export" else ()
    code, _, err = call(capsys, command, runs / "ann", *more)
    assert code == 2
    assert "E998" in err
    assert "ann, an ANN of kind ic3d: it has no spikes to export" in err
    assert not (tmp_path / "b").exists()


def test_data_that_do_not_fit_are_refused(runs, store, capsys, tmp_path):
    run = runs / "spiking-plif"

    def refused(data, *more):
        code, _, err = call(capsys, "export", run, "--data", data, "-o", tmp_path / "b", *more)
        assert code == 2
        return err

    assert "E999" in refused(tmp_path)
    other = make_store(
        tmp_path / "slow.h5", EventFrameSettings(size=SIZE, n_bits=BITS, slice_us=10000, slow_motion=None)
    )
    assert "E999 " in (err := refused(other))
    assert "slice_us 10000; limit 5000" in err
    assert "--min-labels: means nothing for a network that estimates values" in refused(store, "--min-labels", "0.5")
    np.savez(tmp_path / "c.npz", clips=np.zeros((2, 8, 1, 16, 16), np.uint8), labels=np.array([0, 1]))
    assert "labels of classes" in refused(tmp_path / "c.npz")
    assert "E642" in refused(store, "--steps", "8")
    code, _, err = call(
        capsys, "export", "tests.stranger:good", "--input-shape", stranger.SHAPE, "--steps", stranger.STEPS,
        "-o", tmp_path / "b", "--max-value-difference", "0.2",
    )  # fmt: skip
    assert code == 2
    assert "--max-value-difference: means nothing for a network of classes" in err
    assert "E740" in refused(_text(tmp_path / "no.h5"))


def _text(path: Path) -> Path:
    path.write_text("no store")
    return path


def test_a_store_in_folds_is_taken_whole(runs, tmp_path, capsys):
    data = make_store(tmp_path / "folds.h5", splits=("", "", ""))
    code, out, _ = call(capsys, "export", runs / "spiking-plif", "--data", data, "-o", tmp_path / "b", *LOOSE)
    assert code == 0
    assert "6 of 6 chunks of folds.h5 (all)" in out


def test_a_damaged_run_or_bundle_is_named(runs, bundles, store, tmp_path, capsys):
    shutil.copytree(runs / "spiking-plif", tmp_path / "run")
    save_file({"stage1_conv.weight": torch.zeros(2)}, tmp_path / "run" / "model.safetensors")
    code, _, err = call(capsys, "export", tmp_path / "run", "--data", store, "-o", tmp_path / "b")
    assert code == 2
    assert "E071" in err
    shutil.copytree(bundles / "spiking-plif", tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    manifest["details"]["affect"] = [1]
    (tmp_path / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = call(capsys, "simulate", tmp_path / "bundle", "--clips", store)
    assert code == 2
    assert "not the description of an affect run" in err


def test_a_true_residual_is_refused_where_the_branches_are_not():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.neuron = layers().Conv2d(1, 1, 3, padding=1), neurons(2.0, 0.2)

        def forward(self, x):
            return self.neuron(self.conv(x)) + x

    chain = nn.Sequential(Skip(), layers().Flatten(), layers().Linear(64, 4), neurons(2.0, 0.2))
    for module in chain.modules():
        if hasattr(module, "step_mode"):
            module.step_mode = "m"
    clips = (np.random.default_rng(0).random((8, 2, 1, 8, 8)) < 0.3).astype(np.float32)
    with pytest.raises(UnsupportedError, match=r"E102.*joins 2 branches"):
        export_model(chain, clips)


def test_folders_of_other_runs_are_no_affect_runs(tmp_path):
    with pytest.raises(InputError, match="E"):
        load_model_argument(str(tmp_path), ModelOptions())


@pytest.mark.parametrize("kind", KINDS)
def test_energy_counts_a_bundle_and_reads_no_classes_into_it(kind, bundles, store, capsys):
    code, out, _ = call(capsys, "energy", bundles / kind, "--data", store, "--json", "-q")
    told = json.loads(out)
    assert code == 0
    total = told["networks"]["deployed"]["total"]
    vectors = np.load(bundles / kind / "vectors" / "expected.npz")
    steps = 3 * FRAMES * BITS
    assert total["neuron_updates"] == steps * sum(spikes[0, 0].size for spikes in vectors.values())
    assert total["macs"] == 0, "bits are spikes: nothing is multiplied"
    assert told.get("classes") is None
    assert out.count('"accuracy": null') == out.count('"accuracy"') == 1

"""The command line: quick help, clean stdout, one clear line per error, the right exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from neuroemo import cli
from neuroemo.models.emotion import spec_by_name


def command(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "neuroemo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run(capsys, *arguments):
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from neuroemo import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'spikingjelly', 'matplotlib', 'av', 'cv2', 'sklearn', 'h5py', 'rich'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_help_is_fast_enough_to_be_asked_for():
    started = time.perf_counter()
    command("--help")
    assert time.perf_counter() - started < 3  # the goal is 0.3 s on an idle machine; this only catches a heavy import


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fly"], 2),
        ([], 2),
        (["train"], 2),
        (["evaluate", "none"], 2),
        (["train", "--data", "none.h5", "-o", "x"], 2),
        (["evaluate", "none", "--data", "none.h5"], 2),
        (["export", "none", "--data", "none.h5", "--target", "loihi2"], 2),
        (["simulate", "none", "--clips", "none.h5"], 2),
        (["verify", "none"], 2),
        (["energy", "none", "--data", "none.h5"], 2),
        (["events", "none.mp4", "-o", "x.npz"], 2),
        (["events", "none.mp4", "-o", "x.npz", "--sens", "2", "--steps", "0"], 2),
        (["report", "none"], 2),
        (["demo", "--lava-clips", "0"], 2),
        (["demo", "--videos", "none"], 2),
        (["reproduce", "table9"], 2),
    ],
)
def test_every_failure_is_one_json_object_and_an_exit_code(capsys, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capsys, *arguments, "--json")
    assert got == code
    shown = json.loads(out)
    assert shown["ok"] is False
    assert shown["exit_code"] == code
    assert shown["findings"]
    assert all(finding["code"] and finding["found"] for finding in shown["findings"])
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "nothing may be half written"


def test_an_internal_error_is_ours_and_says_so(capsys, monkeypatch):
    from neuroemo.profiling import paper

    def broken():
        raise RuntimeError("planted")

    monkeypatch.setattr(paper, "reproduce_table2", broken)
    code, out, err = run(capsys, "reproduce", "table2")
    assert code == 1
    assert out == ""
    assert "RuntimeError: planted" in err


def test_interrupt_is_130(capsys, monkeypatch):
    from neuroemo.profiling import paper

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(paper, "reproduce_table2", interrupted)
    assert run(capsys, "reproduce", "table2")[0] == 130


def test_table2_prints_one_object_with_the_agreed_names(capsys):
    code, out, _ = run(capsys, "reproduce", "table2", "--json")
    assert code == 0
    table = json.loads(out)
    names = {
        "ann_first_macs",
        "snn_first_acs",
        "other_ops",
        "ann_mj",
        "snn_mj_30",
        "snn_mj_dataset",
        "break_even_steps",
    }
    assert names <= set(table["paper"])
    assert names <= set(table["exact"])
    assert [round(table["exact"][name] / 1e6, 1) for name in ("ann_first_macs", "snn_first_acs")] == [310.9, 9.1]


@pytest.fixture
def videos(tmp_path):
    """Twelve little videos in two classes: a bright bar that moves left or right."""
    from neuroemo.events.video import write_h264

    spec = spec_by_name("tiny")
    for number in range(12):
        label = ("left", "right")[number % 2]
        frames = np.full((spec.steps + 1, 32, 32), 40, np.uint8)
        for t in range(len(frames)):
            at = 4 + 2 * t + number // 2
            frames[t, 8:24, at % 32] = 220
        folder = tmp_path / "videos" / label
        folder.mkdir(parents=True, exist_ok=True)
        write_h264(folder / f"{number}.mp4", frames if label == "right" else frames[:, :, ::-1].copy(), 15.0)
    return tmp_path / "videos"


SIZE = ("--size", "32", "--steps", "8")


@pytest.fixture
def trained(tmp_path, videos):
    """A folder with prepared events, a trained network and its bundle, made by the verbs."""
    net, clips = tmp_path / "net", tmp_path / "clips.h5"
    recipe = ("--model", "tiny", "--epochs", 25, "--batch", 4, "--learning-rate", 0.05)
    for arguments in (
        ("events", videos, "-o", clips, *SIZE),
        ("train", "--data", clips, "-o", net, *recipe),
        ("export", net, "--target", "loihi2", "-o", tmp_path / "b", "--data", videos),
    ):
        assert cli.run([str(argument) for argument in (*arguments, "-q")]) in (0, 5)
    return tmp_path


def test_each_verb_runs_by_itself_on_a_folder_of_videos(capsys, trained, videos):
    capsys.readouterr()
    code, _, _ = run(capsys, "events", videos / "left" / "0.mp4", "-o", trained / "one.npz", *SIZE)
    assert code == 0
    with np.load(trained / "one.npz", allow_pickle=False) as events:
        assert set(events.files) >= {"t", "x", "y", "p", "sensor_size"}
        assert len(events["t"]) > 0
    code, out, _ = run(capsys, "evaluate", trained / "net", "--data", videos, "--json")
    assert code == 0
    assert json.loads(out)["clips"] == 12
    export = ("export", trained / "net", "--target", "loihi2", "-o", trained / "again", "--data", videos, "--json")
    code, out, _ = run(capsys, *export)
    shown = json.loads(out)
    assert code == shown["exit_code"] == (0 if shown["ok"] else 5)
    assert all(layer["verify"]["folded_mismatches"] == 0 for layer in shown["layers"])
    assert len(list((trained / "again" / "target").glob("*.net"))) == 1
    code, out, _ = run(capsys, "simulate", trained / "b", "--clips", videos, "--json")
    assert code == 0
    assert len(json.loads(out)["answers"]) == 12
    assert run(capsys, "verify", trained / "b")[0] == 0
    code, out, _ = run(capsys, "energy", trained / "net", "--data", videos, "--json")
    shown = json.loads(out)
    assert code == 0
    total, ann = (shown["networks"][name]["total"] for name in ("deployed", "ann"))
    default = shown["scenarios"][0]
    assert default["id"] == "arithmetic/cmos45/fp32"
    assert default["snn"]["total_pj"] == pytest.approx((0.9 * total["acs"] + 4.6 * total["macs"]) / 12)
    assert default["ann"]["total_pj"] == pytest.approx(4.6 * ann["dense_macs"] / 12)


def test_existing_output_is_kept_without_force(capsys, tmp_path, videos):
    (tmp_path / "clips.h5").write_text("mine")
    code, _, err = run(capsys, "events", videos, "-o", tmp_path / "clips.h5")
    assert code == 2
    assert "already exists" in err
    assert (tmp_path / "clips.h5").read_text() == "mine"


def test_demo_never_deletes_a_folder_that_is_not_its_own(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    code, _, err = run(capsys, "demo", "-o", tmp_path / "run", "--force")
    assert code == 2
    assert "not the folder of a demo" in err
    assert (tmp_path / "run" / "thesis.txt").exists()


def test_unlabelled_and_single_class_folders_are_answered(capsys, tmp_path, videos, trained):
    capsys.readouterr()
    flat = tmp_path / "flat"
    flat.mkdir()
    for video in (videos / "left").glob("*.mp4"):
        (flat / video.name).write_bytes(video.read_bytes())
    code, out, _ = run(capsys, "simulate", trained / "b", "--clips", flat, "--json")
    shown = json.loads(out)
    assert code == 0
    assert [answer["label"] for answer in shown["answers"]] == ["unlabelled"] * 6
    assert "accuracy" not in shown
    assert run(capsys, "evaluate", trained / "net", "--data", flat)[0] == 2
    (tmp_path / "some" / "right").mkdir(parents=True)
    (tmp_path / "some" / "right" / "1.mp4").write_bytes((videos / "right" / "1.mp4").read_bytes())
    code, out, _ = run(capsys, "evaluate", trained / "net", "--data", tmp_path / "some", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["clips"] == 1
    assert shown["accuracy"] == float(shown["clips_by_name"][0]["predicted"] == "right")


def test_a_folder_is_no_training_data_yet(capsys, tmp_path, videos):
    code, _, err = run(capsys, "train", "--data", videos, "-o", tmp_path / "net")
    assert code == 2
    assert "neuroemo data prepare folder" in err


def test_a_checkpoint_knows_its_data_until_they_are_gone(capsys, trained):
    capsys.readouterr()
    code, out, _ = run(capsys, "evaluate", trained / "net", "--json")
    assert code == 0
    assert json.loads(out)["clips"] == 2  # the test split, not the whole store
    (trained / "clips.h5").unlink()
    code, _, err = run(capsys, "energy", trained / "net")
    assert code == 2
    assert "are gone" in err
    (trained / "net" / "training.json").unlink()
    assert "does not say" in run(capsys, "export", trained / "net", "-o", trained / "c")[2]


def test_a_read_only_folder_is_answered_from_elsewhere(tmp_path, monkeypatch):
    from neuroemo import pipeline

    monkeypatch.setattr(pipeline.os, "access", lambda *_: False)
    monkeypatch.setattr(pipeline.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    assert pipeline.cache_of(tmp_path).parent == tmp_path / "elsewhere"
    monkeypatch.setattr(pipeline.os, "access", lambda *_: True)
    assert pipeline.cache_of(tmp_path) == tmp_path / ".neuroemo"


def test_fine_tuning_with_four_bits_is_exported_as_it_was_trained(capsys, trained):
    capsys.readouterr()
    common = ("--epochs", 1, "--batch", 4, "--json", "-q")
    code, out, _ = run(capsys, "train", "--qat", 4, "--start", trained / "net", "-o", trained / "q4", *common)
    shown = json.loads(out)
    assert (code, shown["bits"], shown["history"][0]["loss"]) == (0, 4, None)
    assert {"test", "float", "chance"} <= set(shown)
    code, out, _ = run(capsys, "export", trained / "q4", "-o", trained / "qb", "--json", "-q")
    report = json.loads(out)
    assert (code, report["weight_bits"], report["fine_tuned"]) == (0, 4, True)
    assert [layer["verify"]["chip_mismatches"] for layer in report["layers"]] == [0, 0, 0, 0]
    assert all(0 < layer["verify"]["rate_chip"] < 1 for layer in report["layers"])
    assert report["verify"]["label_agreement"] == 1.0
    assert run(capsys, "verify", trained / "qb", "-q")[0] == 0
    assert run(capsys, "evaluate", trained / "q4", "-q")[0] == 0
    code, out, _ = run(capsys, "energy", trained / "q4", "--json", "-q")
    networks = json.loads(out)["networks"]
    assert (code, networks["deployed"]["partial"], networks["trained"]) == (0, {}, None)
    wrong = ("--weight-bits", "8", "--target", "loihi1")
    code, out, _ = run(capsys, "export", trained / "q4", "-o", trained / "qc", *wrong, "--json", "-q")
    assert (code, [f["code"] for f in json.loads(out)["findings"]]) == (2, ["E662", "E663"])
    code, out, _ = run(
        capsys, "export", trained / "q4", "-o", trained / "qc", "--input-encoding", "host", "--json", "-q"
    )
    assert (code, json.loads(out)["findings"][0]["code"]) == (2, "E466")
    assert not (trained / "qc").exists()


def test_fine_tuning_alone_trains_the_float_network_first(capsys, trained):
    recipe = ("--model", "tiny", "--epochs", 1, "--batch", 4, "--json", "-q")
    capsys.readouterr()
    code, out, _ = run(capsys, "train", "--qat", 3, "--data", trained / "clips.h5", "-o", trained / "q3", *recipe)
    assert (code, json.loads(out)["start"]) == (0, str(trained / "q3" / "float"))
    code, out, _ = run(capsys, "train", "--qat", 3, "-o", trained / "q5", "--json")
    assert (code, json.loads(out)["findings"][0]["code"]) == (2, "E080")
    for words in (("--start", trained / "net", "--data", trained / "clips.h5"), ()):
        code, out, _ = run(capsys, "train", *words, "-o", trained / "q5", "--json")
        assert (code, json.loads(out)["findings"][0]["code"]) == (2, "E019")


def test_the_pages_of_a_bundle_are_written_anew(capsys, trained):
    bundle = trained / "b"
    pages = {name: (bundle / name).read_text() for name in ("report.html", "report.md", "MODEL_CARD.md")}
    for name in pages:
        (bundle / name).unlink()
    code, out, _ = run(capsys, "report", bundle)
    assert code == 0
    assert all(str(bundle / name) in out for name in pages)
    assert {name: (bundle / name).read_text() for name in pages} == pages


def test_the_page_of_a_demo_is_written_anew(capsys, tmp_path):
    from neuroemo.report.html import write_report
    from tests.report.report_sample import build_report

    (tmp_path / "report.json").write_text(json.dumps(build_report()))
    write_report(tmp_path / "report.json", tmp_path / "once.html")
    code, out, _ = run(capsys, "report", tmp_path)
    assert (code, out.strip()) == (0, f"wrote {tmp_path / 'report.html'}")
    assert (tmp_path / "report.html").read_text() == (tmp_path / "once.html").read_text()

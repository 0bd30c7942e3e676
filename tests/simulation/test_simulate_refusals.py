"""`neuroemo simulate`: what is refused, an interruption, a full disk and the memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from neuroemo.simulation import run as running
from tests.simulation.verb_parts import N, T, put, run_json, spikes


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


MEASURE = """
import sys
from neuroemo import cli
code = cli.run(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, peak)
"""


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

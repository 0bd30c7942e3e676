"""`neuroemo energy` and `neuroemo reproduce` from the command line: what they print, write, refuse and leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from neuroemo import cli
from neuroemo.energy import measure as measuring
from neuroemo.energy import run as running
from neuroemo.energy.schema import checked_energy_report, read_energy_report
from tests.energy.conftest import codes, own_list, untouched

TABLES = ("layers.csv", "scenarios.csv", "steps.csv", "constants.csv")


def spoken(capsys, *arguments):
    code = cli.run([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


def test_json_is_the_report(energy, made):
    code, shown = energy(made.net, "--data", made.clips)
    assert (code, shown["ok"]) == (0, True)
    assert checked_energy_report(shown)["source"]["clips"] == 5
    assert "written" not in shown


def test_the_text_says_the_verdict_first(capsys, made):
    code, out, err = spoken(capsys, "energy", made.net, "--data", made.clips, "--targets", "cmos45,loihi2")
    assert code == 0
    assert out.startswith("At FP32 and the prices of 45 nm CMOS")
    assert "W881" in out
    assert "ANN" in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


def test_a_folder_holds_report_tables_and_page(energy, made, tmp_path):
    code, shown = energy(made.net, "--data", made.clips, "-o", tmp_path / "out", "--targets", "cmos45,loihi1")
    assert code == 0
    names = untouched(tmp_path / "out")
    assert {"report.json", "report.html", *TABLES} <= set(names)
    assert sorted(os.path.basename(path) for path in shown["written"]) == names
    kept = read_energy_report(tmp_path / "out")
    assert kept == {key: value for key, value in shown.items() if key not in ("ok", "exit_code", "written")}
    assert kept["command"].startswith("neuroemo energy ")
    assert "--targets cmos45,loihi1" in kept["command"]
    assert "<html" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert untouched(tmp_path) == ["out"], "no folder aside is left"


def test_a_network_that_stands_alone_is_written_and_told_too(capsys, energy, strangers, tmp_path):
    for number, words in enumerate(((strangers.net,), strangers.words)):
        command = (*words, "--data", strangers.clips, "--targets", "cmos45,loihi1")
        code, shown = energy(*command, "-o", tmp_path / str(number))
        assert code == 0
        assert codes(shown)[-1] == "W882"
        assert {"report.json", "report.html", *TABLES} <= set(untouched(tmp_path / str(number)))
        code, out, _ = spoken(capsys, "energy", *command)
        assert code == 0
        assert "W882" in out
        assert "there is no ANN twin to compare with" in " ".join(out.split())


def test_the_page_is_written_anew_from_the_report(capsys, energy, made, tmp_path):
    assert energy(made.net, "--data", made.clips, "-o", tmp_path / "out", "--energy-model", "arithmetic")[0] == 0
    page = tmp_path / "out" / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert spoken(capsys, "report", tmp_path / "out")[0] == 0
    assert page.read_text(encoding="utf-8") == before
    (tmp_path / "out" / "report.json").write_text('{"kind": "energy", "schema": 1}')
    code, out, _ = spoken(capsys, "report", tmp_path / "out", "--json")
    assert (code, codes(json.loads(out))) == (2, ["E888"])


def test_an_existing_folder_is_kept_without_force(energy, made, tmp_path):
    command = (made.net, "--data", made.clips, "-o", tmp_path / "out", "--energy-model", "arithmetic")
    assert energy(*command)[0] == 0
    before = (tmp_path / "out" / "report.json").read_bytes()
    code, shown = energy(*command, "--limit", 2)
    assert (code, codes(shown)) == (2, ["E885"])
    assert (tmp_path / "out" / "report.json").read_bytes() == before
    assert energy(*command, "--limit", 2, "--force")[0] == 0
    assert read_energy_report(tmp_path / "out")["source"]["clips"] == 2
    assert untouched(tmp_path) == ["out"]


def test_force_never_replaces_what_is_no_report(energy, made, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "report.json").write_text('{"years": "of work"}')
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name, text in (("thesis", "no energy report"), ("file", "not a folder")):
        code, shown = energy(made.net, "--data", made.clips, "-o", tmp_path / name, "--force")
        assert (code, codes(shown)) == (2, ["E885"])
        assert text in shown["findings"][0]["found"]
    assert json.loads((tmp_path / "thesis" / "report.json").read_text()) == {"years": "of work"}
    assert energy(made.net, "--data", made.clips, "-o", tmp_path / "empty", "--force", "--limit", 1)[0] == 0


def with_value(made, value, at=(0, 3, 1, 4, 4)):
    clips = made.array.swapaxes(0, 1).copy()  # [N, T, 2, H, W]
    clips[at] = value
    return clips


WRONG = {
    "no such model": (lambda m, p: (m.folder / "none", "--data", m.clips), 2, "E640"),
    "a folder that is none": (lambda m, p: (p, "--data", m.clips), 2, "E063"),
    "no clips given": (lambda m, p: (m.bundle,), 2, "E880"),
    "no such data": (lambda m, p: (m.net, "--data", p / "gone.npy"), 2, "E653"),
    "unknown target": (lambda m, p: (m.net, "--data", m.clips, "--targets", "cmos45,abacus"), 2, "E811"),
    "unknown model of energy": (lambda m, p: (m.net, "--data", m.clips, "--energy-model", "magic"), 2, "E883"),
    "unknown precision": (lambda m, p: (m.net, "--data", m.clips, "--precision", "int3"), 2, "E884"),
    "unknown node": (lambda m, p: (m.net, "--data", m.clips, "--nodes", "14"), 2, "E883"),
    "no target at all": (lambda m, p: (m.net, "--data", m.clips, "--targets", ","), 2, "E010"),
    "unpublished alone": (lambda m, p: (m.net, "--data", m.clips, "--targets", "loihi2"), 3, "E884"),
    "prices that do not mix": (
        lambda m, p: (m.net, "--data", m.clips, "--targets", own_list(p / "x.toml", "simulated", "vendor")),
        2,
        "E884",
    ),
    "no clips wanted": (lambda m, p: (m.net, "--data", m.clips, "--limit", 0), 2, "E010"),
    "an option of another kind": (lambda m, p: (m.bundle, "--data", m.clips, "--steps", 3), 2, "E883"),
    "split of an array": (lambda m, p: (m.net, "--data", m.clips, "--split", "test"), 2, "E883"),
    "unknown pooling": (lambda m, p: (m.net, "--data", m.clips, "--pooling", "max"), 2, "E010"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_gives_its_code_and_leaves_nothing(energy, made, tmp_path, name):
    make, exit_code, code = WRONG[name]
    (tmp_path / "work").mkdir()
    arguments = make(made, tmp_path / "work")
    status, shown = energy(*arguments, "-o", tmp_path / "out")
    assert (status, shown["findings"][0]["code"]) == (exit_code, code)
    assert all(finding["found"] for finding in shown["findings"])
    assert untouched(tmp_path) == ["work"]


def test_an_unknown_target_lists_those_there_are(energy, made):
    _, shown = energy(made.net, "--data", made.clips, "--targets", "abacus")
    assert "cmos45" in shown["findings"][0]["limit"]
    assert "loihi1" in shown["findings"][0]["limit"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", ["net", "bundle"])
def test_nan_in_the_clips(energy, made, tmp_path, form, value):
    np.save(tmp_path / "clips.npy", with_value(made, value, at=(3, 2, 1, 4, 4)))
    code, shown = energy(getattr(made, form), "--data", tmp_path / "clips.npy", "-o", tmp_path / "out")
    wanted = "E882" if form == "net" else {np.nan: "E674", np.inf: "E675"}[value]
    assert (code, codes(shown)) == (2, [wanted])
    assert "clip 3, step 2, at (1, 4, 4)" in shown["findings"][0]["found"]
    assert not (tmp_path / "out").exists()
    np.save(tmp_path / "clips.npy", with_value(made, 1.0, at=(3, 2, 1, 4, 4)))
    assert energy(getattr(made, form), "--data", tmp_path / "clips.npy", "--energy-model", "arithmetic")[0] == 0


def test_nan_in_the_clips_of_a_module_or_a_weight(energy, strangers, tmp_path):
    clips = strangers.array.swapaxes(0, 1).copy()
    clips[2, 5, 0, 0, 0] = np.nan
    np.save(tmp_path / "clips.npy", clips)
    code, shown = energy(*strangers.words, "--data", tmp_path / "clips.npy")
    assert (code, codes(shown)) == (2, ["E882"])
    code, shown = energy("tests.stranger:nan_weight", *strangers.words[1:], "--data", strangers.clips)
    assert (code, codes(shown)) == (2, ["E882"])
    assert "1 of 72 values of 0.weight" in shown["findings"][0]["found"]
    assert energy("tests.stranger:conv_only", *strangers.words[1:], "--data", strangers.clips)[0] == 0


def test_empty_data(energy, made, tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 2, 32, 32), np.float32))
    code, shown = energy(made.net, "--data", tmp_path / "none.npy", "-o", tmp_path / "out")
    assert (code, codes(shown)) == (2, ["E672"])
    assert untouched(tmp_path) == ["none.npy"]


def test_an_interruption_leaves_nothing(capsys, monkeypatch, made, tmp_path):
    monkeypatch.setattr(measuring, "BATCH_CLIPS", 2)
    whole, done = measuring._OnChip.count, []

    def interrupted(self, clips):
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        return whole(self, clips)

    monkeypatch.setattr(measuring._OnChip, "count", interrupted)
    code, out, _ = spoken(capsys, "energy", made.net, "--data", made.clips, "-o", tmp_path / "out", "--json", "-q")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["code"], finding["found"]) == (130, "E886", "interrupted after 2 of 5 clips")
    assert untouched(tmp_path) == []


def test_a_failure_while_writing_leaves_nothing_and_the_old_report(capsys, energy, monkeypatch, made, tmp_path):
    command = (made.net, "--data", made.clips, "-o", tmp_path / "out", "--energy-model", "arithmetic", "--force")
    assert energy(*command)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running, "put_in_place", broken)
    code, shown = energy(*command, "--limit", 1)
    assert (code, codes(shown)) == (2, ["E003"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert untouched(tmp_path) == ["out"]


def test_the_two_words_energy_diff(capsys, energy, made, tmp_path):
    for name, limit in (("a", 5), ("b", 3)):
        command = (made.net, "--data", made.clips, "--limit", limit, "-o", tmp_path / name)
        assert energy(*command, "--energy-model", "arithmetic")[0] == 0
    for words in (("energy", "diff", tmp_path / "a", tmp_path / "b", "--json"),
                  ("energy", "--json", "diff", tmp_path / "a", tmp_path / "b")):  # fmt: skip
        code, out, _ = spoken(capsys, *words)
        assert code == 0
        assert json.loads(out)["ok"] is True
    code, out, _ = spoken(capsys, "energy", "diff", tmp_path / "a", tmp_path / "none", "--json")
    assert code == 2
    assert json.loads(out)["findings"]
    (tmp_path / "diff").mkdir()
    code, out, _ = spoken(capsys, "energy", tmp_path / "diff", "--json")
    assert json.loads(out)["findings"][0]["code"] == "E063"


def test_help_of_both_is_quick_and_heavy_on_nothing():
    script = (
        "import sys\nfrom neuroemo import cli\n"
        "for words in (['energy', '--help'], ['energy', 'diff', '--help'], ['reproduce', '--help']):\n"
        "    try:\n        cli.main(words)\n    except SystemExit:\n        pass\n"
        "heavy = {'torch', 'numpy', 'spikingjelly', 'scipy', 'h5py', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--energy-model" in done.stdout
    assert "usage: neuroemo energy diff" in done.stdout


def test_the_command_in_the_report_makes_the_report_again(capsys, energy, made, tmp_path, monkeypatch):
    import shlex

    monkeypatch.chdir(made.folder)
    words = ("net", "--data", "clips.npz", "--limit", 3, "--targets", "cmos45,loihi1", "--nodes", "14HP-0.80V",
             "--precision", "int8", "--pooling", "folded", "--skip-zero-weights")  # fmt: skip
    _, shown = energy(*words)
    again = shlex.split(shown["command"])
    assert again[:3] == ["neuroemo", "energy", "net"]
    _, same = energy(*again[2:])
    assert same == shown


def test_zero_weights_may_be_skipped(energy, made):
    _, counted = energy(made.net, "--data", made.clips, "--energy-model", "arithmetic")
    _, skipped = energy(made.net, "--data", made.clips, "--energy-model", "arithmetic", "--skip-zero-weights")
    assert "are skipped" in skipped["policy"]["zeros"]
    assert "are not skipped" in counted["policy"]["zeros"]
    totals = [shown["networks"]["deployed"]["total"] for shown in (skipped, counted)]
    assert totals[0]["acs"] < totals[1]["acs"], "quantised weights round to zero here and there"
    assert totals[0]["spikes_in"] == totals[1]["spikes_in"]


def test_table2_from_measured_spikes(capsys, made):
    code, out, _ = spoken(capsys, "reproduce", "table2", "--json")
    assert code == 0
    assert "measured" not in json.loads(out)
    code, out, _ = spoken(capsys, "reproduce", "table2", "--model", made.net, "--data", made.clips, "--json", "-q")
    shown = json.loads(out)
    assert code == 0
    assert shown["measured"]["rows"]
    code, text, _ = spoken(capsys, "reproduce", "table2", "--model", made.net, "--data", made.clips, "-q")
    assert code == 0
    assert len(text.splitlines()) > len(spoken(capsys, "reproduce", "table2")[1].splitlines())


def test_table2_refuses_what_it_cannot_fill(capsys, made, strangers):
    code, out, _ = spoken(capsys, "reproduce", "table2", "--data", made.clips, "--limit", 3, "--json")
    assert (code, codes(json.loads(out))) == (2, ["E883", "E883"])
    command = ("reproduce", "table2", "--model", strangers.net, "--data", strangers.clips, "--json")
    code, out, _ = spoken(capsys, *command)
    assert (code, codes(json.loads(out))) == (2, ["E883"])
    assert "no ANN twin" in json.loads(out)["findings"][0]["found"]


def test_the_entry_of_a_demo_is_counts_times_prices(made):
    from neuroemo.energy import measure_energy

    told = measure_energy(made.net, made.clips)
    assert told["snn_mj"] == pytest.approx((0.9 * told["acs"] + 4.6 * told["macs"]) * 1e-9)
    assert told["ann_mj"] == pytest.approx(4.6 * told["ann_macs"] * 1e-9)
    assert told["run"]["acs"] == pytest.approx(told["acs"] * 5)
    assert sum(layer["snn_mj"] for layer in told["layers"]) == pytest.approx(told["snn_mj"])
    assert sum(layer["ann_mj"] for layer in told["ann_layers"]) == pytest.approx(told["ann_mj"])
    assert told["trained"]["macs"] > 0
    assert told["neuron_mj"] > 0
    from neuroemo.report.schema import SPECIFICATION

    wanted = {key for key in SPECIFICATION["energy"] if not key.endswith("?")}
    assert wanted <= set(told)


MEASURE = """
import sys
from neuroemo import cli
code = cli.run(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_clips_beside_the_tables(made, tmp_path):
    peaks = []
    for count in (64, 1024):
        clips = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (count, 8, 2, 32, 32))
        clips[:] = np.resize(made.array.swapaxes(0, 1), clips.shape)
        clips.flush()
        del clips
        words = ("energy", made.bundle, "--data", tmp_path / "x.npy", "--energy-model", "arithmetic", "-q")
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, words)], capture_output=True, text=True, check=True
        )
        code, peak = done.stdout.split()[-2:]
        assert code == "0"
        peaks.append(int(peak) / 1024)
    # The larger file has 67 MB, its spikes 42; its tables 1024 x 8 x 4 x 12 layers x 8 bytes = 3 MB, twice at the end.
    assert peaks[1] < peaks[0] + 40, peaks

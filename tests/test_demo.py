"""The demo: it continues where it was interrupted, and a disagreement between simulators ends it with code 5."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError, MissingDependencyError, VerificationError
from hw_targets.loihi2.lava import LavaRun
from hw_targets.loihi2.simulate import ChipRun, simulate
from hw_targets.loihi2.target import Loihi2
from neuroemo import pipeline
from neuroemo.console import Console
from neuroemo.datasets.faces import FacesSettings, render_faces
from neuroemo.demo.run import run_demo
from neuroemo.demo.settings import DemoSettings
from neuroemo.demo.stages import Stages
from neuroemo.deployment import run as deployment
from neuroemo.simulation.run import simulate_clips
from neuroemo.simulation.settings import SimulationSettings
from neuroemo.training.loop import TrainSettings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A demo of a few seconds; Lava is played by the simulator, its own test being elsewhere."""
    monkeypatch.setattr(DemoSettings, "model", property(lambda self: "tiny"))
    monkeypatch.setattr(
        DemoSettings,
        "faces",
        lambda self: FacesSettings(subjects=5, clips_per_subject=6, size=32, frames=9, seed=self.seed),
    )
    monkeypatch.setattr(
        DemoSettings, "training", lambda self: TrainSettings(epochs=15, learning_rate=0.05, seed=self.seed)
    )
    monkeypatch.setattr(
        Loihi2, "judge", lambda self, chip, path, clips, timeout_s, **_: LavaRun(simulate(chip, clips), 0.001)
    )
    return DemoSettings(tmp_path / "run", lava_clips=2)


def go(settings, said=None):
    console = Console(quiet=True)
    try:
        return run_demo(settings, (said if said is not None else []).append, console.progress)
    finally:
        console.close()


def test_an_interrupted_demo_continues_and_repeats_nothing(settings, monkeypatch):
    whole = deployment.export_network

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(deployment, "export_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(settings)
    assert not (settings.out / "report.json").exists()
    assert not (settings.out / "bundle").exists()
    monkeypatch.setattr(deployment, "export_network", whole)

    def again(*_, **__):
        raise AssertionError("training was repeated")

    monkeypatch.setattr(pipeline, "train_network", again)
    said: list[str] = []
    report = go(settings, said)
    assert sum("done before" in line for line in said) == 4
    assert report == json.loads((settings.out / "report.json").read_text())
    page = (settings.out / "report.html").read_text()
    assert "<html" in page


def test_report_has_the_agreed_names(settings):
    report = go(settings)
    names = {"float", "quantised", "lava", "ann", "trivial", "chance"}
    assert names <= set(report["accuracy"]) == set(report["accuracy_clips"])
    assert {"clips", "steps", "mismatched_spikes", "compared_spikes"} <= set(report["lava"])
    assert {"snn_mj", "ann_mj", "acs", "macs", "ann_macs"} <= set(report["energy"])
    assert 0 < report["events"]["density"] < 1
    assert report["ok"] is True
    assert report["accuracy_clips"]["float"] == 6
    assert report["accuracy_clips"]["lava"] == report["lava"]["clips"] == 2
    subjects = report["data"]["subjects"]
    assert subjects == {"train": 3, "val": 1, "test": 1}


def test_one_spike_that_differs_from_lava_fails_the_demo_and_is_named(settings, monkeypatch):
    def judge(self, chip, path, clips, timeout_s, **_):
        run = simulate(chip, clips)
        spikes = {name: value.copy() for name, value in run.spikes.items()}
        name = list(spikes)[1]
        spikes[name][3, 1, 2, 4, 5] ^= 1
        return LavaRun(ChipRun(spikes), 0.001)

    monkeypatch.setattr(Loihi2, "judge", judge)
    with pytest.raises(
        VerificationError, match=r"E502 lava: 1 of \d+ spikes differ .*'step': 3, 'clip': 1, 'neuron': \[2, 4, 5\]"
    ) as caught:
        go(settings)
    assert caught.value.exit_code == 5
    report = json.loads((settings.out / "report.json").read_text())
    assert report["lava"]["mismatched_spikes"] == 1
    assert report["ok"] is False


def test_the_accuracy_called_lava_is_made_of_lavas_own_spikes(settings, monkeypatch):
    def judge(self, chip, path, clips, timeout_s, **_):
        spikes = {name: value.copy() for name, value in simulate(chip, clips).spikes.items()}
        last = list(spikes)[-1]
        spikes[last] = np.roll(spikes[last], 10, axis=-1)  # this Lava votes for the other class
        return LavaRun(ChipRun(spikes), 0.001)

    monkeypatch.setattr(Loihi2, "judge", judge)
    one = replace(settings, lava_clips=1)
    with pytest.raises(VerificationError):
        go(one)
    report = json.loads((one.out / "report.json").read_text())
    ours = simulate_clips(one.out / "bundle", one.out / "clips.h5", SimulationSettings(limit=1))
    assert ours["answers"][0]["rates"][0] != ours["answers"][0]["rates"][1]
    assert report["accuracy"]["lava"] == 1 - ours["accuracy"]


def test_changed_videos_are_not_taken_for_the_old_ones(settings, monkeypatch, tmp_path):
    mine = render_faces(tmp_path / "mine", settings.faces(), workers=1)
    (mine / "labels.csv").unlink()
    go(replace(settings, videos=mine))
    # Two videos change places: as many, of the same names, and each class still has its own.
    one, other = next((mine / "positive").glob("*1.mp4")), next((mine / "negative").glob("*2.mp4"))
    held = one.read_bytes()
    shutil.copy(other, one)
    other.write_bytes(held)
    said: list[str] = []
    with pytest.raises(InputError, match="another network, data or settings"):
        go(replace(settings, videos=mine), said)
    assert not any("done before" in line for line in said)


def test_without_lava_the_demo_says_so_and_goes_on(settings, monkeypatch):
    def judge(self, chip, path, clips, timeout_s, **_):
        from hw_targets.finding import Finding

        raise MissingDependencyError(Finding("E601", "error", "lava", "lava-dl is not installed"))

    monkeypatch.setattr(Loihi2, "judge", judge)
    report = go(settings)
    assert "lava-dl is not installed" in report["lava"]["skipped"]
    assert report["accuracy"]["lava"] is None


def test_other_settings_start_anew(tmp_path):
    ran: list[str] = []

    def stage(name):
        ran.append(name)
        return {"value": name}

    for settings in ({"seed": 0}, {"seed": 0}, {"seed": 1}):
        stages = Stages(tmp_path, settings, lambda _: None)
        for name in ("a", "b"):
            assert stages.run(name, name, lambda name=name: stage(name)) == {"value": name}
    assert ran == ["a", "b", "a", "b"]


def test_damaged_memory_only_costs_time(tmp_path):
    (tmp_path / "stages.json").write_text("{")
    assert Stages(tmp_path, {}, lambda _: None).run("a", "a", lambda: {"value": 1}) == {"value": 1}


def test_event_picture_shows_polarity():
    frame = np.zeros((2, 2, 2))
    frame[0, 0, 0] = frame[1, 1, 1] = 1
    from neuroemo.demo.gather import event_picture

    image = event_picture(frame)
    assert image.shape == (4, 4, 3)
    assert len({tuple(image[0, 0]), tuple(image[3, 3]), tuple(image[0, 3])}) == 3

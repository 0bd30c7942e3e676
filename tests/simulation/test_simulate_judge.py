"""`neuroemo simulate --judge lava`: a judge that agrees, one that differs, and none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hw_targets.loihi2 import lava
from hw_targets.loihi2.simulation.record import ChipRun
from hw_targets.loihi2.target import Loihi2
from tests.hw_targets import brute_force
from tests.simulation.verb_parts import N, T, run, run_json


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

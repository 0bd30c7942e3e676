"""Lava's own fixed-point models as the judge of file and simulator."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import VerificationError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.netx_file import write_netx
from hw_targets.loihi2.simulate import simulate

needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))


@needs_lava
@pytest.mark.lava
def test_every_spike_of_every_layer_agrees_and_a_changed_bit_does_not(tmp_path, exported):
    _, _, clips, compiled = exported
    before = shared_memory()
    write_netx(compiled.chip, tmp_path / "model.net")
    judged = run_lava(compiled.chip, tmp_path / "model.net", clips, timeout_s=120)
    ours = simulate(compiled.chip, clips)
    for name, spikes in ours.spikes.items():
        assert 0.001 < spikes.mean() < 0.99, f"{name} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(judged.run.spikes[name], spikes)
    assert shared_memory() <= before

    weight = compiled.chip.layers[1].weight.copy()
    channel = ours.spikes[compiled.chip.layers[1].name].sum(axis=(0, 1, 3, 4)).argmax()
    weight[channel, 0, 2, 2] ^= 1 << 0
    changed = replace(
        compiled.chip,
        layers=(
            compiled.chip.layers[0],
            replace(compiled.chip.layers[1], weight=weight),
            *compiled.chip.layers[2:],
        ),
    )
    theirs = simulate(changed, clips).spikes
    assert any((theirs[name] != judged.run.spikes[name]).any() for name in theirs)


@needs_lava
@pytest.mark.lava
def test_a_failure_inside_lava_is_reported_and_leaves_nothing(tmp_path, exported):
    _, _, clips, compiled = exported
    (tmp_path / "model.net").write_text("not a network")
    before = shared_memory()
    with pytest.raises(VerificationError, match="OSError"):
        run_lava(compiled.chip, tmp_path / "model.net", clips[:, :1], timeout_s=60)
    assert shared_memory() <= before


def test_a_hanging_group_is_ended_at_the_timeout(tmp_path):
    marker = f"neuroemo-test-{os.getpid()}"
    script = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '{marker}'])\n"
        "print('ValueError: planted', flush=True)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(VerificationError, match="did not finish: ValueError: planted"):
        lava._run_group([sys.executable, "-c", script], tmp_path, 2.0)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert marker not in left


def test_missing_lava_is_exit_code_6(tmp_path, exported, monkeypatch):
    from hw_targets.finding import MissingDependencyError

    monkeypatch.setattr(lava, "lava_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="lava-dl is not installed") as caught:
        run_lava(exported[3].chip, Path("x.net"), exported[2])
    assert caught.value.exit_code == 6

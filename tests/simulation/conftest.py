"""A bare netx file, clips, a bundle; a simulated run and the page of its figures."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import save_file

from hw_targets.loihi2.simulate import simulate
from neuroemo import cli
from neuroemo.simulation.figure import write_figures
from tests import stranger
from tests.simulation.figure_parts import SAMPLES, STEPS, Page, trained_like
from tests.simulation.verb_parts import spikes, write_net


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


@pytest.fixture(scope="module")
def ran():
    """A run of a chip that fires, and its clips: a gray frame, then events."""
    chip, rng = trained_like(), np.random.default_rng(4)
    clips = (rng.random((STEPS, SAMPLES, 2, 8, 8)) < 0.08).astype(np.float32)
    clips[0] = rng.random((SAMPLES, 2, 8, 8))
    run = simulate(chip, clips, probe=("conv1", "fc1"))
    assert all(0.005 < spikes.mean() < 0.9 for spikes in run.spikes.values())
    return run, chip, clips


@pytest.fixture(scope="module")
def page(ran, tmp_path_factory):
    run, chip, clips = ran
    folder = tmp_path_factory.mktemp("figures")
    paths = write_figures(run, chip, folder, ["one.avi", "two", "three"], ["sad", "calm", "glad"], clips)
    return Page(paths[0].read_text(encoding="utf-8"))

"""Training: it learns, it resumes bit for bit, and it stops on nonsense."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from neuroemo.models.emotion import build_network, spec_by_name, stacked_frames, twin_of
from neuroemo.training import loop
from neuroemo.training.baseline import majority_baseline, mean_frame_baseline, summed_events_baseline
from neuroemo.training.checkpoint import load_model, load_tensors
from neuroemo.training.evaluation import evaluate
from neuroemo.training.loop import TrainingError, TrainSettings
from tests.training.fake_store import FakeStore

SPEC = spec_by_name("tiny")


@pytest.fixture(scope="module")
def store():
    return FakeStore()


@pytest.mark.parametrize("name", ["tiny-ann"])
def test_learns_an_easy_task(tmp_path, store, name):
    spec = spec_by_name(name)
    history = loop.train(spec, store, tmp_path, TrainSettings(epochs=15, augment=False))
    network, description = load_model(tmp_path)
    assert history[-1]["loss"] < history[0]["loss"]
    assert evaluate(network, description.spec, store, store.indices("test")).score.accuracy == 1.0


def test_spiking_loss_falls(tmp_path, store):
    history = loop.train(SPEC, store, tmp_path, TrainSettings(epochs=15, learning_rate=0.1, augment=False))
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]


class Killed(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, store):
    settings = TrainSettings(epochs=3)
    whole = loop.train(SPEC, store, tmp_path / "whole", settings)

    def kill(done, total, loss):
        if done == total // 2 + 1:
            raise Killed

    with pytest.raises(Killed):
        loop.train(SPEC, store, tmp_path / "cut", settings, progress=kill)
    resumed = loop.train(SPEC, store, tmp_path / "cut", settings)
    assert resumed == whole
    one, two = (load_tensors(tmp_path / name / "last.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    one, two = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_progress_counts_every_batch_once(tmp_path, store):
    seen = []
    loop.train(
        SPEC, store, tmp_path, TrainSettings(epochs=2), progress=lambda done, total, loss: seen.append((done, total))
    )
    assert seen == [(i, 6) for i in range(1, 7)]


def test_other_settings_do_not_continue_a_run(tmp_path, store):
    loop.train(SPEC, store, tmp_path, TrainSettings(epochs=1))
    with pytest.raises(InputError, match="another network, data or settings"):
        loop.train(SPEC, store, tmp_path, TrainSettings(epochs=2))


def test_other_data_of_the_same_size_do_not_continue_a_run(tmp_path, store):
    loop.train(SPEC, store, tmp_path, TrainSettings(epochs=1))
    with pytest.raises(InputError, match="another network, data or settings"):
        loop.train(SPEC, FakeStore(seed=1), tmp_path, TrainSettings(epochs=1))


def test_diverging_training_says_so(tmp_path, store):
    broken = FakeStore()
    broken.data[:] = np.nan
    with pytest.raises(TrainingError, match=r"loss nan in batch 1; limit a finite number\n.*lower the learning rate"):
        loop.train(spec_by_name("tiny-ann"), broken, tmp_path, TrainSettings(epochs=1))


def test_data_of_another_size_are_refused_with_all_reasons(tmp_path):
    with pytest.raises(InputError) as caught:
        loop.train(SPEC, FakeStore(size=40, steps=6), tmp_path, TrainSettings(epochs=1))
    assert {finding.found for finding in caught.value.findings} == {
        "frame size of the data is 40",
        "steps of the data is 6",
    }


def test_bad_settings_are_refused_at_once():
    with pytest.raises(InputError) as caught:
        TrainSettings(epochs=0, batch=-1, learning_rate=float("nan"))
    assert [finding.node for finding in caught.value.findings] == ["epochs", "batch", "learning_rate"]


def test_augmentation_keeps_spikes_binary_and_pairs_of_channels_together():
    clips = FakeStore().batch(np.arange(6))
    changed = loop.augment(clips, np.random.default_rng(0), 2)
    assert changed.shape == clips.shape
    assert set(np.unique(changed[1:])) <= {0.0, 1.0}
    np.testing.assert_array_equal(changed[0, :, 0], changed[0, :, 1])
    assert (changed != clips).any()


def test_a_shift_moves_by_whole_pixels():
    clips = np.zeros((1, 1, 2, 5, 5), np.float32)
    clips[0, 0, :, 2, 2] = 1
    places = {tuple(np.argwhere(loop.augment(clips, np.random.default_rng(s), 1)[0, 0, 0])[0]) for s in range(60)}
    assert places == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_baselines_score_the_test_split(store):
    assert majority_baseline(store).accuracy == 0.5
    assert mean_frame_baseline(store).accuracy == 1.0
    assert summed_events_baseline(store).accuracy == 1.0


def test_twin_has_the_same_layers_and_sees_polarity():
    clips = torch.zeros(8, 1, 2, 32, 32)
    clips[0] = 0.25
    clips[3, 0, 0, 5, 5] = 1
    clips[4, 0, 1, 6, 6] = 1
    frames = stacked_frames(clips, "float")
    assert frames.shape == (1, 8, 32, 32)
    assert float(frames[0, 0, 9, 9]) == 0.25
    assert (float(frames[0, 3, 5, 5]), float(frames[0, 4, 6, 6])) == (1.0, -1.0)
    spiking, twin = build_network(SPEC), build_network(twin_of(SPEC))
    shapes = [[m.weight.shape[0] for m in net.modules() if type(m).__name__ == "Conv2d"] for net in (spiking, twin)]
    assert shapes[0] == shapes[1] == [4, 8]

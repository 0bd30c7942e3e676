"""Training: it learns, it resumes bit for bit, and it stops on nonsense."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError, MissingDependencyError
from neuroemo.models.emotion import build_network, spec_by_name, stacked_frames, twin_of
from neuroemo.training import loop, steps
from neuroemo.training.baseline import majority_baseline, mean_frame_baseline, summed_events_baseline
from neuroemo.training.checkpoint import load_model, load_tensors
from neuroemo.training.evaluation import evaluate, forward
from neuroemo.training.loop import Keeping, TrainingError, TrainSettings
from tests.training.fake_store import FakeStore

SPEC = spec_by_name("tiny")


@pytest.fixture(scope="module")
def store():
    return FakeStore()


def tensors_of(folder, name="model.safetensors"):
    return load_tensors(folder / name)[0]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


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


def test_adamw_learns_too(tmp_path, store):
    settings = TrainSettings(epochs=8, optimiser="adamw", layerwise=False, learning_rate=0.01, augment=False)
    history = loop.train(spec_by_name("tiny-ann"), store, tmp_path, settings)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_one_step_is_what_plain_torch_does(tmp_path, store):
    """One epoch of one batch, against torch's own SGD with weight decay on kernels and its own clipping."""
    settings = TrainSettings(
        epochs=1, batch=99, augment=False, layerwise=False, weight_decay=0.1, clip_gradient=0.01, learning_rate=0.5
    )
    loop.train(SPEC, store, tmp_path, settings)
    torch.manual_seed(settings.seed)
    network = build_network(SPEC).train()
    order = np.random.default_rng(settings.seed).permutation(store.indices("train"))
    rates = forward(network, SPEC, torch.from_numpy(store.batch(order))).mean(0)
    torch.nn.functional.mse_loss(rates, torch.eye(2)[store.labels[order]]).backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.01)
    assert norm > 0.01
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in network.parameters() if p.ndim <= 1]},
    ]
    torch.optim.SGD(groups, lr=0.5, momentum=0.9).step()
    wanted, found = network.state_dict(), tensors_of(tmp_path)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-5, atol=1e-7)


class Killed(Exception):
    pass


def killing(at):
    def kill(done, total, loss):
        if done == at:
            raise Killed

    return kill


@pytest.mark.parametrize("save_every_s", [600.0, 0.0])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, store, save_every_s):
    settings, keeping = TrainSettings(epochs=3), Keeping(save_every_s=save_every_s)
    whole = loop.train(SPEC, store, tmp_path / "whole", settings)
    with pytest.raises(Killed):
        loop.train(SPEC, store, tmp_path / "cut", settings, progress=killing(5), keeping=keeping)
    seen = []
    note = lambda done, total, loss: seen.append((done, total))  # noqa: E731
    assert loop.train(SPEC, store, tmp_path / "cut", settings, progress=note) == whole
    begin = 5 if save_every_s == 0.0 else 4
    assert seen == [(i, 9) for i in range(begin, 10)], "it goes on within the epoch where it was saved there"
    for name in ("model.safetensors", "last.safetensors"):
        assert same(tensors_of(tmp_path / "whole", name), tensors_of(tmp_path / "cut", name))


def test_progress_counts_every_batch_once(tmp_path, store):
    seen = []
    loop.train(
        SPEC, store, tmp_path, TrainSettings(epochs=2), progress=lambda done, total, loss: seen.append((done, total))
    )
    assert seen == [(i, 6) for i in range(1, 7)]


def test_the_engines_train_alike(tmp_path, store):
    pytest.importorskip("neuroemo.training.fast")
    settings = {"epochs": 2, "learning_rate": 0.1}
    plain = loop.train(SPEC, store, tmp_path / "plain", TrainSettings(**settings))
    fused = loop.train(SPEC, store, tmp_path / "fused", TrainSettings(**settings, engine="fused"))
    for one, two in zip(plain, fused, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)


def test_half_precision_is_what_torch_autocast_computes(tmp_path, store):
    history = loop.train(SPEC, store, tmp_path, TrainSettings(epochs=1, augment=False, precision="bfloat16"))
    exact = loop.train(SPEC, store, tmp_path / "exact", TrainSettings(epochs=1, augment=False))
    assert history[0]["loss"] == pytest.approx(exact[0]["loss"], abs=0.05)
    assert not same(tensors_of(tmp_path), tensors_of(tmp_path / "exact"))
    assert {value.dtype for value in tensors_of(tmp_path).values()} == {torch.float32, torch.int64}


def test_patience_stops_after_so_many_epochs_without_a_better_one(tmp_path, store):
    settings = TrainSettings(epochs=30, learning_rate=1e-12, layerwise=False, augment=False, patience=3)
    history = loop.train(spec_by_name("tiny", threshold=50.0), store, tmp_path, settings)
    assert len(history) == 4, "a silent network is as good in every epoch as in the first"
    entries = [{"validation": {"accuracy": a, "steps": {"loss": [0.5]}}} for a in (0.5, 0.7, 0.6, 0.7)]
    assert [loop.out_of_patience(entries[:n], 2) for n in range(5)] == [False, False, False, False, True]
    assert not loop.out_of_patience(entries, None)
    assert loop.train(spec_by_name("tiny", threshold=50.0), store, tmp_path, settings) == history


def test_the_schedule_is_half_a_cosine_or_nothing(tmp_path, store):
    rates = {}
    for schedule in ("cosine", "constant"):
        settings = TrainSettings(epochs=4, schedule=schedule, learning_rate=0.02)
        history = loop.train(spec_by_name("tiny-ann"), store, tmp_path / schedule, settings)
        rates[schedule] = [entry["learning_rate"] for entry in history]
    assert rates["cosine"] == pytest.approx([0.02 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)])
    assert rates["constant"] == [0.02] * 4


def test_the_log_says_what_the_history_says(tmp_path, store):
    history = loop.train(SPEC, store, tmp_path, TrainSettings(epochs=2))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    for row, entry in zip(rows, history, strict=True):
        assert (int(row["epoch"]), int(row["step"]), float(row["loss"])) == (
            entry["epoch"],
            entry["step"],
            entry["loss"],
        )
        assert float(row["validation_accuracy"]) == entry["validation"]["accuracy"]
        assert float(row["firing_rate:features.2"]) == entry["firing_rates"]["features.2"]
    batches = list(csv.DictReader((tmp_path / "steps.csv").open()))
    assert [(int(row["epoch"]), int(row["step"])) for row in batches] == [(1 + i // 3, i + 1) for i in range(6)]
    losses = [float(row["loss"]) * int(row["clips"]) for row in batches[:3]]
    assert sum(losses) / 24 == pytest.approx(history[0]["loss"])


def test_firing_rates_are_those_of_the_spikes(tmp_path, store):
    history = loop.train(SPEC, store, tmp_path, TrainSettings(epochs=1))
    network, _ = load_model(tmp_path)
    clips = torch.from_numpy(store.batch(store.indices("val")))
    with torch.no_grad():
        values = clips
        for name, module in network.features.named_children():
            values = module(values)
            if hasattr(module, "v_threshold"):
                assert history[0]["firing_rates"][f"features.{name}"] == pytest.approx(float(values.mean()), abs=1e-6)


def test_on_epoch_sees_every_epoch_with_its_network(tmp_path, store):
    seen = []
    history = loop.train(
        SPEC, store, tmp_path, TrainSettings(epochs=2), on_epoch=lambda entry, network: seen.append((entry, network))
    )
    assert [entry for entry, _ in seen] == history
    assert hasattr(seen[0][1], "emotional_mapping")


def test_tensorboard_is_written_or_missed_by_name(tmp_path, store):
    settings, keeping = TrainSettings(epochs=1), Keeping(tensorboard=True)
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"E905 tensorboard: not installed\n.*pip install tensorboard"):
            loop.train(SPEC, store, tmp_path, settings, keeping=keeping)
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loop.train(SPEC, store, tmp_path, settings, keeping=keeping)
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in read.Scalars("loss/training")] == [1, 2, 3]
    assert [event.step for event in read.Scalars("accuracy/validation")] == [3]


def test_the_best_network_stays_when_later_ones_are_worse(tmp_path, store):
    history = loop.train(SPEC, store, tmp_path, TrainSettings(epochs=6, learning_rate=0.3, schedule="constant"))
    network, description = load_model(tmp_path)
    result = evaluate(network, description.spec, store, store.indices("val"))
    best = max(history, key=loop.rank)
    assert (result.score.accuracy, -result.steps.loss[-1]) == pytest.approx(loop.rank(best))


def test_diverging_training_says_so(tmp_path, store):
    broken = FakeStore()
    broken.data[:] = np.nan
    with pytest.raises(TrainingError, match=r"loss nan in batch 1; limit a finite number\n.*lower the learning rate"):
        loop.train(spec_by_name("tiny-ann"), broken, tmp_path, TrainSettings(epochs=1))


def test_the_best_network_survives_a_divergence(tmp_path, store, monkeypatch):
    real, calls = steps.gradient_norm, []

    def norm(network):
        calls.append(real(network))
        return math.nan if len(calls) == 5 else calls[-1]

    monkeypatch.setattr(loop, "gradient_norm", norm)
    with pytest.raises(TrainingError, match=r"gradient norm nan in batch 2; .*\n.*of epoch 1, is in "):
        loop.train(SPEC, store, tmp_path, TrainSettings(epochs=2))
    assert load_model(tmp_path)[1].spec == SPEC


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


def test_data_of_another_size_are_refused_with_all_reasons(tmp_path):
    with pytest.raises(InputError) as caught:
        loop.train(SPEC, FakeStore(size=40, steps=6), tmp_path, TrainSettings(epochs=1))
    assert {finding.found for finding in caught.value.findings} == {
        "frame size of the data is 40",
        "steps of the data is 6",
    }

"""What a training refuses before it starts, and what is left when it fails underway."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys

import numpy as np
import pytest
import torch

from hw_targets.finding import Finding, InputError
from neuroemo.models.emotion import spec_by_name
from neuroemo.training import loop
from neuroemo.training.checkpoint import load_model, load_tensors, save_tensors
from neuroemo.training.loop import Keeping, TrainSettings
from neuroemo.training.resume import differences
from tests.training.fake_store import FakeStore

SPEC = spec_by_name("tiny")
ONE = TrainSettings(epochs=1)


def findings_of(call):
    with pytest.raises(InputError) as caught:
        call()
    return {(finding.code, finding.node) for finding in caught.value.findings}


def test_bad_settings_are_refused_at_once():
    with pytest.raises(InputError) as caught:
        TrainSettings(epochs=0, batch=-1, learning_rate=float("nan"))
    assert [finding.node for finding in caught.value.findings] == ["epochs", "batch", "learning_rate"]


@pytest.mark.parametrize(
    ("name", "wrong", "just"),
    [
        ("seed", -1, 0),
        ("shift", 1.5, 1),
        ("shift_steps", -1, 0),
        ("momentum", 1.0, 0.0),
        ("drop_events", 1.0, 0.99),
        ("weight_decay", -1e-9, 0.0),
        ("weight_decay", float("inf"), 5.0),
        ("clip_gradient", 0.0, 1e-9),
        ("patience", 0, 1),
        ("balanced", 1, True),
        ("optimiser", "adam", "sgd"),
        ("schedule", None, "constant"),
        ("precision", "float16", "bfloat16"),
        ("engine", "cupy", "fused"),
        ("threads", 1.0, 2),
        ("epochs", True, 1),
    ],
)
def test_each_setting_has_its_range(name, wrong, just):
    TrainSettings(**{name: just})
    assert {node for _, node in findings_of(lambda: TrainSettings(**{name: wrong}))} == {name}


def test_contradictions_are_named_together():
    found = findings_of(
        lambda: TrainSettings(
            augment=False, drop_events=0.1, shift_steps=1, optimiser="adamw", engine="fused", precision="bfloat16"
        )
    )
    assert found == {("E901", name) for name in ("drop_events", "shift_steps", "layerwise", "precision")}


def test_a_store_that_cannot_be_learnt_from_is_refused_with_every_reason(tmp_path):
    store = FakeStore()
    store.classes = ("left", "right", "up")
    store.labels = store.labels.copy()
    store.labels[[3, 7]] = 9, -1
    store.splits = tuple("train" if split == "val" else split for split in store.splits)
    spec = spec_by_name("tiny", classes=3)
    found = findings_of(lambda: loop.train(spec, store, tmp_path / "run", ONE))
    assert found == {("E902", "clip3"), ("E902", "clip7"), ("E903", "data"), ("E903", "up")}
    assert not (tmp_path / "run").exists()


def test_settings_that_the_network_cannot_have(tmp_path):
    store = FakeStore()
    wide = TrainSettings(epochs=1, shift=32, shift_steps=7)
    assert findings_of(lambda: loop.train(SPEC, store, tmp_path, wide)) == {("E901", "shift"), ("E901", "shift_steps")}
    fused = TrainSettings(epochs=1, engine="fused")
    assert findings_of(lambda: loop.train(spec_by_name("tiny-ann"), store, tmp_path, fused)) == {("E901", "engine")}
    loop.train(spec_by_name("tiny-ann"), store, tmp_path / "fits", TrainSettings(epochs=1, shift=31, shift_steps=6))


def test_other_settings_or_data_do_not_continue_a_run_and_are_named(tmp_path):
    store = FakeStore()
    loop.train(SPEC, store, tmp_path, ONE)
    with pytest.raises(InputError, match=r"another network, data or settings: settings\.epochs is 1, asked for 2\n"):
        loop.train(SPEC, store, tmp_path, TrainSettings(epochs=2))
    with pytest.raises(InputError, match="another network, data or settings: data is "):
        loop.train(SPEC, FakeStore(seed=1), tmp_path, ONE)
    assert loop.train(SPEC, store, tmp_path, ONE)[0]["epoch"] == 1


def test_a_run_of_an_older_version_had_the_defaults_of_today():
    old = {"settings": {"epochs": 2, "seed": 3}, "data": "x"}
    assert differences(old, {"settings": TrainSettings(epochs=2, seed=3).to_dict(), "data": "x"}) == []
    told = differences(old, {"settings": TrainSettings(epochs=2, seed=3, balanced=True).to_dict(), "data": "x"})
    assert told == ["settings.balanced is False, asked for True"]
    assert differences(None, {}) == ["it does not say which"]


@pytest.mark.parametrize("damage", [{"random": {}}, {"history": 3}, {"schedule": []}, {"learning_rate": "x"}])
def test_a_damaged_state_is_no_traceback(tmp_path, damage):
    import json

    store = FakeStore()
    loop.train(SPEC, store, tmp_path, ONE)
    tensors, metadata = load_tensors(tmp_path / "last.safetensors")
    progress = json.loads(metadata["progress"]) | damage
    save_tensors(tmp_path / "last.safetensors", tensors, {"progress": json.dumps(progress)})
    with pytest.raises(InputError, match=r"E077 .*no training progress in it"):
        loop.train(SPEC, store, tmp_path, ONE)


class BreakingStore(FakeStore):
    """A store whose disk fails after so many batches."""

    left = 0

    def batch(self, indices):
        self.left -= 1
        if self.left == 0:
            raise InputError(Finding("E799", "error", "clips.h5", "spikes cannot be read: OSError"))
        return super().batch(indices)


def test_a_store_that_breaks_while_training_leaves_a_run_that_goes_on(tmp_path):
    settings = TrainSettings(epochs=2)
    whole = loop.train(SPEC, FakeStore(), tmp_path / "whole", settings)
    store = BreakingStore()
    store.left = 6  # three batches of an epoch, one of validation, and then in the second epoch
    with pytest.raises(InputError, match="E799"):
        loop.train(SPEC, store, tmp_path / "cut", settings, keeping=Keeping(save_every_s=0.0))
    assert load_model(tmp_path / "cut")[1].spec == SPEC
    assert loop.train(SPEC, store, tmp_path / "cut", settings) == whole


def train_with_little_disk(out, most):
    """Train where no file can grow beyond ``most`` bytes, as on a full disk, and tell the finding's code by exit."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    code = 1
    try:
        loop.train(SPEC, FakeStore(), out, TrainSettings(epochs=3))
    except InputError as error:
        [finding] = error.findings
        told = finding.code == "E904" and "cannot be written" in finding.found and "free space" in finding.fix
        code = 42 if told else 2
    finally:
        os._exit(code)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_FSIZE")
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    settings = TrainSettings(epochs=3)
    whole = loop.train(SPEC, FakeStore(), tmp_path / "whole", settings)

    def stop(done, total, loss):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(SPEC, FakeStore(), tmp_path / "cut", settings, progress=stop)
    before = {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir() if "safetensors" in path.name}
    assert len(before) == 2
    child = multiprocessing.get_context("spawn").Process(target=train_with_little_disk, args=(tmp_path / "cut", 4096))
    child.start()
    child.join(120)
    assert child.exitcode == 42
    after = {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir()}
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name.endswith(".partial")]
    assert loop.train(SPEC, FakeStore(), tmp_path / "cut", settings) == whole


def test_a_folder_that_cannot_be_written_says_so_before_the_first_batch(tmp_path):
    (tmp_path / "file").write_text("")
    batches = []
    with pytest.raises(InputError, match=r"E904 .*cannot be written: .*\n.*change its rights"):
        loop.train(SPEC, FakeStore(), tmp_path / "file" / "run", ONE, progress=lambda *told: batches.append(told))
    assert not batches


def test_the_last_writer_of_a_failed_save_is_the_saved_state(tmp_path, monkeypatch):
    """A disk that fills up in the second epoch's save: the first epoch is what both files hold."""
    from neuroemo.training import resume

    real, calls = resume.save_last, []

    def full(*args):
        calls.append(1)
        if len(calls) == 2:
            (args[0] / "last.safetensors.partial").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(*args)

    monkeypatch.setattr(resume, "save_last", full)
    with pytest.raises(InputError, match=r"E904 .*No space left on device"):
        loop.train(SPEC, FakeStore(), tmp_path, TrainSettings(epochs=2))
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.setattr(resume, "save_last", real)
    history = loop.train(SPEC, FakeStore(), tmp_path, TrainSettings(epochs=2))
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert np.isfinite(history[1]["loss"])

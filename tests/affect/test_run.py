from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from neuroemo.affect.run import AffectDescription, open_affect, save_affect
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.table import spec_by_name

SPEC = spec_by_name("vit@32", depth=1, embedding=8, heads=1, feedforward=8)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    told = AffectDescription(SPEC, EventFrameSettings(size=32), {"fingerprint": "abc"}, (0.25, -0.5), "random")
    save_affect(tmp_path / "run", build_affect(SPEC), told)
    return tmp_path / "run"


def change(folder, **entries):
    told = json.loads((folder / "model.json").read_text())
    for name, value in entries.items():
        if value is None:
            del told[name]
        else:
            told[name] = value
    (folder / "model.json").write_text(json.dumps(told))


def test_what_was_saved_is_opened(folder):
    torch.manual_seed(0)
    wanted = build_affect(SPEC).eval()
    run = open_affect(folder)
    assert (run.spec, run.train_mean, run.trained_on) == (SPEC, (0.25, -0.5), {"fingerprint": "abc"})
    assert run.frames_settings == EventFrameSettings(size=32)
    assert run.value_names == ("valence", "arousal")
    assert not run.network.training
    x = torch.rand(2, 1, 1, 32, 32)
    assert torch.equal(run.network(x), wanted(x))
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"train_mean": [0.1]}, "train_mean"),
        ({"train_mean": [0.1, 7]}, "train_mean 7"),
        ({"train_mean": None}, "train_mean"),
        ({"value_names": ["arousal", "valence"]}, "value_names"),
        ({"initialisation": 3}, "initialisation 3"),
        ({"trained_on": "faces"}, "trained_on 'faces'"),
        ({"kind": "other"}, "not an affect run: kind 'other'"),
    ],
)
def test_a_damaged_description(folder, entries, found):
    change(folder, **entries)
    with pytest.raises(InputError, match=r"E955.*model.json") as error:
        open_affect(folder)
    assert found in str(error.value)


def test_a_spec_or_frame_settings_that_are_wrong(folder):
    change(folder, spec={**SPEC.to_dict(), "depth": 0})
    with pytest.raises(InputError, match=r"E965.*depth 0"):
        open_affect(folder)
    change(folder, spec=SPEC.to_dict(), event_frames={"size": 32})
    with pytest.raises(InputError, match="E867"):
        open_affect(folder)


def test_weights_that_do_not_fit(folder):
    from neuroemo.training.checkpoint import load_tensors, save_tensors

    tensors, _ = load_tensors(folder / "model.safetensors")
    name = next(iter(tensors))
    broken = {**tensors, name: tensors[name][..., :-1].contiguous(), "more": torch.zeros(1)}
    save_tensors(folder / "model.safetensors", broken)
    with pytest.raises(InputError, match=r"E072.*more") as error:
        open_affect(folder)
    assert "E073" in str(error.value)
    tensors[name].view(-1)[0] = np.nan
    save_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(InputError, match=r"E074.*1 of"):
        open_affect(folder)
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not safetensors")
    with pytest.raises(InputError, match="E076"):
        open_affect(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="E075"):
        open_affect(folder)


def test_folders_that_are_none(folder, tmp_path):
    with pytest.raises(InputError, match=r"E955.*no such folder"):
        open_affect(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"E955.*a file, not the folder of a run"):
        open_affect(folder / "model.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="E063"):
        open_affect(tmp_path / "empty")
    (folder / "model.json").write_text("[" * 100000)
    with pytest.raises(InputError, match="E064"):
        open_affect(folder)


def test_a_network_of_classes_is_named_and_so_is_an_affect_run_where_classes_are_wanted(folder, tmp_path):
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.models.emotion import build_network
    from neuroemo.models.emotion import spec_by_name as emotion_spec
    from neuroemo.training.checkpoint import Description, load_model, save_model, trained_on

    spec = emotion_spec("tiny")
    told = Description(spec, FrameDiffSettings(size=spec.size, steps=spec.steps), ("a", "b"), 33333.0)
    save_model(tmp_path / "classes", build_network(spec), told)
    with pytest.raises(InputError, match="a network of classes of emotion") as error:
        open_affect(tmp_path / "classes")
    assert "score it with `neuroemo evaluate`" in str(error.value)
    for read in (load_model, trained_on):
        with pytest.raises(InputError, match=r"E070.*valence and arousal") as error:
            read(folder)
        assert "neuroemo affect evaluate" in str(error.value)

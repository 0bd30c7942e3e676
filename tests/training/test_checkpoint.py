"""Checkpoints: what goes in comes out, and damage is named, never executed."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hw_targets.finding import InputError
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.training.checkpoint import Description, load_model, save_model

SPEC = spec_by_name("tiny")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    description = Description(SPEC, FrameDiffSettings(size=32, steps=8), ("negative", "positive"), 66666.7)
    save_model(tmp_path / "m", build_network(SPEC), description)
    return tmp_path / "m"


def test_round_trip(folder):
    network, description = load_model(folder)
    torch.manual_seed(0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), build_network(SPEC).state_dict().values(), strict=True)
    )
    assert description.spec == SPEC
    assert not network.training


def change(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_nan_weights_are_counted(folder):
    change(folder, lambda tensors: tensors["features.0.weight"].view(-1)[:3].fill_(float("nan")))
    with pytest.raises(InputError, match=r"E074 .*3 of 72 values of features.0.weight are NaN"):
        load_model(folder)


def test_missing_unknown_and_misshapen_weights_come_at_once(folder):
    def edit(tensors):
        tensors["stranger"] = tensors.pop("features.0.weight")
        tensors["features.4.weight"] = torch.zeros(1, 2)

    change(folder, edit)
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert [finding.code for finding in caught.value.findings] == ["E071", "E072", "E073"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("model.safetensors", b"\x80\x04pickle", "E076"),
        ("model.safetensors", None, "E075"),
        ("model.json", b"{", "E064"),
        ("model.json", b"[]", "E064"),
        ("model.json", b"{}", "E070"),
        ("model.json", None, "E063"),
    ],
)
def test_damaged_files_are_refused(folder, name, content, code):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=code):
        load_model(folder)


def test_unknown_spec_entry_is_refused(folder):
    data = json.loads((folder / "model.json").read_text())
    data["spec"]["surprise"] = 1
    (folder / "model.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="surprise"):
        load_model(folder)

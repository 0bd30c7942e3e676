"""Frames between frames by a network: against v2e's own Super SloMo, in pieces, and with files that hold no weights."""

from __future__ import annotations

import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slow_motion_formula as formula
import torch
from safetensors.numpy import save_file

from hw_targets.finding import InputError
from neuroemo.cli import run
from neuroemo.datasets.clip_settings import PixelClipSettings, settings_from_dict
from neuroemo.datasets.clip_source import ClipSource, make_clip
from neuroemo.datasets.store import ClipStore
from neuroemo.datasets.store_file import unpack_spikes
from neuroemo.events.readers import open_events
from neuroemo.events.slow_motion_network import MEAN_GRAY, SlowMotionNetwork, load_network
from neuroemo.events.slow_motion_weights import NetworkWeights, find_weights, tensor_shapes
from neuroemo.events.upsample import Upsampler, UpsampleSettings, upsample
from neuroemo.events.video import write_h264

HERE = Path(__file__).resolve().parent
PROVENANCE = json.loads((HERE / "golden" / "super_slomo.json").read_text())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "formula.safetensors"
    save_file({name: formula.tensor(name, shape) for name, shape in tensor_shapes().items()}, path)
    yield path
    load_network.cache_clear()
    path.unlink()


@pytest.fixture(scope="module")
def weights(file):
    return find_weights(file)


@pytest.fixture(scope="module")
def golden():
    with np.load(HERE / "golden" / "super_slomo.npz") as kept:
        return dict(kept)


@pytest.mark.parametrize(("name", "mean"), [("gpu", MEAN_GRAY), ("processor", 0.0)])
def test_pictures_and_flows_are_v2es(weights, golden, name, mean):
    assert "cac638444557a224ba6ee5c29260916f152c00bd" in PROVENANCE["source"]
    assert np.array_equal(golden["frames"], formula.frames())
    network = load_network(weights, weights.path) if mean else SlowMotionNetwork(weights, mean=mean)
    pair = network.pair(*golden["frames"])
    flows = np.concatenate([flow.transpose(2, 0, 1) for flow in pair.flows()])
    assert np.abs(flows - golden[f"{name}_flows"]).max() < 1e-3
    assert np.ptp(flows) > 5
    for time, wanted in zip(PROVENANCE["times"], golden[f"{name}_pictures"], strict=True):
        assert np.abs(pair.gray(time) - wanted).max() < 1e-4
        assert np.array_equal(pair.at(time), np.clip(np.floor(pair.gray(time) * 255 + 0.5), 0, 255).astype(np.uint8))


def test_the_number_of_frames_follows_the_networks_own_flow(weights, golden):
    columns, rows, *_ = golden["gpu_flows"]
    back = golden["gpu_flows"][2:]
    fastest = max(np.hypot(columns, rows).max(), np.hypot(*back).max())
    camera = Upsampler(UpsampleSettings(method=weights))
    made = list(camera.feed(golden["frames"], [0, 1000]))
    assert camera.report.largest_factor == int(np.ceil(fastest)) == len(made) - 1 > 2
    limited = Upsampler(UpsampleSettings(method=weights, largest_factor=2))
    assert len(list(limited.feed(golden["frames"], [0, 1000]))) == 3
    assert (limited.report.limited_pairs, limited.report.largest_factor) == (1, 2)
    slow = Upsampler(UpsampleSettings(method=weights, least_flow=float(fastest) + 0.01))
    assert len(list(slow.feed(golden["frames"], [0, 1000]))) == 2


def test_pieces_give_the_frames_of_the_whole_and_threads_change_nothing(weights):
    video = np.concatenate([formula.frames(40, 50), formula.frames(40, 50)[:, ::-1]])
    settings = UpsampleSettings(method=weights, factor=2)
    whole, times = upsample(video, [0, 10, 20, 30], settings)
    assert times.tolist() == list(range(0, 31, 5))
    assert np.array_equal(whole[::2], video)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        camera = Upsampler(settings)
        parts = [(video[:1], [0]), (video[1:3], [10, 20]), (video[3:], [30])]
        pieces = [frame for part in parts for frame, _ in camera.feed(*part)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(np.stack(pieces), whole)


def test_pictures_of_any_size_continue_beyond_their_last_row_and_column(weights):
    frames = formula.frames(40, 50)
    wider = np.pad(frames, ((0, 0), (0, 24), (0, 14)), mode="edge")
    assert wider.shape == (2, 64, 64)
    network = load_network(weights, weights.path)
    small, large = network.pair(*frames), network.pair(*wider)
    assert np.array_equal(small.at(0.5), large.at(0.5)[:40, :50])
    assert np.array_equal(small.flows()[1], large.flows()[1][:40, :50])
    assert small.flows()[0].shape == (40, 50, 2)


def test_numbers_that_overflow_are_refused(weights):
    network = SlowMotionNetwork(weights)
    tensors = dict(network._tensors)
    for part, what in (("state_dictFC", "optical flow"), ("state_dictAT", "picture")):
        network._tensors = tensors | {f"{part}.conv1.weight": tensors[f"{part}.conv1.weight"] * 1e38}
        with pytest.raises(InputError, match=rf"E859 formula\.safetensors: \d+ of \d+ values of the network's {what}"):
            network.pair(*formula.frames(32, 32)).gray(0.5)
    network._tensors = tensors
    network.pair(*formula.frames(32, 32)).gray(0.5)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_is_refused_by_name_and_never_run(tmp_path):
    bomb = tmp_path / "bomb"
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Bomb(bomb), protocol=2))
    for name, zipped in (("old.ckpt", False), ("new.safetensors", True)):
        torch.save({"x": Bomb(bomb)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    for name in ("bare.ckpt", "old.ckpt", "new.safetensors"):
        with pytest.raises(InputError, match=r"E858 .*pickle .*which can run code[^$]*docs/event-camera\.md"):
            UpsampleSettings(method=tmp_path / name)
    assert not bomb.exists()
    pickle.loads((tmp_path / "bare.ckpt").read_bytes())  # the bomb is a real one
    assert bomb.exists()


def test_files_that_are_no_safetensors(file, tmp_path):
    with file.open("rb") as whole:
        start = whole.read(20_000)
    header = struct.unpack("<Q", start[:8])[0]
    for number, content in enumerate((b"", b"\0", b"RIFF" * 100, start, start[: 8 + header], b"\xff" * 64)):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"E858 .*not a readable safetensors file"):
            find_weights(path)
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match=r"E857 .*no such file, and no method; limit none, linear, dis, or FILE"):
            find_weights(path)


def test_damaged_headers_never_crash(file, tmp_path):
    with file.open("rb") as whole:
        start = bytearray(whole.read(20_000))
    random = np.random.default_rng(0)
    path = tmp_path / "mutant.safetensors"
    for _ in range(200):
        mutant = start.copy()
        for place in random.integers(0, len(mutant), 3):
            mutant[place] = random.integers(0, 256)
        path.write_bytes(mutant[: random.integers(1, len(mutant) + 1)])
        with pytest.raises(InputError, match="E858"):
            find_weights(path)


def test_tensors_that_do_not_fit_are_all_named(tmp_path):
    path = tmp_path / "a.safetensors"
    names = list(tensor_shapes())
    small = {name: np.zeros(3, np.float32) for name in names}
    save_file(small, path)
    with pytest.raises(InputError) as caught:
        find_weights(path)
    assert len(caught.value.findings) == len(names) == 92
    assert "E858 state_dictFC.conv1.weight: F32 [3]; limit F32 [32, 2, 7, 7]" in str(caught.value)
    save_file(
        {name: value for name, value in small.items() if name not in names[:5]} | {"optimizer": small[names[0]]}, path
    )
    with pytest.raises(
        InputError, match=r"5 tensors are missing: 'state_dictFC.conv1.bias', .* and 2 more; limit the 92"
    ):
        find_weights(path)
    with pytest.raises(InputError, match="1 tensors are unknown: 'optimizer'"):
        find_weights(path)
    save_file({name: np.zeros(tensor_shapes()[name], np.float16) for name in names if name.endswith("bias")}, path)
    with pytest.raises(InputError, match=r"E858 state_dictAT.conv3.bias: F16 \[5\]; limit F32 \[5\]"):
        find_weights(path)


def test_a_weight_that_is_no_number_and_a_file_that_changed(file, weights):
    def end_with(number):
        with file.open("r+b") as whole:
            whole.truncate(size - 4)
            whole.seek(size - 4)
            whole.write(number)

    size = file.stat().st_size
    with file.open("rb") as whole:
        whole.seek(-4, os.SEEK_END)
        last = whole.read()
    assert weights.at(file) == weights
    try:
        end_with(struct.pack("<f", float("nan")))
        with pytest.raises(InputError, match=r"E858 state_dict\S+: 1 of \d+ values are not finite"):
            find_weights(file)
        with pytest.raises(InputError, match=f"E857 .*other weights: SHA-256 .*; limit {weights.sha256}"):
            SlowMotionNetwork(weights)
        end_with(b"")
        with pytest.raises(InputError, match=r"E858 .*not a readable safetensors file"):
            find_weights(file)
    finally:
        end_with(last)
    assert find_weights(file) == weights


def test_settings_know_the_weights_by_name_and_digest(weights):
    made = PixelClipSettings(size=32, steps=3, slow_motion=UpsampleSettings(method=weights))
    told = json.loads(json.dumps(made.to_dict()))
    assert told["slow_motion"]["method"] == {"name": "formula.safetensors", "sha256": weights.sha256}
    assert settings_from_dict(told) == made
    broken = (
        {"name": "a"},
        {"name": "a/b", "sha256": "0" * 64},
        {"name": "a", "sha256": "0" * 63},
        {"name": 3, "sha256": 4},
    )
    for method in (*broken, told["slow_motion"]["method"] | {"path": "/etc"}):
        with pytest.raises(InputError, match=r"E867 settings|E763 method\.(name|sha256)"):
            settings_from_dict(told | {"slow_motion": told["slow_motion"] | {"method": method}})
    with pytest.raises(InputError, match="E867 size: 11 pixels with slow motion"):
        replace(made, size=11)
    absent = UpsampleSettings(method=NetworkWeights(weights.name, weights.sha256))
    with pytest.raises(
        InputError, match=rf"E857 formula\.safetensors: .*not at hand; their SHA-256 is {weights.sha256}"
    ):
        Upsampler(absent)


def test_the_verbs_take_a_file(file, weights, tmp_path, capsys):
    def told(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, capsys.readouterr()

    root = tmp_path / "videos"
    for number in range(6):  # three per class, one for each split
        path = root / ("right" if number < 3 else "left") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        turned = formula.frames(64, 64)[:, :, :: 1 if number < 3 else -1].astype(int)
        # Weak waves around the mean gray: a network of random weights makes noise of strong ones.
        write_h264(path, (109 + (turned - 128) // (4 + number % 3)).astype(np.uint8), fps=20.0)
    name = "right/0.mp4"
    pixel = ("--model", "pixel", "--slow-motion", file, "-q", "--json")
    store = tmp_path / "clips.h5"
    shape = ("--size", 32, "--steps", 2, "--workers", 1)
    code, shown = told("data", "prepare", "folder", "--root", root, "--out", store, *shape, *pixel)
    assert code == 0, shown.err
    assert json.loads(shown.out)["settings"]["slow_motion"]["method"]["sha256"] == weights.sha256
    events = tmp_path / "e.npz"
    code, shown = told("events", root / name, "-o", events, "--sensor", "32x32", *pixel)
    assert code == 0, shown.err
    result = json.loads(shown.out)["slow_motion"]
    assert result["network"] == {"name": "formula.safetensors", "sha256": weights.sha256}
    assert (result["pairs"], result["largest_factor"] > 2) == (1, True)

    with ClipStore.open(store) as made:
        settings, spikes = made.settings, made.clip(made.names.index(name)).spikes
    source = ClipSource(name, str(root / name))
    with pytest.raises(InputError, match=r"E857 formula\.safetensors: .*not at hand"):
        make_clip(source, settings)
    at_hand = replace(settings, slow_motion=replace(settings.slow_motion, method=settings.slow_motion.method.at(file)))
    assert np.array_equal(unpack_spikes(make_clip(source, at_hand).spikes, at_hand), spikes)
    # The verb `events` draws another mismatch of thresholds, so the counts are only near.
    assert spikes.any()
    assert len(open_events(events).events) > spikes.sum() / 2

    code, shown = told("events", root / name, "-o", tmp_path / "n.npz", "--model", "pixel", "--slow-motion", "magic")
    assert code == 2
    assert "E857 magic: no such file, and no method; limit none, linear, dis, or FILE.safetensors" in shown.err
    assert not (tmp_path / "n.npz").exists()


def test_the_documented_conversion_gives_these_tensors(tmp_path, monkeypatch):
    if not hasattr(torch.serialization, "safe_globals"):
        pytest.skip("the lines need torch 2.5")
    import datetime

    from safetensors.numpy import load_file

    parts = {part: {"conv1.bias": torch.arange(3.0) + n} for n, part in enumerate(("state_dictFC", "state_dictAT"))}
    text = (HERE.parent.parent / "docs" / "event-camera.md").read_text()
    lines = text.split("<!-- convert: begin -->\n```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    for zipped in (False, True):
        told = {"Detail": "End to end", "timestamp": datetime.datetime(2019, 5, 27), "loss": [[0.1]]}
        torch.save(told | parts, "SuperSloMo39.ckpt", _use_new_zipfile_serialization=zipped)
        exec(compile(lines, "docs", "exec"), {})
        made = load_file("SuperSloMo39.safetensors")
        assert {name: value.tolist() for name, value in made.items()} == {
            "state_dictFC.conv1.bias": [0.0, 1.0, 2.0],
            "state_dictAT.conv1.bias": [1.0, 2.0, 3.0],
        }
        Path("SuperSloMo39.safetensors").unlink()
    torch.save({"x": Bomb(tmp_path / "bomb")} | parts, "SuperSloMo39.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        exec(compile(lines, "docs", "exec"), {})
    assert not (tmp_path / "bomb").exists()

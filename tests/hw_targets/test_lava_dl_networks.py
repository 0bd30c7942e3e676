"""lava-dl's own test networks: our simulator against the ground truth that lies beside them, and against Lava."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hw_targets.loihi2 import lava
from hw_targets.loihi2.netx.reader import open_netx
from hw_targets.loihi2.simulate import simulate
from tests.hw_targets import lava_in_process

needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
pytestmark = pytest.mark.lava


def lava_dl_folder() -> Path:
    spec = importlib.util.find_spec("lava.lib.dl.netx")
    folder = Path(next(iter(spec.submodule_search_locations))).parents[3] / "tests/lava/lib/dl/netx"
    if not folder.is_dir():
        pytest.skip("this installation of lava-dl has no tests")
    return folder


def run_file(file: Path, clip: np.ndarray, mode: str, layers: int | None = None) -> list[np.ndarray]:
    """Messages of every population for one clip [T, C, H, W], [T, ...]."""
    payload = max(1, int(np.abs(clip).max()))
    chip = open_netx(file, steps=len(clip), first_frame="integers", payload=payload, layers=layers).chip
    run = simulate(chip, clip[:, None].astype(np.int32), mode=mode, overflow="wrap")
    return [messages[:, 0] for messages in run.spikes.values()]


@needs_lava
def test_tinynet_equals_its_ground_truth():
    """lava-dl's convolutional network: an image as constant drive; the files' frame t + 1 is our frame t."""
    folder = lava_dl_folder()
    image = np.load(folder / "gts/tinynet/input_bias.npy").transpose(2, 1, 0).astype(int)
    found = run_file(folder / "tiny.net", np.broadcast_to(image, (16, *image.shape)), "aligned")
    for messages, name in zip(found, ("input", "layer1", "output"), strict=True):
        truth = np.load(folder / f"gts/tinynet/{name}.npy")[0].transpose(3, 0, 1, 2)
        assert truth[1:].any()
        np.testing.assert_array_equal(messages[:15], truth[1:16], err_msg=name)


@needs_lava
def test_ntidigits_equals_its_ground_truth():
    """lava-dl's network with axonal delays; its last entry, an average, is no part of the chip."""
    folder = lava_dl_folder() / "gts/ntidigits"
    clip = np.load(folder / "input.npy")[:, :1000].T.reshape(1000, 1, 1, 64).astype(int)
    truth = np.load(folder / "output.npy").T[:1000]
    assert truth.sum() > 5000
    found = run_file(folder / "ntidigits.net", clip, "pipeline", layers=5)[-1]
    np.testing.assert_array_equal(found[:-1], truth[1:])


@needs_lava
def test_sigma_delta_pilotnet_equals_its_ground_truth():
    """lava-dl's steering network: one image held for nine steps, one for each population."""
    folder = lava_dl_folder() / "gts/pilotnet_sdnn"
    image = np.load(folder / "input.npy")[..., 0].transpose(2, 1, 0)
    found = run_file(folder / "network.net", np.broadcast_to(image, (9, *image.shape)), "pipeline")
    truth = np.load(folder / "output.npy")
    assert np.abs(truth).max() > 1000
    np.testing.assert_array_equal(found[-1].reshape(9), truth.reshape(9))


@needs_lava
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers", "high", "steps"),
    [
        ("tiny.net", None, 60, 6),
        ("mnist.net", None, 200, 12),
        ("gts/ntidigits/ntidigits.net", 5, 1, 150),
        ("gts/pilotnet_sdnn/network.net", None, 64, 10),
        ("gts/pilotnet_sdnn/square_network.net", None, 64, 7),
        ("gts/pilotnet_lif/network.net", None, 80, 12),
    ],
)
def test_lava_dls_own_networks_equal_lava(name, layers, high, steps):
    path = lava_dl_folder() / name
    probed = open_netx(path, steps=steps, first_frame="integers", payload=high, layers=layers)
    clip = np.random.default_rng(6).integers(0, high + 1, (steps, 1, *probed.chip.input_shape))
    traces = lava_in_process.pipeline(path, clip, graded=False, num_layers=layers)
    first_frame = "integers" if high > 1 else "spikes"
    chip = open_netx(path, steps=steps, first_frame=first_frame, payload=high, layers=layers).chip
    run = simulate(chip, clip, mode="pipeline", overflow="wrap", probe=[layer.name for layer in chip.layers])
    for trace, layer in zip(traces, chip.layers, strict=True):
        np.testing.assert_array_equal(run.spikes[layer.name], trace.messages, err_msg=layer.name)
        np.testing.assert_array_equal(run.drive[layer.name], trace.drive, err_msg=layer.name)
    assert sum(bool(trace.messages.any()) for trace in traces) >= 3


@needs_lava
@pytest.mark.slow
def test_pilotnet_equals_the_records_made_for_the_chip():
    """lava-dl's steering network of LIF neurons: spikes, u and v of nine populations, which its tests for Loihi 2 read.

    The records are in the chip's time, with a reset every 16 steps: frame t of population i stands at step t + i.
    """
    folder = lava_dl_folder() / "gts/pilotnet_lif"
    image = np.load(folder / "image.npy").transpose(2, 1, 0)
    clip = np.broadcast_to(image, (16, 1, *image.shape)).astype(np.int32)
    chip = open_netx(folder / "network.net", steps=16, first_frame="integers", payload=int(image.max())).chip
    run = simulate(chip, clip, mode="aligned", probe=[layer.name for layer in chip.layers])
    names = ["input", *(f"conv-{index}" for index in range(5)), *(f"fc-{index}" for index in range(3))]
    for index, name in enumerate(names):
        layer = f"layer{index}"
        spikes = run.spikes[layer]
        held = np.where(spikes == 1, 128, run.membrane[layer])  # the record's v of a neuron that has just fired
        for values, kind in ((spikes, ""), (run.current[layer], "-u"), (held, "-v")):
            if name == "input" and kind:
                continue  # not among the records
            truth = np.load(folder / f"{name}{kind}.npy").astype(np.int64)  # W, H, C, time
            assert truth.any()
            np.testing.assert_array_equal(values[:, 0], truth.transpose()[index : index + 16], err_msg=f"{name}{kind}")

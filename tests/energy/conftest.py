"""Tiny networks in every form that `neuroemo energy` takes, with clips; made once per session by our own verbs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neuroemo import cli
from tests import stranger
from tests.conftest import random_clips, spiking_network

CLIPS, CLASSES = 5, ("calm", "glad")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A checkpoint, its bundle and netx file, and clips [N, T, 2, H, W] with labels."""
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.training.checkpoint import Description, save_model

    folder = tmp_path_factory.mktemp("energy")
    network, spec = spiking_network()
    events = FrameDiffSettings(size=spec.size, steps=spec.steps, first_frame=spec.first_frame)
    save_model(folder / "net", network, Description(spec, events, CLASSES, 33333.0))
    clips = random_clips(spec, CLIPS, 1)
    np.savez(folder / "clips.npz", clips=clips.swapaxes(0, 1), labels=np.arange(CLIPS) % 2)
    np.save(folder / "unlabelled.npy", clips.swapaxes(0, 1))
    words = ("export", folder / "net", "-o", folder / "bundle", "--data", folder / "clips.npz", "-q")
    loose = ("--min-agreement", "0.5", "--min-labels", "0")
    assert cli.run([str(word) for word in (*words, *loose)]) == 0
    return SimpleNamespace(
        folder=folder,
        net=folder / "net",
        bundle=folder / "bundle",
        clips=folder / "clips.npz",
        unlabelled=folder / "unlabelled.npy",
        array=clips,
        network=network,
        spec=spec,
    )


@pytest.fixture(scope="session")
def strangers(tmp_path_factory):
    """Clips [N, T, 2, 8, 8] for the networks of ``tests.stranger``, and a netx file of one of them."""
    folder = tmp_path_factory.mktemp("strangers")
    spikes = (np.random.default_rng(1).random((6, 4, 2, 8, 8)) < 0.4).astype(np.float32)
    np.savez(folder / "clips.npz", clips=spikes.swapaxes(0, 1), labels=np.arange(4) % 2)
    words = ("export", "tests.stranger:good", "--input-shape", stranger.SHAPE, "--steps", stranger.STEPS, "--data",
             folder / "clips.npz", "-o", folder / "bundle", "--min-agreement", "0.5", "--min-labels", "0", "-q",
             )  # fmt: skip
    assert cli.run([str(word) for word in words]) == 0
    return SimpleNamespace(
        folder=folder,
        clips=folder / "clips.npz",
        bundle=folder / "bundle",
        net=folder / "bundle" / "target" / "model.net",
        array=spikes,
        words=("tests.stranger:good", "--input-shape", stranger.SHAPE, "--steps", stranger.STEPS),
    )


@pytest.fixture
def energy(capsys):
    """Run `neuroemo energy` and return (exit code, the JSON object); no traceback ever."""

    def run(*arguments: object) -> tuple[int, dict]:
        code = cli.run(["energy", *map(str, arguments), "--json", "-q"])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        shown = json.loads(told.out)
        assert shown["exit_code"] == code
        return code, shown

    return run


def codes(shown: dict) -> list[str]:
    return [finding["code"] for finding in shown["findings"]]


def untouched(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def own_list(path: Path, add="published", mult="published") -> str:
    """Write a price list of three rows, with the grades of its addition and of its multiplication."""
    head = 'id = "mine"\nname = "mine"\nkind = "arithmetic"\nscope = "mine"\n'
    grades = {"published": "printed", "derived": "add + mult", add: "one", mult: "another"}
    text = f"schema_version = 1\n[target]\n{head}[grades]\n" + "".join(f'{k} = "{v}"\n' for k, v in grades.items())
    for name, value, grade in (("add", 0.9, add), ("mult", 3.7, mult), ("mac", 4.6, mult)):
        text += f'[arithmetic.fp32.{name}]\nvalue = {value}\nunit = "pJ"\nsource = "A. Author, 2024"\nyear = 2024\n'
        text += f'grade = "{grade}"\nnode_nm = 45\nvoltage_v = 0.9\n'
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; tests that ask for it are skipped where there is none."""
    from browser import Browser

    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def small(browser, tmp_path_factory):
    """The page of the document written by hand."""
    from sample_document import sample_document

    from neuroemo.energy.page import render_page

    return browser.open(render_page(sample_document()), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(browser, tmp_path_factory):
    """The page of the large document, with hostile names."""
    from page_document import large_document

    from neuroemo.energy.page import render_page

    return browser.open(render_page(large_document()), tmp_path_factory.mktemp("large"))

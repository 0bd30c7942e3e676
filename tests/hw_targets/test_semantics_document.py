"""The documents of the simulator: every worked example is Lava's answer too, and everything that they name is there."""

from __future__ import annotations

import doctest
import io
import re
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import UnsupportedError
from hw_targets.loihi2 import lava
from hw_targets.loihi2 import simulate as simulator
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.netx.reader import KEYS
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.simulate import ChipRun
from neuroemo import cli
from tests.hw_targets import lava_in_process

ROOT = Path(__file__).resolve().parents[2]
SEMANTICS, SIMULATE = (ROOT / "docs" / name for name in ("semantics.md", "simulate.md"))


class AskingLava:
    """``simulate`` that asks Lava's classes as well, and fails where they answer anything else."""

    def __init__(self, folder: Path) -> None:
        self.simulate = simulator.simulate
        self.folder = folder
        self.asked = self.spiked = 0
        self.unsayable: list[str] = []

    def __call__(self, chip: ChipGraph, clips: np.ndarray, **options) -> ChipRun:
        shown = self.simulate(chip, clips, **options)
        path = self.folder / f"{self.asked}.net"
        try:
            write_netx(chip, path)
        except UnsupportedError as error:
            self.unsayable += [finding.found for finding in error.findings]
            return shown
        ours, traces = self.both(chip, path, clips, shown, options)
        assert len(traces) == len(chip.layers)
        for layer, trace in zip(chip.layers, traces, strict=True):
            name = layer.name
            np.testing.assert_array_equal(ours.spikes[name], trace.messages, err_msg=name)
            np.testing.assert_array_equal(ours.drive[name], trace.drive, err_msg=name)
            if layer.neuron == "lif":
                np.testing.assert_array_equal(ours.current[name], trace.u, err_msg=name)
                after = np.where(ours.spikes[name] == 1, 0, ours.membrane[name])
                np.testing.assert_array_equal(after, trace.v, err_msg=name)
            self.spiked += bool(trace.messages.any())
        self.asked += 1
        return shown

    def both(self, chip: ChipGraph, path: Path, clips: np.ndarray, shown: ChipRun, options: dict):
        """Lava's traces and the run that they are compared with: the one that is shown, if Lava can show it."""
        direct, graded = chip.layers[0].kind == "input", chip.payload > 1
        if options.get("mode") == "pipeline":
            reset = options.get("reset")
            told = {} if reset is None else {"reset_interval": reset.interval, "reset_offset": reset.offset}
            return shown, lava_in_process.pipeline(path, clips, graded=graded, **told)
        lif = all(layer.neuron == "lif" for layer in chip.layers)
        if lif and not any(layer.recurrent is not None or layer.delay is not None for layer in chip.layers):
            stream = clips.swapaxes(0, 1).reshape(-1, *clips.shape[2:])
            steps, samples = clips.shape[:2]
            return shown, lava_in_process.run(path, stream, steps=steps, samples=samples, graded=graded, direct=direct)
        late = self.simulate(chip, clips, **options | {"mode": "pipeline"})
        (name,) = shown.spikes
        if not np.any(chip.layers[0].bias):
            shift = 0 if direct else 1
            np.testing.assert_array_equal(late.spikes[name][shift:], shown.spikes[name][: len(clips) - shift])
        return late, lava_in_process.pipeline(path, clips, graded=graded)


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_every_worked_example_is_lavas_answer(tmp_path, monkeypatch):
    lava_in_process.import_lava()  # it prints, which an example must not
    asking = AskingLava(tmp_path)
    monkeypatch.setattr(simulator, "simulate", asking)
    examples = doctest.DocTestParser().get_doctest(SEMANTICS.read_text("utf-8"), {}, "semantics", str(SEMANTICS), 0)
    said = io.StringIO()
    failed, run = doctest.DocTestRunner(verbose=False).run(examples, out=said.write)
    assert not failed, said.getvalue()
    assert run > 60
    assert asking.asked >= 35
    assert asking.spiked >= 12
    # Shifts back that lose bits: netx finds them itself, from weights that are not these.
    assert asking.unsayable == ["weight exponent -1"] * 2


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_an_example_that_is_not_lavas_is_noticed(tmp_path, monkeypatch):
    lava_in_process.import_lava()
    asking = AskingLava(tmp_path)
    honest = asking.simulate

    def wrong(chip, clips, **options):
        run = honest(chip, clips, **options)
        run.drive["n"].flat[0] += 1
        return run

    asking.simulate = wrong
    monkeypatch.setattr(simulator, "simulate", asking)
    text = SEMANTICS.read_text("utf-8").split("## Input")[0]
    examples = doctest.DocTestParser().get_doctest(text, {}, "semantics", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(examples, out=lambda _: None).failed >= 1


def code_of_the_project() -> str:
    folders = ("hw_targets", "export", "neuroemo")
    return "\n".join(path.read_text("utf-8") for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


@pytest.mark.parametrize("document", [SEMANTICS, SIMULATE], ids=lambda path: path.name)
def test_codes_files_and_options_that_are_named_exist(document, capsys):
    text, code = document.read_text("utf-8"), code_of_the_project()
    codes = set(re.findall(r"\b[EW]\d{3}\b", text))
    assert len(codes) > 8
    assert not {name for name in codes if f'"{name}"' not in code}
    files = set(re.findall(r"`((?:tests/)?test_\w+\.py|brute_force\.py|simulation/\w+\.py)`", text))
    roots = (ROOT, ROOT / "tests/hw_targets", ROOT / "hw_targets/loihi2")
    assert not {name for name in files if not any((root / name).is_file() for root in roots)}
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["simulate", "--help"])
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["export", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w|-])--[a-z][a-z-]*[a-z]", text)) <= known


def test_the_numbers_of_tests_are_those_of_the_tests():
    table = SEMANTICS.read_text("utf-8").split("## What proves each rule")[1]
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests/hw_targets").glob("test_*.py"))
    for stated, name in (
        ("100 (1,200) random files", "test_1200_random_networks_equal_lava"),
        ("2 (64) files", "test_64_random_networks_equal_the_real_runtime"),
        ("40 (600)", "test_the_literal_twin_equals_lava_on_600_networks"),
        ("200 (2,000) chips", "test_spikes_and_membranes_of_2000_random_chips_equal_lavas"),
    ):
        assert stated in table
        assert f"def {name}(" in tests


def test_every_kind_of_entry_has_its_rule():
    text = SEMANTICS.read_text("utf-8")
    assert set(KEYS) == {"input", "flatten", "average", "conv", "dense", "dense_rec"}
    for kind in ("`input`", "`flatten`", "`average`", "Convolution", "Dense layers", "`dense_rec`"):
        assert kind in text

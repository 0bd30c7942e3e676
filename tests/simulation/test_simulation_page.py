"""The page of a simulated run: whole, readable for everyone, nothing injected; what is refused."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.simulation.figure import write_figures
from tests.simulation.figure_parts import SAMPLES, STEPS, SVG, Page, handmade, paths_of

ROOT = Path(__file__).resolve().parents[2]


CSS = (ROOT / "neuroemo" / "simulation" / "templates" / "figures.css").read_text(encoding="utf-8")


def luminance(colour):
    linear = linear_rgb(colour)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def linear_rgb(colour):
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def schemes():
    light, dark = (dict(re.findall(r"--([\w]+): (#\w{6});", line)) for line in CSS.splitlines()[:2])
    assert len(light) == len(dark) >= 14
    return {"light": light, "dark": dark}


def lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    ratio = np.clip(xyz / [0.9505, 1.0, 1.089], 0, None)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


VISION = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def codes(*arguments, **options):
    with pytest.raises(InputError) as caught:
        write_figures(*arguments, **options)
    return {finding.code: str(finding) for finding in caught.value.findings}


@pytest.fixture(scope="module")
def cost():
    spec = importlib.util.spec_from_file_location("simulate_figures", ROOT / "benchmarks" / "simulate_figures.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_figures"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulate_figures"]


def point(x, ms, dense=None, event=None, peak=400):
    return {"x": x, "ms_per_step": ms, "dense_ms": dense, "event_ms": event, "peak_mb": peak}


def made_up():
    return {
        "size": [point(s, 3e-4 * s * s, 4e-4 * s * s, 5e-4 * s * s, 300 + s) for s in (32, 64, 128, 256)],
        "steps": [point(t, 3.5, 5, 3.6) for t in (16, 32, 64, 128, 256)],
        "batch": [point(b, 3.5, 5, 3.6) for b in (1, 2, 4, 8, 16, 32)],
        "density": [point(d, min(5, 30 * d), 5, 30 * d) for d in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)],
        "base": {"size": 128},
        "idle_mb": 200.0,
    }


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page):
    assert page.html.startswith("<!DOCTYPE html>")
    assert set(re.findall(r"https?://[^\"'\s<>]*", page.html)) == {"http://www.w3.org/2000/svg"}
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert 'name="viewport"' in page.html
    assert "prefers-color-scheme: dark" in page.html


def test_every_drawing_has_a_name_a_description_and_numbers_in_a_table(page, ran):
    assert len(page.drawings) == SAMPLES * 7
    for drawing in page.drawings:
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label")
        assert len(drawing.find(f"{SVG}desc").text) > 20
        width = float(drawing.get("viewBox").split()[2])
        for each in drawing.iter(f"{SVG}text"):
            assert -1 <= float(each.get("x")) <= width
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', page.html)
    assert len(rows) == SAMPLES * (STEPS + 30)
    cells = re.findall(r"<td>(.*?)</td>", rows[5][1])  # step 6 of the first clip
    run, _, clips = ran
    assert cells[:2] == [str(int(clips[5, 0, channel].sum())) for channel in (0, 1)]
    assert cells[4:] == [str(int(run.output[:6, 0, c * 10 : c * 10 + 10].sum())) for c in range(3)]


def test_names_cannot_inject_anything(tmp_path):
    evil = "<script>alert(1)</script>\"'&\u202e\x00"
    run, chip = handmade(membrane=np.zeros((6, 1, 4), int), name=evil)
    paths = write_figures(run, chip, tmp_path, [evil], [evil, "b"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    page = Page(paths[0].read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text  # as words
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "\x00" not in text
        assert "\u202e" not in text
    assert all(ElementTree.fromstring(path.read_bytes()) is not None for path in paths[1:])


def test_a_file_of_its_own_has_name_style_and_ground(ran, tmp_path):
    run, chip, clips = ran
    paths = write_figures(run, chip, tmp_path / "new" / "folder", ["a", "b", "c"], ["x", "y", "z"], clips)
    assert [path.name for path in paths] == ["raster.html", "voting-1.svg", "voting-2.svg", "voting-3.svg"]
    root = ElementTree.fromstring(paths[1].read_bytes())
    assert root.find(f"{SVG}title").text == "Voting neurons of a"
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}rect").get("class") == "paper"
    used = {name for each in root.iter() for name in each.get("class", "").split()}
    assert {name for name in used if f".{name} " not in CSS} == {"figure"}
    again = write_figures(run, chip, tmp_path / "second", ["a", "b", "c"], ["x", "y", "z"], clips)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_curves_stand_out_from_every_ground(scheme):
    colours = schemes()[scheme]
    for ground in ("sheet", "ground", "wins"):
        for name in ("ink", "soft", "minus", *(f"k{index}" for index in range(6))):
            high, low = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_classes_differ_for_every_kind_of_colour_vision(scheme, vision):
    colours = schemes()[scheme]
    seen = [lab(np.clip(np.array(VISION[vision]) @ linear_rgb(colours[f"k{i}"]), 0, 1)) for i in range(6)]
    for first in range(6):
        for second in range(first):
            assert np.linalg.norm(seen[first] - seen[second]) > 20, (first, second)


def test_what_does_not_belong_together_is_refused_all_at_once(tmp_path):
    run, chip = handmade(membrane=np.zeros((6, 1, 3), int))
    found = codes(run, chip, tmp_path, ["a", "b"], ["x", "y", "z"], np.zeros((5, 1, 3)))
    assert set(found) == {"E871", "E872", "E873", "E874"}
    assert "3 classes of 2" in found["E871"]
    assert "4 output neurons" in found["E871"]
    assert "potentials of 3 of 4 neurons" in found["E874"]
    assert not list(tmp_path.iterdir())
    assert "E874" in codes(run, chip, tmp_path, ["a"], probed={"out": [1]})
    assert "E871" in codes(*handmade((5,), 2), tmp_path, ["a"])
    write_figures(run, chip, tmp_path, ["a"], ["x", "y"], np.zeros((6, 1, 3)), probed={"out": [0, 1, 3]})


def test_nothing_recorded_is_refused(tmp_path):
    run, chip = handmade()
    assert "no output was recorded" in codes(SimpleNamespace(spikes={}, membrane={}), chip, tmp_path, [])["E870"]
    empty = SimpleNamespace(spikes={"out": np.zeros((0, 1, 4))}, membrane={})
    assert "E870" in codes(empty, chip, tmp_path, ["a"])
    assert len(write_figures(run, chip, tmp_path, ["a"])) == 2


def test_a_folder_that_cannot_be_written_is_a_finding_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    run, chip = handmade()
    assert "cannot be written" in codes(run, chip, tmp_path / "file", ["a"])["E875"]
    (tmp_path / "taken" / "raster.html").mkdir(parents=True)
    assert "E875" in codes(run, chip, tmp_path / "taken", ["a"])
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["raster.html"]


def test_the_cost_figure_draws_every_axis_and_a_proportional_cost_along_slope_one(cost, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"scaling": made_up()}))
    command = [sys.executable, str(ROOT / "benchmarks" / "simulate_figures.py")]
    command += ["--results", str(tmp_path / "results.json"), "--out", str(tmp_path / "cost.svg")]
    subprocess.run(command, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True)
    root = ElementTree.fromstring((tmp_path / "cost.svg").read_bytes())
    words = [each.text for each in root.iter(f"{SVG}text")]
    for name in ("input size, pixels", "steps", "clips in a batch", "input density"):
        assert words.count(name) == 2  # time and memory
    assert "clips streamed" not in words
    assert {"32²", "256²", "100 %", "1.5 GB", "ms per clip"} <= set(words)
    assert "steps, ms per clip: 16: 56 to 256: 896; at most 400 MiB." in root.find(f"{SVG}desc").text
    # The chosen path's curve, and the line of slope 1 after it, have one direction where cost is proportional.
    curve = paths_of(root, "winner")[0]
    points = [tuple(map(float, place.split())) for place in curve[1:].split("L")]
    line = [each for each in root.iter(f"{SVG}line") if each.get("class") == "reference"][1]
    start, end = ((float(line.get(f"x{i}")), float(line.get(f"y{i}"))) for i in (1, 2))
    assert np.allclose([start, end], [points[0], points[-1]], atol=0.02)
    ys = [y for _, y in points]
    assert np.allclose(np.diff(ys), np.diff(ys)[0], atol=0.02)  # sides double: pixels, and time, times four
    assert np.diff(ys)[0] < -5


def test_missing_paths_and_a_single_point_are_drawn_as_far_as_they_go(cost):
    rows = {"size": [point(64, 2.0)], "clips": [point(20, 0.3), point(2000, 0.3)]}
    root = ElementTree.fromstring(cost.cost_figure(rows).encode())
    assert "clips streamed" in [each.text for each in root.iter(f"{SVG}text")]
    assert paths_of(root, "s-k1") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"scaling": {}}', '{"scaling": {"size": [{"x": 0}]}}', '{"scaling": 3}']
)
def test_results_without_scaling_end_with_a_word(cost, tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"no scaling results .*; run benchmarks/simulate\.py first"):
        cost.read_scaling(path)
    with pytest.raises(SystemExit, match="no scaling results"):
        cost.read_scaling(tmp_path / "absent.json")

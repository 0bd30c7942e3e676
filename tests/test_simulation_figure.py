"""Figures of a simulated run: the numbers behind them, what is drawn, nothing injected, readable for everyone."""

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from hw_targets.finding import InputError
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulate import simulate
from neuroemo.simulation import figure, figure_data
from neuroemo.simulation.figure import write_figures

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"
CSS = (ROOT / "neuroemo" / "simulation" / "templates" / "figures.css").read_text(encoding="utf-8")
STEPS, SAMPLES = 24, 3


def trained_like(steps=STEPS, dt_us=33333.0):
    rng = np.random.default_rng(3)
    conv = ChipLayer(
        "conv1", "conv", rng.integers(-10, 30, (4, 2, 3, 3)), rng.integers(-2, 3, 4), 40, 800,
        (2, 8, 8), (4, 8, 8), padding=(1, 1), payload=63,
    )  # fmt: skip
    last = ChipLayer("fc1", "dense", rng.integers(-20, 26, (30, 256)), np.zeros(30, int), 300, 800, (4, 8, 8), (30,))
    return ChipGraph((conv, last), (2, 8, 8), steps, dt_us, "float", voting=10)


@pytest.fixture(scope="module")
def ran():
    """A run of a chip that fires, and its clips: a gray frame, then events."""
    chip, rng = trained_like(), np.random.default_rng(4)
    clips = (rng.random((STEPS, SAMPLES, 2, 8, 8)) < 0.08).astype(np.float32)
    clips[0] = rng.random((SAMPLES, 2, 8, 8))
    run = simulate(chip, clips, probe=("conv1", "fc1"))
    assert all(0.005 < spikes.mean() < 0.9 for spikes in run.spikes.values())
    return run, chip, clips


@pytest.fixture(scope="module")
def page(ran, tmp_path_factory):
    run, chip, clips = ran
    folder = tmp_path_factory.mktemp("figures")
    paths = write_figures(run, chip, folder, ["one.avi", "two", "three"], ["sad", "calm", "glad"], clips)
    return Page(paths[0].read_text(encoding="utf-8"))


def handmade(shape=(4,), voting=2, *, threshold=100, neuron="lif", steps=6, spikes=None, membrane=None, name="out"):
    size = int(np.prod(shape))
    layer = ChipLayer(
        name, "dense", np.ones((size, 3), int), np.zeros(size, int), threshold, 0, (3,), shape, neuron=neuron
    )
    chip = ChipGraph((layer,), (3,), steps, None, "spikes", voting)
    spikes = np.zeros((steps, 1, *shape), np.uint8) if spikes is None else spikes
    return SimpleNamespace(spikes={name: spikes}, membrane={} if membrane is None else {name: membrane}), chip


class Page(HTMLParser):
    """Tags, words and drawings of a page; fails on tags that do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.words, self.open = html, [], [], []
        self.feed(html)
        assert self.open == []
        self.drawings = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def named(self, start):
        return [each for each in self.drawings if each.get("aria-label").startswith(start)]


def paths_of(root, css):
    return [each.get("d") for each in root.iter(f"{SVG}path") if css in each.get("class", "").split()]


# --- the numbers -------------------------------------------------------------------------------------------------


def test_votes_equal_a_count_by_hand_and_the_deciding_step_a_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(300):
        classes, voting, steps = rng.integers(1, 5), rng.integers(1, 4), rng.integers(1, 12)
        spikes = (rng.random((steps, classes * voting)) < 0.15).astype(np.uint8)
        course = figure_data.vote_course(spikes, voting)
        answers = []
        for step in range(steps):
            votes = [int(spikes[: step + 1, c * voting : (c + 1) * voting].sum()) for c in range(classes)]
            assert course.cumulative[step].tolist() == votes
            answers.append(votes.index(max(votes)) if any(votes) else None)
        assert course.tied == (votes.count(max(votes)) > 1)
        assert course.predicted == votes.index(max(votes))
        if answers[-1] is None:
            assert course.decided is None
        else:
            same = [all(a == answers[-1] for a in answers[step:]) for step in range(steps)]
            assert course.decided == same.index(True) + 1


def test_the_answer_is_the_one_that_the_readout_gives(ran, page):
    from hw_targets.readout import predicted_class

    run, chip, _ = ran
    names = ["sad", "calm", "glad"]
    wanted = [names[index] for index in predicted_class(run.output, chip.voting)]
    assert re.findall(r"Answer: (\w+) \.", page.text) == wanted


def test_events_are_counted_without_the_gray_frame(ran):
    clips = ran[2]
    course = figure_data.input_course(clips[:, 1], "float")
    assert course.gray
    assert course.counts[:, 0].tolist() == [0, 0]
    assert course.counts[0, 5] == int(clips[5, 1, 0].sum())
    assert course.counts[1, 7] == int(clips[7, 1, 1].sum())
    assert course.counts.sum() > 0


def test_a_gray_frame_is_known_by_its_values_where_the_first_layer_runs_on_the_host(ran):
    assert figure_data.input_course(ran[2][:, 0], "spikes").gray
    assert not figure_data.input_course(np.ones((3, 2, 1, 1)), "spikes").gray


def test_signed_input_is_counted_by_sign():
    course = figure_data.input_course(np.array([[1, -2, 0], [0, -1, -1]]), "integers")
    assert course.names == ("positive", "negative")
    assert course.counts.tolist() == [[1, 0], [1, 2]]


def test_counts_come_from_the_run_where_it_has_them():
    spikes = np.array([[[1, 1]], [[0, 1]]], np.uint8)
    run = SimpleNamespace(spikes={"b": spikes}, counts={"a": np.array([[5], [6]])})
    counts = figure_data.message_counts(run)
    assert counts["a"].tolist() == [[5], [6]]
    assert counts["b"].tolist() == [[2], [1]]


@pytest.mark.parametrize("shape", [(2000,), (2001,), (40, 50, 50), (32, 126, 126), (7, 11, 13)])
def test_a_sample_of_neurons_covers_the_map_and_is_no_single_column_of_it(shape):
    chosen, distance = figure_data.sampled_neurons(shape)
    size = int(np.prod(shape))
    assert len(chosen) <= figure_data.RASTER_NEURONS
    assert (distance == 1) == (size <= figure_data.RASTER_NEURONS)
    assert chosen[0] == 0
    assert size - chosen[-1] <= distance
    if len(shape) == 3 and distance > 1:
        assert all(
            len(set(axis.tolist())) == side for axis, side in zip(np.unravel_index(chosen, shape), shape, strict=True)
        )


def test_thresholds_are_those_of_the_channel():
    _, chip = handmade((2, 1, 2), threshold=np.array([3, 7]))
    assert figure_data.thresholds_of(chip.layers[0], np.arange(4)).tolist() == [192, 192, 448, 448]
    assert figure_data.thresholds_of(chip.layers[0], np.array([3])).tolist() == [448]
    _, chip = handmade(neuron="sigma_delta")
    assert figure_data.thresholds_of(chip.layers[0], np.arange(4)) is None


# --- what is drawn -----------------------------------------------------------------------------------------------


def test_every_spike_is_one_mark_and_one_reset_above_the_threshold(ran, page):
    run, chip, _ = ran
    for index, drawing in enumerate(page.named("Voting neurons")):
        spikes = int(run.output[:, index].sum())
        assert spikes > 10
        # One subpath per spike: rows of ten neurons per class stand apart.
        assert sum(data.count("M") for data in paths_of(drawing, "mark")) == spikes
        resets = "".join(paths_of(drawing, "reset"))
        assert resets.count("M") == resets.count("V") == spikes
    limits = [
        float(each.get("y1"))
        for each in page.named("Voting neurons")[0].iter(f"{SVG}line")
        if each.get("class") == "threshold"
    ]
    assert len(limits) == 3  # one per class
    drawn = page.named("Voting neurons")[0]
    for limit, data in zip(limits, paths_of(drawn, "reset"), strict=True):
        starts = [float(y) for _, y in re.findall(r"M([\d.]+) ([\d.]+)V", data)]
        assert starts
        assert all(y < limit for y in starts)  # up is less
    assert chip.layers[-1].threshold == 300


def test_a_potential_is_drawn_to_scale_and_falls_to_zero_at_a_spike(tmp_path):
    membrane = np.array([3200, 6400, 9600, 3200, 0, -3200]).reshape(6, 1, 1)
    spikes = (membrane > 100 << 6).astype(np.uint8)
    run, chip = handmade((1,), 1, spikes=spikes, membrane=membrane)
    drawing = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).named("Voting")[0]
    (data,) = paths_of(drawing, "trace")
    first, second = (re.findall(r"([\d.]+) ([\d.]+)", part) for part in data.replace("h0", "").split("M")[1:])
    y = [float(value) for _, value in first + second]
    unit = y[0] - y[1]  # 3,200 chip units
    assert unit > 5
    zero = y[1] + 2 * unit
    assert np.allclose(
        y, [zero - unit, zero - 2 * unit, zero - 3 * unit, zero, zero - unit, zero, zero + unit], atol=0.05
    )
    x = [float(value) for value, _ in first + second]
    assert x[2] == x[3]  # the reset is at the step of the spike
    limit = next(float(each.get("y1")) for each in drawing.iter(f"{SVG}line") if each.get("class") == "threshold")
    assert limit == pytest.approx(zero - 2 * unit, abs=0.05)  # 6,400 does not exceed it and 9,600 does
    words = [each.text for each in drawing.iter(f"{SVG}text")]
    assert "1 θ" in words
    assert "5,000" in words


def test_the_page_says_who_wins_from_when_and_by_how_much(tmp_path):
    spikes = np.zeros((6, 1, 4), np.uint8)
    spikes[1, 0, 0] = spikes[3, 0, 2] = spikes[4, 0, 3] = 1
    run, chip = handmade(spikes=spikes)
    text = Page(write_figures(run, chip, tmp_path, ["c"], ["no", "yes"])[0].read_text()).text
    assert "Answer: yes . The answer no longer changes from step 5 on." in text
    assert "2 votes · the answer" in text
    assert "final from step 5" in text
    assert "no: 1 vote; yes: 2 votes, the answer" in text
    assert "Not all potentials were recorded; probe out to see them." in text
    assert "The clip itself was not given." in text


def test_a_silent_clip_has_no_deciding_step(tmp_path):
    run, chip = handmade()
    text = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).text
    assert "No voting neuron fired" in text
    assert "final from" not in text


def test_of_many_classes_those_with_most_votes_are_drawn_and_the_page_says_so(tmp_path):
    spikes = np.zeros((6, 1, 40), np.uint8)
    for index, votes in ((3, 5), (9, 4), (17, 4), (21, 3), (30, 2), (39, 1)):
        spikes[:votes, 0, index] = 1
    run, chip = handmade((40,), 1, spikes=spikes)
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "The classes with most votes; 34 more are not drawn." in page.text
    words = [each.text for each in page.named("Voting")[0].iter(f"{SVG}text")]
    assert [word for word in words if word.startswith("class ")] == [f"class {i}" for i in (3, 9, 17, 21, 30, 39)]


def test_sigma_delta_neurons_have_no_threshold_and_no_reset_and_negative_messages_differ_in_shape(tmp_path):
    spikes = np.array([5, 0, -3, 0, 0, 2], np.int32).reshape(6, 1, 1)
    membrane = np.array([900, 900, 500, 500, 500, 800]).reshape(6, 1, 1)
    run, chip = handmade((1,), 1, neuron="sigma_delta", spikes=spikes, membrane=membrane)
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    drawing = page.named("Voting")[0]
    assert "".join(paths_of(drawing, "reset")) == ""
    assert not [each for each in drawing.iter(f"{SVG}line") if each.get("class") == "threshold"]
    heights = {
        css: [abs(float(b) - float(a)) for a, b in re.findall(r" ([\d.]+)V([\d.]+)", "".join(paths_of(drawing, css)))]
        for css in ("s-k0", "s-minus")
    }
    assert len(heights["s-k0"]) == 2
    assert len(heights["s-minus"]) == 1
    assert heights["s-minus"][0] < 0.7 * heights["s-k0"][0]
    assert "4 votes · the answer" in page.text
    assert "sum of the messages" in page.text
    assert "no threshold of the potential to draw" in page.text


def test_a_probe_of_chosen_neurons_names_them(tmp_path):
    spikes = (np.random.default_rng(1).random((6, 1, 2, 3, 4)) < 0.3).astype(np.uint8)
    run, chip = handmade((2, 3, 4), 12, spikes=spikes, membrane=np.full((6, 1, 2), 7000))
    text = Page(write_figures(run, chip, tmp_path, ["c"], probed={"out": [5, 23]})[0].read_text()).text
    assert "neuron [0, 1, 1]" in text
    assert "neuron [1, 2, 3]" in text
    assert "All probed neurons (of 2)." in text


def test_a_layer_of_which_only_the_potential_is_known_fires_where_it_exceeds_the_threshold(ran, tmp_path):
    run, chip, clips = ran
    only_output = SimpleNamespace(spikes={"fc1": run.output}, membrane=run.membrane)
    page = Page(write_figures(only_output, chip, tmp_path, ["a", "b", "c"], None, clips)[0].read_text())
    assert "The spikes of this layer were not recorded." in page.text
    busiest = np.sort(run.spikes["conv1"][:, 0].reshape(STEPS, -1).sum(axis=0))[::-1][: figure.TRACES]
    marks = "".join(paths_of(page.named("Membrane potentials of conv1")[0], "mark"))
    assert marks.count("M") == busiest.sum() > 0


def test_many_neurons_many_steps_and_many_clips_are_cut_and_the_page_says_so(tmp_path):
    rng = np.random.default_rng(2)
    spikes = (rng.random((2100, 8, 2)) < 0.1).astype(np.uint8)
    run, chip = handmade((2,), 1, steps=2100, spikes=spikes)
    page = Page(write_figures(run, chip, tmp_path, [f"c{i}" for i in range(8)])[0].read_text())
    assert "The first 2,000 of 2,100 steps are drawn; votes are counted over all." in page.text
    assert f"The first {figure.CLIPS} of 8 clips are drawn." in page.text
    assert f"{int(spikes[:, 0, 0].sum()):,} votes" in page.text
    spikes = (rng.random((4, 1, 3, 40, 40)) < 0.5).astype(np.uint8)
    run, chip = handmade((3, 40, 40), 2400, steps=4, spikes=spikes, membrane=np.zeros((4, 1, 3, 40, 40), int))
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "Voting neurons, the first drawn" in page.text
    assert "Potentials of the 40 neurons of each class that fire most." in page.text
    assert float(page.named("Voting")[0].get("viewBox").split()[3]) < 1000


def test_a_raster_of_a_sampled_layer_says_which_neurons_it_shows(tmp_path):
    rng = np.random.default_rng(2)
    spikes = (rng.random((4, 1, 3, 40, 40)) < 0.5).astype(np.uint8)
    run, chip = handmade((3, 40, 40), 1, steps=4, spikes=spikes, membrane=np.zeros((4, 1, 3, 40, 40), int))
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "Neurons 0, 7, 14 … (686 of 4,800), in channel, row, column order." in page.text
    sent = int(spikes.reshape(4, -1)[:, ::7].sum())
    assert f"{sent:,} messages" in page.named("Spike raster")[0].find(f"{SVG}desc").text.replace("\u00a0", " ")


def test_the_page_tells_the_timing_of_the_run(tmp_path):
    run, chip = handmade()
    assert "aligned: all layers" in Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).text
    paths = write_figures(run, chip, tmp_path, ["c"], mode="pipeline")
    assert "hands on its sum one step later" in Page(paths[0].read_text()).text


def test_one_step_one_neuron_one_clip(tmp_path):
    run, chip = handmade((1,), 1, steps=1, spikes=np.ones((1, 1, 1), np.uint8), membrane=np.full((1, 1, 1), 6500))
    page = Page(write_figures(run, chip, tmp_path, ["c"], None, np.ones((1, 1, 3)))[0].read_text())
    assert "The answer no longer changes from step 1 on." in page.text


# --- for everyone ------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_curves_stand_out_from_every_ground(scheme):
    colours = schemes()[scheme]
    for ground in ("sheet", "ground", "wins"):
        for name in ("ink", "soft", "minus", *(f"k{index}" for index in range(6))):
            high, low = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


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


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_classes_differ_for_every_kind_of_colour_vision(scheme, vision):
    colours = schemes()[scheme]
    seen = [lab(np.clip(np.array(VISION[vision]) @ linear_rgb(colours[f"k{i}"]), 0, 1)) for i in range(6)]
    for first in range(6):
        for second in range(first):
            assert np.linalg.norm(seen[first] - seen[second]) > 20, (first, second)


# --- refusals ----------------------------------------------------------------------------------------------------


def codes(*arguments, **options):
    with pytest.raises(InputError) as caught:
        write_figures(*arguments, **options)
    return {finding.code: str(finding) for finding in caught.value.findings}


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


# --- cost against work -------------------------------------------------------------------------------------------


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

"""Drawings are measured: lengths and places against the numbers, not against the code that drew them."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import page_reader
import pytest
from page_document import large_document
from sample_document import sample_document

from neuroemo.energy.page import heat
from neuroemo.energy.page.bars import layer_bars, part_bars, part_colours
from neuroemo.energy.page.curves import break_even_curve, decision_curve
from neuroemo.energy.page.tornado import tornado

STYLE = Path(heat.__file__).with_name("templates") / "style.css"


def rects(drawing):
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" [^>]*><title>([^<]*)</title>', drawing)
    return [(float(x), float(y), float(width), title) for x, y, width, title in found]


def lines(drawing, css):
    shape = r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="' + css + '"'
    return [tuple(map(float, found)) for found in re.findall(shape, drawing)]


@pytest.mark.parametrize("index", range(4))
def test_bars_are_as_long_as_their_energies(index):
    document = sample_document()
    scenario = document["scenarios"][index]
    drawing = part_bars(scenario, part_colours(document["scenarios"]))
    pieces = rects(drawing)
    longest = max((scenario[side]["high_pj"] or 0.0) for side in ("snn", "ann") if scenario[side])
    longest = max(longest, *(scenario[side]["total_pj"] for side in ("snn", "ann") if scenario[side]))
    each = 440 / (longest * 1.01)
    wanted = [value for side in ("snn", "ann") if scenario[side] for value in scenario[side]["parts_pj"].values()]
    for (_, _, width, title), value in zip(pieces, wanted, strict=True):
        assert width == pytest.approx(max(value * each, 0.6), abs=0.011)
        assert page_reader.shows(title.split(": ")[1], value)
    for side in ("SNN", "ANN"):
        spans = [(x, width) for x, _, width, title in pieces if title.startswith(side) and width > 0.6]
        assert all(x + width == pytest.approx(after, abs=0.65) for (x, width), (after, _) in itertools.pairwise(spans))
        assert all(x == pytest.approx(0, abs=0.65) for x, _ in spans[:1])
    whiskers = [(x1, x2) for x1, y1, x2, y2 in lines(drawing, "whisker") if y1 == y2]
    bounds = [(scenario[side]["low_pj"], scenario[side]["high_pj"]) for side in ("snn", "ann") if scenario[side]]
    assert whiskers == [
        (pytest.approx(low * each, abs=0.011), pytest.approx(high * each, abs=0.011))
        for low, high in bounds
        if high > low
    ]


def test_bars_of_layers_share_one_scale_from_zero():
    scenario = large_document()["scenarios"][8]
    pieces = rects(layer_bars(scenario))
    each = {width / page_reader.quantity(title.rsplit(": ", 1)[1])[0] for _, _, width, title in pieces if width > 20}
    assert max(each) / min(each) < 1.01
    assert {x for x, _, _, _ in pieces} == {34.0}


def test_no_scenario_has_two_parts_of_one_colour():
    scenarios = large_document()["scenarios"] + sample_document()["scenarios"]
    colours = part_colours(scenarios)
    for scenario in scenarios:
        parts = {part for side in ("snn", "ann") if scenario[side] for part in scenario[side]["parts_pj"]}
        assert len({colours[part] for part in parts}) == len(parts)
    assert len(colours) > max(len(scenario["snn"]["parts_pj"]) for scenario in scenarios)


@pytest.mark.parametrize("index", range(3))
def test_the_curve_crosses_the_ann_at_t_star(index):
    scenario = sample_document()["scenarios"][index] | {}
    curve = break_even_curve(scenario)
    heights = [y for _, y in curve.points]
    spent, ann = scenario["curve"]["snn_pj"], scenario["curve"]["ann_pj"]
    ((_, level, _, _),) = lines(curve.drawing, "curve s-ann")
    each = (heights[0] - heights[-1]) / (spent[-1] - spent[0])
    assert heights[-1] - level == pytest.approx((ann - spent[-1]) * each, abs=0.05)
    meeting = lines(curve.drawing, "meeting")
    steps = scenario["break_even_steps"]
    per_step = curve.points[1][0] - curve.points[0][0]
    if steps > 3 * len(spent):
        assert meeting == []
    else:
        assert meeting[0][0] == pytest.approx(curve.points[0][0] + (steps - 1) * per_step, abs=0.05)


def test_a_network_without_a_twin_has_a_curve_and_no_line():
    curve = break_even_curve(sample_document()["scenarios"][3])
    assert lines(curve.drawing, "curve s-ann") == []
    assert lines(curve.drawing, "meeting") == []
    assert len(curve.points) == 4


def test_stopping_rules_are_drawn_where_they_were_priced():
    document = sample_document()
    drawn = decision_curve(document["scenarios"][0], document["decision"])
    assert drawn.drawing.count('class="rule-point"') == drawn.drawing.count('class="oracle-point"') == 1
    assert "rule-point" not in decision_curve(document["scenarios"][1], document["decision"]).drawing
    assert decision_curve(document["scenarios"][0], None) is None
    ys = [y for _, y in drawn.points]
    assert (ys[0] - ys[2]) / (1 / 3) == pytest.approx(210, abs=0.1)


def test_the_tornado_puts_ratios_on_a_logarithmic_axis():
    scenario = sample_document()["scenarios"][2]
    drawing = tornado(scenario, {"cmos45:memory.sram_8kb": "SRAM"})
    ((equal, *_),) = lines(drawing, "equal")
    ((now, *_),) = lines(drawing, "now")
    places = {
        kind: [float(x) for x in re.findall(r'<circle cx="([\d.]+)"[^>]*class="' + kind, drawing)]
        for kind in ("halved", "doubled")
    }
    each = (places["halved"][0] - equal) / math.log(1.1)
    assert places["doubled"][0] - equal == pytest.approx(each * math.log(0.9), abs=0.05)
    assert now - equal == pytest.approx(each * math.log(6000 / 6200), abs=0.05)
    assert "flips at 0.800" in drawing
    assert "never within 1/100 to 100" in drawing
    assert tornado(sample_document()["scenarios"][3], {}) is None


def test_density_and_operations_by_hand():
    network = sample_document()["networks"]["deployed"]
    shares = heat.density(network)
    assert shares[0] == pytest.approx([20 / 96, 8 / 96, 4 / 96, 4 / 96])  # 32 inputs, 3 clips, each step
    assert shares[1] == pytest.approx([6 / 96, 12 / 96, 18 / 96, 12 / 96])
    assert shares[3] == pytest.approx([0, 2 / 6, 4 / 6, 3 / 6])  # 2 neurons
    assert heat.operations(network)[0] == pytest.approx([100, 40, 20, 20])
    assert heat.operations(network)[1] == [None] * 4
    assert heat.largest(shares) == pytest.approx(4 / 6)


def test_the_colour_map_rises_in_lightness():
    hexes = re.findall(r"\.c(\d+) \{ background: #(\w{6}); color: (#\w+)", STYLE.read_text())
    assert [int(index) for index, _, _ in hexes] == list(range(heat.LEVELS))
    assert (hexes[0][1], hexes[-1][1]) == ("00224e", "fee838")  # the ends of cividis
    lights = [_light(code) for _, code, _ in hexes]
    assert lights == sorted(lights)
    for light, (_, _, ink) in zip(lights, hexes, strict=True):
        ratio = 1.05 / (light + 0.05) if ink == "#fff" else (light + 0.05) / 0.05
        assert ratio >= 4.5


def _light(code):
    parts = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

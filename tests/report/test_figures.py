"""Every figure is one well-formed picture that says its numbers to a screen reader too."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from report_sample import build_report, vote

from export.page import charts, svg
from neuroemo.report import drawings, figures
from neuroemo.report.schema import checked_report

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("1")</script>&'


def all_figures(report: dict) -> dict[str, str]:
    report = checked_report(report)
    classes = report["data"]["classes"]
    span = figures.loss_span(report["steps"])
    drawn = {
        "accuracy": figures.accuracy_bars(report),
        "density": figures.density_bars(report["events"]),
        "training loss": figures.training_curves(report["training"], "loss"),
        "training accuracy": figures.training_curves(report["training"], "accuracy", 0.5),
        "agreement": figures.agreement_dots(report["export"]["layers"]),
        "energy": figures.energy_bars(report["energy"]),
        "right": drawings.voting_figure(report["voting"]["right"], classes, "right"),
        "wrong": drawings.voting_figure(report["voting"]["wrong"], classes, "wrong"),
    }
    for name in ("before", "during", "after"):
        drawn[name] = figures.step_curves(report["steps"][name], name, span, 0.5)
    for layer in report["export"]["layers"]:
        drawn[f"picture of {layer['name']}"] = drawings.layer_picture(layer["output_shape"], 48)
    return drawn


@pytest.mark.parametrize("name", list(all_figures(build_report())))
def test_figure_is_valid_and_speaks(name, report):
    root = ElementTree.fromstring(all_figures(report)[name])
    assert root.tag == SVG + "svg"
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 10


def test_figures_survive_hostile_names(report):
    report["data"]["classes"] = [HOSTILE, "positive"]
    report["voting"]["right"]["label"] = HOSTILE
    for entry in (*report["export"]["layers"], *report["energy"]["layers"], *report["energy"]["ann_layers"]):
        entry["name"] = HOSTILE
    for name, figure in all_figures(report).items():
        root = ElementTree.fromstring(figure)
        assert not list(root.iter(SVG + "script")), name
        assert "<script" not in figure, name


def test_accuracy_bars_are_as_long_as_their_values(report):
    root = ElementTree.fromstring(figures.accuracy_bars(checked_report(report)))
    for name in ("float", "quantised", "ann", "trivial"):
        (bar,) = [rect for rect in root.iter(SVG + "rect") if rect.get("class") == f"f-{name}"]
        assert float(bar.get("width")) / figures.WIDTH == pytest.approx(report["accuracy"][name], abs=0.005)


def test_a_spike_is_drawn_for_every_spike(report):
    right = report["voting"]["right"]
    root = ElementTree.fromstring(drawings.voting_figure(right, ["negative", "positive"], "right"))
    for group in (0, 1):
        drawn = [rect for rect in root.iter(SVG + "rect") if rect.get("class") == f"f-class{group}"]
        assert len(drawn) == sum(sum(row[10 * group : 10 * group + 10]) for row in right["spikes"])


def test_heat_map_covers_every_step_of_every_neuron(report):
    root = ElementTree.fromstring(drawings.voting_figure(report["voting"]["right"], ["a", "b"], "right"))
    cells = [rect for rect in root.iter(SVG + "rect") if rect.get("fill") and float(rect.get("width")) != 9]
    area = sum((float(cell.get("width")) - 0.3) * (float(cell.get("height")) - 0.3) for cell in cells)
    assert area == pytest.approx(drawings.MAP_WIDTH * 20 * drawings.CELL, rel=1e-3)


def test_a_flat_membrane_and_a_threshold_out_of_range_still_draw():
    import numpy as np

    flat = vote(np.random.default_rng(0), "a", "a", "clip", steps=1)
    flat["membrane"] = [[0.0] * 20]
    flat["threshold"] = 5.0
    figure = drawings.voting_figure(flat, ["a", "b"], "flat")
    ElementTree.fromstring(figure)
    assert "θ" not in figure


def test_one_sheet_per_channel_and_one_dot_per_neuron():
    sheets = ElementTree.fromstring(drawings.layer_picture([12, 46, 46], 46))
    dots = ElementTree.fromstring(drawings.layer_picture([64], 46))
    assert len(list(sheets.iter(SVG + "rect"))) == 12
    assert len(list(dots.iter(SVG + "circle"))) == 64


def test_training_without_epochs_or_twin_draws_an_empty_chart():
    empty = figures.training_curves({"snn": {"settings": None, "epochs": []}, "ann": None}, "loss")
    assert "no epochs recorded" in empty
    ElementTree.fromstring(empty)


def test_layers_that_were_not_compared_leave_the_agreement_figure_empty(report):
    report["export"]["layers"] = [layer | {"verify": None} for layer in report["export"]["layers"]]
    assert "not compared" in figures.agreement_dots(report["export"]["layers"])


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (0, 0.0037), (-3, 12345), (1, 20), (0.95, 1.0)])
def test_ticks_are_inside_and_evenly_spaced(lo, hi):
    ticks = svg.ticks(lo, hi)
    assert 2 <= len(ticks) <= 8
    assert lo - 1e-9 <= ticks[0] <= ticks[-1] <= hi + 1e-9
    steps = [after - before for before, after in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize("values", [[], [0.0], [2.0, 2.0], [-1.0, 3.0]])
def test_padded_range_is_never_empty(values):
    low, high = charts.padded(values)
    assert low < high
    assert all(low <= value <= high for value in values)

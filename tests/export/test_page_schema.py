"""Reports of an export against their schema, and every report that passes it rendered."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys

import pytest
import report_example as example

from export.page import check_report, figures, model_card, network, page_html, report_markdown
from export.page.letters import fitted, harmless, width
from export.page.schema import completed
from hw_targets.finding import InputError
from tests.export.page_parts import RENDERERS, ROOT, SCHEMA, VARIANTS, page_of, violations


@pytest.fixture
def report():
    return example.build_report()


def paths(value, prefix=()):
    """Every entry of a report; of a list only the first item."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*prefix, key))


def changed(report, path, value):
    """A copy with one entry replaced, or taken out where ``value`` is Ellipsis."""
    report = copy.deepcopy(report)
    inner = report
    for key in path[:-1]:
        inner = inner[key]
    if value is not ...:
        inner[path[-1]] = value
    elif isinstance(inner, dict):
        del inner[path[-1]]
    return report


def whole_report():
    """A short report that holds every entry there can be."""
    report = example.one_layer_report()
    report["layers"][0]["histogram"] = {"edges": [-1.0, 0.0, 1.0], "before": [3, 1], "after": [2, 2]}
    report["traces"][0] |= {key: report["traces"][0][key][:2] for key in ("model", "folded", "chip")}
    report["traces"][0] |= {key: [0, 1] for key in ("spikes_model", "spikes_chip")}
    report["layers"][0]["placement"]["axon_share"] = 0.25
    report["findings"] = report["findings"][:1]
    report["energy"] = {"snn_mj": 1.0, "ann_mj": 2.0, "precision": "", "note": ""}
    report["verify"]["findings"] = report["findings"]
    report["verify"]["rates_float"] = [[0.5, 0.25]]
    report["lossy"] = ["features.6"]
    report["model"] |= {"license": "mit", "task": "", "data": ""}
    return report


@pytest.mark.parametrize("make", [*VARIANTS.values(), example.hostile_report, whole_report])
def test_examples_satisfy_the_schema_and_the_check(make):
    assert check_report(make()) == []
    assert list(violations(make(), SCHEMA)) == []
    assert check_report(json.loads(json.dumps(make(), sort_keys=True))) == []


def test_schema_and_check_judge_alike():
    """Each entry taken out and replaced by values of every type: 3000 reports, two judges."""
    report = whole_report()
    strange = (..., None, True, "text", -1, 1.5, 7, [], [None], {}, float("1e9"))
    disagreements, refused = [], 0
    for path in list(paths(report))[1:]:
        for value in strange:
            bad = changed(report, path, value)
            ours = [f for f in check_report(bad) if f.code != "E454"]
            theirs = list(violations(bad, SCHEMA))
            refused += bool(ours)
            if bool(ours) != bool(theirs):
                disagreements.append((path, value, ours, theirs))
    assert disagreements == []
    assert refused > 500


def test_the_validator_of_this_test_refuses():
    """Cases of the JSON Schema specification, by hand."""
    assert not list(violations(2.0, {"type": "integer"}))
    assert list(violations(True, {"type": "integer"}))
    assert list(violations(None, {"type": ["string", "number"]}))
    assert list(violations({}, {"required": ["a"]}))
    assert list(violations({"a": 1}, {"additionalProperties": {"type": "string"}}))
    assert list(violations([1, "x"], {"items": {"type": "number"}}))
    assert list(violations(3, {"anyOf": [{"minimum": 4}, {"maximum": 2}]}))
    assert list(violations(3, {"enum": [1, 2]}))
    with pytest.raises(KeyError):
        list(violations(3, {"multipleOf": 2}))


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_every_report_that_passes_the_check_is_rendered(render):
    """Each entry of the whole report taken out or null: either refused by name, or rendered."""
    report = whole_report()
    for path in list(paths(report))[1:]:
        for value in (..., None):
            bad = changed(report, path, value)
            if not check_report(bad):
                assert not re.search(r"\bNone\b(?![.:])", render(bad)), path


@pytest.mark.parametrize(
    ("path", "value", "code", "text"),
    [
        (("schema",), 1, "E451", "report of schema 1"),
        (("tool",), ..., "E452", "tool"),
        (("findings", 0, "found"), None, "E452", "findings[0].found"),
        (("layers", 1, "verify", "agreement"), 99.5, "E453", "layers[1].verify.agreement (not a fraction"),
        (("layers", 0, "neurons"), 10**400, "E453", "layers[0].neurons (not a whole number, 0 or more)"),
        (("traces", 0, "model"), [float("nan")], "E453", "traces[0].model[0] (not a finite number)"),
        (("findings", 0, "severity"), "fatal", "E453", "findings[0].severity (not error, warning or note)"),
        (("ok",), False, "E454", "ok (false beside exit_code 0)"),
        (("layers", 0, "histogram", "before"), [1, 2], "E454", "layers[0].histogram"),
        (("traces", 1, "spikes_chip"), [0, 1], "E454", "traces[1] (curves"),
    ],
)
def test_what_is_wrong_is_named(report, path, value, code, text):
    bad = changed(report, path, value)
    (found,) = check_report(bad)
    assert (found.code, found.severity) == (code, "error")
    assert text in found.found
    for render in RENDERERS.values():
        with pytest.raises(InputError, match=code):
            render(bad)


def test_all_problems_at_once(report):
    del report["target"], report["layers"][2]["name"]
    report["weight_bits"] = "8"
    report["verify"]["clips"] = -1
    missing, damaged = check_report(report)
    assert missing.found == "lacks target, layers[2].name"
    assert "weight_bits (not a whole number, 1 or more)" in damaged.found
    assert "verify.clips (not a whole number, 0 or more)" in damaged.found
    for junk in (None, [], "x", 3):
        assert [finding.code for finding in check_report(junk)] == ["E450"]


def test_rows_of_the_network(report):
    """By hand: a pool goes into the layer that it feeds, a normalisation into the layer before its neurons."""
    rows = network.layer_rows(completed(report))
    names = [([n["name"] for n in row.captured], [n["name"] for n in row.folded], row.chip["name"]) for row in rows]
    assert names[0] == (["features.0", "features.1", "features.2"], ["features.0", "features.2"], "features.2")
    assert names[1][0] == ["features.3", "features.4", "features.5", "features.6"]
    assert names[2] == (
        ["features.7", "features.8", "features.9", "features.10"],
        ["features.8", "features.9", "features.10"],
        "features.10",
    )
    # A max pool of spikes becomes a layer of its own: it stays under its name, and gets neurons.
    captured, folded = (report["network"][key] for key in ("captured", "folded"))
    captured[3]["type"] = "MaxPool2d"
    either = {"name": "features.3.or", "type": "LIF", "input_shape": [4, 23, 23], "output_shape": [4, 23, 23]}
    folded[2:2] = [captured[3] | {"type": "Conv2d"}, either]
    rows = network.layer_rows(completed(report))
    assert [row.name for row in rows][:3] == ["features.2", "features.3.or", "features.6"]
    assert [node["name"] for node in rows[1].captured] == ["features.3"]
    assert [node["name"] for node in rows[2].captured] == ["features.4", "features.5", "features.6"]
    assert rows[1].chip is None


def test_rows_without_a_folded_graph():
    rows = network.layer_rows(completed(example.refused_report()))
    assert [row.name for row in rows] == ["features.2", "features.6", "features.10", "voting_neurons.1"]
    assert all(row.captured and not row.folded and row.chip is None for row in rows)
    only_layers = example.build_report() | {"network": None}
    assert [row.name for row in network.layer_rows(completed(only_layers))] == [row.name for row in rows]
    assert network.layer_rows(completed(example.bare_report())) == []


def test_cores_are_drawn_one_by_one(report):
    layer = completed(report)["layers"][0]
    picture = network.chip_picture(layer, "Loihi 2")
    assert picture.count('class="core"') == layer["cores"] == 2
    many = layer | {"placement": layer["placement"] | {"cores": 120}}
    picture = network.chip_picture(many, "Loihi 2")
    assert picture.count('class="core"') + 72 == 120
    assert "and 72\u00a0cores more" in picture
    over = layer | {"placement": layer["placement"] | {"memory_share": 1.5}}
    assert 'class="f-over"' in network.chip_picture(over, "Loihi 2")


def test_bars_are_in_proportion(report):
    layers = completed(report)["layers"]
    bars = re.findall(r'width="([\d.]+)" height="9" class="f-free"', figures.disagreement_bars(layers))
    shares = [layer["verify"]["end_to_end_mismatches"] / layer["verify"]["compared"] for layer in layers]
    lengths = [float(length) for length in bars]
    assert [round(length / lengths[-1], 2) for length in lengths] == [round(s / shares[-1], 2) for s in shares]
    nothing = figures.disagreement_bars(layers).count("f-captured")
    assert nothing == 0, "no bar where nothing differs"


def test_spikes_that_differ_are_marked(report):
    trace = completed(report)["traces"][0]
    assert figures.differing(trace) == 0
    assert "differs" not in figures.trace_figure(trace)
    flipped = trace | {"spikes_chip": [1 - trace["spikes_chip"][0], *trace["spikes_chip"][1:]]}
    assert figures.trace_figure(flipped).count('class="differs"') == 1
    report["traces"][0]["spikes_chip"] = flipped["spikes_chip"]
    assert "Spikes differ at 1 step." in page_of(report).text


def test_names_are_cut_to_their_room():
    for name in ("veryLongName" * 20, "感情層" * 40, "🙂" * 90, "MMMM" * 50, "iiii" * 100):
        for room in (60, 120, 280):
            shown = fitted(name, room, 12.5)
            assert shown.endswith("…")
            assert 0.8 * room < width(shown, 12.5) + 13.2 < room + 13.2
    assert harmless("a\u202eb\ud800\n") == "a\ufffdb\ufffd "


def test_same_report_same_bytes(report):
    before = json.dumps(report)
    shuffled = json.loads(json.dumps(report, sort_keys=True))
    for render in RENDERERS.values():
        assert render(report) == render(copy.deepcopy(report)) == render(shuffled)
    assert json.dumps(report) == before


@pytest.mark.parametrize("name", VARIANTS)
def test_pages_are_small(name):
    assert len(page_html(VARIANTS[name]()).encode()) < 400_000


def test_the_exporters_own_report_is_rendered():
    from export.exporter import export_model
    from tests.conftest import random_clips, spiking_network

    model, spec = spiking_network()
    result = export_model(model, random_clips(spec, 2, 1), dt_us=33333.0, first_frame="float")
    report = json.loads(json.dumps(result.to_dict()))
    assert check_report(report) == []
    assert list(violations(report, SCHEMA)) == []
    text = page_of(report).text
    for layer in report["layers"]:
        assert f"{layer['threshold']:,}" in text
        assert f"{layer['verify']['compared']:,}" in text
    assert report_markdown(report).count("\n## ") >= 8
    assert model_card(report).startswith("---\n")


def test_the_documentation_knows_every_entry():
    text = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
    for code in re.findall(r'"(E45\d)"', (ROOT / "export" / "page" / "schema.py").read_text(encoding="utf-8")):
        assert f"| {code} |" in text
    for key in ("findings", "model", "network", "layers", "traces", "verify", "energy", "allowed", "lossy"):
        assert re.search(rf"`{key}[\[`.]", text), key
    for file in ("model.net", "model.nir", "chip.json", "captured.npz", "graph.npz", "report.html", "MODEL_CARD.md"):
        assert file in text


def test_importing_the_page_is_instant():
    code = "import sys, export.page; print([m for m in ('jinja2', 'torch', 'h5py') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

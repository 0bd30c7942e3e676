"""The page, the tables and the card: true numbers, nothing injected, nothing missing in silence, one schema."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import report_example as example

from export.page import check_report, figures, model_card, network, page_html, report_markdown, words
from export.page.letters import fitted, harmless, width
from export.page.schema import completed
from hw_targets.finding import InputError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "export-report.schema.json").read_text(encoding="utf-8"))
VARIANTS = {
    name: getattr(example, f"{name}_report") for name in ("build", "failed", "refused", "bare", "one_layer", "deep")
}
RENDERERS = {"page": page_html, "markdown": report_markdown, "card": model_card}


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

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
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace(words.NBSP, " ").split())


def page_of(report) -> Page:
    return Page(page_html(report))


def without_glue(text: str) -> str:
    return text.replace(words.NBSP, " ")


@pytest.fixture
def report():
    return example.build_report()


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_numbers_are_those_of_the_report(report, render):
    text = page_of(report).text if render is page_html else without_glue(render(report))
    expected = ["100.0 %", "24 clips", "50.0 %", "2.64 %", "8.75 %", "12,028", "56.6 KiB", "33.33 ms", "2×48×48"]
    expected += ["20.60 %", "20.51 %", "99.45 %", "23.92 %", "neuroemo verify exports/mine --against lava"]
    if render is not model_card:
        expected += ["3,250,176", "17,724", "255.1", "6,427", "4,095", "15,624", "63", "2,048", "4,096", "1.4 %"]
        expected += ["51.7 %", "0.03 %", "91.21 %", "81.97 %", "0.4"]
    assert [number for number in expected if number not in text] == []


def test_verdicts_in_words(report):
    verified = page_of(report).text
    assert "Verified: the export computes what the model computes, within the stated tolerances" in verified
    assert "Model and Loihi 2 simulation give the same label to 100.0 % of 24 clips." in verified
    failed = page_of(example.failed_report()).text
    assert "Verification FAILED" in failed
    assert "features.6: 29 of 1354752 spikes of the folded graph differ (limit 0). And 1 more reason" in failed
    assert "Verified:" not in failed
    refused = page_of(example.refused_report()).text
    assert "Refused: the target cannot express this network" in refused
    assert "features.3: max pooling of currents or gray values, not of spikes." in refused
    assert "exit code 3" in refused
    assert "What to do: end it in a spiking neuron: the chip only hands out spikes" in refused
    assert "Refused: the input cannot be used" in page_of(example.bare_report()).text
    report |= {"verify": None, "stage": "check", "findings": [], "bundle": None}
    assert "Accepted for Loihi 2, not verified: nothing was compared" in page_of(report).text


def test_a_comparison_that_failed_is_never_called_verified(report):
    report["verify"]["ok"] = False
    for render in RENDERERS.values():
        assert "FAILED" in render(report)
        assert "Verified:" not in render(report)


def test_nothing_is_fetched_and_everything_has_a_name(report):
    html = page_html(report)
    assert set(re.findall(r"https?://[^\"'\s<>]*", html)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in html
    assert "url(" not in html
    tags = Page(html).tags
    assert {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "img"} == set()
    assert all(attributes["href"].startswith("#") for tag, attributes in tags if tag == "a")
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in tags if tag == "svg")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in tags if tag == "a"} <= set(ids)


def test_no_text_of_the_report_becomes_markup(report):
    html = page_html(example.hostile_report())
    tags = Page(html).tags
    assert {tag for tag, _ in tags} == {tag for tag, _ in page_of(report).tags}
    assert "<script" not in html
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    for render in RENDERERS.values():
        text = render(example.hostile_report())
        assert text.encode("utf-8")
        assert not re.search("[\u0000-\u0009\u000b-\u001f\u202e]", text)


@pytest.mark.parametrize("render", [report_markdown, model_card])
@pytest.mark.parametrize("make", [*VARIANTS.values(), example.hostile_report])
def test_markdown_is_tables_and_text_only(render, make):
    """Judged by another program: markdown-it, with GitHub's tables."""
    markdown_it = pytest.importorskip("markdown_it")
    body = render(make())
    body = body.split("\n---\n", 1)[1] if render is model_card else body
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {token.type for token in tokens} | {kid.type for token in tokens for kid in token.children or ()}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_block", "hr"}
    tables = body.count("| --- |")
    assert sum(token.type == "table_open" for token in tokens) == len(re.findall(r"^\| --- ", body, re.MULTILINE))
    assert tables or make is example.bare_report
    rows: list[int] = []
    for token in tokens:
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append(0)
        elif token.type in ("td_open", "th_open"):
            rows[-1] += 1
        elif token.type == "table_close":
            assert len(set(rows)) == 1
    for row in re.findall(r"^\|.*$", body, re.MULTILINE):
        assert row.endswith(" |")


def test_a_name_in_markdown_reads_as_it_is():
    markdown_it = pytest.importorskip("markdown_it")
    name = "a|b`c*d_e<f>[g](h)\\"
    report = example.build_report()
    report["layers"][0]["name"] = name
    inline = markdown_it.MarkdownIt("commonmark").enable("table").parse(report_markdown(report))
    cells = ["".join(kid.content for kid in token.children) for token in inline if token.type == "inline"]
    assert cells.count(name) >= 3


def test_the_card_invents_nothing(report):
    card = model_card(report)
    header, body = card.removeprefix("---\n").split("\n---\n", 1)
    entries = dict(line.split(": ", 1) for line in header.splitlines() if ": " in line)
    assert json.loads(entries["license"]) == "unknown"
    assert json.loads(entries["library_name"]) == "neuroemo"
    tags = [json.loads(line[2:]) for line in header.splitlines() if line.startswith("- ")]
    assert tags == ["spiking-neural-network", "neuromorphic", "loihi2", "spikingjelly"]
    assert "Training data: unknown." in body
    assert "Unknown: not part of this export." in body
    assert "classes are negative, positive" in body
    assert "input_message_bits=8" in body
    report["energy"] = {"snn_mj": 0.0125, "ann_mj": 0.31, "precision": "45 nm, float32"}
    report["model"] |= {"license": "MIT", "data": "rendered faces", "task": "Emotion of a face"}
    del report["verify"]["accuracy"]
    card = model_card(report)
    assert 'license: "mit"' in card
    assert "| this network | 0.0125 mJ |" in card
    assert "Training data: rendered faces." in card
    assert "Accuracy: unknown" in card
    report["model"]["license"] = 'ask me: "first"'
    assert 'license: "other"\nlicense_name: "ask me: \\"first\\""' in model_card(report)


def test_host_layers_and_losses_are_said(report):
    report |= {"input_encoding": "host", "allowed": ["E205"], "lossy": ["features.6"]}
    report["layers"][0] |= {"where": "host", "placement": None, "cores": 0, "scale": None, "histogram": None}
    report["layers"][1]["verify"] |= {"folded_mismatches": 900}
    html = page_html(report)
    assert "features.2 runs on the host in float, 2×48×48 to 4×46×46" in html
    assert "They changed the layers features.6." in html
    assert 'class="wrong"' not in html
    assert "input_message_bits=0" in model_card(report)
    assert "`E205`, which changed `features.6`." in report_markdown(report)
    report["lossy"] = []
    assert '<td class="wrong">900</td>' in page_html(report)


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


JSON_TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and float(v).is_integer(),
}
ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}


def violations(value, schema, where="$"):
    """Yield what is wrong under JSON Schema 2020-12, for the keywords that docs/export-report.schema.json uses."""
    for keyword, wanted in schema.items():
        if keyword not in ANNOTATIONS:
            yield from KEYWORDS[keyword](value, wanted, where, schema)


def _reference(value, wanted, where, _):
    assert wanted.startswith("#/$defs/")
    yield from violations(value, SCHEMA["$defs"][wanted.removeprefix("#/$defs/")], where)


def _any_of(value, wanted, where, _):
    if all(list(violations(value, option, where)) for option in wanted):
        yield f"{where}: none of the alternatives"


def _properties(value, wanted, where, _):
    for key, inner in wanted.items():
        if isinstance(value, dict) and key in value:
            yield from violations(value[key], inner, f"{where}.{key}")


def _additional(value, wanted, where, schema):
    for key in set(value if isinstance(value, dict) else ()) - set(schema.get("properties", ())):
        yield from violations(value[key], wanted, f"{where}.{key}")


def _items(value, wanted, where, _):
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from violations(item, wanted, f"{where}[{index}]")


def _unless(holds):
    def judge(value, wanted, where, _):
        if not holds(value, wanted):
            yield f"{where}: not {wanted}"

    return judge


def _is_json_number(value):
    return JSON_TYPES["number"](value)


KEYWORDS = {
    "$ref": _reference,
    "anyOf": _any_of,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "type": _unless(lambda v, w: any(JSON_TYPES[name](v) for name in ([w] if isinstance(w, str) else w))),
    "required": _unless(lambda v, w: not isinstance(v, dict) or all(key in v for key in w)),
    "minimum": _unless(lambda v, w: not _is_json_number(v) or v >= w),
    "maximum": _unless(lambda v, w: not _is_json_number(v) or v <= w),
    "enum": _unless(lambda v, w: any(v == option and type(v) is type(option) for option in w)),
    "const": _unless(lambda v, w: v == w and not isinstance(v, bool)),
}


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

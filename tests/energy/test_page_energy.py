"""The text of the page: whole without a browser, closed to the network, closed to labels that try to break out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser

import page_reader
import pytest
from page_document import large_document
from sample_document import NASTY, sample_document

from hw_targets.finding import InputError
from neuroemo.energy.page import render_page
from neuroemo.energy.page.choices import choices, reasons, unpriced

VOID = {"meta", "input", "br", "wbr"}


class Document(HTMLParser):
    """Tags, texts and the inside of script and style elements; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.inside: list[tuple[dict, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.inside.append((self.tags[-1][1] | {"tag": self.open[-1]}, data))
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def page():
    return Document(render_page(sample_document()))


def test_the_page_is_one_file_that_fetches_nothing(page):
    fetching = {"src", "srcset", "data", "action", "formaction", "poster", "background", "ping"}
    assert [attrs for _, attrs in page.tags if fetching & set(attrs)] == []
    assert [attrs["href"] for _, attrs in page.tags if "href" in attrs and not attrs["href"].startswith("#")] == []
    assert {tag for tag, _ in page.tags} & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "img",
        "video",
        "audio",
    } == set()
    style = "".join(text for attrs, text in page.inside if attrs["tag"] == "style")
    assert re.findall(r"url\(|@import|@font-face", style) == []
    assert [attrs for _, attrs in page.tags if "style" in attrs or any(name.startswith("on") for name in attrs)] == []


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    (policy,) = (attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    own = {attrs["tag"]: text for attrs, text in page.inside if attrs.get("type") != "application/json"}
    assert list(own) == ["style", "script"]
    for kind, text in own.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert rules == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}


def test_the_script_builds_no_markup_and_no_code_from_text(page):
    (script,) = (text for attrs, text in page.inside if attrs["tag"] == "script" and "type" not in attrs)
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setTimeout\(\s*[\"'`]|import\("
    )
    assert re.findall(forbidden, script) == []
    assert '"use strict";' in script


def test_the_page_carries_the_report(page):
    (carried,) = (text for attrs, text in page.inside if attrs.get("id") == "report")
    assert json.loads(carried) == sample_document() | {"latex": sample_document()["latex"]}
    assert "<" not in carried
    assert "&" not in carried


def test_labels_stay_text(page):
    assert f"Energy of {NASTY}" in page.words
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    large = Document(render_page(large_document()))
    assert sum(tag == "script" for tag, _ in large.tags) == 3
    assert "b" in {tag for tag, _ in large.tags}
    assert "Yan <b>model</b>" in large.words
    assert sum("window.broken=1" in words for words in large.words) > 10


def test_ids_are_unique_in_all_scenarios_together():
    names = [attrs["id"] for _, attrs in Document(render_page(large_document())).tags if "id" in attrs]
    assert len(names) == len(set(names))


def test_the_same_report_gives_the_same_page_and_is_left_alone():
    document = sample_document()
    assert render_page(document) == render_page(document)
    assert document == sample_document()


def test_control_characters_and_lone_surrogates_do_not_reach_the_page():
    document = sample_document()
    document["title"] = "a\x00b\u202ec\ud800"
    document["citation"] = "line 1\nline\x07 2"
    html = render_page(document)
    html.encode("utf-8")
    assert '<h1 dir="auto">a\ufffdb\ufffdc\ufffd</h1>' in html
    assert "line 1\nline\ufffd 2" in html


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda d: d.pop("scenarios"), "E888", "scenarios"),
        (lambda d: d.update(scenarios=[]), "E889", "default_scenario"),
        (lambda d: d.update(default_scenario="nowhere"), "E889", "'nowhere'"),
        (lambda d: d["scenarios"].append(d["scenarios"][0]), "E889", "twice"),
        (lambda d: d["scenarios"][0]["snn"].update(total_pj=float("nan")), "E889", "scenarios[0].snn.total_pj"),
        (lambda d: d["networks"]["deployed"].update(steps="4"), "E889", "networks.deployed.steps"),
        (lambda d: d.update(kind="demo"), "E887", "'demo'"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(change, code, said):
    document = sample_document()
    change(document)
    with pytest.raises(InputError) as refusal:
        render_page(document)
    assert refusal.value.findings[0].code == code
    assert said in refusal.value.findings[0].found


def test_a_report_without_anything_optional_is_a_page():
    document = sample_document()
    document |= {"decision": None, "findings": [], "scenarios": document["scenarios"][3:], "policy": {}}
    document["default_scenario"] = document["scenarios"][0]["id"]
    document["networks"] |= {"trained": None, "ann": None}
    document["source"] |= {"accuracy": None, "labels": [], "split": None}
    for scenario in document["scenarios"]:
        scenario["snn"] |= {"low_pj": None, "high_pj": None, "constants": [], "assumptions": []}
    page = Document(render_page(document))
    words = " ".join(page.words)
    assert "not known" in words
    assert "The answer after each step is not in this report." in words
    assert "No findings." in words


def test_a_network_that_did_nothing_is_a_page():
    document = sample_document()
    scenario = document["scenarios"][0]
    for side in ("snn", "ann"):
        scenario[side] |= {"total_pj": 0.0, "low_pj": 0.0, "high_pj": 0.0, "parts_pj": {"accumulates": 0.0}}
        scenario[side]["layers_pj"] = {"conv1": {"accumulates": 0.0}}
    scenario |= {"ratio": None, "ratio_low": None, "ratio_high": None, "verdict": "none", "break_even_steps": None}
    scenario["curve"] = {"snn_pj": [0.0] * 4, "ann_pj": 0.0}
    for layer in document["networks"]["deployed"]["layers"]:
        layer |= {"spikes_in": 0, "spikes_out": 0, "acs": 0, "macs": 0}
        layer["density"] = 0.0 if layer["kind"] == "synapse" else None
        layer["per_step"] = {key: [0] * 4 for key in layer["per_step"]}
    words = " ".join(Document(render_page(document)).words)
    assert "No comparison" in words
    assert "nan" not in words.lower().replace("finance", "")


def test_layers_that_were_priced_but_not_counted_have_a_row():
    document = sample_document()
    snn = document["scenarios"][0]["snn"]
    snn["layers_pj"] = snn["layers_pj"] | {"off-chip <link>": {"movement": 100.0}}
    snn["parts_pj"] = snn["parts_pj"] | {"movement": 100.0}
    snn["total_pj"] += 100.0
    html = render_page(document)
    rows = re.findall(r'<tr data-order="4">.*?</tr>', html, re.DOTALL)
    assert len(rows) == 1
    assert "off-chip &lt;link&gt;" in rows[0]
    assert "0.100\u00a0nJ" in rows[0] or "100\u00a0pJ" in rows[0] or "0.100 nJ" in rows[0]


def test_controls_offer_everything_and_say_why_something_is_not_there():
    document = large_document()
    offered = {key: [option["value"] for option in options] for key, options in choices(document).items()}
    assert offered["precision"] == ["int8", "int32", "fp16", "fp32", "native"]
    assert offered["prices"] == ["cmos45", "cmos45@14HP-0.80V", "loihi1", "truenorth", "loihi2"]
    known = reasons(document)
    assert {key: known[key] for key in known if key.startswith("davidson")} == dict.fromkeys(
        ("davidson/cmos45/int32", "davidson/cmos45/fp16", "davidson/cmos45/fp32"),
        "not priced: its <unit> is a 32-bit add",
    )
    assert unpriced(document) == [{"name": "Loihi 2", "reason": "no energy per operation is published"}]


def test_unpublished_prices_have_a_row_even_where_the_report_has_no_list_of_them():
    document = large_document()
    del document["price_lists"]["loihi2"]
    assert unpriced(document) == [{"name": "loihi2", "reason": "no energy per operation is published"}]
    words = Document(render_page(document)).words
    assert "no energy per operation is published" in words


def table(html, name):
    """Return the cells of a table, as texts."""
    body = re.search(rf'<table[^>]* id="{name}">.*?<tbody>(.*?)</tbody>', html, re.DOTALL).group(1)
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in rows]


@pytest.mark.parametrize("document", [sample_document(), large_document()], ids=["small", "large"])
def test_the_table_of_scenarios_has_them_all(document):
    html = render_page(document)
    twins = [scenario for scenario in document["scenarios"] if scenario["ann"]]
    for row, scenario in zip(table(html, "scenario-table"), twins, strict=True):
        assert row[0] == document["models"][scenario["model"]]["title"]
        assert row[1:3] == [document["price_lists"][scenario["prices"]]["name"], scenario["precision"]]
        values = [scenario["snn"]["total_pj"], scenario["ann"]["total_pj"], scenario["ratio"]]
        assert all(page_reader.shows(text, value) for text, value in zip(row[3:6], values, strict=True))
        low, high = row[6].split(" to ")
        assert page_reader.shows(low, scenario["ratio_low"])
        assert page_reader.shows(high, scenario["ratio_high"])
        assert page_reader.shows(row[7], scenario["break_even_steps"])
        assert row[8].lower() == scenario["verdict"]
    alone = [scenario for scenario in document["scenarios"] if not scenario["ann"]]
    for row, scenario in zip(table(html, "chip-table"), alone, strict=False):
        assert row[0] == document["price_lists"][scenario["prices"]]["name"]
        assert page_reader.shows(row[1], scenario["snn"]["total_pj"])
        assert row[3].startswith(document["constants"][scenario["snn"]["constants"][0]]["grade"])
        assert row[4] == scenario["reason"]


def test_every_constant_is_traceable():
    document = sample_document()
    rows = table(render_page(document), "constant-table")
    for row, (key, constant) in zip(rows, document["constants"].items(), strict=True):
        assert row[0] == key
        value = f"{constant['value']:g}" + (f" to {constant['high']:g}" if constant["high"] else "")
        assert row[1].replace("\u00a0", " ") == f"{value} {constant['unit']}"
        assert row[2] == constant["source"] + (constant["note"] or "")
        assert row[3] == str(constant["year"])
        assert row[4] == f"{constant['grade']}: {constant['grade_text']}"
        assert row[5].replace("\u00a0", " ") == f"{constant['node_nm']} nm, {constant['voltage_v']} V"

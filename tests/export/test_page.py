"""The page, the tables and the card: true numbers, nothing injected, nothing missing in silence."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
import report_example as example

from export.page import model_card, page_html, report_markdown, words
from tests.export.page_parts import RENDERERS, VARIANTS, Page, page_of


@pytest.fixture
def report():
    return example.build_report()


def without_glue(text: str) -> str:
    return text.replace(words.NBSP, " ")


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

"""The page: true numbers, nothing fetched, nothing injected, nothing missing in silence."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from hw_targets.finding import InputError
from neuroemo.report import render_report, write_report

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input"}


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
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def text_of(report: dict) -> str:
    return Page(render_report(report)).text


def test_numbers_on_the_page_are_those_of_the_report(report):
    text = text_of(report)
    expected = [f"{100 * value:.1f} %" for value in report["accuracy"].values()]
    expected += [f"{100 * bound:.1f} %" for pair in report["intervals_95"].values() for bound in pair]
    expected += [f"{100 * value:.2f} %" for value in report["events"].values()]
    expected += [f"{report['lava']['compared_spikes']:,}", f"{report['network']['parameters']:,}"]
    for layer in report["export"]["layers"]:
        expected += [f"{layer[key]:,}" for key in ("neurons", "weights", "threshold", "voltage_decay", "bias_max")]
        expected += [f"{layer['verify'][key]:,}" for key in ("compared", "chip_mismatches")]
        expected += [f"{100 * layer['verify'][key]:.2f} %" for key in ("rate_float", "rate_chip")]
    for layer in report["energy"]["layers"]:
        expected += [f"{layer['dense_macs']:,}", f"{layer['acs']:,}".removesuffix(".25").removesuffix(".75")]
    expected += [f"{1000 * report['energy'][key]:.2f} µJ" for key in ("snn_mj", "neuron_mj")]
    expected += [f"{1000 * report['energy']['ann_mj']:.1f} µJ", "58.4 steps", "310.9 M", "310,915,584", "0.41 mJ"]
    expected += [f"{rate:.4f}" for vote in report["voting"].values() for rate in vote["rates"]]
    expected += [
        "960",
        "120",
        "240",
        report["command"],
        *report["next"],
        "2 min 28 s",
        "61.3 clips per second",
        "840 ms",
    ]
    assert [number for number in expected if number not in text] == []


def test_verdict_comes_first_with_its_conditions(report):
    text = text_of(report)
    verdict = (
        "The 8-bit Loihi 2 simulation labels 93.5 % of 240 unseen-subject clips correctly (float 93.8 %). "
        "Lava and the fast simulator agree on all 4,295,168 compared spikes of 8 clips."
    )
    assert verdict in text
    assert text.index(verdict) < text.index("A clip beside its events")


def test_nothing_is_fetched(report):
    html = render_report(report)
    assert set(re.findall(r"https?://[^\"'\s<>]*", html)) == {"http://www.w3.org/2000/svg"}
    tags = Page(html).tags
    assert {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed"} == set()
    for _, attributes in tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert "@import" not in html
    assert "url(" not in html.replace("url(#hatch)", "")
    assert len(html) < 1_500_000


def test_accessible_headings_pictures_and_names(report):
    tags = Page(render_report(report)).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in tags if tag == "svg")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in tags if tag == "a"} <= set(ids)


def hostile(value):
    """The same report with every free text hostile."""
    if isinstance(value, dict):
        return {key: item if key in ("frames_png", "events_png") else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_no_text_of_the_report_becomes_markup(report):
    plain = Page(render_report(report))
    evil = hostile(report)
    evil["timings"] = {HOSTILE: 1.0}
    evil["training"]["snn"]["settings"] = {HOSTILE: HOSTILE}
    html = render_report(evil)
    tags = Page(html).tags
    assert "<script" not in html
    assert {tag for tag, _ in tags} <= {tag for tag, _ in plain.tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_linked_pictures_are_refused(report):
    report["clip"]["frames_png"][1] = "https://example.org/face.png"
    with pytest.raises(InputError, match=r"clip\.frames_png\[1\]"):
        render_report(report)


def test_all_missing_keys_are_named_at_once(report):
    del report["title"], report["accuracy"]["float"], report["export"]["layers"][2]["cores"], report["energy"]["snn_mj"]
    report["data"]["classes"] = None
    report["network"]["threshold"] = "0.4"
    with pytest.raises(InputError) as error:
        render_report(report)
    assert error.value.exit_code == 2
    missing, damaged = error.value.findings
    for name in ("title", "accuracy.float", "export.layers[2].cores", "energy.snn_mj", "data.classes"):
        assert name in missing.found
    assert "network.threshold (not a finite number)" in damaged.found


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("schema",), 2, "schema"),
        (("accuracy", "float"), 93.5, "accuracy.float (not a fraction between 0 and 1)"),
        (("energy", "ann_mj"), float("nan"), "energy.ann_mj (not a number, 0 or more)"),
        (("energy", "ann_mj"), -1.0, "energy.ann_mj"),
        (("clip", "steps"), [1], "clip (steps"),
        (("voting", "right", "rates"), [0.1], "voting.right"),
        (("voting", "wrong", "spikes"), [[0, 1]], "voting.wrong"),
        (("steps", "after", "loss"), [0.1], "steps.after"),
        (("intervals_95", "float"), [0.1], "intervals_95.float"),
        (("export", "layers"), {}, "export.layers (not a list)"),
        (("timings",), {"train": "long"}, "timings"),
    ],
)
def test_damaged_entries_are_named(report, path, value, complaint):
    inner = report
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError) as error:
        render_report(report)
    assert complaint in str(error.value)


OPTIONAL = {
    "intervals_95": "report.json holds no intervals",
    "events": "Event densities were not recorded",
    "clip": "No example clip was recorded",
    "training": "The course of the training was not recorded",
    "steps": "Accuracy along the time steps was not recorded",
    "lava": "Lava: nothing recorded",
    "voting": "The voting neurons were not recorded",
    "simulation": "not timed",
    "timings": "Timings were not recorded",
    "next": "No next commands were recorded",
}


@pytest.mark.parametrize("key", list(OPTIONAL))
@pytest.mark.parametrize("as_null", [False, True])
def test_absent_parts_say_so(report, key, as_null):
    whole = [attributes.get("id") for tag, attributes in Page(render_report(report)).tags if tag == "section"]
    report[key] = None
    if not as_null:
        del report[key]
    page = Page(render_report(report))
    assert OPTIONAL[key] in page.text
    assert [attributes.get("id") for tag, attributes in page.tags if tag == "section"] == whole


def test_a_report_of_required_entries_only(report):
    for key in OPTIONAL:
        del report[key]
    report["data"]["subjects"] = None
    report["accuracy"] = {"float": 0.5, "quantised": 0.5}
    report["accuracy_clips"] = {"float": 3, "quantised": 1}
    report["export"] = {"target": "loihi9", "ok": False, "findings": [], "layers": []}
    kept = ("snn_mj", "ann_mj", "acs", "macs", "ann_macs", "precision", "ac_pj", "mac_pj")
    report["energy"] = {key: report["energy"][key] for key in kept}
    text = text_of(report)
    for sentence in (
        "The export lists no layers", "No layer was compared", "Subjects are not known", "Table II was not recomputed",
        "Operations of the ANN twin were not broken down", "The export raised no findings", "not run", "none computed",
        "of 1 test clips correctly (float 50.0 % of 3)", "quantised loihi9 simulation", "Not verified",
    ):  # fmt: skip
        assert sentence in text


def test_stages_and_clips_that_are_null(report):
    report["steps"]["before"] = report["steps"]["during"] = None
    report["voting"]["wrong"] = None
    report["training"]["ann"] = None
    report["energy"]["break_even_steps"] = None
    text = text_of(report)
    assert text.count("This stage was not recorded") == 2
    assert "No clip labelled wrong was recorded" in text
    assert "The training of this network was not recorded" in text
    assert "none computed" in text


def test_lava_skipped(report):
    report["lava"] = {"skipped": "lava-nc is not installed"}
    report["accuracy"]["lava"] = report["accuracy_clips"]["lava"] = None
    report["intervals_95"]["lava"] = None
    text = text_of(report)
    assert "Lava was skipped (lava-nc is not installed)" in text
    assert "Verified by our simulator; Lava did not judge it" in text
    assert "agree on all" not in text


def test_lava_disagreeing_is_no_success(report):
    report["lava"]["mismatched_spikes"] = report["lava"]["layers"][1]["mismatched"] = 7
    text = text_of(report)
    assert "disagree on 7 of 4,295,168 compared spikes" in text
    assert "Not verified: Lava and the fast simulator disagree" in text


def test_a_failed_export_is_no_success(report):
    report["export"]["ok"] = False
    assert "Not verified: the export failed its checks" in text_of(report)


def test_synthetic_data_are_said_to_be_so(report):
    note = "Synthetic faces: the label map is ours; these scores say nothing about human affect."
    assert note in text_of(report)
    report["data"]["synthetic"] = False
    assert note not in text_of(report)


def test_three_classes_and_many_steps(report):
    import numpy as np
    from report_sample import vote

    long = vote(np.random.default_rng(1), "sad", "happy", "clip", steps=68)
    for table in ("spikes", "membrane"):
        long[table] = [row + row[:10] for row in long[table]]
    report["data"]["classes"] = ["sad", "happy", "a very long name for an emotion"]
    long["rates"] = [0.1, 0.3, 0.2]
    report["voting"] = {"right": long, "wrong": None}
    html = render_report(report)
    assert "68 steps, 30 neurons" in Page(html).text
    assert len(html) < 1_500_000


def test_write_report(report, tmp_path):
    source, target = tmp_path / "report.json", tmp_path / "report.html"
    source.write_text(json.dumps(report), encoding="utf-8")
    target.write_text("old")
    write_report(source, target)
    assert target.read_text(encoding="utf-8") == render_report(report)
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", b"\xff\xfe\x00", '{"schema": 1}'])
def test_unreadable_reports_leave_the_old_page(tmp_path, content):
    source, target = tmp_path / "report.json", tmp_path / "report.html"
    target.write_text("old")
    if content is not None:
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        write_report(source, target)
    assert error.value.exit_code == 2
    assert "report.json" in str(error.value)
    assert target.read_text() == "old"


def test_a_page_that_cannot_be_written_is_an_input_error(report, tmp_path):
    source = tmp_path / "report.json"
    source.write_text(json.dumps(report))
    with pytest.raises(InputError):
        write_report(source, tmp_path / "nowhere" / "report.html")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError):
        write_report(source, tmp_path / "taken")
    assert sorted(os.listdir(tmp_path)) == ["report.json", "taken"]


def test_rendering_does_not_change_the_report(report):
    before = json.dumps(report)
    assert render_report(report) == render_report(report)
    assert json.dumps(report) == before


def test_importing_the_room_is_instant():
    import subprocess
    import sys

    code = "import sys, neuroemo.report; print([m for m in ('matplotlib', 'jinja2', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""The console summary and the words it shares with the page."""

from __future__ import annotations

import pytest

from hw_targets.finding import InputError
from neuroemo.report import summary_lines, words


def split(report):
    lines = summary_lines(report)
    return [line for line in lines if not line.startswith("next: ")], [
        line for line in lines if line.startswith("next: ")
    ]


def test_ten_lines_and_the_next_commands(report):
    lines, following = split(report)
    assert len(lines) == 10
    assert following == [f"next: {command}" for command in report["next"]]
    assert all("\n" not in line and "\u00a0" not in line for line in lines)


def test_what_the_lines_say(report):
    text = "\n".join(summary_lines(report))
    for expected in (
        "The 8-bit Loihi 2 simulation labels 93.5 % of 240 unseen-subject clips correctly (float 93.8 %).",
        "ANN twin 94.6 %, linear on the mean frame 61.3 %, chance 50.0 %", "33,556 neurons, 12 cores, 834.6 kB",
        "9.12 % of (pixel, channel) positions", "SNN 5.16 µJ per clip, ANN twin 21.1 µJ",
        "1 warning, 1 note; first: W210",
        "Synthetic faces",
    ):  # fmt: skip
        assert expected in text


def test_hardly_anything_recorded(report):
    for key in ("events", "lava", "next", "intervals_95"):
        del report[key]
    report["export"]["layers"] = []
    report["export"]["findings"] = []
    report["accuracy"] = {"float": 1.0, "quantised": 0.0}
    report["data"]["synthetic"] = False
    report["title"] = "two\nlines"
    lines, following = split(report)
    assert lines[0].startswith("two lines: ")
    assert len(lines) <= 10
    assert following == []
    assert "Findings: none." in lines


def test_a_damaged_report(report):
    del report["export"]
    with pytest.raises(InputError, match="export"):
        summary_lines(report)


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.9999, "99.99 %"),
        (0.00001, "0.001 %"),
        (1 - 1e-12, "> 99.99999 %"),
        (0.5, "50.0 %"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(fraction, shown):
    assert words.percent(fraction).replace(words.NBSP, " ") == shown


def test_overlap_of_intervals_is_said(report):
    assert "the 95 % intervals overlap" in words.verdict_sentences(checked(report))[2].replace(words.NBSP, " ")
    report["intervals_95"]["ann"] = [0.97, 0.99]
    assert "do not overlap" in words.verdict_sentences(checked(report))[2]


def test_a_baseline_as_good_as_the_network_is_said(report):
    report["accuracy"]["trivial"] = 0.95
    assert "no less than the spiking network" in " ".join(words.verdict_sentences(checked(report)))


def checked(report):
    from neuroemo.report.schema import checked_report

    return checked_report(report)

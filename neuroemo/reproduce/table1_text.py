"""Table I in words: for a console, as Markdown for the documentation, and the sentences that go with every form."""

from __future__ import annotations

from typing import Any

MINUS = "\N{MINUS SIGN}"
Report = dict[str, Any]


def percent(share: float, digits: int = 1) -> str:
    """Return a share in per cent, without the sign.

    >>> percent(0.61694), percent(1)
    ('61.7', '100.0')
    """
    return f"{100 * share:.{digits}f}"


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign.

    >>> points(0.0199), points(-0.0025), points(0.0), points(-0.0001)
    ('+2.0', '−0.2', '0.0', '0.0')
    """
    shown = f"{100 * share:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", MINUS)


def printed(difference: float) -> str:
    """Return a difference of the paper in percentage points, with the two digits that it prints.

    >>> printed(1.25), printed(-0.25)
    ('+1.25', '−0.25')
    """
    return f"{difference:+.2f}".replace("-", MINUS)


def mean_text(row: Report) -> str:
    """Return mean ± sample standard deviation over seeds in per cent; the mean alone for one seed.

    >>> mean_text({"mean": 0.654, "sd": 0.0123}), mean_text({"mean": 0.5, "sd": None})
    ('65.4 ± 1.2', '50.0')
    """
    return percent(row["mean"]) + ("" if row["sd"] is None else f" ± {percent(row['sd'])}")


def span(interval: list[float], form: Any = percent) -> str:
    """Return an interval.

    >>> span([0.5, 0.625]), span([-0.01, 0.02], points)
    ('50.0 to 62.5', '−1.0 to +2.0')
    """
    return f"{form(interval[0])} to {form(interval[1])}"


def cells(row: Report) -> list[str]:
    """Return the columns of a row: ``HEAD``."""
    against = row["against"]
    seeds = " ".join(percent(run["accuracy"]) for run in row["runs"])
    shown = [row["title"], f"{row['paper_percent']:.2f}", mean_text(row), span(row["interval_95"]), seeds,
             span(row["pooled"]["interval_95"])]  # fmt: skip
    if against is None:
        return [*shown, "", "", "", ""]
    paper = printed(against["paper_points"])
    ours = f"{points(against['difference'])} ({span(against['interval_95'], points)})"
    return [*shown, against["model"], paper, ours, against["verdict"]]


HEAD = ["network", "paper", "ours", "95 %", "per seed", "pooled Wilson 95 %", "against", "paper", "ours (95 %)", "sign"]


def baseline_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return what needs no spiking network: name, accuracy and Wilson interval in per cent."""
    names = {
        "majority": "majority class",
        "mean_frame": "linear model, mean frame",
        "summed_events": "linear model, summed events",
    }
    rows = [(title, report["baselines"][key]) for key, title in names.items()]
    shown = [(title, percent(told["accuracy"]), span(told["interval_95"])) for title, told in rows]
    return [("chance", percent(report["chance"]), ""), *shown]


def caption(report: Report) -> str:
    """Return what was measured, on what, and how it was trained."""
    data, settings, clips = report["data"], report["settings"], report["data"]["clips"]
    people = data["subjects"] or {}
    seeds = len(report["seeds"])
    test, train, val = (
        f"{clips[split]}" + (f" ({people[split]} subject{'s' if people[split] != 1 else ''})" if people else "")
        for split in ("test", "train", "val")
    )
    return (
        f"Accuracy in per cent on {data['name']}, test clips: {test}; trained on {train}, epoch chosen on {val}; "
        f"{data['size']}×{data['size']} pixels, {data['steps']} steps; "
        f"{settings['epochs']} epochs, batch {settings['batch']}, learning rate {settings['learning_rate']:g}; "
        + (f"mean ± sample standard deviation over {seeds} seeds." if seeds > 1 else "one seed.")
    )


def comparable(report: Report) -> str:
    """Return what the paper's column may be compared with."""
    if report["data"]["comparable"]:
        return (
            "The paper's accuracies are of CMU-MOSI too, of one training each; the number of its test clips is not "
            "printed, and whether clips rated 0 were kept is not either."
        )
    return (
        "The paper's accuracies are of CMU-MOSI, one training each: other data, so only the signs of the differences "
        "can be compared with it."
    )


def order_lines(report: Report) -> list[str]:
    """Return a sentence per pair of rows that does not follow the paper or is not decided here, or that all do."""
    if not any(row["against"] for row in report["rows"]):
        return ["no row was trained together with the row that it changes."]
    lines = []
    for row in report["rows"]:
        told = row["against"]
        if told is None or told["verdict"] == "as in the paper":
            continue
        ours = f"{points(told['difference'])} points ({span(told['interval_95'], points)})"
        said = "the other way round here" if told["verdict"] == "not as in the paper" else "undecided here"
        paper = printed(told["paper_points"])
        lines.append(f"{row['model']} against {told['model']}: {paper} in the paper, {said}, {ours}.")
    return lines or ["nothing: every difference has the paper's sign, with an interval that excludes 0."]


def constant_lines(report: Report) -> list[str]:
    """Return a sentence per network that gave every test clip the same answer, which no accuracy shows."""
    lines = []
    for row in report["rows"]:
        seeds = [str(run["seed"]) for run in row["runs"] if max(run["answers_by_class"]) == run["clips"]]
        if seeds:
            words = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
            lines.append(f"{row['model']} gave every test clip the same answer ({words}): it learned nothing.")
    return lines


def notes(report: Report) -> list[str]:
    """Return the sentences that belong under every form of the table."""
    draws = report["method"][0].upper() + report["method"][1:]
    pooled = report["pooled_note"][0].upper() + report["pooled_note"][1:]
    alone = ["With one seed no interval says anything about another training."] if len(report["seeds"]) == 1 else []
    seven = "The differences are not corrected for their number."
    return [
        *constant_lines(report),
        comparable(report),
        f"{draws}; here {report['drawn']} are drawn.",
        *alone,
        f"{pooled}.",
        seven,
    ]


def table_text(report: Report) -> str:
    """Return the table for a console."""
    rows = [HEAD, *(cells(row) for row in report["rows"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    base = [f"  {name:<28} {accuracy:>5}  {interval}".rstrip() for name, accuracy, interval in baseline_rows(report)]
    order = order_lines(report)
    return "\n".join(
        [
            caption(report), "", body[0], "-" * len(body[0]), *body[1:], "", "Without a spiking network:", *base, "",
            "What does not follow the paper:", *(f"  {line}" for line in order), "", *notes(report),
        ]
    )  # fmt: skip


def table_markdown(report: Report) -> str:
    """Return the table for the documentation."""
    rows = [cells(row) for row in report["rows"]]
    lines = [caption(report), "", f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", "| without a spiking network | accuracy | Wilson 95 % |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in baseline_rows(report)]
    lines += ["", "What does not follow the paper:", "", *(f"- {line}" for line in order_lines(report)), ""]
    return "\n".join([*lines, *notes(report)])

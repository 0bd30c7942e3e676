"""A report of valence and arousal as blocks of text cells: one content for the console, the page, LaTeX and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuroemo.reproduce.affect_emotions import emotion_notes
from neuroemo.reproduce.table1_text import MINUS, percent, span

Report = dict[str, Any]
ORDER = ("arousal", "valence")
"""The order of the paper's columns."""
NONE = "–"
METRICS = {"rmse": "RMSE", "pcc": "PCC", "sagr": "SAGR", "ccc": "CCC"}


@dataclass(frozen=True, slots=True)
class Block:
    """A table of texts with a title, and a remark under it; ``main`` blocks are the table itself."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""
    main: bool = False


def number(value: float | None, signed: bool = False) -> str:
    """Return a score with three digits.

    >>> number(0.1237), number(None), number(-0.05), number(0.01, signed=True), number(-0.0001)
    ('0.124', '–', '−0.050', '+0.010', '0.000')
    """
    if value is None:
        return NONE
    shown = f"{value:+.3f}" if signed else f"{value:.3f}"
    shown = "0.000" if shown in ("-0.000", "+0.000") else shown
    return shown.replace("-", MINUS)


def many(count: int, thing: str) -> str:
    """Return a number of things.

    >>> many(1, "run"), many(2400, "frame")
    ('1 run', '2,400 frames')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def ends(interval: list[float] | None, signed: bool = False) -> str:
    """Return an interval.

    >>> ends([0.1, 0.25]), ends(None)
    ('0.100 to 0.250', '–')
    """
    return NONE if interval is None else f"{number(interval[0], signed)} to {number(interval[1], signed)}"


def within(told: Report, signed: bool = False) -> str:
    """Return a score with its interval.

    >>> within({"value": 0.2, "interval_95": [0.1, 0.25]}), within({"value": 0.2, "interval_95": None}, True)
    ('0.200 (0.100 to 0.250)', '+0.200')
    """
    inside = "" if told["interval_95"] is None else f" ({ends(told['interval_95'], signed)})"
    return number(told["value"], signed) + inside


def blocks(report: Report) -> list[Block]:
    """Return all blocks of a report, the table itself first."""
    told: list[Block] = []
    if report["emotions"] is not None:
        told += emotion_blocks(report)
    shown = shown_rows(report)
    main = report["emotions"] is None
    told += [_scores(report, shown, output, main) for output in ORDER]
    if report["differences"] is not None:
        told.append(_differences(report))
    told.append(_published(report))
    return [*told, _spread(report), _runs(report)]


def shown_rows(report: Report) -> list[Report]:
    """Return the rows of the table itself: all that were trained, or the chosen two (Tables 3 and 5)."""
    names = report["chosen"]
    return [row for row in report["rows"] if names is None or row["network"] in names.values()]


def title_of(report: Report, row: Report) -> str:
    """Return how a row is called: with its bits where the table compares them, with its family where it chooses."""
    if report["chosen"] is not None:
        return f"{row['title']} (best {row['family']}-based)"
    several = len(report["data"]["stores"]) > 1
    return f"{row['title']}, {row['bits']} bits" if several else str(row["title"])


def _scores(report: Report, rows: list[Report], output: str, main: bool) -> Block:
    beside = report["data"]["comparable"]
    head = ["network", "RMSE (95 %)", "below the mean's by (95 %)", "PCC (95 %)", "CCC (95 %)", "SAGR"]
    head += ["paper: RMSE", "PCC", "SAGR"] if beside else []
    lines = []
    for row in rows:
        told = row["outputs"][output]
        pooled, printed = told["pooled"], told["printed"] or {}
        gain = pooled["rmse_gain"]
        line = [title_of(report, row), within(pooled["rmse"]), within(gain, True)]
        line += [within(pooled["pcc"]), within(pooled["ccc"]), number(pooled["sagr"]["value"])]
        line += [number(printed.get(name)) for name in ("rmse", "pcc", "sagr")] if beside else []
        lines.append(tuple(line))
    lines += [_constant(report, store, rows, output, len(head)) for store in report["data"]["stores"]]
    first = rows[0]["outputs"][output]["pooled"]
    people = many(first["subjects"], report["drawn"][:-1])
    remark = (
        f"Pooled over {first['frames']:,} test frames of {people}. The mean of the training frames has no PCC, and a "
        "CCC of 0 within a fold."
    )
    return Block(output.capitalize(), tuple(head), tuple(lines), remark, main)


def _constant(report: Report, store: Report, rows: list[Report], output: str, width: int) -> tuple[str, ...]:
    """Return the row of the answer that needs no network: always the mean of the training frames."""
    row = next(row for row in rows if row["bits"] == store["bits"])
    told = row["outputs"][output]["pooled"]["constant"]
    several = len(report["data"]["stores"]) > 1
    name = "mean of the training frames" + (f", {store['bits']} bits" if several else "")
    line = [name, number(told["rmse"]), "", NONE, number(0.0), number(told["sagr"])]
    return (*line, *[""] * (width - len(line)))


def _differences(report: Report) -> Block:
    lines = []
    for row in report["differences"]:
        for output in ORDER:
            told = row["outputs"][output]
            printed = number(told["printed"], True)
            lines.append((row["title"], output, printed, within(told, True), told["verdict"] or NONE))
    remark = (
        "Positive: the RMSE is larger with 16 bits. The same subjects and seeds are drawn for both, but a frame of 16 "
        "bits lasts twice as long, so the frames and their labels are others: compare the mean's rows too."
    )
    head = ("network", "output", "paper", "ours (95 %)", "sign")
    return Block("RMSE with 16 bits less that with 8", head, tuple(lines), remark, main=bool(lines))


def _published(report: Report) -> Block:
    same = "AFEW-VA, of the paper's own folds, which are not published"
    remark = f"Copied from the paper and computed nowhere here: {same}."
    if report["emotions"] is not None:
        rows = [(row["title"], row["modality"], f"{row['accuracy']:.2f}") for row in report["published"]]
        remark = "Copied from the paper and computed nowhere here: NEFER, accuracy in per cent."
        return Block("Published", ("method", "modality", "accuracy"), tuple(rows), remark)
    head, lines, digits = ["method", "modality"], [], 2 if report["table"] == "affect-table3" else 3
    names = [name for name in ("rmse", "pcc", "sagr") if _printed_any(report, name)]
    head += [f"{output} {METRICS[name]}" for output in ORDER for name in names]
    for row in report["published"]:
        cells = [_plain(row["outputs"][output][name], digits) for output in ORDER for name in names]
        lines.append((row["title"], row["modality"], *cells))
    if not report["data"]["comparable"]:
        remark += " Other data than those above: the figures do not compare."
    return Block("Published", tuple(head), tuple(lines), remark)


def _printed_any(report: Report, name: str) -> bool:
    return any(row["outputs"][output][name] is not None for row in report["published"] for output in ORDER)


def _plain(value: float | None, digits: int) -> str:
    """Return a figure of the paper with as many digits as it prints."""
    return NONE if value is None else f"{value:.{digits}f}"


def _spread(report: Report) -> Block:
    lines = []
    for row in report["rows"]:
        for output in ORDER:
            told = row["outputs"][output]["over_runs"]
            cells = [_mean(told[name]) for name in METRICS]
            lines.append((_long_title(report, row), output, f"{row['trained_parameters']:,}", *cells))
    count = len(report["rows"][0]["runs"])
    head = ("network", "output", "trained parameters", *METRICS.values())
    remark = f"Mean ± sample standard deviation of the test scores of {many(count, 'run')} each."
    return Block("Every network, run by run", head, tuple(lines), remark)


def _long_title(report: Report, row: Report) -> str:
    return f"{row['title']}, {row['bits']} bits" if len(report["data"]["stores"]) > 1 else str(row["title"])


def _mean(told: Report) -> str:
    return number(told["mean"]) + ("" if told["sd"] is None else f" ± {number(told['sd'])}")


def _runs(report: Report) -> Block:
    lines = []
    for row in report["rows"]:
        for run in row["runs"]:
            fold = NONE if run["fold"] is None else str(run["fold"])
            cells = [f"{number(run['scores'][o]['rmse'])} / {number(run['scores'][o]['ccc'])}" for o in ORDER]
            best = f"{run['best_epoch']} of {run['epochs']}"
            check = number(run["validation"]["ccc"])
            lines.append((_long_title(report, row), fold, str(run["seed"]), f"{run['frames']:,}", best, check, *cells))
    head = ("network", "fold", "seed", "test frames", "best epoch", "validation CCC", "arousal RMSE / CCC",
            "valence RMSE / CCC")  # fmt: skip
    return Block("Every run", head, tuple(lines))


def emotion_blocks(report: Report) -> list[Block]:
    """Return the accuracies of Table 5, and the answers by emotion."""
    told = report["emotions"]
    beside = told["comparable"]
    head = ["method", "network", "train", "test", "accuracy", "Wilson 95 %", "95 % over persons", "over runs"]
    lines = []
    for row in told["rows"]:
        over = percent(row["mean"]) + ("" if row["sd"] is None else f" ± {percent(row['sd'])}")
        drawn = NONE if row["interval_95"] is None else span(row["interval_95"])
        line = [f"Ours ({row['family'].capitalize()})", row["title"], told["trained_on"], told["name"],
                f"{100 * row['mean']:.2f}", span(row["wilson_95"]), drawn, over]  # fmt: skip
        lines.append(tuple([*line, f"{row['printed_percent']:.2f}"] if beside else line))
    blank = [""] * (len(head) - 5 + beside)
    lines.append(("chance", "", "", "", f"{100 * told['chance']:.2f}", *blank))
    largest = told["largest_class"]
    lines.append((f"always {largest['emotion']}", "", "", "", f"{100 * largest['share']:.2f}", *blank))
    videos = told["videos"]
    remark = (
        f"Per cent of {videos['test']} videos of split {told['test']!r}; prototypes from {videos['train']} training "
        "videos. Wilson: as if one network had the mean accuracy of all runs."
    )
    main = Block("Emotions", tuple([*head, "paper"] if beside else head), tuple(lines), remark, main=True)
    return [main, *[_by_emotion(told, row) for row in told["rows"]]]


def _by_emotion(told: Report, row: Report) -> Block:
    """Return the confusion of one network over all its runs: rows truth, columns answer."""
    emotions = told["emotions"]
    total = [
        [sum(run["confusion"][i][j] for run in row["runs"]) for j in range(len(emotions))] for i in range(len(emotions))
    ]
    lines = tuple((name, *map(str, total[at])) for at, name in enumerate(emotions))
    count = len(row["runs"])
    remark = f"Rows: the label; columns: the answer; {many(count, 'run')} together."
    return Block(f"Answers of {row['title']}", ("emotion", *emotions), lines, remark)


def all_notes(report: Report) -> list[str]:
    """Return the sentences that belong under every form of the table."""
    own = [] if report["emotions"] is None else emotion_notes(report["emotions"])
    method = f"{report['method']}; here {report['drawn']} are drawn."
    picks = []
    if report["chosen"] is not None:
        picks = ["The networks of the table are those with the highest CCC on the validation frames, not on the test."]
    return [*own, *picks, *report["notes"], method]


def caption(report: Report) -> str:
    """Return what was measured, on what, and how it was trained."""
    data, settings = report["data"], report["settings"]
    people = "" if data["subjects"] is None else f" of {many(data['subjects'], 'subject')}"
    numbers = ", ".join(map(str, report["folds"]))
    folds = f"test fold{'s' if len(report['folds']) > 1 else ''} {numbers}" if numbers else "one split"
    seeds = len(report["seeds"])
    stores = " and ".join(f"{store['bits']} × {store['slice_us'] / 1000:g} ms" for store in data["stores"])
    name = f"synthetic {data['name']}" if data["synthetic"] else data["name"]
    pixels = f"{data['size']}×{data['size']}"
    return (
        f"Valence and arousal in [−1, 1] on {name}: {many(data['clips'], 'clip')}{people}, event frames of {pixels} "
        f"pixels, {stores}; {folds}; {many(seeds, 'seed')}; {many(settings['epochs'], 'epoch')}, "
        f"{settings['batch']} frames per step, AdamW {settings['learning_rate']:g} halved every "
        f"{settings['halve_every']} epochs, loss {settings['loss']}."
    )

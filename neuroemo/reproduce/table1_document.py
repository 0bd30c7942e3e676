"""report.json of Table I: every run, every row beside the paper's, and what of the paper's order holds here.

Everything but ``times`` and ``versions`` is decided by the command and the data: the same command gives the same
report. docs/table1-report.schema.json is its JSON Schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroemo.reproduce.table1_paper import ROWS, printed_difference
from neuroemo.reproduce.table1_statistics import METHOD, Bootstrap, groups_of, paired, spread
from neuroemo.training.metrics import Score

if TYPE_CHECKING:
    from neuroemo.reproduce.table1_data import Table1Data
    from neuroemo.reproduce.table1_run import RunJob
    from neuroemo.reproduce.table1_settings import Table1Settings

SCHEMA = 1
KIND = "table1"
VERDICTS = ("as in the paper", "not as in the paper", "undecided")
PAPER = {
    "title": "Spiking Emotions: Dynamic Vision Emotion Recognition Using Spiking Neural Networks",
    "table": "Table I",
    "data": "CMU-MOSI, test clips of the paper's own selection (number not printed)",
    "runs": "one per row, one fixed random seed",
}
POOLED_NOTE = (
    "the pooled Wilson interval counts every answer of every seed as independent; seeds share their test clips, so it "
    "is too narrow: read the interval of the mean"
)


def assemble(
    settings: Table1Settings,
    data: Table1Data,
    jobs: list[RunJob],
    records: list[dict[str, Any]],
    baselines: dict[str, Any],
) -> dict[str, Any]:
    """Return the report of finished runs; ``records`` in the order of ``jobs``."""
    from importlib.metadata import version

    store = data.any
    test = store.indices("test")
    labels = np.asarray(store.labels)[test]
    groups = groups_of([store.subjects[i] for i in test], [store.names[i] for i in test])
    bootstrap = Bootstrap(groups, settings.seeds)
    by_model = {name: [r for r in records if r["model"] == name] for name in ROWS if name in settings.models}
    right = {name: np.array([r["answers"] for r in runs]) == labels for name, runs in by_model.items()}
    specs = {job.model: job.spec for job in jobs}
    shared = {key: value for key, value in jobs[0].settings.items() if key not in ("seed", "engine")}
    engines = {job.model: str(job.settings["engine"]) for job in jobs}
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "tool": {"name": "neuroemo", "version": version("neuroemo")},
        "command": settings.command,
        "paper": PAPER,
        "data": {"name": settings.data, "comparable": settings.data == "mosi"} | data.told(),
        "settings": shared,
        "seeds": list(range(settings.seeds)),
        "method": METHOD,
        "pooled_note": POOLED_NOTE,
        "drawn": "subjects" if all(store.subjects[i] for i in test) else "clips",
        "chance": 1 / len(store.classes),
        "baselines": baselines,
        "rows": [
            _row(name, runs, right, specs[name], bootstrap) | {"engine": engines[name]}
            for name, runs in by_model.items()
        ],
        "versions": [dict(told) for told in sorted({tuple(sorted(r["versions"].items())) for r in records})],
        "times": {
            f"{record['model']}, seed {record['seed']}": record["seconds"]
            for record in sorted(records, key=lambda r: (list(ROWS).index(r["model"]), r["seed"]))
        },
    }


def _row(
    name: str, runs: list[dict[str, Any]], right: dict[str, Any], spec: dict[str, Any], bootstrap: Bootstrap
) -> dict[str, Any]:
    paper = ROWS[name]
    shares = [run["correct"] / run["clips"] for run in runs]
    low, high = bootstrap.interval(right[name])
    pooled = Score(sum(run["correct"] for run in runs), sum(run["clips"] for run in runs))
    return {
        "model": name,
        "title": paper.title,
        "explanation": paper.explanation,
        "paper_percent": paper.percent,
        "parameters": runs[0]["parameters"],
        "spec": spec,
        "mean": float(np.mean(shares)),
        "sd": spread(shares),
        "interval_95": [low, high],
        "pooled": pooled.to_dict(),
        "runs": [_told_run(run) for run in runs],
        "against": _against(name, right, bootstrap),
    }


def _told_run(run: dict[str, Any]) -> dict[str, Any]:
    told = {key: run[key] for key in ("seed", "best_epoch", "validation_accuracy")}
    answered = np.bincount(run["answers"], minlength=run["identity"]["spec"]["classes"]).tolist()
    more = {"epochs": len(run["history"]), "answers_by_class": answered}
    return told | Score(run["correct"], run["clips"]).to_dict() | more


def _against(name: str, right: dict[str, Any], bootstrap: Bootstrap) -> dict[str, Any] | None:
    """Return a row's difference to the row that it changes; None without such a row, or where that was not trained."""
    other, printed = ROWS[name].changes, printed_difference(name)
    if other is None or printed is None or other not in right:
        return None
    ours = paired(right[name], right[other], bootstrap)
    return {"model": other, "paper_points": printed, "verdict": verdict(printed, ours["interval_95"])} | ours


def verdict(printed: float, interval: list[float]) -> str:
    """Say whether a difference has the paper's sign, the other one, or an interval that holds both.

    >>> verdict(1.99, [0.004, 0.03]), verdict(1.99, [-0.03, -0.004]), verdict(-1.99, [-0.03, 0.0])
    ('as in the paper', 'not as in the paper', 'undecided')
    """
    low, high = interval
    if low <= 0 <= high:
        return VERDICTS[2]
    return VERDICTS[0] if (low > 0) == (printed > 0) else VERDICTS[1]

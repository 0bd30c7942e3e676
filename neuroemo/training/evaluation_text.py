"""An evaluation for people: what stands on the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.page.words import plural
from hw_targets.finding import Finding

SUBJECTS = 5
"""How many subjects are listed, the worst first."""


def evaluation_text(told: dict[str, Any]) -> str:
    """Return an evaluation document as lines."""
    low, high = told["interval_95"]
    lines = [
        f"accuracy {told['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on {told['clips']} clips; "
        f"largest class {told['largest_class']:.1%}",
        f"balanced accuracy {told['balanced_accuracy']:.1%}, macro F1 {told['macro_f1']:.3f}, loss {told['loss']:.4f}",
        "",
        *_class_lines(told),
        *_subject_lines(told["subjects"]),
        *_step_lines(told),
        *_tie_lines(told["ties"], told["classes"]),
        *(str(Finding(**finding)) for finding in told["findings"]),
    ]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, the first to the left and the others to the right.

    >>> table([("class", "clips"), ("a", "12")])
    ['class  clips', 'a         12']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _class_lines(told: dict[str, Any]) -> list[str]:
    names = [f"as {name}" for name in told["classes"]]
    rows = [["label", "clips", "precision", "recall", "F1", *names]]
    for one, answered in zip(told["per_class"], told["confusion"], strict=True):
        shares = [_share(one[key]) for key in ("precision", "recall")]
        f1 = "-" if one["f1"] is None else f"{one['f1']:.3f}"
        rows.append([one["class"], str(one["clips"]), *shares, f1, *(str(count) for count in answered)])
    return [*table(rows), ""]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _subject_lines(subjects: dict[str, Any] | None) -> list[str]:
    if subjects is None:
        return []
    spread = subjects["spread"]
    deviation = spread["standard_deviation"]
    more = "" if deviation is None else f" (standard deviation {deviation:.1%})"
    lines = [
        f"{spread['subjects']} subjects: mean {spread['mean']:.1%}{more}, "
        f"from {spread['lowest']:.1%} to {spread['highest']:.1%}; worst {spread['worst']}"
    ]
    ordered = sorted(subjects["scores"].items(), key=lambda item: (item[1]["accuracy"], -item[1]["clips"], item[0]))
    if len(ordered) > 1:
        rows = [("subject", "clips", "accuracy", "95 % interval")]
        for name, one in ordered[:SUBJECTS]:
            low, high = one["interval_95"]
            rows.append((name, str(one["clips"]), f"{one['accuracy']:.1%}", f"{low:.1%} to {high:.1%}"))
        lines += table(rows)
        if len(ordered) > SUBJECTS:
            lines.append(f"... and {len(ordered) - SUBJECTS} better: --json or -o DIR lists all")
    return [*lines, ""]


def _step_lines(told: dict[str, Any]) -> list[str]:
    decision, steps = told["early_decision"], told["steps"]
    if decision is None:
        return []
    total = len(steps["accuracy"])
    rows = [("stopped at step", "accuracy", "loss", "answer stands")]
    for step in shown_steps(total, steps["lowest_loss_at"]):
        stands = decision["stable_from"]["share"][step - 1]
        mark = " *" if step == steps["lowest_loss_at"] else ""
        accuracy, loss = steps["accuracy"][step - 1], steps["loss"][step - 1]
        rows.append((f"{step}{mark}", f"{accuracy:.1%}", f"{loss:.4f}", f"{stands:.1%}"))
    lines = [*table(rows), "* lowest loss"]
    stable = decision["stable_from"]
    if stable["quartiles"] is not None:
        low, middle, high = stable["quartiles"]
        lines.append(
            f"answers never change again from step {middle:g} on in the median "
            f"(quartiles {low:g} and {high:g}, 90 % by {stable['ninety_percent']:g})"
        )
    best = cheapest_exit(told)
    if best is not None:
        lines.append(
            f"stopping at a lead of more than {best['margin']} spikes: accuracy {best['accuracy']:.1%} "
            f"after {best['mean_steps']:.1f} of {total} steps on average"
        )
    return [*lines, ""]


def shown_steps(total: int, lowest: int) -> list[int]:
    """Return about six steps to list, the first, the last and that of the lowest loss among them.

    >>> shown_steps(16, 7), shown_steps(3, 3)
    ([1, 2, 4, 7, 8, 12, 16], [1, 2, 3])
    """
    if total <= 6:
        return list(range(1, total + 1))
    return sorted({1, lowest, total, *(max(1, round(total * part)) for part in (0.125, 0.25, 0.5, 0.75))})


def cheapest_exit(told: dict[str, Any]) -> dict[str, Any] | None:
    """Return the early exit with fewest steps that answers as many clips rightly as all steps do; None without one."""
    decision = told["early_decision"]
    exits = [] if decision is None else decision["margin_exit"]
    good = [one for one in exits if one["correct"] >= told["correct"] and one["stopped_early"]]
    return min(good, key=lambda one: one["mean_steps"], default=None)


def _tie_lines(ties: dict[str, int], classes: Sequence[str]) -> list[str]:
    if not ties["clips"]:
        return []
    ended = f"{plural(ties['clips'], 'clip')} ended in a tie ({ties['silent']} without any spike)"
    order = f"the first class in order ({', '.join(classes)}) was the answer"
    return [f"{ended}: {order}, {ties['correct']} of them rightly"]

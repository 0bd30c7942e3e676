"""Table I of the paper as printed: accuracy on CMU-MOSI in per cent, and which row each row changes.

Wang et al., "Spiking Emotions: Dynamic Vision Emotion Recognition Using Spiking Neural Networks", Table I; one
training each with one fixed random seed (section 3.2), so the paper gives no spread. docs/paper.md tells more of
the rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row as printed; ``changes`` is the row that it differs from in one thing, None for a network of its own."""

    title: str
    explanation: str
    percent: float
    changes: str | None = None


ROWS: dict[str, PaperRow] = {
    "plif-fang": PaperRow("PLIF-Fang", "network of Fang et al. 2021", 61.69),
    "ann": PaperRow("ANN", "counterpart of baseline SNN", 65.17, "baseline"),
    "baseline": PaperRow("baseline SNN", "baseline structure with LIF", 61.69),
    "plif": PaperRow("PLIF SNN", "cell type of baseline SNN changed", 63.43, "baseline"),
    "0.8snn": PaperRow("0.8SNN", "threshold of PLIF SNN changed to 0.8", 64.68, "plif"),
    "0.4snn": PaperRow("0.4SNN", "threshold of PLIF SNN changed to 0.4", 65.42, "plif"),
    "mpsnn": PaperRow("mpSNN", "pooling of 0.4SNN changed to max", 63.43, "0.4snn"),
    "puresnn": PaperRow("pureSNN", "first float-valued frame of 0.4SNN omitted", 65.17, "0.4snn"),
}
"""Rows by the name of their network, in the order of the table."""


def printed_difference(name: str) -> float | None:
    """Return the printed accuracy of a row minus that of the row it changes, in percentage points.

    >>> printed_difference("0.4snn"), printed_difference("plif-fang")
    (1.99, None)
    """
    row = ROWS[name]
    return None if row.changes is None else round(row.percent - ROWS[row.changes].percent, 2)

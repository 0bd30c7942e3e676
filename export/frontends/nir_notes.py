"""What a network needs and NIR cannot say, kept in the metadata of the files that this toolkit writes.

NIR stores differential equations: no time step, no '>=' or '>', no kind of reset, no steps of a sample. A file
of ours says it in the group ``metadata/neuroemo`` of the graph and of each node; other readers pass it over.
A number that is also in NIR's own arrays is believed only where the two agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hw_targets.finding import Finding

KEY = "neuroemo"
SCHEMA = 1
RESET = "v_reset, in the same step"
NOMINAL_DT_US = 100.0
"""The step assumed where a network counts in steps: 1e-4 s, the default of SpikingJelly's and snnTorch's importers."""

COMPARISONS = {">=": True, ">": False}
AGREE = 1e-9
"""How far a noted number may be from what the arrays say, relatively: some rounding errors of float64."""


@dataclass(frozen=True, slots=True)
class GraphNotes:
    """The notes of a whole graph; ``inclusive`` is None where its layers compare differently."""

    dt_us: float
    dt_is_nominal: bool
    steps: int
    voting: int
    first_frame: Literal["float", "spikes"]
    inclusive: bool | None


def notes_of(metadata: Any) -> dict[str, Any]:
    """Return our part of a node's metadata, empty for a file of another writer.

    >>> notes_of({"neuroemo": {"steps": 4}, "author": "me"}), notes_of(None)
    ({'steps': 4}, {})
    """
    found = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else that may stand in a file."""
    try:
        result = float(value) if getattr(value, "ndim", 0) == 0 and not isinstance(value, str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def whole(value: Any) -> int | None:
    """Return a whole number of at least 1, None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 1 and found == int(found) else None


def read_graph_notes(metadata: Any) -> tuple[GraphNotes | None, list[Finding]]:
    """Return the notes of a graph, None for a file of another writer, and what is wrong with them."""
    noted = notes_of(metadata)
    if not noted:
        return None, []
    if whole(noted.get("schema")) != SCHEMA:
        found = f"notes of version {noted.get('schema')!r}"
        return None, [Finding("E163", "error", "metadata", found, f"version {SCHEMA}", fix="update the toolkit")]
    dt_us, steps, voting = number(noted.get("dt_us")), whole(noted.get("steps")), whole(noted.get("voting"))
    first, comparison, nominal = (noted.get(key) for key in ("first_frame", "spike_comparison", "dt_is_nominal"))
    bad = [
        f"{key} is {noted.get(key)!r}"
        for key, good in (
            ("dt_us", dt_us is not None and dt_us > 0),
            ("dt_is_nominal", number(nominal) in (0.0, 1.0)),
            ("steps", steps is not None),
            ("voting", voting is not None),
            ("first_frame", isinstance(first, str) and first in ("float", "spikes")),
            ("spike_comparison", isinstance(comparison, str) and comparison in (*COMPARISONS, "mixed")),
            ("reset", isinstance(noted.get("reset"), str) and noted["reset"] == RESET),
        )
        if not good
    ]
    if bad or dt_us is None or steps is None or voting is None or first not in ("float", "spikes"):
        fix = "the file was changed after it was written: write it again"
        return None, [Finding("E163", "error", "metadata", "; ".join(bad), "what this toolkit writes", fix=fix)]
    inclusive = COMPARISONS.get(str(comparison))
    return GraphNotes(dt_us, bool(nominal), steps, voting, first, inclusive), []


def settled(noted: Mapping[str, Any], key: str, computed: float) -> float | None:
    """Return the noted number where it is the computed one but for rounding, None where the two disagree.

    >>> settled({"decay": 0.3}, "decay", 0.30000000000000004), settled({"decay": 0.5}, "decay", 0.3)
    (0.3, None)
    """
    if key not in noted:
        return computed
    found = number(noted[key])
    return found if found is not None and math.isclose(found, computed, rel_tol=AGREE, abs_tol=1e-300) else None

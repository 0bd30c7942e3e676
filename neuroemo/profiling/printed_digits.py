"""Every printed digit of Table II: computed in exact fractions, from printed or counted inputs, rounded and cut.

The paper's formulas, energies in pJ with n1 and n1_ann the first layer of SNN and ANN, n2 the other layers::

    E_ANN    = E_MAC (n1_ann + n2)
    E_SNN(N) = E_step N + E_const,   E_step = E_AC (n1 + n2),   E_const = (E_MAC - E_AC) n1
    E_data   = s E_step N + E_const  with the share s = 10.79 % of positions that hold an event, N = 68

Whether a number comes out as printed is a result, not an entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

STEPS_PRINTED = 30
PRINTED = {
    "ann_first_macs": "310.9M",
    "snn_first_acs": "9.1M",
    "other_ops": "47.9M",
    "step_uj": "51.3",
    "const_uj": "33.67",
    "ann_mj": "1.65",
    "snn_mj_30": "1.57",
    "snn_mj_dataset": "0.41",
    "break_even_steps": "N<32",
}
"""What the paper prints, transcribed; the energies have their unit in the key."""
SHARE_PRINTED = "10.79 %"
MILLION = 10**6


@dataclass(frozen=True, slots=True)
class TableInputs:
    """What Table II is computed from: operations, prices in pJ, the share of events, steps of a clip."""

    ann_first: Fraction
    snn_first: Fraction
    other: Fraction
    ann_other: Fraction
    ac_pj: Fraction
    mac_pj: Fraction
    share: Fraction = Fraction(SHARE_PRINTED.split()[0]) / 100
    steps: int = 68

    def step_pj(self) -> Fraction:
        """Return E_step = E_AC (n1 + n2)."""
        return self.ac_pj * (self.snn_first + self.other)

    def const_pj(self) -> Fraction:
        """Return E_const = (E_MAC - E_AC) n1, the surcharge of a gray first frame."""
        return (self.mac_pj - self.ac_pj) * self.snn_first

    def ann_pj(self) -> Fraction:
        """Return E_ANN = E_MAC (n1_ann + n2)."""
        return self.mac_pj * (self.ann_first + self.ann_other)

    def snn_pj(self, steps: int, share: Fraction = Fraction(1)) -> Fraction:
        """Return E_SNN = share * E_step * steps + E_const."""
        return share * self.step_pj() * steps + self.const_pj()

    def break_even(self) -> Fraction:
        """Return (E_ANN - E_const) / E_step, the steps at which both networks cost the same."""
        return (self.ann_pj() - self.const_pj()) / self.step_pj()


@dataclass(frozen=True, slots=True)
class Row:
    """One number of the table: how it is computed, ``unit`` of the printed one, and that unit in operations or pJ."""

    key: str
    label: str
    unit: str
    size: int
    value: Callable[[TableInputs], Fraction]
    formula: Callable[[TableInputs], str]


ROWS = (
    Row("ann_first_macs", "first layer, ANN (MAC)", "", MILLION, lambda t: t.ann_first, lambda t: _m(t.ann_first)),
    Row("snn_first_acs", "first layer, SNN (AC)", "", MILLION, lambda t: t.snn_first, lambda t: _m(t.snn_first)),
    Row("other_ops", "other layers", "", MILLION, lambda t: t.other, lambda t: _m(t.other)),
    Row(
        "step_uj",
        "SNN, one step",
        "uJ",
        MILLION,
        TableInputs.step_pj,
        lambda t: f"{_d(t.ac_pj)} ({_m(t.snn_first)} + {_m(t.other)})",
    ),
    Row(
        "const_uj",
        "SNN, gray first frame",
        "uJ",
        MILLION,
        TableInputs.const_pj,
        lambda t: f"{_m(t.snn_first)} ({_d(t.mac_pj)} - {_d(t.ac_pj)})",
    ),
    Row(
        "ann_mj",
        "ANN",
        "mJ",
        10**9,
        TableInputs.ann_pj,
        lambda t: f"{_d(t.mac_pj)} ({_m(t.ann_first)} + {_m(t.ann_other)})",
    ),
    Row(
        "snn_mj_30",
        f"SNN, N = {STEPS_PRINTED}",
        "mJ",
        10**9,
        lambda t: t.snn_pj(STEPS_PRINTED),
        lambda t: f"{_m(t.step_pj())} * {STEPS_PRINTED} + {_m(t.const_pj())}",
    ),
    Row(
        "snn_mj_dataset",
        "SNN, data set, N = 68",
        "mJ",
        10**9,
        lambda t: t.snn_pj(t.steps, t.share),
        lambda t: f"{_d(t.share)} * {_m(t.step_pj())} * {t.steps} + {_m(t.const_pj())}",
    ),
    Row(
        "break_even_steps",
        "SNN below ANN for",
        "",
        1,
        TableInputs.break_even,
        lambda t: f"({_m(t.ann_pj())} - {_m(t.const_pj())}) / {_m(t.step_pj())}",
    ),
)


def printed_inputs(ac_pj: Fraction, mac_pj: Fraction) -> TableInputs:
    """Return the inputs of Table II as they are printed, three and two digits of them, in operations."""
    first_ann, first, other = (
        Fraction(PRINTED[key].rstrip("M")) * MILLION for key in ("ann_first_macs", "snn_first_acs", "other_ops")
    )
    return TableInputs(first_ann, first, other, other, ac_pj, mac_pj)


def table_rows(printed: TableInputs, exact: TableInputs) -> list[dict[str, Any]]:
    """Return for every number of Table II the printed string, the exact number, and how the digits come out.

    ``ways`` holds one entry per set of inputs: the value, the formula with its numbers, and the string that
    rounding and truncating give; ``comes_out`` tells whether any of them is what the paper prints.
    """
    twin = TableInputs(exact.ann_first, exact.snn_first, exact.ann_other, exact.ann_other, exact.ac_pj, exact.mac_pj)
    return [_table_row(row, printed, exact, twin) for row in ROWS]


def _table_row(row: Row, printed: TableInputs, exact: TableInputs, twin: TableInputs) -> dict[str, Any]:
    sources = {"exact inputs": exact}
    if row.key == "other_ops":
        sources["exact inputs of the ANN"] = twin
    elif row.key not in ("ann_first_macs", "snn_first_acs"):
        sources = {"printed inputs": printed, **sources}
    ways = [_way(row, name, inputs) for name, inputs in sources.items()]
    return {
        "key": row.key,
        "label": row.label,
        "unit": row.unit,
        "printed": PRINTED[row.key],
        "exact": float(row.value(exact) / row.size) if row.unit or row.size == 1 else int(row.value(exact)),
        "ways": ways,
        "comes_out": any(way["modes"] for way in ways),
        "how": "; ".join(map(_how, ways)),
    }


def _way(row: Row, name: str, inputs: TableInputs) -> dict[str, Any]:
    value, printed = row.value(inputs) / row.size, PRINTED[row.key]
    if printed.startswith("N<"):
        shown = {"smallest N that does not win": f"N<{math.ceil(value)}"}
    else:
        suffix = printed.lstrip("0123456789.")
        digits = len(printed.removesuffix(suffix).partition(".")[2])
        shown = {"rounded": as_rounded(value, digits) + suffix, "truncated": as_truncated(value, digits) + suffix}
    return {
        "from": name,
        "value": float(value),
        "formula": row.formula(inputs),
        **shown,
        "modes": [mode for mode, text in shown.items() if text == printed],
    }


def _how(way: Mapping[str, Any]) -> str:
    modes, value = way["modes"], f"{way['value']:.8g}"
    words = " or ".join(modes) if len(modes) == 2 or "N" in " ".join(modes) else f"{modes[0]} only" if modes else ""
    found = f"{way['formula']} = {value}" if way["from"] == "printed inputs" else value
    return f"{way['from']}, {words}: {found}" if modes else f"not from {way['from']}: {found}"


def as_rounded(value: Fraction, digits: int) -> str:
    """Print a positive number with so many decimals, halves away from zero.

    >>> as_rounded(Fraction("51.35"), 1), as_truncated(Fraction("51.35"), 1)
    ('51.4', '51.3')
    """
    return as_truncated(value + Fraction(1, 2 * 10**digits), digits)


def as_truncated(value: Fraction, digits: int) -> str:
    """Print a positive number with so many decimals, what follows cut off."""
    whole, rest = divmod(math.floor(value * 10**digits), 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def _m(value: Fraction) -> str:
    return _d(value / MILLION)


def _d(value: Fraction) -> str:
    return f"{float(value):.10g}"

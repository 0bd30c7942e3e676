"""Table II of "Spiking Emotions": as printed, as it follows from printed numbers, and counted exactly.

The formulas and the printed digits are in ``printed_digits``, the network they are counted on, inferred and not
printed, in ``paper_architecture``, what the analysis leaves out in ``omissions``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from neuroemo.profiling.memory.lemaire import LemaireOptions, price_lemaire
from neuroemo.profiling.memory.sram import AccessModel
from neuroemo.profiling.omissions import Analysis, MemoryRange, omissions
from neuroemo.profiling.paper_architecture import ARCHITECTURE_TEXT, PaperArchitecture
from neuroemo.profiling.priced import MJ_PER_PJ, Priced
from neuroemo.profiling.prices import PriceList, load_prices
from neuroemo.profiling.printed_digits import (
    MILLION,
    PRINTED,
    ROWS,
    STEPS_PRINTED,
    TableInputs,
    printed_inputs,
    table_rows,
)

MEMORY_READINGS: tuple[AccessModel, ...] = ("whole", "linear")
"""The two published readings of the same three memory prices, from the lower to the higher."""


def reproduce_table2() -> dict[str, Any]:
    """Return Table II as printed, rederived from printed numbers, and counted exactly; JSON-ready.

    ``paper`` and ``exact`` hold ann_first_macs, snn_first_acs, other_ops, ann_mj, snn_mj_30, snn_mj_dataset
    and break_even_steps (the largest N that still favours the SNN). ``rows`` says of every printed number
    from which inputs its digits come out, and how. ``omissions`` lists what the analysis leaves out, with
    sizes under the inferred architecture.

    >>> result = reproduce_table2()
    >>> result["exact"]["ann_first_macs"], result["exact"]["snn_first_acs"], result["exact"]["other_ops"]
    (310915584, 9144576, 47961088)
    >>> result["rows"][3]["how"]
    'printed inputs, rounded or truncated: 0.9 (9.1 + 47.9) = 51.3; exact inputs, truncated only: 51.395098'
    """
    architecture, prices = PaperArchitecture(), load_prices("cmos45")
    add, mac = prices.accumulate("fp32"), prices.multiply_accumulate("fp32")
    ac_pj, mac_pj = Fraction(str(add.value)), Fraction(str(mac.value))
    exact, printed = exact_inputs(architecture, ac_pj, mac_pj), printed_inputs(ac_pj, mac_pj)
    return {
        "paper": _paper_column(),
        "exact": _exact_column(exact),
        "rows": table_rows(printed, exact),
        "rederived_from_printed": _rederived(printed),
        "omissions": omissions(
            architecture.dimensions(),
            _analysis(exact, printed),
            prices,
            _memory_range(architecture, float(exact.share), prices),
            load_prices("truenorth").price("events.synaptic_operation"),
        ),
        "architecture": {
            "text": ARCHITECTURE_TEXT,
            "status": "inferred",
            **asdict(architecture),
            "channels": list(architecture.channels),
            "layers": dict(architecture.layer_macs(architecture.polarities, architecture.voting_neurons)),
        },
        "prices": {"ac": asdict(add), "mac": asdict(mac), "k": mac.value / add.value},
        "source": "Spiking Emotions, Table II and section 3; prices: " + add.source,
    }


def exact_inputs(architecture: PaperArchitecture, ac_pj: Fraction, mac_pj: Fraction) -> TableInputs:
    """Count the inputs of Table II for an architecture, layer by layer and border-aware."""
    snn, ann = (
        [Fraction(macs) for _, macs in architecture.layer_macs(*ends)]
        for ends in (
            (architecture.polarities, architecture.voting_neurons),
            (architecture.steps, architecture.classes),
        )
    )
    first, other, ann_other = snn[0], sum(snn[1:], Fraction(0)), sum(ann[1:], Fraction(0))
    return TableInputs(ann[0], first, other, ann_other, ac_pj, mac_pj, steps=architecture.steps)


# --- columns ----------------------------------------------------------------------------------------------------


def _analysis(exact: TableInputs, printed: TableInputs) -> Analysis:
    return Analysis(
        ann_first=float(exact.ann_first),
        ann_other=float(exact.ann_other),
        snn_first=float(exact.snn_first),
        snn_other=float(exact.other),
        share=float(exact.share),
        ac_pj=float(exact.ac_pj),
        mac_pj=float(exact.mac_pj),
        steps_printed=STEPS_PRINTED,
        printed_step_pj=float(printed.step_pj()),
        printed_const_pj=float(printed.const_pj()),
    )


def _memory_range(architecture: PaperArchitecture, share: float, prices: PriceList) -> MemoryRange:
    """Price reads and writes of both networks by both readings of the memory prices, mJ per clip."""
    snn, ann = architecture.spiking_counts(share), architecture.dense_counts()
    options = [LemaireOptions(access=reading) for reading in MEMORY_READINGS]
    return MemoryRange(
        snn_mj=tuple(_memory_mj(price_lemaire(snn, prices, "fp32", "snn", options=choice)) for choice in options),
        ann_mj=tuple(_memory_mj(price_lemaire(ann, prices, "fp32", "ann", options=choice)) for choice in options),
    )


def _memory_mj(priced: Priced) -> float:
    parts = priced.parts()
    return sum(parts[part] for part in parts if part.endswith((" reads", " writes"))) * MJ_PER_PJ


def _paper_column() -> dict[str, Any]:
    operations = {
        key: float(Fraction(PRINTED[key].rstrip("M")) * MILLION)
        for key in ("ann_first_macs", "snn_first_acs", "other_ops")
    }
    energies = {key: float(PRINTED[key]) for key in ("ann_mj", "snn_mj_30", "snn_mj_dataset")}
    below = {"break_even_steps": int(PRINTED["break_even_steps"].removeprefix("N<")) - 1}
    return operations | energies | below | {"printed": dict(PRINTED)}


def _exact_column(exact: TableInputs) -> dict[str, Any]:
    values: dict[str, Any] = {row.key: float(row.value(exact) / row.size) for row in ROWS}
    values |= {key: int(getattr(exact, name)) for key, name in _COUNTED.items()}
    values["break_even_exact"] = float(exact.break_even())
    values["break_even_steps"] = math.ceil(exact.break_even()) - 1
    millions = {key: f"{values[key] / MILLION:.2f}M" for key in ("ann_first_macs", "snn_first_acs", "other_ops")}
    energies = {key: f"{values[key]:.4f}" for key in ("ann_mj", "snn_mj_30", "snn_mj_dataset")}
    micro = {key: f"{values[key]:.3f}" for key in ("step_uj", "const_uj")}
    below = {"break_even_steps": f"N<{values['break_even_steps'] + 1}"}
    return values | {"printed": millions | micro | energies | below}


_COUNTED = {
    "ann_first_macs": "ann_first",
    "snn_first_acs": "snn_first",
    "other_ops": "other",
    "ann_other_ops": "ann_other",
}
_REDERIVED = {
    "step_uj": "step_uj",
    "const_uj": "const_uj",
    "ann_uj": "ann_mj",
    "snn_uj_30": "snn_mj_30",
    "snn_uj_dataset": "snn_mj_dataset",
    "break_even": "break_even_steps",
}


def _rederived(printed: TableInputs) -> dict[str, Any]:
    """Compute the printed energies (uJ) and the break-even from the printed operation counts."""
    rows = {row.key: row for row in ROWS}
    chosen = {name: rows[key] for name, key in _REDERIVED.items()}
    size = {name: 1 if name == "break_even" else MILLION for name in chosen}
    values: dict[str, Any] = {name: float(row.value(printed) / size[name]) for name, row in chosen.items()}
    return values | {"formulas": {name: row.formula(printed) for name, row in chosen.items()}}


def table2_text(result: Mapping[str, Any]) -> str:
    """Render the result of ``reproduce_table2`` as a console table, paper beside exact."""
    exact = result["exact"]["printed"]
    lines = [f"{'Table II':<26}{'paper':>10}{'exact':>12}      how the printed digits come out"]
    lines += [
        f"{row['label']:<26}{row['printed']:>10}{exact[row['key']]:>12}  {row['unit']:<2}  {row['how']}"
        for row in result["rows"]
    ]
    missing = [row["label"] for row in result["rows"] if not row["comes_out"]]
    lines += ["", f"NOT as printed: {', '.join(missing)}" if missing else "Every printed digit comes out."]
    lines += ["", f"Architecture ({result['architecture']['status']}): {result['architecture']['text']}"]
    lines += ["", "Left out by the analysis, sizes under that architecture:"]
    lines += [f"{item['item']:>4}. {item['name']}: {item['text']}" for item in result["omissions"]]
    return "\n".join(lines)

r"""The comparison as a LaTeX table to paste: booktabs, SNN against ANN per layer, every condition in the caption.

It needs ``\usepackage{booktabs}`` and nothing else, and compiles with pdflatex whatever the names hold: a sign that
pdflatex does not know is written as its code point.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.energy.words import amount, energy_unit, number

Document = dict[str, Any]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "$": r"\$", "&": r"\&",
    "#": r"\#", "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "`": r"\`{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "µ": r"$\mu$", "\N{GREEK SMALL LETTER MU}": r"$\mu$", "×": r"$\times$",
    "±": r"$\pm$", "°": r"$^{\circ}$", "–": "--", "—": "---", "…": r"\ldots{}", "≥": r"$\geq$", "≤": r"$\leq$",
}  # fmt: skip
# Latin letters with accents, which pdflatex reads as UTF-8 since 2018 in any font encoding.
_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŒœŠšŽž")


def escaped(text: object) -> str:
    r"""Return a text as LaTeX that prints it; line breaks are spaces, signs unknown to pdflatex code points.

    >>> print(escaped("conv_1 & 50% <b>"))
    conv\_1 \& 50\% \textless{}b\textgreater{}
    >>> print(escaped("悲 é"))
    {[}U+60B2{]} é
    """
    signs = unicodedata.normalize("NFC", " ".join(str(text).split()))
    return "".join(_sign(sign) + _apart(sign, after) for sign, after in zip(signs, f"{signs} "[1:], strict=True))


def _apart(sign: str, after: str) -> str:
    """Return what keeps two signs from becoming one: -- is a dash to LaTeX, two apostrophes a quotation mark."""
    return "{}" if sign in "-'," and sign == after else ""


def _sign(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if (sign.isascii() and sign.isprintable()) or sign in _LETTERS:
        return sign
    return f"{{[}}U+{ord(sign):04X}{{]}}"


def latex_table(document: Document, scenario: str | Mapping[str, Any]) -> str:
    """Return the table of one scenario, by id or whole; counts and energies are means of one clip.

    Layers of the twin stand beside those of the SNN that have the same name, and below them where none has.

    Raises:
        InputError: the report has no scenario of that id.
    """
    chosen = scenario_of(document, scenario)
    snn, ann = chosen["snn"], chosen["ann"]
    scale, unit = energy_unit(max(snn["total_pj"], 0.0 if ann is None else ann["total_pj"]))
    head = ["Layer", "density", "AC", "MAC", f"$E$ ({escaped(unit)})"]
    sides = [("deployed", snn)]
    if ann is not None:
        head += ["dense MAC", f"$E$ ({escaped(unit)})"]
        sides.append(("ann", ann))
    body = _rows(document, sides, scale)
    last = [_total_row(document, sides, scale)]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_caption(document, chosen)}}}",
        f"  \\label{{tab:energy-{_label(chosen['id'])}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "    \\toprule",
        *_spanning(ann is not None),
        _line(head),
        "    \\midrule",
        *map(_line, body),
        "    \\midrule",
        *map(_line, last),
        *_ratio_lines(chosen, len(head)),
        "    \\bottomrule",
        "  \\end{tabular}",
        "  \\par\\smallskip",
        f"  {{\\footnotesize {_notes(document, chosen)}\\par}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def scenario_of(document: Document, scenario: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a scenario of a report by its id.

    Raises:
        InputError: there is none of that id.
    """
    if not isinstance(scenario, str):
        return scenario
    known = {entry["id"]: entry for entry in document["scenarios"]}
    if scenario not in known:
        raise InputError(Finding("E890", "error", scenario, "no such scenario", f"one of {', '.join(known)}"))
    return known[scenario]


def _spanning(has_ann: bool) -> list[str]:
    if not has_ann:
        return []
    return [
        "    & \\multicolumn{4}{c}{SNN} & \\multicolumn{2}{c}{ANN} \\\\",
        "    \\cmidrule(lr){2-5} \\cmidrule(lr){6-7}",
    ]


def _rows(document: Document, sides: list[tuple[str, Any]], scale: float) -> list[list[str]]:
    """Return a row per layer that has synapses or costs something, SNN first, then layers of the ANN alone."""
    known: dict[str, Document] = {}
    names: dict[str, None] = {}
    for key, priced in sides:
        network = document["networks"][key]
        known[key] = {layer["name"]: layer for layer in (network["layers"] if network else [])}
        costly = [name for name, layer in known[key].items() if layer["kind"] == "synapse"]
        names |= dict.fromkeys([*(n for n in known[key] if n in costly or n in priced["layers_pj"])])
        names |= dict.fromkeys(priced["layers_pj"])
    rows = []
    for name in names:
        row = [f"\\texttt{{{escaped(name)}}}"]
        for key, priced in sides:
            samples = document["networks"][key]["samples"] if document["networks"][key] else 1
            parts = priced["layers_pj"].get(name)
            energy = None if parts is None else sum(parts.values()) / scale
            row += _cells(known[key].get(name), samples, energy, key == "deployed")
        rows.append(row)
    return rows


def _total_row(document: Document, sides: list[tuple[str, Any]], scale: float) -> list[str]:
    row = ["Total"]
    for key, priced in sides:
        network = document["networks"][key]
        total, samples = (network["total"], network["samples"]) if network else (None, 1)
        row += _cells(total, samples, priced["total_pj"] / scale, key == "deployed", bool(priced["partial"]))
    return row


def _cells(layer: Any, samples: int, energy: float | None, is_snn: bool, bound: bool = False) -> list[str]:
    columns = ("acs", "macs") if is_snn else ("dense_macs",)
    has_synapses = layer is not None and layer["kind"] == "synapse"
    cells = [_count(layer[key] / samples) if has_synapses else "--" for key in columns]
    density = layer["density"] if has_synapses else None
    if is_snn:
        cells.insert(0, "--" if density is None else f"{number(density * 100, 3)}\\%")
    return [*cells, ("$\\geq$ " if bound else "") + _number(energy)]


def _ratio_lines(scenario: Mapping[str, Any], columns: int) -> list[str]:
    if scenario["ratio"] is None:
        return []
    shown = f"{bound_of_ratio(scenario, _BOUNDS)}{_number(scenario['ratio'], 3)}"
    if scenario["ratio_low"] is not None and scenario["ratio_high"] is not None:
        low, high = (_number(scenario[key], 3) for key in ("ratio_low", "ratio_high"))
        shown += f" (95\\% interval {low} to {high})"
    return [f"    $E_\\mathrm{{ANN}}/E_\\mathrm{{SNN}}$ & \\multicolumn{{{columns - 1}}}{{r}}{{{shown}}} \\\\"]


_BOUNDS = {"exact": "", "at most": "$\\leq$ ", "at least": "$\\geq$ ", "not known": "unknown; of what was counted "}


def _caption(document: Document, scenario: Mapping[str, Any]) -> str:
    source, network = document["source"], document["networks"]["deployed"]
    clips = f"{network['samples']} clip{'s' if network['samples'] != 1 else ''}"
    split = "" if source["split"] is None else f" ({source['split']})"
    model = document["models"].get(scenario["model"], {"title": scenario["model"]})["title"]
    prices = document["price_lists"].get(scenario["prices"], {"name": scenario["prices"]})["name"]
    twin = " against its ANN twin, one dense pass" if scenario["ann"] is not None else ""
    sentences = [
        f"Energy of {source['network']}{twin}: means of one clip over {clips} of {source['data']}{split}, "
        f"{network['steps']} time steps, first frame {source['first_frame']}.",
        f"Energy model: {model}; precision {scenario['precision']}; prices: {prices}.",
        _interval_sentence(scenario),
        "" if scenario["reason"] is None else f"No comparison: {scenario['reason']}.",
        _partial_sentence(document, scenario),
    ]
    return " ".join(escaped(sentence) for sentence in sentences if sentence)


def _interval_sentence(scenario: Mapping[str, Any]) -> str:
    snn = scenario["snn"]
    if snn["low_pj"] is None or snn["high_pj"] is None:
        return "No interval over clips is known."
    scale, unit = energy_unit(snn["total_pj"])
    low, high = (number(snn[key] / scale) for key in ("low_pj", "high_pj"))
    return f"95 % interval of the SNN's mean over clips: {low} to {high} {unit}."


def _partial_sentence(document: Document, scenario: Mapping[str, Any]) -> str:
    said = []
    for side, key in (("snn", "deployed"), ("ann", "ann")):
        priced, network = scenario[side], document["networks"][key]
        if priced is not None:
            names = dict.fromkeys([*(network["partial"] if network else ()), *priced["partial"]])
            said += [f"of the {side.upper()}: {', '.join(names)}"] if names else []
    return f"LOWER BOUND, not counted {'; '.join(said)}." if said else ""


def _notes(document: Document, scenario: Mapping[str, Any]) -> str:
    """Return what was counted and how, what the energies leave out, and where their prices come from."""
    assumptions: dict[str, None] = {}
    rows: dict[str, list[str]] = {}
    for priced in filter(None, (scenario["snn"], scenario["ann"])):
        assumptions |= dict.fromkeys(priced["assumptions"])
    for name in price_names(scenario):
        if (price := document["constants"].get(name)) is not None:
            written = f"{price['name']} {_range(price)} {price['unit']}"
            rows.setdefault(f"{price['source']} ({price['grade']})", []).append(written)
    prices = "; ".join(f"{source}: {', '.join(written)}" for source, written in rows.items())
    scopes = [
        document[table].get(scenario[key], {"scope": ""})["scope"]
        for table, key in (("models", "model"), ("price_lists", "prices"))
    ]
    policy = "; ".join(f"{key.replace('_', ' ')}: {words}" for key, words in document["policy"].items())
    tool = f"{document['tool']['name']} {document['tool']['version']}"
    paragraphs = (
        ("In the energy", "; ".join(filter(None, scopes))), ("Assumptions", "; ".join(assumptions)),
        ("Counting", policy), ("Prices", prices), ("Made with", tool),
    )  # fmt: skip
    return " ".join(f"\\emph{{{title}:}} {escaped(words)}." for title, words in paragraphs if words)


def price_names(scenario: Mapping[str, Any]) -> list[str]:
    """Return the names of the prices that a scenario's energies are made from, each once."""
    sides = [scenario[side] for side in ("snn", "ann") if scenario[side] is not None]
    return list(dict.fromkeys(name for side in sides for name in side["constants"]))


def bound_of_ratio(scenario: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Return one of ``words`` for what E_ANN / E_SNN is worth where a side is a lower bound."""
    snn, ann = (bool(scenario[side] and scenario[side]["partial"]) for side in ("snn", "ann"))
    return words[
        {(False, False): "exact", (True, False): "at most", (False, True): "at least"}.get((snn, ann), "not known")
    ]


def _range(price: Mapping[str, Any]) -> str:
    return repr(price["value"]) if price["high"] is None else f"{price['value']!r} to {price['high']!r}"


def _number(value: float | None, digits: int = 4) -> str:
    r"""Return a number in so many significant digits; thousands are set apart, powers of ten written out.

    >>> _number(1600.04), _number(4.6, 3), _number(None), _number(0.0), _number(12345678.0)
    ('1{,}600', '4.60', '--', '0', '$1.235\\times10^{7}$')
    """
    if value is None or value == 0:
        return "--" if value is None else "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if not -4 < power < 7:
        return f"${mantissa}\\times10^{{{power}}}$"
    return f"{float(f'{mantissa}e{exponent}'):,.{max(digits - 1 - power, 0)}f}".replace(",", "{,}")


def _count(value: float) -> str:
    return amount(value).replace(",", "{,}")


def _line(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _label(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in name)

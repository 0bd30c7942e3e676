"""What `neuroemo energy` prints for people: the verdict with its conditions first, then what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neuroemo.energy.latex import bound_of_ratio
from neuroemo.energy.words import (
    WIDTH,
    amount,
    columns_of,
    energy,
    interval,
    number,
    plain,
    share,
    shortened,
    table,
    wrapped,
)

Document = dict[str, Any]

NAME_WIDTH = 32
CHEAPER = {"snn": "SNN", "ann": "ANN", "undecided": "undecided", "none": "-"}


def energy_text(document: Document) -> str:
    """Return the report in at most 100 columns; energies and counts are means of one clip."""
    scenario = default_scenario(document)
    sections = (
        _verdict(document, scenario),
        _layers(document, scenario),
        _twin(document, scenario),
        _decision(document),
        _other_scenarios(document, scenario),
        _alone(document, scenario),
        _not_in_the_number(document, scenario),
        _policy(document),
        _findings(document),
    )
    return "\n\n".join("\n".join(section) for section in map(list, sections) if section)


def default_scenario(document: Document) -> Document:
    """Return the scenario that the report opens with."""
    scenarios: list[Document] = document["scenarios"]
    return next((entry for entry in scenarios if entry["id"] == document["default_scenario"]), scenarios[0])


def uncounted(document: Document) -> dict[str, dict[str, str]]:
    """Return what was not counted, with the reason, of every network in which there is something."""
    found = {key: dict(network["partial"]) for key, network in document["networks"].items() if network is not None}
    for scenario in document["scenarios"]:
        for side, key in (("snn", "deployed"), ("ann", "ann")):
            for name in (scenario[side] or {"partial": []})["partial"]:
                found.setdefault(key, {}).setdefault(name, "not in the energy")
    return {key: names for key, names in found.items() if names}


def flips(scenario: Document, constants: Document, most: int = 3) -> list[str]:
    """Return sentences that name the constants that change who needs less energy, the closest first."""
    rows = [row for row in scenario["sensitivity"] if row["flips_at"] is not None]
    if not rows:
        known = "no constant flips the verdict within 1/100 to 100 times its value"
        return [known] if scenario["sensitivity"] else []
    start = "SNN and ANN cost the same" if scenario["verdict"] == "undecided" else "the verdict flips"
    return [f"{start} if {_moved(row, constants)}" for row in rows[:most]]


def other_choices(scenario: Document) -> list[str]:
    """Return sentences that say what becomes of the comparison under other choices that are no price."""
    sentences = []
    for row in scenario["choices"]:
        flips_it = {row["verdict"], scenario["verdict"]} == {"snn", "ann"}
        told = row["reason"] or f"E_ANN / E_SNN is {number(row['ratio'])}{', the verdict flips' if flips_it else ''}"
        sentences.append(f"{row['choice']}, {plain(row['changed_to'])}: {told}")
    return sentences


def _moved(row: Document, constants: Document) -> str:
    unit = constants.get(row["constant"], {}).get("unit", "pJ")
    there = f"{number(row['value'] * row['flips_at'])} {unit}"
    times = f"{number(row['flips_at'])} times its value"
    return f"{row['constant']} ({number(row['value'])} {unit}) were {times}: {there}"


def _verdict(document: Document, scenario: Document) -> Iterator[str]:
    missing = uncounted(document)
    yield from wrapped(scenario["words"], "PARTIAL, lower bounds: " if missing else "", "  " if missing else "")
    for key, names in missing.items():
        yield from wrapped(f"PARTIAL, not counted ({document['networks'][key]['title']}):")
        yield from (line for name, why in names.items() for line in wrapped(f"{plain(name)}: {why}", "  ! ", "    "))
    source = document["source"]
    clips = f"{source['clips']} clip{'s' if source['clips'] != 1 else ''} of {source['data']}"
    split = "" if source["split"] is None else f" ({source['split']})"
    network = f"{source['model']} ({source['network']}, {source['form']})"
    yield from wrapped(f"counted: {network} on {clips}{split}, {source['steps']} steps", "", "  ")
    accuracy = source["accuracy"]
    if accuracy is not None:
        rate = share(accuracy["correct"] / accuracy["clips"])
        known = f"{share(accuracy['low'])} to {share(accuracy['high'])}"
        yield f"accuracy on them: {accuracy['correct']} of {accuracy['clips']} = {rate} (95 % {known})"


def _layers(document: Document, scenario: Document) -> Iterator[str]:
    network = document["networks"]["deployed"]
    samples, priced = network["samples"], scenario["snn"]
    spent = {name: sum(parts.values()) for name, parts in priced["layers_pj"].items()}
    head = ["layer", "density", "AC", "MAC", "dense MAC", "events/syn", "energy", "share", "updates", "spikes"]
    rows = []
    for synapse, neuron in _stages(network["layers"]):
        names = [layer["name"] for layer in (synapse, neuron) if layer is not None]
        paid = sum(spent.pop(name, 0.0) for name in names)
        rows.append(_layer_row(synapse or neuron, neuron, samples, paid, priced["total_pj"]))
    rows += [
        [shortened(plain(name), NAME_WIDTH), *["-"] * 5, energy(paid), _part(paid, priced["total_pj"]), "-", "-"]
        for name, paid in spent.items()
    ]
    total = network["total"]
    rows.append(_layer_row(total | {"name": "total"}, total, samples, priced["total_pj"], priced["total_pj"]))
    title = f"{network['title']}, one clip (mean of {samples}), {scenario['id']}"
    yield from wrapped(f"{title}; updates and spikes: of the neurons behind a layer", "", "  ")
    yield from table(head, rows, indent="")
    for key in ("trained", "ann"):
        if document["networks"][key] is not None:
            yield from wrapped(_network_line(document["networks"][key]), "", "  ")


def _network_line(network: Document) -> str:
    total, samples = network["total"], network["samples"]
    counted = ", ".join(f"{amount(total[key] / samples)} {name}" for key, name in _OPERATIONS)
    return f"{network['title']}: {counted} in {network['steps']} step{'s' if network['steps'] != 1 else ''}"


_OPERATIONS = (("acs", "AC"), ("macs", "MAC"), ("dense_macs", "dense MAC"))


def _stages(layers: list[Document]) -> list[tuple[Document | None, Document | None]]:
    """Pair synapses with the first neurons listed behind them; what has no partner stands alone."""
    stages: list[tuple[Document | None, Document | None]] = []
    for layer in layers:
        if layer["kind"] != "neuron":
            stages.append((layer, None))
        elif stages and stages[-1][1] is None and (stages[-1][0] or {}).get("kind") == "synapse":
            stages[-1] = (stages[-1][0], layer)
        else:
            stages.append((None, layer))
    return stages


def _layer_row(layer: Any, neuron: Document | None, samples: int, paid: float, total: float) -> list[str]:
    is_synapse = layer["kind"] != "neuron"
    counted = [amount(layer[key] / samples) if is_synapse else "-" for key in ("acs", "macs", "dense_macs")]
    beside = [amount(neuron[key] / samples) if neuron else "-" for key in ("neuron_updates", "spikes_out")]
    name = shortened(plain(layer["name"]), NAME_WIDTH)
    events = number(layer["events_per_synapse"], 3)
    return [name, share(layer["density"]), *counted, events, energy(paid), _part(paid, total), *beside]


def _part(paid: float, total: float) -> str:
    return share(paid / total) if total else "-"


def _twin(document: Document, scenario: Document) -> Iterator[str]:
    snn, ann = scenario["snn"], scenario["ann"]
    yield "SNN against its ANN twin" if ann is not None else "the SNN alone"
    rows = [["SNN", _energy_of(snn), _bounds(snn["low_pj"], snn["high_pj"])]]
    if ann is not None:
        rows.append(["ANN", _energy_of(ann), _bounds(ann["low_pj"], ann["high_pj"])])
        bounds = interval(scenario["ratio_low"], scenario["ratio_high"], "number")
        rows.append(["E_ANN / E_SNN", _ratio_of(scenario), f"(95 % {bounds})" if bounds else ""])
    yield from table(*_headless(rows), left=3)
    for side, priced in (("SNN", snn), ("ANN", ann)):
        if priced is not None:
            yield from wrapped(_parts(priced), f"  {side}: ")
    yield from (line for sentence in _break_even(document, scenario) for line in wrapped(sentence, "  "))
    yield from (line for sentence in flips(scenario, document["constants"]) for line in wrapped(sentence, "  "))
    yield from (line for sentence in other_choices(scenario) for line in wrapped(sentence, "  ", "    "))
    if scenario["reason"] is not None:
        yield from wrapped(f"no comparison: {scenario['reason']}", "  ")


def _energy_of(priced: Document) -> str:
    return f"{'>= ' if priced['partial'] else ''}{energy(priced['total_pj'])}"


def _ratio_of(scenario: Document) -> str:
    return f"{bound_of_ratio(scenario, _BOUNDS)}{number(scenario['ratio'])}"


_BOUNDS = {"exact": "", "at most": "<= ", "at least": ">= ", "not known": "(unknown) "}


def _headless(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return rows[0], rows[1:]


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None or low == high else f"(95 % {interval(low, high)})"


def _parts(priced: Document) -> str:
    parts = sorted(priced["parts_pj"].items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {energy(paid)} ({_part(paid, priced['total_pj'])})" for name, paid in parts)


def _break_even(document: Document, scenario: Document) -> Iterator[str]:
    steps, even = document["networks"]["deployed"]["steps"], scenario["break_even_steps"]
    if even is not None:
        met = f"both cost the same at {number(even)} steps" if even > 0 else "the ANN costs less from the first step on"
        yield f"break-even: {met}; this run has {steps}"
    elif scenario["ann"] is not None:
        yield "break-even: none at any number of steps"
    said = [
        f"{words} {show(scenario[key])}"
        for key, words, show in (
            ("spikes_per_synapse", "spikes per synapse and clip", number),
            ("break_even_spikes_per_synapse", "break-even at", number),
            ("spike_rate", "spike rate", share),
            ("mac_per_ac", "ACs that cost as much as a MAC:", number),
        )
        if scenario[key] is not None
    ]
    if said:
        yield "; ".join(said)


def _decision(document: Document) -> Iterator[str]:
    decision = document["decision"]
    if decision is None:
        return
    yield f"stopping early, {decision['scenario']}"
    steps, oracle = decision["steps"], decision["oracle"]
    head = ["stop", "steps", "energy", "accuracy"]
    rows = []
    if steps:
        last = steps[-1]
        rows.append(["at the last step", number(last["step"]), energy(last["energy_pj"]), share(last["accuracy"])])
    for rule in decision["rules"]:
        name = f"after {rule['same_answer']} equal answers in a row"
        rows.append([name, number(rule["steps"]), energy(rule["energy_pj"]), share(rule["accuracy"])])
    if oracle is not None:
        name = "once the answer stays (known only afterwards)"
        rows.append([name, number(oracle["steps"]), energy(oracle["energy_pj"]), share(oracle["accuracy"])])
    yield from table(head, rows)


def _other_scenarios(document: Document, default: Document) -> Iterator[str]:
    compared = [scenario for scenario in document["scenarios"] if scenario["ann"] is not None]
    if len(compared) < 2:
        return
    said = [scenario["verdict"] for scenario in compared]
    counts = ", ".join(f"{CHEAPER[word]} {said.count(word)}" for word in CHEAPER if word in said)
    yield f"which needs less, in {len(compared)} scenarios: {counts} (* is the one above)"
    rows = [
        [
            f"{'*' if scenario is default else ' '} {shortened(plain(scenario['id']), 36)}",
            _energy_of(scenario["snn"]),
            _energy_of(scenario["ann"]),
            _ratio_of(scenario),
            interval(scenario["ratio_low"], scenario["ratio_high"], "number") or "-",
            CHEAPER.get(scenario["verdict"], scenario["verdict"]),
        ]
        for scenario in compared
    ]
    yield from table(["  scenario", "SNN", "ANN", "ANN/SNN", "95 %", "less"], rows, indent="")


def _alone(document: Document, default: Document) -> Iterator[str]:
    alone = [scenario for scenario in document["scenarios"] if scenario["ann"] is None]
    if not alone:
        return
    yield (
        "without a twin to compare with (* is the one above)" if default in alone else "without a twin to compare with"
    )
    rows: list[list[str]] = []
    reasons: dict[str, str] = {}
    for scenario in alone:
        used = [document["constants"][key] for key in scenario["snn"]["constants"] if key in document["constants"]]
        grades = ", ".join(dict.fromkeys(constant["grade"] for constant in used)) or "-"
        name = f"{'*' if scenario is default else ' '} {shortened(plain(scenario['id']), 32)}"
        priced = scenario["snn"]
        bounds = interval(priced["low_pj"], priced["high_pj"]) or "-"
        rows.append([name, _energy_of(priced), bounds, shortened(plain(grades), 24)])
        reasons |= {constant["grade"]: constant["grade_text"] for constant in used}
    yield from table(["  scenario", "SNN", "95 %", "grade"], rows, indent="")
    yield from (line for grade, text in reasons.items() for line in wrapped(f"grade {grade}: {text}", "  "))
    why = dict.fromkeys(scenario["reason"] for scenario in alone if scenario["reason"] is not None)
    yield from (line for reason in why for line in wrapped(f"no verdict: {reason}", "  "))


def _not_in_the_number(document: Document, scenario: Document) -> Iterator[str]:
    said = [document[table][scenario[key]]["scope"] for table, key in _SCOPES if scenario[key] in document[table]]
    for side in ("snn", "ann"):
        said += (scenario[side] or {"assumptions": []})["assumptions"]
    yield "what the number holds and leaves out"
    yield from (line for sentence in dict.fromkeys(said) if sentence for line in wrapped(sentence, "  - "))
    for name, module in document["networks"]["deployed"]["covered"].items():
        yield from wrapped(f"{name} ({module['type']}): {module['rule']}", "  - ")


_SCOPES = (("models", "model"), ("price_lists", "prices"))


def _policy(document: Document) -> Iterator[str]:
    yield "how it was counted"
    keys = {key: shortened(plain(key), NAME_WIDTH) for key in document["policy"]}
    wide = max(map(columns_of, keys.values()), default=0)
    for key, sentence in document["policy"].items():
        yield from wrapped(sentence, f"  {keys[key]}{' ' * (wide - columns_of(keys[key]))}  ")


def _findings(document: Document) -> Iterator[str]:
    for finding in document["findings"]:
        words = f"{finding['code']} {finding['node']}: {finding['found']}"
        words += f"; limit {finding['limit']}" if finding["limit"] else ""
        yield from wrapped(f"{words}; {finding['fix']}" if finding["fix"] else words, "", "     ", WIDTH)

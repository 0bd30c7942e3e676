"""The report of an export as Markdown that GitHub renders: tables, no HTML, every text from outside escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from export.page import words
from export.page.figures import differing
from export.page.html import checked, title_of
from export.page.network import Row, layer_rows, total_words
from export.page.words import UNKNOWN, count, number, percent, plural, shape

_ACTIVE = re.compile(r"([\\`*_\[\]<>|~&$@#!])")


def report_markdown(report: dict[str, Any]) -> str:
    """Return the report as Markdown; the same report gives the same text.

    Raises:
        InputError: the report lacks required entries or holds unusable ones; all of them are named.
    """
    whole = checked(report)
    sections = (_verdict, _findings, _model, _network, _layers, _agreement, _weights, _traces, _again)
    return "\n\n".join(block for section in sections for block in section(whole)) + "\n"


def text(value: str) -> str:
    r"""Write words from outside so that Markdown leaves them as they are.

    >>> print(text("a_b <i> | [x](http://e) www.e.org"))
    a\_b \<i\> \| \[x\](http\://e) www\.e.org
    """
    return _ACTIVE.sub(r"\\\1", value).replace("://", "\\://").replace("www.", "www\\.")


def code(value: str) -> str:
    r"""Write a name as code, or escaped where a code span or a table would break on it.

    >>> print(code("features.2"), code("a|b"))
    `features.2` a\|b
    """
    plain = bool(value.strip()) and value == value.strip() and not set("`\\|") & set(value)
    return f"`{value}`" if plain else text(value)


def table(names: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Write a table whose first ``left`` columns are words; the others are numbers, on the right.

    >>> print(table(["layer", "cores"], [["`a`", "1"]]))
    | layer | cores |
    | --- | ---: |
    | `a` | 1 |
    """
    ruler = ["---" if index < left else "---:" for index in range(len(names))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (names, ruler, *rows))


def fenced(lines: Sequence[str], language: str = "") -> str:
    """Write commands as a code block that no backtick in them can end."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence + language, *lines, fence])


def findings_list(findings: Iterable[dict[str, Any]]) -> str:
    """Write findings as a list, each with its remedy."""
    return "\n".join(_finding(finding) for finding in findings)


def _finding(finding: dict[str, Any]) -> str:
    where = f" {code(finding['node'])}" if finding["node"] else ""
    limit = f"; limit {text(finding['limit'])}" if finding["limit"] else ""
    over = f", over by {text(finding['over'])}" if finding["over"] else ""
    fix = f". What to do: {text(finding['fix'])}" if finding["fix"] else ""
    return f"- **{finding['severity']}** {code(finding['code'])}{where}: {text(finding['found'])}{limit}{over}{fix}"


def _verdict(report: dict[str, Any]) -> Iterator[str]:
    yield f"# {text(title_of(report))}"
    yield f"**{text(words.status(report)[1])}** (exit code {count(report['exit_code'])})"
    yield text(words.headline(report))
    yield text(words.comparison(report))
    if report["verify"]:
        yield results_table(report)


def results_table(report: dict[str, Any]) -> str:
    """Write accuracy, labels and rates of the model, the folded graph and the chip; what is not known stays a dash."""
    verified = report["verify"]
    accuracy = verified["accuracy"] or {}
    rows = [
        ["accuracy", *(percent(accuracy.get(world)) for world in ("float", "folded", "chip"))],
        ["same label as the model", UNKNOWN, UNKNOWN, percent(verified["label_agreement"])],
        ["rates differ from the model's, mean", UNKNOWN, UNKNOWN, percent(verified["rate_error_mean"], 2)],
        ["rates differ from the model's, largest", UNKNOWN, UNKNOWN, percent(verified["rate_error_max"], 2)],
    ]
    if verified["values"] is not None:
        rows = [*value_rows(verified["values"]), *rows[2:]]
    return table([f"on {plural(verified['clips'], 'clip')}", "model, float", "folded", "chip, simulated"], rows)


def value_rows(values: dict[str, Any]) -> list[list[str]]:
    """Return the scores of every output in every world, and how far the chip's values are from the model's."""
    rows = []
    for told in values["scores"] or []:
        for name in ("rmse", "pcc", "ccc"):
            cells = [number(told[world][name]) for world in ("float", "folded", "chip")]
            rows.append([text(f"{told['output']}, {name.upper()} of {plural(values['scored'], 'value')}"), *cells])
        if told["constant"] is not None:
            constant = number(told["constant"]["rmse"])
            rows.append([text(f"{told['output']}, RMSE of always guessing the training mean"), constant, "", ""])
    for name, title in (("difference_mean", "mean"), ("difference_max", "largest")):
        rows.append([f"values differ from the model's, {title}", UNKNOWN, UNKNOWN, number(values[name])])
    return rows


def _findings(report: dict[str, Any]) -> Iterator[str]:
    yield "## Findings"
    yield findings_list(report["findings"]) or "None."


def model_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return what is known about the model and its target as rows of a table."""
    model = report["model"] or {}
    encoding = report["input_encoding"]
    bits = report["weight_bits"]
    facts = [
        ("source", code(model["source"]) if model.get("source") else UNKNOWN),
        ("given as", text(model.get("kind") or UNKNOWN)),
        ("framework", text(words.framework_name(model.get("framework")))),
        ("input", shape(model.get("input_shape"))),
        ("steps per clip", count(model.get("steps"))),
        ("step", words.milliseconds(model.get("dt_us"))),
        ("first frame", text(model.get("first_frame") or UNKNOWN)),
        ("neurons per class", count(model.get("voting"))),
        ("classes", text(", ".join(model.get("classes") or []) or UNKNOWN)),
        *_readout_rows(model.get("readout")),
        ("target", f"{text(words.chip_name(report['target']))} ({code(report['target'])})"),
        ("input encoding", text(words.ENCODINGS.get(encoding, encoding or UNKNOWN))),
        ("weights", f"{count(bits)} bits" if bits else UNKNOWN),
    ]
    return [[name, value] for name, value in facts]


def _readout_rows(readout: dict[str, Any] | None) -> list[tuple[str, str]]:
    if readout is None:
        return []
    leak = "" if readout["decay"] == 1 else f", older steps weigh {number(readout['decay'])} per step"
    said = f"{count(readout['neurons'])} neurons for more and as many for less, over {count(readout['window'])} steps"
    every = f"every {count(readout['steps_per_value'])} steps"
    return [("values", text(", ".join(readout["outputs"]))), ("read from", text(f"{said}{leak}, {every}"))]


def _model(report: dict[str, Any]) -> Iterator[str]:
    yield "## Model and target"
    yield table(["what", "value"], model_rows(report), left=2)


def _network(report: dict[str, Any]) -> Iterator[str]:
    yield "## From the model to the chip"
    rows = layer_rows(report)
    if not rows:
        yield "The run ended before a layer was known."
        return
    yield table(["captured", "folded into", "on the chip"], (_forms(row) for row in rows), left=3)
    if total := total_words(report):
        yield f"{text(words.chip_name(report['target']))} needs {total}. {words.lower_bound(report)}"


def _forms(row: Row) -> list[str]:
    captured, folded = (
        ", ".join(f"{code(node['name'])} {text(node['type'])} {shape(node['output_shape'])}" for node in nodes)
        or UNKNOWN
        for nodes in (row.captured, row.folded)
    )
    return [captured, folded, code(row.chip["name"]) if row.chip else UNKNOWN]


def _layers(report: dict[str, Any]) -> Iterator[str]:
    if not report["layers"]:
        return
    yield "## Layers on the chip"
    names = [
        "layer", "where", "kind", "output", "neurons", "weights", "zeros", "scale", "payload", "threshold",
        "voltage decay", "current decay", "largest bias", "worst sum", "cores", "neurons per core", "memory per core",
    ]  # fmt: skip
    yield table(names, (_layer(layer) for layer in report["layers"]), left=3)
    yield words.UNITS


def _layer(layer: dict[str, Any]) -> list[str]:
    placed = layer["placement"] or {}
    kernel = f" {shape(layer['kernel'])}" if layer["kernel"] else ""
    whole = ("payload", "threshold", "voltage_decay", "current_decay", "bias_max", "worst_sum")
    return [
        code(layer["name"]),
        layer["where"] or UNKNOWN,
        text(layer["kind"]) + kernel,
        shape(layer["output_shape"]),
        count(layer["neurons"]),
        count(layer["weights"]),
        percent(layer["zero_weights"]),
        number(layer["scale"]),
        *(count(layer[key]) for key in whole),
        count(placed.get("cores", layer["cores"])),
        percent(placed.get("neuron_share")),
        percent(placed.get("memory_share")),
    ]


def _agreement(report: dict[str, Any]) -> Iterator[str]:
    yield "## Agreement, layer by layer"
    compared = [layer for layer in report["layers"] or [] if layer["verify"]]
    if not compared:
        yield "No layer was compared with the model."
        return
    names = [
        "layer", "compared", "captured differs", "ties", "folded differs", "ties", "chip differs", "chip agrees",
        "F1 of spikes", "rate error", "agrees end to end", "rate, model", "rate, chip",
    ]  # fmt: skip
    yield table(names, (_agreement_row(layer) for layer in compared))
    yield words.HOW_COMPARED


def _agreement_row(layer: dict[str, Any]) -> list[str]:
    told = layer["verify"]
    counted = (
        "compared",
        "captured_mismatches",
        "captured_ties",
        "folded_mismatches",
        "folded_ties",
        "chip_mismatches",
    )
    shares = ("agreement", "f1", "rate_error", "agreement_end_to_end", "rate_float", "rate_chip")
    return [code(layer["name"]), *(count(told[key]) for key in counted), *(percent(told[key], 2) for key in shares)]


def _weights(report: dict[str, Any]) -> Iterator[str]:
    known = [layer for layer in report["layers"] or [] if layer["histogram"]]
    if not known:
        return
    yield "## Weights before and after"
    rows = []
    for layer in known:
        edges, before, after = (layer["histogram"][key] for key in ("edges", "before", "after"))
        moved = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 2
        rows.append([code(layer["name"]), number(edges[0]), number(edges[-1]), count(sum(before)), count(moved)])
    yield table(["layer", "from", "to", "weights", "at least so many in another bin"], rows)
    yield "In float units; report.html draws the histograms."


def _traces(report: dict[str, Any]) -> Iterator[str]:
    if not report["traces"]:
        return
    yield "## Membrane potentials"
    rows = [
        [
            code(trace["layer"]),
            UNKNOWN if trace["neuron"] is None else ", ".join(count(index) for index in trace["neuron"]),
            count(trace["clip"]),
            number(trace["threshold"]),
            *(
                UNKNOWN if spikes is None else count(sum(spikes))
                for spikes in (trace["spikes_model"], trace["spikes_chip"])
            ),
            count(differing(trace)),
        ]
        for trace in report["traces"]
    ]
    yield table(["layer", "neuron", "clip", "threshold", "spikes, model", "spikes, chip", "steps that differ"], rows, 2)
    yield "Single neurons; neurons and clips are counted from 0. report.html draws the curves."


def _again(report: dict[str, Any]) -> Iterator[str]:
    yield from again(report)
    yield "## Allowed losses"
    yield allowed(report)
    yield from versions(report)


def allowed(report: dict[str, Any]) -> str:
    """Say which losses were accepted beforehand, and which layers they changed."""
    if not report["allowed"]:
        return "None."
    changed = ", ".join(map(code, report["lossy"] or []))
    return ", ".join(map(code, report["allowed"])) + (f", which changed {changed}." if changed else ".")


def again(report: dict[str, Any]) -> Iterator[str]:
    """Yield how the bundle is checked again."""
    yield "## Verify it again"
    if not words.has_bundle(report):
        yield words.NO_BUNDLE
        return
    yield words.KNOWN_ANSWERS
    yield fenced(words.verify_commands(report))
    if not report["bundle"]:
        yield words.DIR


def versions(report: dict[str, Any]) -> Iterator[str]:
    """Yield the versions that are known."""
    yield "## Versions"
    tool = report["tool"]
    known = {tool["name"]: tool["version"], **dict(sorted((report["versions"] or {}).items()))}
    yield table(["package", "version"], ([code(name), text(version)] for name, version in known.items()), left=2)

"""The model card of a bundle: Markdown with the header that Hugging Face reads; what is unknown is said to be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from export.page import words
from export.page.html import checked, title_of
from export.page.markdown import (
    again,
    allowed,
    code,
    fenced,
    findings_list,
    model_rows,
    results_table,
    table,
    text,
    versions,
)
from export.page.network import total_words
from export.page.words import number, percent, plural

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


def model_card(report: dict[str, Any]) -> str:
    """Return the card as Markdown with a YAML header; the same report gives the same text.

    Raises:
        InputError: the report lacks required entries or holds unusable ones; all of them are named.
    """
    whole = checked(report)
    sections = (_verdict, _task, _target, _results, _rates, _energy, _losses, _limits, again, _loading, versions)
    return header(whole) + "\n\n".join(block for section in sections for block in section(whole)) + "\n"


def header(report: dict[str, Any]) -> str:
    """Return the YAML header; a licence that Hugging Face has no name for is ``other``, a missing one ``unknown``."""
    model = report["model"] or {}
    given = (model.get("license") or "").strip()
    tags = ["spiking-neural-network", "neuromorphic", report["target"], _tag(model.get("framework") or "")]
    lines = ["---", f"license: {_quoted(_known_license(given))}"]
    if given and _known_license(given) == "other":
        lines.append(f"license_name: {_quoted(given)}")
    lines += [f"library_name: {_quoted(report['tool']['name'])}", "tags:"]
    lines += [f"- {_quoted(tag)}" for tag in dict.fromkeys(tags) if tag]
    return "\n".join([*lines, "---", "", ""])


def _known_license(given: str) -> str:
    if not given:
        return "unknown"
    return given.lower() if _LICENSE.fullmatch(given.lower()) else "other"


def _tag(words_given: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words_given.lower()).strip("-")


def _quoted(value: str) -> str:
    """Write a YAML text: what JSON quotes, YAML reads."""
    return json.dumps(value, ensure_ascii=False)


def _verdict(report: dict[str, Any]) -> Iterator[str]:
    yield f"# {text(title_of(report))}"
    yield f"**{text(words.status(report)[1])}.**"
    yield f"{text(words.headline(report))} {text(words.comparison(report))}"


def _task(report: dict[str, Any]) -> Iterator[str]:
    model = report["model"] or {}
    classes = model.get("classes")
    yield "## Task"
    if model.get("task"):
        yield text(model["task"])
    elif classes:
        yield f"Classification; the classes are {text(', '.join(classes))}."
    else:
        yield "Unknown: the report names neither a task nor classes."
    yield "## Data"
    yield f"Training data: {text(model['data']) if model.get('data') else 'unknown'}."
    yield f"Verified on: {text(report['proved_on']) if report['proved_on'] else 'unknown'}."


def _target(report: dict[str, Any]) -> Iterator[str]:
    yield "## Model and target"
    yield table(["what", "value"], model_rows(report), left=2)
    yield (
        f"Needs {total_words(report)}. {words.lower_bound(report)}" if report["placement"] else "Cores needed: unknown."
    )


def _results(report: dict[str, Any]) -> Iterator[str]:
    yield "## Results, float against chip"
    if not report["verify"]:
        yield "None: nothing was compared."
        return
    yield results_table(report)
    if report["verify"]["values"] is None and not report["verify"]["accuracy"]:
        yield "Accuracy: unknown; the clips were compared without their labels."


def _rates(report: dict[str, Any]) -> Iterator[str]:
    compared = [layer for layer in report["layers"] or [] if layer["verify"]]
    if compared:
        told = [
            [
                code(layer["name"]),
                *(percent(layer["verify"][key], 2) for key in ("rate_float", "rate_chip", "agreement")),
            ]
            for layer in compared
        ]
        yield table(["layer", "firing rate, model", "firing rate, chip", "chip agrees, fed the model's spikes"], told)


def _energy(report: dict[str, Any]) -> Iterator[str]:
    energy = report["energy"]
    yield "## Energy"
    if not energy:
        yield "Unknown: not part of this export."
        return
    told = [["this network", f"{number(energy['snn_mj'])} mJ"]]
    if energy["ann_mj"] is not None:
        told.append(["ANN of the same layers", f"{number(energy['ann_mj'])} mJ"])
    yield table(["per clip", "energy"], told)
    notes = [text(energy[key]) for key in ("precision", "note") if energy[key]]
    if notes:
        yield "; ".join(notes)


def _losses(report: dict[str, Any]) -> Iterator[str]:
    yield "## Losses that were allowed"
    yield allowed(report)


def _limits(report: dict[str, Any]) -> Iterator[str]:
    verified = report["verify"]
    chip = text(words.chip_name(report["target"]))
    yield "## Limits"
    limits = [f"No hardware was used: every number for {chip} comes from a simulation of its arithmetic."]
    if verified:
        limits.append(
            f"Agreement was measured on {plural(verified['clips'], 'clip')}; on other inputs it may be another one."
        )
    limits.append("What the network is good for, and for whom it fails, was not examined by the export.")
    yield "\n".join(f"- {limit}" for limit in limits)
    if report["findings"]:
        yield "Findings of the export:"
        yield findings_list(report["findings"])


def _loading(report: dict[str, Any]) -> Iterator[str]:
    yield "## How to run it"
    steps = (report["model"] or {}).get("steps")
    if not words.has_bundle(report):
        yield "There is nothing to run: no bundle was made."
        return
    yield "The arithmetic, the files and their fields are described in `docs/bundle.md` of the tool."
    if report["target"] in words.CHIPS:
        bits = 8 if report["input_encoding"] == "graded" else 0
        yield (
            "`target/model.net` is a netx file. lava-dl loads it with nothing of this tool; the reset lets every clip "
            "start from rest:"
        )
        arguments = f"reset_interval={int(steps or 0) or 'STEPS'}, reset_offset=1, input_message_bits={bits}"
        call = f'network = hdf5.Network("target/model.net", {arguments})'
        yield fenced(["from lava.lib.dl.netx import hdf5", "", call], "python")
        if report["input_encoding"] == "host":
            yield "The first layer is not in it: it runs in float on the host, from `graph.npz`; its spikes go in."

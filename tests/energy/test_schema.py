"""The schema of a report: what is missing or damaged is named all at once, and its written form says the same."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path

import pytest

from hw_targets.finding import InputError
from neuroemo.energy import schema
from tests.energy.sample_document import sample_document

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = json.loads((ROOT / "docs" / "energy-report.schema.json").read_text(encoding="utf-8"))


def refused(data):
    with pytest.raises(InputError) as error:
        schema.checked_energy_report(data)
    assert error.value.exit_code == 2
    return {finding.code: finding.found for finding in error.value.findings}


def test_a_whole_report_is_taken():
    document = sample_document()
    assert schema.checked_energy_report(document) is document


def test_everything_missing_and_damaged_is_named_at_once():
    document = sample_document()
    del document["source"]["clips"]
    del document["networks"]["deployed"]["layers"][1]["rule"]
    del document["scenarios"][2]["ratio"]
    document["networks"]["deployed"]["layers"][0]["acs"] = -1
    document["constants"]["cmos45:memory.dram"]["value"] = "1300"
    document["scenarios"][0]["verdict"] = "victory"
    document["scenarios"][1]["snn"]["parts_pj"]["accumulates"] = None
    found = refused(document)
    assert set(found) == {"E888", "E889"}
    assert found["E888"] == "lacks source.clips, networks.deployed.layers[1].rule, scenarios[2].ratio"
    for place in (
        "networks.deployed.layers[0].acs (not a whole number, 0 or more)",
        "constants['cmos45:memory.dram'].value (not a finite number)",
        "scenarios[0].verdict (not one of snn, ann, undecided, none)",
        "scenarios[1].snn.parts_pj['accumulates'] (not a number, 0 or more)",
    ):
        assert place in found["E889"]


def change(path, value):
    def changed(document):
        where = document
        for key in path[:-1]:
            where = where[key]
        where[path[-1]] = value
        return document

    return changed


INCONSISTENT = {
    "default": (change(("default_scenario",), "yan/x/y"), "default_scenario (no scenario 'yan/x/y')"),
    "decision": (change(("decision", "scenario"), "?"), "decision.scenario (no scenario '?')"),
    "twice": (lambda d: d | {"scenarios": d["scenarios"] + d["scenarios"][:1]}, "an id is there twice"),
    "model": (change(("models",), {}), "scenarios[0].model (no model 'arithmetic')"),
    "list": (change(("price_lists",), {}), "scenarios[0].prices (no price list 'cmos45')"),
    "constant": (change(("constants",), {}), "cmos45:arithmetic.fp32.add"),
    "curve": (change(("scenarios", 0, "curve", "snn_pj"), [1.0]), "scenarios[0].curve.snn_pj (1 steps)"),
    "steps": (change(("networks", "ann", "total", "per_step", "acs"), [0, 0]), "networks.ann.total.per_step.acs (2 "),
}  # fmt: skip


@pytest.mark.parametrize("name", INCONSISTENT)
def test_names_that_point_nowhere_and_uneven_tables(name):
    make, text = INCONSISTENT[name]
    found = refused(make(sample_document()))
    assert list(found) == ["E889"]
    assert text in found["E889"]


ODD = [None, 1, True, "text", [], {}, [1], -1, 1.5, float("nan"), float("inf"), 10**400, {"a": None}]


def test_every_entry_may_be_anything_without_a_traceback():
    """Each entry of the sample is replaced by each odd value in turn: refused or taken, never anything else."""
    taken, told = 0, Counter()
    for path in list(paths(sample_document())):
        for value in ODD:
            document = change(path, copy.deepcopy(value))(sample_document())
            try:
                schema.checked_energy_report(document)
                taken += 1
            except InputError as error:
                told.update(finding.code for finding in error.findings)
    assert set(told) == {"E887", "E888", "E889"}
    assert sum(told.values()) > taken > 100


def paths(value, deep=3):
    """Yield the places of a document, lists by their first entry."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (key,)
        if deep:
            yield from ((key, *rest) for rest in paths(inner, deep - 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "not readable as JSON"),
        ("[]", "a JSON list"),
        ("null", "a JSON NoneType"),
        ('{"kind": "demo"}', "kind 'demo'"),
        ('{"kind": "energy", "schema": 9}', "schema 9"),
        ('{"kind": "energy", "schema": NaN}', "NaN is no number of JSON"),
        ("[" * 100000, "not readable as JSON"),
        ("\x00\x01", "not readable as JSON"),
    ],
)
def test_a_file_that_is_no_report(tmp_path, text, found):
    (tmp_path / "report.json").write_text(text)
    for path in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(InputError) as error:
            schema.read_energy_report(path)
        (finding,) = error.value.findings
        assert finding.code == "E887"
        assert found in finding.found


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    for name in ("none.json", "bytes.json"):
        with pytest.raises(InputError) as error:
            schema.read_energy_report(tmp_path / name)
        assert error.value.findings[0].code == "E887"


def test_a_file_too_large_to_be_ours(tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text(json.dumps(sample_document()))
    monkeypatch.setattr(schema, "LIMIT_BYTES", (tmp_path / "report.json").stat().st_size)
    assert schema.read_energy_report(tmp_path)["kind"] == "energy"
    monkeypatch.setattr(schema, "LIMIT_BYTES", schema.LIMIT_BYTES - 1)
    with pytest.raises(InputError) as error:
        schema.read_energy_report(tmp_path)
    assert (error.value.findings[0].code, error.value.findings[0].over) == ("E887", "1")


def test_the_written_schema_says_what_the_check_says():
    """docs/energy-report.schema.json is ``json_schema()``; to write it again: see docs/energy.md."""
    assert schema.json_schema() == WRITTEN
    assert WRITTEN["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    names = {part.split("/")[-1] for part in json.dumps(WRITTEN).split('"') if part.startswith("#/$defs/")}
    assert names == set(WRITTEN["$defs"])


def violations(value, rule, where=""):
    """Yield what is wrong under the keywords that the written schema uses: a second opinion on each document."""
    if "$ref" in rule:
        yield from violations(value, WRITTEN["$defs"][rule["$ref"].split("/")[-1]], where)
        return
    if "anyOf" in rule:
        if all(list(violations(value, each, where)) for each in rule["anyOf"]):
            yield where
        return
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    if "const" in rule and value != rule["const"]:
        yield where
    if "enum" in rule and value not in rule["enum"]:
        yield where
    if "type" in rule and (not isinstance(value, kinds[rule["type"]]) or isinstance(value, bool)):
        yield where
        return
    if "minimum" in rule and value < rule["minimum"]:
        yield where
    if "maximum" in rule and value > rule["maximum"]:
        yield where
    if isinstance(value, dict):
        yield from (f"{where}.{key}" for key in rule.get("required", ()) if key not in value)
        for key, inner in value.items():
            known = rule.get("properties", {}).get(key, rule.get("additionalProperties"))
            if known is not None:
                yield from violations(inner, known, f"{where}.{key}")
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from violations(item, rule["items"], f"{where}[{index}]")


def test_the_written_schema_takes_the_sample_and_names_what_is_wrong():
    document = sample_document()
    assert list(violations(document, WRITTEN)) == []
    del document["networks"]["ann"]["total"]["acs"]
    document["scenarios"][0]["ratio"] = "4"
    document["decision"]["steps"][0]["accuracy"] = 2
    assert list(violations(document, WRITTEN)) == [
        ".networks.ann", ".scenarios[0].ratio", ".decision",
    ]  # fmt: skip

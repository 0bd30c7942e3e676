"""Every row of every price file is traceable, and a file that is not whole is refused with all findings at once."""

import copy
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_targets
from hw_targets.finding import InputError
from neuroemo.profiling.price_file import GRADES, row_tables
from neuroemo.profiling.price_tables import prices_document
from neuroemo.profiling.prices import load_prices, parse_prices, price_targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(hw_targets.__path__[0])


def raw(target):
    return tomllib.loads((ROOT / target / "prices.toml").read_text(encoding="utf-8"))


RAW = {target: raw(target) for target in price_targets()}
ROWS = [(target, name) for target in RAW for name, _ in row_tables(RAW[target])]
MEASURED = [(target, name) for target in RAW for name in RAW[target].get("measurements", {})]
PROVENANCE = ["value", "unit", "source", "year", "grade", "node_nm", "voltage_v"]


def findings_of(data):
    with pytest.raises(InputError) as caught:
        parse_prices(data)
    return [(finding.code, finding.node, finding.found) for finding in caught.value.findings]


def test_the_lists_that_come_with_the_toolkit():
    expected = {
        "cmos45",
        "loihi1",
        "loihi2",
        "truenorth",
        "spinnaker",
        "spinnaker2",
        "odin",
        "darwin3",
        "speck",
        "xylo",
    }
    expected |= {"akida", "cpu_i7", "gpu_titan_black", "arm_cortex_a", "jetson_nano", "jetson_orin_nano"}
    assert expected <= set(price_targets())
    assert len(ROWS) >= 45


@pytest.mark.parametrize(("target", "name"), ROWS)
def test_a_row_without_provenance_is_refused(target, name):
    original = dict(row_tables(RAW[target]))[name]
    for key in PROVENANCE:
        if key not in original and key in ("node_nm", "voltage_v"):
            word = {"node_nm": "node", "voltage_v": "voltage"}[key]
            assert f"{word} not published" in original["note"]
            gone = "note"
        else:
            gone = key
        data = copy.deepcopy(RAW[target])
        del dict(row_tables(data))[name][gone]
        assert ("E814", name, f"no {key}") in findings_of(data)


@pytest.mark.parametrize(("target", "name"), ROWS)
@pytest.mark.parametrize("key", ["source", "grade", "unit"])
def test_an_empty_text_is_no_provenance(target, name, key):
    data = copy.deepcopy(RAW[target])
    dict(row_tables(data))[name][key] = ""
    assert ("E814", name, f"no {key}") in findings_of(data)


@pytest.mark.parametrize(("target", "name"), MEASURED)
@pytest.mark.parametrize("key", ["value", "unit", "quantity", "workload", "source", "year", "by"])
def test_a_workload_without_provenance_is_refused(target, name, key):
    data = copy.deepcopy(RAW[target])
    del data["measurements"][name][key]
    assert ("E814", f"measurements.{name}", f"no {key}") in findings_of(data)


def test_no_row_of_a_file_is_lost_on_the_way():
    for target, data in RAW.items():
        lists = [load_prices(target)] + [load_prices(f"{target}@{point}") for point in data.get("points", {})]
        values = {row.value for prices in lists for row in prices}
        assert values == {row["value"] for _, row in row_tables(data)}, target


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"grade": "guess"}, "E816"),
        ({"grade": 3}, "E823"),
        ({"unit": "nJ"}, "E817"),
        ({"value": -1.0}, "E818"),
        ({"value": 0}, "E818"),
        ({"value": True}, "E818"),
        ({"value": "4.6"}, "E818"),
        ({"value": 10**400}, "E818"),
        ({"value": float("nan")}, "E818"),
        ({"value": float("inf")}, "E818"),
        ({"source": ""}, "E814"),
        ({"source": ["a", "b"]}, "E823"),
        ({"source": "x" * 2001}, "E823"),
        ({"sauce": "typo"}, "E815"),
        ({"value": 1.0}, "E819"),
        ({"year": "2014"}, "E823"),
        ({"year": 14}, "E823"),
        ({"node_nm": -45}, "E823"),
        ({"voltage_v": 900}, "E823"),
        ({"voltage_v": "0.9"}, "E823"),
        ({"access_bits": 0}, "E823"),
        ({"high": 1.0}, "E823"),
        ({"note": 5}, "E823"),
        ({"note": "voltage not published"}, "E823"),
    ],
)
def test_a_wrong_row_is_refused(change, code):
    data = copy.deepcopy(RAW["cmos45"])
    data["arithmetic"]["fp32"]["mult"].update(change)
    name = "arithmetic.fp32.mac" if code == "E819" else "arithmetic.fp32.mult"
    assert (code, name) in [found[:2] for found in findings_of(data)]


@pytest.mark.parametrize("value", [3, "x", [], [{"value": 1}]])
@pytest.mark.parametrize("path", [("arithmetic", "fp32", "add"), ("arithmetic", "fp32"), ("memory",), ("grades",)])
def test_something_else_where_a_table_belongs_is_refused(path, value):
    data = copy.deepcopy(RAW["cmos45"])
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert {code for code, *_ in findings_of(data)} == {"E823"}


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_file_it_is_read_or_refused(data):
    table = copy.deepcopy(RAW[data.draw(st.sampled_from(sorted(RAW)))])
    inner, depth = table, data.draw(st.integers(0, 3))
    while depth and (tables := [value for value in inner.values() if isinstance(value, dict) and value]):
        inner, depth = data.draw(st.sampled_from(tables)), depth - 1
    inner[data.draw(st.sampled_from(sorted(inner)) | st.text(max_size=9))] = data.draw(ODD)
    try:
        rows = list(parse_prices(table))
    except InputError:
        rows = []
    assert all(row.source and row.grade in GRADES and 0 < row.value < 1e15 for row in rows)


def test_everything_wrong_is_said_at_once():
    data = copy.deepcopy(RAW["cmos45"])
    del data["arithmetic"]["fp32"]["add"]["source"]
    del data["memory"]["dram"]["access_bits"]
    data["memory"]["sram_8kb"]["unit"] = "nJ"
    data["target"]["id"] = "Not an id/"
    data["target"]["colour"] = "red"
    del data["target"]["scope"]
    found = findings_of(data)
    assert {code for code, *_ in found} == {"E814", "E815", "E817", "E823"}
    assert len(found) == 6


def test_files_without_tables_and_unreadable_files_are_refused(tmp_path):
    assert findings_of({}) == [("E813", "prices", "no table target, grades, arithmetic")]
    assert findings_of({"target": {"kind": "events"}, "grades": {}})[0][2] == "no table events or points"
    assert findings_of({"target": 3, "grades": {}, "arithmetic": {}})[0][0] == "E823"
    assert findings_of({"target": {"kind": []}, "grades": {}, "arithmetic": {}})[0][0] == "E823"
    for name, text in {
        "a.toml": "a = ",
        "b.toml": b"\xff\xfe",
        "c.toml": "x = " + "[" * 5000,
        "d.toml": " " * 1_000_001,
    }.items():
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError, match="E812"):
            load_prices(path)
    for path in (tmp_path / "none.toml", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="E812"):
            load_prices(path)


def test_heads_are_checked():
    def changed(**entries):
        data = copy.deepcopy(RAW["odin"])
        data["target"].update(entries)
        return data

    assert findings_of(changed(kind="coffee"))[0][:2] == ("E823", "target.kind")
    assert findings_of(changed(default="noon"))[0][:2] == ("E823", "target.default")
    assert findings_of(changed(id="x/../y"))[0][:2] == ("E823", "target.id")
    data = copy.deepcopy(RAW["loihi2"])
    del data["target"]["reason"]
    assert findings_of(data) == [("E814", "target", "no reason")]
    data = copy.deepcopy(RAW["loihi1"])
    data["target"] |= {"kind": "unpublished", "reason": "because"}
    assert findings_of(data)[0][0] == "E823"
    data = copy.deepcopy(RAW["odin"])
    del data["points"]["incremental"]["title"]
    assert ("E814", "points.incremental", "no title") in findings_of(data)
    data = copy.deepcopy(RAW["odin"])
    data["events"] = {"synaptic_operation": data["points"]["incremental"]["synaptic_operation"]}
    assert len(findings_of(data)) == len(data["points"])
    data = copy.deepcopy(RAW["odin"])
    data["grades"]["opinion"] = "mine"
    assert findings_of(data)[0] == ("E816", "grades", "grade opinion")
    data = copy.deepcopy(RAW["odin"])
    data["schema_version"] = 2
    assert findings_of(data)[0][0] == "E823"


def test_a_list_of_the_users_own(tmp_path):
    text = (ROOT / "cmos45" / "prices.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('id = "cmos45"', 'id = "mine"').replace("value = 0.9\n", "value = 0.8\n", 1))
    with pytest.raises(InputError, match="E819"):  # the mac is 4.6 still
        load_prices(path)
    path.write_text(text.replace('id = "cmos45"', 'id = "mine"'))
    assert load_prices(str(path)).target == load_prices(path).target == "mine"
    path.write_text(text)
    with pytest.raises(InputError, match="id cmos45 is a built-in list"):
        load_prices(path)


def test_the_grades_that_files_name_have_a_meaning():
    for target, data in RAW.items():
        used = {row["grade"] for _, row in row_tables(data)}
        assert used <= data["grades"].keys() <= GRADES.keys(), target


def test_the_document_is_what_the_files_say():
    """To renew it: put what ``price_tables.prices_document()`` returns between the two markers."""
    text = (ROOT.parent / "docs" / "prices.md").read_text(encoding="utf-8")
    begin, end = "<!-- prices_document: begin -->\n", "<!-- prices_document: end -->"
    assert text.partition(begin)[2].partition(end)[0] == prices_document()

"""What changed between two reports: nothing is missed, nothing invented, and B to A says the opposite of A to B."""

from __future__ import annotations

import json
import random
from argparse import Namespace

import pytest

from hw_targets.finding import InputError
from neuroemo.console import Console
from neuroemo.energy.diff import diff_documents
from neuroemo.energy.diff_verb import diff, difference_text
from tests.energy.sample_document import NASTY, larger_document, partial_document, sample_document

EMPTY = {"source": [], "policy": [], "networks": [], "scenarios": [], "prices": [], "verdict_flips": [], "other": []}
OPPOSITE = {"only_a": "only_b", "only_b": "only_a", "changed": "changed"}


def numbers(value, path=()):
    """Yield the path of every number and text of a JSON value."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, key))
    elif value is not None:
        yield path


def at(document, path):
    for key in path:
        document = document[key]
    return document


def backwards(value):
    """Return a difference read from B to A: a and b swapped, differences negated, relatives to the other base."""
    if isinstance(value, list):
        return sorted((backwards(entry) for entry in value), key=lambda entry: json.dumps(entry, sort_keys=True))
    if not isinstance(value, dict):
        return value
    swapped = {key: backwards(inner) for key, inner in value.items()}
    for one, two in (("a", "b"), ("sum_a", "sum_b")):
        if one in value and two in value:
            swapped[one], swapped[two] = value[two], value[one]
    if "status" in value:
        swapped["status"] = OPPOSITE[value["status"]]
    if value.get("difference") is not None:
        swapped["difference"] = -value["difference"] + 0.0
        relative = value["relative"]
        swapped["relative"] = None if value["b"] == 0 else -value["difference"] / value["b"] + 0.0
        assert relative is None or relative == pytest.approx(value["difference"] / value["a"])
    return swapped


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.9g}") + 0.0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def same(one, two):
    return rounded(backwards(backwards(one))) == rounded(backwards(two))


def changed(document, seed):
    """Change a few entries of a report to others that the schema allows."""
    source = random.Random(seed)
    paths = [path for path in numbers(document) if path[0] not in ("schema", "kind", "default_scenario")]
    for path in source.sample(paths, 4):
        holder, old = at(document, path[:-1]), at(document, path)
        if isinstance(old, float):
            holder[path[-1]] = source.choice([old / 2, old * 0.75])
        elif isinstance(old, int) and path[-1] not in ("steps", "samples", "clips", "step"):
            holder[path[-1]] = old + 3
    return document


def test_a_report_and_itself():
    found = diff_documents(sample_document(), sample_document())
    assert found == {"identical": True} | EMPTY
    assert difference_text(found) == "The two reports are identical."


def test_reports_of_a_real_count():
    assert diff_documents(larger_document(), larger_document()) == {"identical": True} | EMPTY
    found = diff_documents(larger_document(), sample_document())
    assert same(found, diff_documents(sample_document(), larger_document()))
    shared = {entry["scenario"] for entry in found["scenarios"] if entry["status"] == "changed"}
    assert shared == {entry["id"] for entry in sample_document()["scenarios"]}
    assert max(len(line) for line in difference_text(found).splitlines()) <= 100


def test_b_to_a_is_the_opposite_of_a_to_b():
    for seed in range(60):
        a, b = changed(sample_document(), seed), changed(partial_document(), seed + 1000)
        assert same(diff_documents(a, b), diff_documents(b, a)), seed


def test_no_entry_changes_unseen():
    # One entry of every kind: of lists the first, and of the counts of a layer those of one network.
    for path in numbers(sample_document()):
        if any(isinstance(key, int) and key > 0 for key in path) or path[:2] == ("networks", "trained"):
            continue
        b = sample_document()
        old = at(b, path)
        if path[-1] in ("schema", "kind", "steps", "samples") or (path[0], path[-1]) == ("constants", "unit"):
            continue
        at(b, path[:-1])[path[-1]] = _other(old)
        try:
            found = diff_documents(sample_document(), b)
        except InputError as refused:  # names that point nowhere, or a text that is not one of a few
            assert "E889" in str(refused), path  # noqa: PT017
            continue
        assert not found["identical"]
        assert {key: value for key, value in found.items() if key != "identical"} != EMPTY, path
        assert "identical" not in difference_text(found)


def _other(value):
    if isinstance(value, str):
        return {"snn": "ann", "undecided": "ann", "none": "ann", "synapse": "element"}.get(value, f"{value}!")
    return value * 0.5 if isinstance(value, float) and value else value + 1 if isinstance(value, int) else 0.25


def test_counts_are_means_of_one_clip_with_their_sums():
    b = sample_document()
    layer = b["networks"]["deployed"]["layers"][0]
    layer["acs"], layer["per_step"]["acs"] = 300, [0, 180, 60, 60]
    (network,) = diff_documents(sample_document(), b)["networks"]
    (entry,) = network["layers"]
    assert (network["network"], entry["layer"]) == ("deployed", "conv1")
    assert entry["counts"] == [
        {"count": "acs", "a": 80.0, "b": 100.0, "difference": 20.0, "relative": 0.25, "sum_a": 240, "sum_b": 300,
         "steps": [2]},
    ]  # fmt: skip


def test_twice_the_clips_of_the_same_kind_change_no_count():
    b = sample_document()
    network = b["networks"]["deployed"]
    network["samples"] = 6
    for layer in [network["total"], *network["layers"]]:
        for key in ("acs", "macs", "dense_macs", "spikes_in", "spikes_out", "neuron_updates"):
            layer[key] *= 2
        layer["per_step"] = {key: [2 * count for count in counts] for key, counts in layer["per_step"].items()}
    (found,) = diff_documents(sample_document(), b)["networks"]
    assert (found["layers"], found["total"]) == ([], None)
    assert found["entries"] == [{"entry": "samples", "a": 3, "b": 6}]


def test_operations_that_moved_to_another_step_are_seen():
    b = sample_document()
    b["networks"]["deployed"]["layers"][2]["per_step"]["acs"] = [24, 12, 36, 24]
    found = diff_documents(sample_document(), b)
    (change,) = found["networks"][0]["layers"][0]["counts"]
    assert (change["difference"], change["steps"]) == (0.0, [1, 2])
    assert "2 steps differ" in difference_text(found)


def test_layers_and_scenarios_of_one_report_only():
    b = sample_document()
    b["networks"]["deployed"]["layers"][2]["name"] = "head"
    b["scenarios"][1]["id"] = "arithmetic/cmos45/int4"
    found = diff_documents(sample_document(), b)
    assert [(entry["layer"], entry["status"]) for entry in found["networks"][0]["layers"]] == [
        ("fc", "only_a"), ("head", "only_b"),
    ]  # fmt: skip
    text = difference_text(found)
    assert "only in A: fc\n" in text
    assert "only in B: arithmetic/cmos45/int4" in text


def test_a_twin_in_one_report_only():
    b = sample_document()
    b["networks"]["ann"] = b["scenarios"][2]["ann"] = None
    found = diff_documents(sample_document(), b)
    assert [(entry["network"], entry["status"]) for entry in found["networks"]] == [("ann", "only_a")]
    (scenario,) = found["scenarios"]
    assert (scenario["ann"]["a"], scenario["ann"]["b"], scenario["ann"]["difference"]) == (6000.0, None, None)
    assert "counts of one clip, ann\n  only in A" in difference_text(found)


@pytest.mark.parametrize(("low", "intervals"), [(706.5, "apart"), (706.3, "overlap"), (None, None)])
def test_energies_say_whether_the_intervals_touch(low, intervals):
    b = sample_document()
    b["scenarios"][0]["snn"] |= {"total_pj": 841.2, "low_pj": low, "high_pj": low and 900.0}
    (scenario,) = diff_documents(sample_document(), b)["scenarios"]
    snn = scenario["snn"]
    assert snn["relative"] == pytest.approx(0.5)  # 841.2 / 560.8
    assert snn["difference"] == pytest.approx(280.4)
    assert snn["intervals"] == intervals
    assert scenario["ann"] is None


def test_rounding_of_another_machine_is_no_change_of_energy():
    b = sample_document()
    b["scenarios"][0]["snn"]["total_pj"] *= 1 + 1e-14
    found = diff_documents(sample_document(), b)
    assert found == {"identical": False} | EMPTY
    assert "Every count, energy and price is the same" in difference_text(found)
    b["scenarios"][0]["snn"]["total_pj"] *= 1 + 1e-11
    assert diff_documents(sample_document(), b)["scenarios"]


def test_prices_and_the_verdicts_they_flip():
    b = sample_document()
    b["constants"]["cmos45:arithmetic.fp32.add"] |= {"value": 9.0, "source": "mine"}
    b["scenarios"][0]["verdict"] = b["scenarios"][2]["verdict"] = "ann"
    found = diff_documents(sample_document(), b)
    assert found["verdict_flips"] == [{"scenario": "arithmetic/cmos45/fp32", "a": "snn", "b": "ann"}]
    assert [entry["entry"] for entry in found["prices"][0]["entries"]] == ["source", "value"]
    text = difference_text(found)
    assert text.startswith("THE VERDICT FLIPS in arithmetic/cmos45/fp32: SNN -> ANN")
    assert "the verdict changes in lemaire/cmos45/int8: undecided -> ANN" in text
    assert "cmos45:arithmetic.fp32.add: value: 0.9 -> 9.0" in text


def test_model_data_and_policy():
    b = sample_document()
    b["source"] |= {"model": "runs/other", "split": None}
    b["policy"]["pooling"] = "no operation"
    text = difference_text(diff_documents(sample_document(), b))
    assert "model: runs/demo/snn -> runs/other" in text
    assert "split: test -> none" in text
    assert "-> no operation" in text
    assert "Every count and energy is the same." in text


def test_units_that_differ_are_refused_all_at_once():
    b = sample_document()
    for key in ("cmos45:arithmetic.fp32.add", "loihi1:events.neuron_update"):
        b["constants"][key]["unit"] = "nJ"
    with pytest.raises(InputError) as refused:
        diff_documents(sample_document(), b)
    assert [finding.code for finding in refused.value.findings] == ["E892", "E892"]
    assert "pJ and nJ" in str(refused.value)


def test_schemas_that_differ_are_refused():
    with pytest.raises(InputError) as refused:
        diff_documents(sample_document(), sample_document() | {"schema": 2})
    assert [finding.code for finding in refused.value.findings] == ["E891"]
    assert "schema 1 and schema 2" in str(refused.value)


def test_a_damaged_report_is_refused_by_name():
    b = sample_document()
    del b["networks"]["deployed"]["total"]
    b["scenarios"][0]["snn"]["total_pj"] = float("nan")
    with pytest.raises(InputError, match=r"B: lacks networks\.deployed\.total"):
        diff_documents(sample_document(), b)


def written(folder, document):
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def run(first, second, capsys, as_json=True):
    console = Console(as_json=as_json)
    try:
        assert diff(Namespace(first=first, second=second), console) == 0
    finally:
        console.close()
    return capsys.readouterr().out


def test_the_verb_takes_folders_and_files_and_speaks_json(tmp_path, capsys):
    a, b = written(tmp_path / "a", sample_document()), written(tmp_path / "b", partial_document())
    told = json.loads(run(a, b / "report.json", capsys))
    assert (told["ok"], told["exit_code"], told["identical"]) == (True, 0, False)
    assert told["networks"][0]["entries"][0]["entry"] == "partial.attention<b>"
    assert json.loads(run(a, a, capsys))["identical"] is True
    assert "The two reports are identical." in run(a, a, capsys, as_json=False)


def test_strange_but_valid_json_is_compared_not_fatal(tmp_path, capsys):
    b = sample_document()
    b["scenarios"][0]["snn"]["total_pj"], b["scenarios"][0]["ratio"] = 1.7e308, -1.7e308
    b["networks"]["deployed"]["layers"][0]["name"] = f"x\x1b[2J{NASTY}\ud800"
    b["networks"]["deployed"]["layers"][0]["acs"] = 10**30
    folder = written(tmp_path / "b", b)
    report = folder / "report.json"
    more = ', "deep": ' + "[" * 400 + "]" * 400 + ', "far": 1e999, "long": ' + "9" * 400
    report.write_text(report.read_text()[:-1] + more + "}", encoding="utf-8")
    json.loads(run(written(tmp_path / "a", sample_document() | {"long": 1.5}), folder, capsys))
    text = run(tmp_path / "a", folder, capsys, as_json=False)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"kind": "energy"', "\xff", '{"kind": "energy", "schema": 1}', "NaN"]
)
def test_what_is_no_report_is_a_finding(tmp_path, capsys, content):
    a = written(tmp_path / "a", sample_document())
    (tmp_path / "bad.json").write_text(content, encoding="latin-1")
    for first, second in ((a, tmp_path / "bad.json"), (tmp_path / "bad.json", a), (a, tmp_path / "missing")):
        with pytest.raises(InputError):
            run(first, second, capsys)

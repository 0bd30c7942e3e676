"""The benchmark of the profiler measures what it says, with whatever counters are installed: ours alone in CI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
NETWORKS = {"avgpool", "stride", "stride_gray_first_frame", "maxpool"}


@pytest.fixture(scope="module")
def run():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import profile_run
    finally:
        sys.path.remove(str(BENCHMARKS))
    return profile_run


@pytest.fixture(scope="module")
def parts(run):
    return sys.modules["profile_parts"]


@pytest.fixture(scope="module")
def found(run, parts):
    return run.measure(parts.Size(side=16, channels=4, stages=2, steps=4, batch=2), 2)


def check(found, rounds: int) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for key in ("ratios", "ratios_multi_step"):
        assert set(found[key]) == {"avgpool", "stride"}
        assert all(row["ours"] > 0 for row in found[key].values())
    assert set(found["within_limits"]) == {"avgpool", "stride"}
    for name, limit in {"avgpool": 1.10, "stride": 1.20}.items():
        assert found["limits"][name] == limit
        assert found["within_limits"][name] == (found["ratios"][name]["ours"] <= limit)
    for network in found["measured"].values():
        assert set(network["ratios"]) == set(network["cpu_ratios"]) == set(network["wall_ratios"])
        assert set(network["cpu_ms"]) == set(network["first_call_s"]) == set(network["ratios"]) | {"plain"}
        for name, row in network["cpu_ratios"].items():
            assert row["min"] <= row["median"] <= row["max"]
            assert row["runs"] == rounds
            assert network["ratios"][name] == round(row["median"], 4)
    assert set(found["counts"]) == set(found["rates"]) == NETWORKS
    for rows in found["counts"].values():
        assert rows["ours"]["equal"]
        assert all(row["equal"] or row["why"] for name, row in rows.items() if name != "exact")
    assert found["machine"]["torch"]
    assert found["conditions"]["rounds"] == rounds
    assert "syops" in found["not_measured"]
    assert str(Path.home()) not in json.dumps(found)


def test_the_result_of_a_run(found):
    check(found, 2)


def test_the_result_in_the_repository():
    path = BENCHMARKS / "results" / "profile.json"
    if not path.exists():
        pytest.skip("not measured yet")
    stored = json.loads(path.read_text())
    check(stored, stored["conditions"]["rounds"])
    assert stored["conditions"]["rounds"] >= 15
    assert {"ours", "neurobench", "sinabs", "spikingjelly_synop"} <= set(stored["ratios"]["avgpool"])


@pytest.mark.parametrize("down", ["avgpool", "stride", "maxpool"])
@pytest.mark.parametrize("mode", ["s", "m"])
def test_our_totals_are_those_of_convolutions_with_ones(parts, down, mode):
    subject = parts.build_subject(down, parts.Size(16, 4, 2, 4, 2), mode=mode, gray=down == "stride")
    tools, _ = parts.tools(subject)
    (ours,) = [tool for tool in tools if tool.name == "ours"]
    exact = parts.exact_counts(subject)
    assert ours.run() == {
        "acs": exact["events"] - exact["graded"],
        "macs": exact["graded"],
        "dense": exact["dense"],
    }
    assert (exact["graded"] > 0) == (down != "maxpool")


def test_exact_counts_by_hand(parts):
    from torch import nn, ones, zeros

    # 3 x 3 taps, padding 1, on 4 x 4: (4 * 3 - 2)^2 = 100 dense; the middle is read 9 times, a corner 4 times.
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False))
    clips = zeros(1, 1, 1, 4, 4)
    clips[..., 1, 1], clips[..., 0, 0] = 1, 0.5
    subject = parts.Subject("hand", network, clips, "s")
    assert parts.exact_counts(subject) == {"events": 2 * (9 + 4), "graded": 2 * 4, "dense": 200}
    line = parts.Subject("hand", nn.Sequential(nn.Linear(3, 7)), ones(2, 1, 3), "s")
    assert parts.exact_counts(line) == {"events": 42, "graded": 0, "dense": 42}


def test_a_network_that_does_not_fire_is_no_subject(parts, monkeypatch):
    monkeypatch.setattr(parts, "RATES", (0.9, 1.0))
    with pytest.raises(ValueError, match="fire at"):
        parts.build_subject("stride", parts.Size(16, 4, 2, 4, 2))


def test_every_round_runs_all_and_starts_with_another(run, parts):
    order: list[str] = []

    def tool(name: str):
        return parts.Tool(name, lambda: order.append(name) or {})

    seconds = run.interleaved([tool("plain"), tool("ours"), tool("other")], 4)
    assert [order[index : index + 3] for index in range(0, 12, 3)] == [
        ["plain", "ours", "other"],
        ["ours", "other", "plain"],
        ["other", "plain", "ours"],
        ["plain", "ours", "other"],
    ]
    assert all(len(values["cpu"]) == len(values["wall"]) == 4 for values in seconds.values())


def test_ratios_are_of_the_same_round(run):
    assert run.paired_ratios([3.0, 8.0], [2.0, 4.0]) == [1.5, 2.0]
    with pytest.raises(ValueError, match="argument 2 is longer"):
        run.paired_ratios([3.0], [2.0, 4.0])


def test_a_difference_has_its_size_and_reason(run):
    exact = {"events": 100, "graded": 40, "dense": 500}
    equal = run.compared("neurobench", {"acs": 60, "macs": 40, "dense": 500}, exact)
    assert (equal["equal"], equal["events_off"], "why" in equal) == (True, 0.0, False)
    split = run.compared("neurobench", {"acs": 50, "macs": 50, "dense": 500}, exact)
    assert (split["equal"], split["events_off"]) == (False, 0.0)
    assert "MAC as a whole" in split["why"]
    weighted = run.compared("sinabs", {"synops": 127}, exact)
    assert weighted["events_off"] == pytest.approx(0.27)
    assert "defect" in run.compared("ours", {"acs": 61, "macs": 40, "dense": 500}, exact)["why"]


def test_counters_that_are_not_installed_are_named(parts, monkeypatch):
    def absent(_):
        raise ImportError("No module named 'neurobench'")

    monkeypatch.setitem(parts._MAKERS, "neurobench", (absent, "sm"))
    subject = parts.build_subject("stride", parts.Size(16, 4, 2, 4, 2))
    tools, missing = parts.tools(subject)
    assert [tool.name for tool in tools][:2] == ["plain", "ours"]
    assert missing["neurobench"] == "not installed: No module named 'neurobench'"


def test_the_standard_library_keeps_its_module_of_that_name():
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import cProfile, profile; print(profile.Profile)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "<class 'profile.Profile'>"


def test_rounds_below_one_are_refused(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["profile.py", "--rounds", "0"])
    with pytest.raises(SystemExit) as left:
        run.main("What counting costs.", BENCHMARKS)
    assert left.value.code == 2
    assert "--rounds: 1 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_benchmark_at_a_small_size(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "profile.py"), "--quick", "--results", str(tmp_path / "profile.json")]
    subprocess.run(command, check=True, timeout=300)
    check(json.loads((tmp_path / "profile.json").read_text()), 3)


@pytest.mark.parametrize("line", (BENCHMARKS / "requirements-profile.txt").read_text().splitlines())
def test_requirements_are_exact_and_name_no_address(line):
    name, _, number = line.partition("==")
    assert name
    assert number[:1].isdigit()
    assert "://" not in line


def test_the_table_in_the_documents_is_that_of_the_saved_results():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import profile_tables
    finally:
        sys.path.remove(str(BENCHMARKS))
    text = (BENCHMARKS.parent / "docs" / "results.md").read_text()
    found = json.loads((BENCHMARKS / "results" / "profile.json").read_text())
    inside = text.split(profile_tables.MARKS[0])[1].split(profile_tables.MARKS[1])[0]
    assert inside.strip() == "\n".join(profile_tables.lines(found)).strip()

"""The benchmark of the event cameras measures what it says: sound numbers, moving textures, both cameras in turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
CURVES = ("framediff_us", "clean_us", "noisy_us")


def from_benchmarks(name):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def parts():
    return from_benchmarks("events_parts")


def row(x, **changes):
    times = {"framediff_us": 10.0, "clean_us": 100.0, "noisy_us": 150.0, "v2e_clean_us": 1500.0}
    return {"x": x, "pixels": 100, **times, "clean_events": 1234.0, "noisy_events": 900.0, **changes}


def test_the_texture_moves_by_whole_pixels_where_it_should(parts):
    frames = parts.texture(40, 64, 4, speed=3.0, moving=0.5)
    assert frames.shape == (4, 40, 64)
    for index in (1, 2, 3):
        assert np.array_equal(frames[index, :20, :-9], frames[0, :20, 3 * index : 3 * index + 55])
        assert np.array_equal(frames[index, 20:], frames[0, 20:])
    assert len(np.unique(frames)) > 100


def test_both_cameras_see_every_frame_once_and_in_turns(parts, monkeypatch):
    seen = []

    def camera(name):
        def feed(index, frame):
            seen.append((name, index))
            return int(frame[0, 0])

        return feed

    monkeypatch.setattr(parts, "our_camera", lambda *_: camera("ours"))
    monkeypatch.setattr(parts, "their_camera", lambda *_: camera("v2e"))
    frames = np.full((3, 2, 2), 7, np.uint8)
    made = parts.pixel_round(lambda: None, frames, "clean", 1000, 2)
    assert seen == [("ours", 0), ("ours", 1), ("v2e", 0), ("v2e", 1), ("ours", 2), ("v2e", 2)]
    assert made["events_ours"] == made["events_v2e"] == 21


def test_a_ratio_is_the_median_of_the_rounds_ratios(parts, monkeypatch):
    times = iter([(1, 1), (1, 10), (2, 60), (4, 80), (1, 3), (1, 5), (1, 4)])

    def measured(*_):
        ours, theirs = next(times)
        return {"ours": ours, "v2e": theirs, "events_ours": 8, "events_v2e": 6}

    monkeypatch.setattr(parts, "pixel_round", measured)
    found = parts.measure_pixel(lambda: None, np.zeros((4, 2, 2), np.uint8), "clean", 3, 1000)
    assert found["v2e_over_ours"] == 20
    assert found["v2e_over_ours_frame_by_frame"] == 4
    assert (found["ours_us_per_frame"], found["events_per_frame"]) == (2e6 / 4, 2)


def test_the_figure_has_a_curve_for_what_was_measured_and_none_for_the_rest(tmp_path):
    figures = from_benchmarks("events_figures")
    rows = {axis.key: [row(1.0), row(10.0, clean_us=200.0)] for axis in figures.AXES}
    results, picture = tmp_path / "events.json", tmp_path / "cost.svg"
    results.write_text(json.dumps({"scaling": rows}))
    text = figures.cost_figure(figures.read_scaling(results))
    picture.write_text(text)
    assert text.count("<path") == 4 * 4  # three simulators, and v2e in one setting
    assert "v2e, clean" in text
    assert "v2e, noisy" not in text
    assert "1.2k ev." in text
    # 200 us per frame at 10 frames per second.
    assert "10 to" not in text
    assert "2 ms per second of video" in text


@pytest.mark.parametrize("content", ["", "{}", '{"scaling": {"resolution": [{"x": 0}]}}', '{"scaling": []}'])
def test_a_figure_without_results_says_so(tmp_path, content):
    figures = from_benchmarks("events_figures")
    results = tmp_path / "events.json"
    results.write_text(content)
    with pytest.raises(SystemExit, match="no scaling results"):
        figures.read_scaling(results)


def test_tables_say_what_was_measured_and_replace_only_what_is_between_the_marks(tmp_path):
    write = from_benchmarks("events_tables")
    ours = {"ours_us_per_frame": 200.4, "events_per_frame": 13000.0}
    theirs = {"v2e_us_per_frame": 6000.0, "v2e_over_ours": 29.94, "v2e_over_ours_frame_by_frame": 17.0}
    found = {
        "machine": {"processor": "P", "python": "3", "numpy": "2", "torch": "2"},
        "rounds": 9,
        "step_us": 2000,
        "pixels": {"346x260 clean": ours | theirs, "128 noisy": ours},
        "framediff": {"ours_us_per_clip": 150.0, "framediff_over_memcpy": 3.44},
        "reading": {
            "clips": 50, "steps": 68, "size": 128, "batch": 8, "stored_bytes_per_clip": 123456.0, "clips_per_s": 400.0,
            "read_ms_per_batch": 20.0, "training_step_ms": 8000.0, "spikingjelly_step_ms": 16000.0,
            "share_of_step_spent_reading": 0.0025,
        },
    }  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text(f"before\n{write.MARKS[0]}\nold\n{write.MARKS[1]}\nafter\n")
    for _ in range(2):
        write.write_tables(page, write.tables(found))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| 346×260 | `clean` | 200 | 13,000 | 6000 | 29.9 | 17.0 |" in text
    assert "| 128×128 | `noisy` | 200 | 13,000 | | | |" in text
    assert "3.4 times a copy" in text
    assert "8.0 s (16.0 s with SpikingJelly's modules): 0.25 % of the time" in text
    assert (BENCHMARKS.parent / "docs" / "event-camera.md").read_text().count(write.MARKS[0]) == 1


@pytest.mark.slow
def test_the_whole_benchmark_at_a_small_size(tmp_path):
    results = tmp_path / "events.json"
    command = [sys.executable, str(BENCHMARKS / "events.py"), "--quick", "--results", str(results)]
    subprocess.run(command, check=True, timeout=300, stdin=subprocess.DEVNULL)
    found = json.loads(results.read_text())
    assert set(found["ratios"]) == {"framediff_over_memcpy", "store_read_clips_per_s"}
    assert all(value > 0 for value in found["ratios"].values())
    assert found["not_measured"] == ["v2e: give --v2e FOLDER"]
    assert {name.split()[1] for name in found["pixels"]} == {"ideal", "clean", "bandwidth", "noisy"}
    assert all(cost["ours_us_per_frame"] > 0 < cost["events_per_frame"] for cost in found["pixels"].values())
    reading = found["reading"]
    share = reading["read_ms_per_batch"] / (reading["read_ms_per_batch"] + reading["training_step_ms"])
    assert 0 < reading["share_of_step_spent_reading"] == pytest.approx(share)
    for axis in ("resolution", "speed", "rate", "density"):
        for point in found["scaling"][axis]:
            assert min(point[name] for name in ("x", *CURVES)) > 0
    figure = [sys.executable, str(BENCHMARKS / "events_figures.py"), "--results", str(results)]
    subprocess.run([*figure, "--out", str(tmp_path / "cost.svg")], check=True, timeout=60)
    assert "pixel model, noisy" in (tmp_path / "cost.svg").read_text()

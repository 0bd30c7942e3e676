"""The pixel model against v2e's own events, recorded from its emulator (v2e_events.json says how), noise off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.pixel.simulator import PixelSimulator

HERE = Path(__file__).resolve().parent
PROVENANCE = json.loads((HERE / "v2e_events.json").read_text())
NAMES = {
    "pos_thres": "positive_threshold",
    "neg_thres": "negative_threshold",
    "sigma_thres": "threshold_sigma",
    "cutoff_hz": "cutoff_hz",
    "leak_rate_hz": "leak_rate_hz",
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE / "v2e_events.npz") as file:
        return dict(file)


def simulated(case, recorded):
    v2e = case["v2e"]
    settings = {NAMES[key]: value for key, value in v2e.items() if key in NAMES}
    settings["refractory_us"] = v2e.get("refractory_period_s", 0.0) * 1e6
    frames = recorded["frames"]
    camera = PixelSimulator(PixelSettings(timing="slots", **settings), *frames.shape[1:])
    if f"{case['key']}_positive" in recorded:
        # The thresholds are drawn at random: v2e's own are put in.
        camera.set_thresholds(recorded[f"{case['key']}_positive"], recorded[f"{case['key']}_negative"])
    return np.concatenate([camera.feed(frame, index * case["step_us"]) for index, frame in enumerate(frames)])


@pytest.mark.parametrize("case", PROVENANCE["cases"], ids=lambda case: f"{case['name']} {case['step_us']}")
def test_every_event_is_v2es(case, recorded):
    found, wanted = simulated(case, recorded), recorded[case["key"]]
    assert len(wanted) == case["events"] > 1000
    order = np.lexsort((found["t"], found["p"], found["x"], found["y"]))
    found = found[order]
    for name, column in (("x", 1), ("y", 2)):
        assert np.array_equal(found[name], wanted[:, column])
    assert np.array_equal(found["p"], wanted[:, 3] > 0)
    assert np.abs(found["t"] - wanted[:, 0].astype(np.float64) * 1e6).max() <= 1.0


def test_the_recording_says_where_it_comes_from():
    assert "cac638444557a224ba6ee5c29260916f152c00bd" in PROVENANCE["source"]
    assert {case["name"] for case in PROVENANCE["cases"]} >= {"ideal", "mismatch", "bandwidth", "refractory", "leak"}

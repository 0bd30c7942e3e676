"""The benchmark of the simulator measures what it says: counts by hand, the yardstick's own spikes, tables in place."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.reference import run_graph
from hw_targets.loihi2.lava import lava_available
from neuroemo.models.emotion import spec_by_name

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
RATES = (0.05, 0.08, 0.12, 0.1, 0.2)
SPEC = replace(spec_by_name("0.4snn"), size=32, steps=9, channels=(4, 6, 8), hidden=24)


@pytest.fixture(scope="module")
def parts():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import simulate_parts
    finally:
        sys.path.remove(str(BENCHMARKS))
    return simulate_parts


@pytest.fixture(scope="module")
def subject(parts):
    return parts.build_subject(SPEC, 0.1, RATES)


def test_layers_fire_as_often_as_asked(parts, subject):
    run = run_graph(subject.graph, parts.random_clips(SPEC, 4, 0.1, seed=5))
    for spikes, wanted in zip(run.spikes.values(), RATES, strict=True):
        assert 0.4 * wanted < spikes.mean() < 2.5 * wanted


def test_clips_have_the_density_asked_and_a_gray_first_frame(parts):
    clips = parts.random_clips(SPEC, 8, 0.1)
    assert set(np.unique(clips[1:])) == {0.0, 1.0}
    assert clips[1:].mean() == pytest.approx(0.1, abs=0.005)
    assert np.unique(clips[0]).size > 200
    np.testing.assert_array_equal(clips[0, :, 0], clips[0, :, 1])


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_float_forward_pass_computes_the_folded_network(parts, subject, channels_last):
    clips = parts.random_clips(SPEC, 3, 0.1, seed=7)
    forward = parts.FloatForward(subject.graph, channels_last=channels_last)
    wanted = run_graph(subject.graph, clips)
    found = forward.run(torch.from_numpy(clips))
    assert list(found) == list(wanted.spikes)
    for name, spikes in wanted.spikes.items():
        assert spikes.any(), "a silent layer shows nothing"
        decided = ~wanted.ties[name]
        np.testing.assert_array_equal(found[name].numpy()[decided], spikes[decided])
    torch.testing.assert_close(forward.output(torch.from_numpy(clips)), found[name])


def test_multiplications_by_hand(parts, subject):
    # 32, conv: 30, pool: 15, conv: 13, pool: 6, conv: 4, pool: 2; folded: 6x6 kernels, then 2x2 values per weight.
    names = [layer.name for layer in subject.chip.layers]
    folded = [2 * 9 * 4 * 30**2, 4 * 36 * 6 * 13**2, 6 * 36 * 8 * 4**2, 8 * 4 * 4 * 24, 24 * 20]
    pooled = [2 * 9 * 4 * 30**2, 4 * 9 * 6 * 13**2, 6 * 9 * 8 * 4**2, 8 * 2 * 2 * 24, 24 * 20]
    assert parts.multiplies(subject.chip) == {
        "folded": dict(zip(names, folded, strict=True)),
        "pooled": dict(zip(names, pooled, strict=True)),
    }


def test_the_matrix_product_has_the_multiplications_asked(parts):
    product = parts.matrix_product(1_000_000)()
    assert product.shape == (100, 100)


def test_threshold_for_another_density(parts, subject):
    clips = parts.random_clips(replace(SPEC, first_frame="spikes"), 1, 0.5, seed=1)
    first = replace(subject.chip.layers[0], payload=1)
    threshold = parts.rate_threshold(first, clips, 0.05)
    frames = np.where(clips > 0, 1.0, 0.0)
    chip = replace(subject.chip, layers=(replace(first, threshold=threshold),), first_frame="spikes")
    from hw_targets.loihi2.simulate import simulate

    assert simulate(chip, frames).output.mean() == pytest.approx(0.05, abs=0.02)


def test_tables_replace_only_what_is_between_the_marks(parts, tmp_path):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from simulate_tables import MARKS, write_tables
    finally:
        sys.path.remove(str(BENCHMARKS))
    page = tmp_path / "results.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_tables(page, {})
    write_tables(page, {})
    assert page.read_text() == f"before\n{MARKS[0]}\n\n{MARKS[1]}\nafter\n"


def test_the_page_of_results_has_a_place_for_the_tables():
    text = (BENCHMARKS.parent / "docs" / "results.md").read_text()
    assert text.count("<!-- simulate: begin -->") == text.count("<!-- simulate: end -->") == 1


@pytest.mark.slow
def test_the_whole_benchmark_at_a_small_size(tmp_path):
    results, page = tmp_path / "simulate.json", tmp_path / "results.md"
    page.write_text("<!-- simulate: begin -->\n<!-- simulate: end -->\n")
    command = [sys.executable, str(BENCHMARKS / "simulate.py"), "--quick"]
    subprocess.run([*command, "--results", str(results), "--docs", str(page)], check=True, timeout=300)
    found = json.loads(results.read_text())
    for key in ("lava_over_fast", "patched_lava_over_fast"):
        assert (found["ratios"][key] is not None) == lava_available()
    for key in ("fast_over_float_forward", "fast_over_gemm_limit", "dense_over_event_at_10pct"):
        assert found["ratios"][key] > 0
    equal = found["equal"]
    assert equal["paths_spikes_compared"] > 0 == equal["paths_spikes_different"]
    assert equal["lava_spikes_different"] == 0
    assert (equal["lava_spikes_compared"] > 0) == lava_available()
    assert all(0.01 < rate < 0.9 for rate in found["conditions"]["rates"].values())
    for axis in ("size", "steps", "batch", "density"):
        for row in found["scaling"][axis]:
            assert min(row["x"], row["ms_per_step"], row["dense_ms"], row["event_ms"]) > 0
            assert 50 < row["peak_mb"] < 1500
    for word in ("| ratio of medians |", "synaptic sums", "clips streamed"):
        assert word in page.read_text()

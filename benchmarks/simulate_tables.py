"""The tables of docs/results.md about the simulator, from what benchmarks/simulate.py measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKS = ("<!-- simulate: begin -->", "<!-- simulate: end -->")
WORDS = {
    "lava": "Lava as it comes, all cores",
    "lava_one_core": "Lava on one core",
    "lava_patched": "Lava with a fast convolution, all cores",
    "dense": "ours, dense",
    "event": "ours, event-driven",
    "auto": "**ours, choosing by itself**",
    "auto_two_threads": "ours, two threads",
    "auto_record_all": "ours, the spikes of all layers kept",
    "float_forward": "float32 forward pass in torch",
    "float_forward_channels_last": "the same, channels last",
    "matrix_product_folded": "bare float32 matrix product, kernels as folded",
    "matrix_product_pooled": "bare float32 matrix product, pooled first",
}
TARGETS = (
    ("lava_over_fast", "Lava over ours", "at least 300", lambda x: x >= 300),
    ("lava_one_core_over_fast", "Lava on one core over ours", "", None),
    ("patched_lava_over_fast", "Lava with a fast convolution over ours", "at least 20", lambda x: x >= 20),
    ("fast_over_float_forward", "ours over the float forward pass", "at most 1.3", lambda x: x <= 1.3),
    ("fast_over_float_forward_channels_last", "ours over the float forward pass, channels last", "", None),
    ("fast_over_gemm_limit", "ours over the matrix product, kernels as folded", "", None),
    ("fast_over_gemm_limit_pooled", "ours over the matrix product, pooled first", "", None),
    ("one_thread_over_two", "ours on one thread over two, both cores free", "", None),
    ("dense_over_event_at_10pct", "dense over event-driven, 10 % of the input", "above 1", lambda x: x > 1),
)
AXES = {
    "size": "pixels across",
    "steps": "steps",
    "batch": "clips at once",
    "density": "share of input values that are events",
}


def write_tables(path: Path, found: dict[str, Any]) -> None:
    """Replace what stands between the marks of a Markdown file."""
    text = path.read_text()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n" + "\n".join(_lines(found)) + f"\n{MARKS[1]}{after}")


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if "ratios" in found:
        yield from _conditions(found)
        yield from _measured(found)
        yield from _ratios(found["ratios"])
        yield from _profile(found)
    if "scaling" in found:
        yield from _scaling(found["scaling"])


def _conditions(found: dict[str, Any]) -> Iterator[str]:
    conditions, machine = found["conditions"], found["machine"]
    network = conditions["network"]
    rates = ", ".join(f"{100 * rate:.1f}" for name, rate in conditions["rates"].items() if name != "input")
    yield (
        f"{machine['processor']} ({machine['instructions']}, {machine['cores']} cores), one thread; Python "
        f"{machine['python']}, torch {machine['torch']}, numba {machine['numba']}, lava-nc {machine['lava-nc']}."
    )
    yield (
        f"{network['name']}, 2×{network['size']}×{network['size']}, {network['steps']} steps, "
        f"{100 * conditions['input_density']:.0f} % of the input values are events (the gray first frame aside); "
        f"the layers fire in {rates} % of their steps."
    )
    equal = found["equal"]
    yield (
        f"In the same run: {equal['lava_spikes_compared']:,} spikes compared with Lava's, "
        f"{equal['lava_spikes_different']} differ; {equal['paths_spikes_compared']:,} between our ways to sum, "
        f"{equal['paths_spikes_different']} differ."
    )
    yield ""


def _measured(found: dict[str, Any]) -> Iterator[str]:
    yield "| ms per step and clip | clips at once | median | least | largest | runs |"
    yield "| --- " * 6 + "|"
    for name, row in found["measured_ms_per_step_and_clip"].items():
        what, _, batch = name.partition("_batch")
        yield (
            f"| {WORDS[what]} | {batch or '–'} | {_number(row['median'])} | {_number(row['min'])} "
            f"| {_number(row['max'])} | {row['runs']} |"
        )
    yield ""


def _ratios(ratios: dict[str, float | None]) -> Iterator[str]:
    yield "| ratio of medians | measured | wanted | |"
    yield "| --- " * 4 + "|"
    for key, words, wanted, reached in TARGETS:
        value = ratios[key]
        shown = "not measured" if value is None else _number(value)
        verdict = "" if value is None or reached is None else "reached" if reached(value) else "**missed**"
        yield f"| {words} | {shown} | {wanted} | {verdict} |"
    yield ""


def _profile(found: dict[str, Any]) -> Iterator[str]:
    profile = found["profile"]
    ways = {row["layer"]: row["frames"] for row in found["paths"]}
    yield "Where ours spends its time, ms per step and clip:"
    yield ""
    yield "| layer | way | synaptic sums | neurons | recording |"
    yield "| --- " * 5 + "|"
    for row in profile["layers"]:
        frames = ways.get(row["layer"], {})
        way = max(frames, key=lambda name: frames[name]) if frames else "–"
        yield (
            f"| {row['layer']} | {way} | {row['sums_ms']:.3f} | {row['neurons_ms']:.3f} | {row['recording_ms']:.3f} |"
        )
    yield f"| input | | {profile['input_ms']:.3f} | | |"
    yield f"| the rest | | {profile['rest_ms']:.3f} | | |"
    yield f"| all | | {profile['total_ms']:.3f} | | |"
    yield ""
    demo = found["at_rates_of_the_demo"]
    rates = ", ".join(f"{100 * rate:.0f}" for rate in demo["rates"].values())
    ms = ", ".join(f"{way} {_number(row['median'])}" for way, row in demo["measured_ms_per_step_and_clip"].items())
    yield f"At the rates of the network that the demo trains ({rates} %): {ms} ms."
    yield ""


def _scaling(scaling: dict[str, Any]) -> Iterator[str]:
    base = scaling["base"]
    yield (
        f"Cost against work, around {base['size']} pixels, {base['steps']} steps, one clip, "
        f"{100 * base['density']:.0f} % (no gray frame); each point in a process of its own, of which "
        f"{scaling['idle_mb']:.0f} MB are the interpreter and its libraries. Over the sizes the hidden layer has "
        f"{scaling['hidden_over_size']} neurons instead of {base['hidden']:,}, whose folded weights would fill "
        "the memory at 256 pixels; over the densities the first layer's threshold is set so that it fires as often:"
    )
    yield ""
    yield "| | | ms per step and clip | dense | event-driven | peak MB |"
    yield "| --- " * 6 + "|"
    for axis, words in AXES.items():
        for row in scaling[axis]:
            cells = (_number(row[key]) for key in ("ms_per_step", "dense_ms", "event_ms"))
            yield f"| {words} | {row['x']:g} | {' | '.join(cells)} | {row['peak_mb']:.0f} |"
    for row in scaling["clips"]:
        yield (
            f"| clips streamed from a file of {row['clips_file_mb']:.1f} MB | {row['x']} "
            f"| {_number(row['ms_per_step'])} | | | {row['peak_mb']:.0f} |"
        )
    yield ""
    yield "![Cost of simulation against input size, steps, batch and density](simulate-cost.svg)"


def _number(value: float) -> str:
    """Return a number with three digits that count.

    >>> _number(1234.5), _number(12.345), _number(0.012345)
    ('1,234', '12.3', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""What an export costs: accuracy and labels by input encoding, and seconds on the paper's network.

    python benchmarks/exporting.py --runs runs/demo-0 runs/demo-1 runs/demo-2

``--runs`` are folders of finished demo runs (one per seed). Writes benchmarks/results/export.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.exporter import export_model
from export.reverify import verify_bundle
from export.verify import Tolerance
from neuroemo.deployment.model import ModelOptions, load_model_argument
from neuroemo.deployment.run import ExportSettings, export_network
from neuroemo.models.emotion import build_network, spec_by_name

RESULTS = Path(__file__).parent / "results" / "export.json"
REPEATS = 3


def by_encoding(run: Path) -> dict[str, Any]:
    """Return accuracy, labels and rates of one trained network for every way to bring its input to the chip."""
    model = load_model_argument(str(run / "snn"), ModelOptions())
    rows = {}
    for encoding, allow in (("graded", ()), ("host", ()), ("spikes", ("E461",))):
        settings = ExportSettings(
            data=run / "clips.h5", input_encoding=encoding, allow=allow, tolerance=Tolerance(0.0, 0.0)
        )
        rows[encoding] = _row(export_network(model, None, settings))
    everything = ExportSettings(data=run / "clips.h5", split="all", limit=10**6, tolerance=Tolerance(0.0, 0.0))
    rows["graded, all clips"] = _row(export_network(model, None, everything))
    return rows


def _row(shown: dict[str, Any]) -> dict[str, Any]:
    check = shown["verify"]
    keep = ("clips", "label_agreement", "rate_error_mean", "rate_error_max", "accuracy")
    layers = {
        layer["name"]: {key: layer[key] for key in ("agreement", "f1", "rate_error")} for layer in check["layers"]
    }
    exact = sum(
        layer["captured_mismatches"] + layer["folded_mismatches"] - layer["captured_ties"] - layer["folded_ties"]
        for layer in check["layers"]
    )
    compared = sum(layer["compared"] for layer in check["layers"])
    return {key: check[key] for key in keep} | {
        "layers": layers, "compared": compared, "inexact_beyond_ties": exact,
        "mismatches_captured_and_folded": sum(
            layer["captured_mismatches"] + layer["folded_mismatches"] for layer in check["layers"]
        ),
    }  # fmt: skip


def paper_network() -> tuple[torch.nn.Module, np.ndarray]:
    """Return the paper's 0.4SNN with random weights under which every layer fires, and four clips."""
    import spikingjelly.activation_based.functional as functional

    torch.manual_seed(0)
    spec = spec_by_name("0.4snn")
    network = build_network(spec)
    rng = np.random.default_rng(0)
    clips = (rng.random((spec.steps, 4, 2, spec.size, spec.size)) < 0.05).astype(np.float32)
    clips[0] = rng.integers(0, 256, (4, 1, spec.size, spec.size)) / 255
    with torch.no_grad():
        for module in network.modules():
            if type(module).__name__ == "Linear":
                module.weight.mul_(25)
            if type(module).__name__ == "BatchNorm2d":
                module.bias.uniform_(0.0, 0.5)
        network.train()
        for _ in range(20):
            network(torch.from_numpy(clips[:4, :2]))
            functional.reset_net(network)
    return network.eval(), clips


def paper_size() -> dict[str, Any]:
    """Return the seconds that exporting and verifying the paper's network take, and how often its layers fire."""
    network, clips = paper_network()
    export, again = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(REPEATS):
            out = Path(folder) / str(number)
            started = time.perf_counter()
            batches = [clips[:, [clip]] for clip in range(clips.shape[1])]
            result = export_model(
                network, batches, out=out, first_frame="float", dt_us=33333.0, tolerance=Tolerance(0.9, 0.0)
            )
            export.append(time.perf_counter() - started)
            started = time.perf_counter()
            shown = verify_bundle(out)
            again.append(time.perf_counter() - started)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {
        "clips": int(clips.shape[1]),
        "verified": result.ok and shown["ok"],
        "export_s": statistics.median(export),
        "verify_s": statistics.median(again),
        "bundle_bytes": size,
        "rates": {layer["name"]: layer["rate_float"] for layer in result.verify["layers"]},
        "mismatches_beyond_ties": sum(
            layer["captured_mismatches"] + layer["folded_mismatches"] - layer["captured_ties"] - layer["folded_ties"]
            for layer in result.verify["layers"]
        ),
        "compared": sum(layer["compared"] for layer in result.verify["layers"]),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {
        "paper_size": paper_size(),
        "encodings": {f"seed{number}": by_encoding(run) for number, run in enumerate(arguments.runs)},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

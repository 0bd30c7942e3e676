"""Two spiking regressors of valence and arousal beside the six ANNs, on the same event frames of faces.

``python benchmarks/affect_spiking.py [--runs DIR] [--data FILE.h5] [--only NAME ...] [--seeds N ...]`` makes the event
frames (50 people, 64x64 pixels, 8 bits) unless they are given, trains every network of ``NETWORKS`` with every seed on
the frames of 30 people, keeps the epoch that 10 others choose, and scores it on 10 people that it has never seen. All
networks see the same number of frames; what differs is the learning rate (``RATES``). What is finished in DIR is used
again, an interrupted training continues, and ``benchmarks/results/affect_spiking.json`` is written after every network.

Per spiking network: ``neuroemo export`` to Loihi 2 with 8-bit and 4-bit weights, proved on all test frames, eight
chunks of six frames in Lava, and the operations that the spikes of all test frames cause on the chip's integers.
The account is strict: accumulates that spikes cause and every update of every neuron, spikes or not; an ANN pays a
multiply-accumulate for every connection, once per frame. Beside it, what it would pay if zeros cost nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from export.storage import write_json
from neuroemo.affect.settings import AffectSettings

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "affect_spiking.json"
SIZE = 64
SPIKING = (f"spiking-plif@{SIZE}", f"spiking-resnet@{SIZE}")
ANNS = tuple(f"{n}@{SIZE}" for n in ("resnet18", "vit", "ic3d", "resnet-lstm", "resnet-transformer", "resnet-fusion"))
NETWORKS = (*SPIKING, *ANNS)
FACES = {"subjects": 50, "clips_per_subject": 24, "seed": 0}
RECIPE: dict[str, Any] = {
    "epochs": 10,
    "halve_every": 3,
    "batch": 96,
    "clip_gradient": 1.0,
    "loss": "mse",
    "threads": 1,
}
RATES = dict.fromkeys(ANNS, 1e-3) | dict.fromkeys(SPIKING, 3e-3)
PRICES, PRECISION = "cmos45", "fp32"
BITS = (8, 4)
EQUAL = 0.1
"""How far apart the numbers of parameters of two networks may be that are called equal."""
ALLOWED = 0.1
"""How much larger the error of a spiking network may be than that of the best ANN of as many parameters."""
ZERO_SKIPPING_FRAMES = 240
LAVA_LIMIT_S = 4 * 3600.0
Row = dict[str, Any]


def main() -> None:
    """Run what is missing and write the file after every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/affect-spiking"))
    parser.add_argument("--data", type=Path, help="event frames of faces (default: made in DIR)")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--collect", action="store_true", help="run nothing: write what is there")
    args = parser.parse_args()
    runs = args.runs.resolve()
    if not args.collect:
        data = args.data or prepared(runs)
        for name in args.only:
            for seed in args.seeds:
                if finished(name, seed, runs) is None:
                    print(name, seed, f"{run_one(name, seed, runs, data)['rmse']:.4f}", flush=True)
                    write_json(RESULTS, collect(runs, args.seeds))
    result = collect(runs, args.seeds)
    write_json(RESULTS, result)
    print(table(result))


def prepared(runs: Path) -> Path:
    """Return the event frames, made unless they are there."""
    from neuroemo.datasets.event_frame_prepare import prepare_event_frames
    from neuroemo.datasets.event_frame_settings import EventFrameSettings

    path = runs / "faces.h5"
    runs.mkdir(parents=True, exist_ok=True)
    prepare_event_frames("faces", runs / "faces", path, EventFrameSettings(size=SIZE), options=FACES)
    return path


# --- one run -------------------------------------------------------------------------------------------------------


def settings_of(name: str, seed: int) -> AffectSettings:
    """Return how a network is trained."""
    return AffectSettings(**RECIPE, learning_rate=RATES[name], seed=seed)


def identity(name: str, seed: int) -> Row:
    """Return what decides the numbers of a run, as JSON keeps it."""
    from neuroemo.models.affect.table import spec_by_name

    return json.loads(json.dumps({"spec": spec_by_name(name).to_dict(), "settings": settings_of(name, seed).to_dict()}))


def folder_of(name: str, seed: int, runs: Path) -> Path:
    """Return where a run is kept."""
    return runs / name.replace("@", "-") / f"seed{seed}"


def finished(name: str, seed: int, runs: Path) -> Row | None:
    """Return the row of a finished run, None where there is none or it was made with other settings."""
    path = folder_of(name, seed, runs) / "row.json"
    if not path.exists():
        return None
    row: Row = json.loads(path.read_text(encoding="utf-8"))
    return row if row.pop("identity") == identity(name, seed) else None


def run_one(name: str, seed: int, runs: Path, data: Path) -> Row:
    """Train a network with one seed, measure it, keep its row."""
    from neuroemo.affect.predict import predict
    from neuroemo.affect.run import open_affect
    from neuroemo.affect.training import train_affect
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.models.affect.table import spec_by_name

    folder, started = folder_of(name, seed, runs), time.process_time()
    with EventFrames.open(data) as frames:
        history = train_affect(spec_by_name(name), frames, folder / "network", settings_of(name, seed))
        spent = time.process_time() - started
        run = open_affect(folder / "network")
        test = frames.indices("test")
        row = scored(frames.affect(test), predict(run.network, run.spec, frames, test), run.train_mean)
        row |= {"seed": seed, "data": frames.fingerprint(), "epochs": len(history), "training_cpu_s": spent}
        row |= {"test_frames": len(test), "initialisation": run.initialisation}
        row |= parameters(run.network)
        row |= dense_cost(run, frames, test) if name in ANNS else {}
    if name in SPIKING:
        row["chip"] = {str(bits): on_chip(folder, data, bits) for bits in BITS}
        row |= spiking_cost(folder / "loihi2-8bit", data)
    aside = folder / "row.json.part"
    aside.write_text(json.dumps(row | {"identity": identity(name, seed)}), encoding="utf-8")
    aside.replace(folder / "row.json")
    return row


def scored(truth: Any, predicted: Any, mean: tuple[float, float]) -> Row:
    """Return RMSE, PCC and CCC of both outputs, RMSE over both together, and the RMSE of always saying the mean."""
    from neuroemo.affect.metrics import scores

    told = scores(truth, predicted, constant=mean)
    outputs = {output: {name: entry[name] for name in ("rmse", "pcc", "ccc")} for output, entry in told.items()}
    constant = {output: entry["constant"]["rmse"] for output, entry in told.items()}
    return {"outputs": outputs, "constant": constant, "rmse": both(outputs), "constant_rmse": pooled(constant.values())}


def both(outputs: Row) -> float:
    """Return the RMSE over all outputs together, which all have equally many frames."""
    return pooled(entry["rmse"] for entry in outputs.values())


def pooled(errors: Any) -> float:
    """Return the root of the mean of squared errors.

    >>> pooled([3.0, 4.0]) ** 2
    12.5
    """
    return float(np.sqrt(np.mean(np.square(list(errors)))))


def parameters(network: Any) -> Row:
    """Return the numbers of parameters, of those that learn, and of those that stay as they were made."""
    each = [(weight.numel(), weight.requires_grad) for weight in network.parameters()]
    return {"parameters": sum(n for n, _ in each), "trained": sum(n for n, learns in each if learns)}


def dense_cost(run: Any, frames: Any, test: Any) -> Row:
    """Count an ANN and price it per frame: dense, and with zero inputs skipped on frames of the test people.

    Only products are priced: gates, softmax and normalisation of activations are named in ``not_counted``.
    """
    import torch

    from neuroemo.affect.chunks import chunks_of
    from neuroemo.affect.inputs import FrameInput
    from neuroemo.profiling.counting.counter import count_operations
    from neuroemo.profiling.energy import price_with_neurons, price_zero_skipping
    from neuroemo.profiling.prices import load_prices

    chunks = chunks_of(frames.clip, test, run.spec.frames)
    chosen = chunks.index[np.linspace(0, len(chunks) - 1, ZERO_SKIPPING_FRAMES // run.spec.frames).astype(int)]
    inputs = torch.from_numpy(FrameInput(run.spec, frames)(chosen))
    counts = count_operations(run.network, inputs.split(8), time_first=False)
    prices, each = load_prices(PRICES), run.spec.frames
    return {
        "macs_per_frame": counts.total.dense_macs / counts.samples / each,
        "uj_per_frame": price_with_neurons(counts, prices, PRECISION, "ann").total_pj / each / 1e6,
        "uj_per_frame_zeros_skipped": price_zero_skipping(counts, prices, PRECISION).total_pj / each / 1e6,
        "not_counted": sorted({words.split(":")[0] for words in counts.partial.values()}),
    }


def on_chip(folder: Path, data: Path, bits: int) -> Row:
    """Export a trained network, compare its values before and after quantisation, and run eight chunks in Lava."""
    from export.reverify import verify_bundle
    from hw_targets.loihi2.lava import lava_available
    from neuroemo.deployment.model import ModelOptions, load_model_argument
    from neuroemo.deployment.run import ExportSettings, export_network

    bundle = folder / f"loihi2-{bits}bit"
    model = load_model_argument(str(folder / "network"), ModelOptions())
    told = export_network(model, bundle, ExportSettings(data=data, limit=10**6, weight_bits=bits, force=True))
    row = {"verified": told["ok"], "values": told["verify"]["values"], "cores": told["placement"]["cores"]}
    row |= {"errors": [found["code"] for found in told["findings"] if found["severity"] == "error"]}
    row |= {"rmse": pooled(entry["chip"]["rmse"] for entry in told["verify"]["values"]["scores"])}
    row |= {"layers": [{"name": layer["name"], **_agreement(layer["verify"])} for layer in told["layers"]]}
    if lava_available():
        lava = verify_bundle(bundle, against="lava", timeout_s=LAVA_LIMIT_S)["lava"]
        row["lava"] = {name: lava[name] for name in ("clips", "steps", "compared_spikes", "mismatched_spikes")}
    return row


def _agreement(verify: Row) -> Row:
    return {name: verify[name] for name in ("rate_float", "rate_chip", "agreement")}


def spiking_cost(bundle: Path, data: Path) -> Row:
    """Count what the spikes of all test frames cause on the chip's integers, and price it per frame."""
    from export.bundle import load_deployment, read_json
    from neuroemo.deployment.affect import described, open_chunks
    from neuroemo.profiling.counting.chip import count_deployment
    from neuroemo.profiling.energy import price_with_neurons
    from neuroemo.profiling.prices import load_prices

    about = described(read_json(bundle / "manifest.json", "a bundle")["details"], str(bundle))
    assert about is not None, "exported from an affect run"
    chunks, each = open_chunks(*about, data, "test"), about[0].frames
    starts = range(0, len(chunks.index), 16)
    batches = (chunks.batch(np.arange(len(chunks.index))[start : start + 16]) for start in starts)
    counts = count_deployment(load_deployment(bundle), batches, keep_samples=False)
    priced = price_with_neurons(counts, load_prices(PRICES), PRECISION, "snn")
    frames, total = counts.samples * each, counts.total
    return {
        "accumulates_per_frame": total.acs / frames,
        "macs_per_frame": total.macs / frames,
        "updates_per_frame": total.neuron_updates / frames,
        "uj_per_frame": priced.total_pj / each / 1e6,
        "parts_uj_per_frame": {part: pj / each / 1e6 for part, pj in priced.parts().items()},
        "not_counted": list(priced.partial),
    }


# --- all runs ------------------------------------------------------------------------------------------------------


def collect(runs: Path, seeds: list[int]) -> Row:
    """Return every finished row and the verdict on the spiking networks."""
    entries = []
    for name in NETWORKS:
        rows = [row for seed in seeds if (row := finished(name, seed, runs)) is not None]
        if rows:
            means = {
                key: float(np.mean([row[key] for row in rows])) for key in ("rmse", "constant_rmse", "uj_per_frame")
            }
            entries.append({"name": name, **identity(name, seeds[0]), "mean": means, "rows": rows})
    account = f"arithmetic+neurons/{PRICES}/{PRECISION}"
    return {"account": account, "recipe": RECIPE, "rates": RATES, "verdict": verdict(entries), "networks": entries}


def verdict(entries: list[Row]) -> Row:
    """Say of each spiking network how it compares with the best ANN of equally many parameters, by its chip's error.

    The best is the one with the least error on the test people: a choice in favour of the ANN.
    """
    told = {}
    for mine in (entry for entry in entries if entry["name"] in SPIKING):
        size = mine["rows"][0]["parameters"]
        alike = [
            entry
            for entry in entries
            if entry["name"] in ANNS and abs(entry["rows"][0]["parameters"] - size) <= EQUAL * size
        ]
        if not alike:
            continue
        best = min(alike, key=lambda entry: entry["mean"]["rmse"])
        chip = float(np.mean([row["chip"]["8"]["rmse"] for row in mine["rows"]]))
        lava = [row["chip"]["8"].get("lava", {"mismatched_spikes": None})["mismatched_spikes"] for row in mine["rows"]]
        told[mine["name"]] = {
            "compared_with": [entry["name"] for entry in alike],
            "best": best["name"],
            "rmse_ratio": mine["mean"]["rmse"] / best["mean"]["rmse"],
            "rmse_ratio_on_chip": chip / best["mean"]["rmse"],
            "energy_ratio": best["mean"]["uj_per_frame"] / mine["mean"]["uj_per_frame"],
            "mismatched_spikes": lava,
            "meets_the_bar": chip <= (1 + ALLOWED) * best["mean"]["rmse"]
            and mine["mean"]["uj_per_frame"] < best["mean"]["uj_per_frame"]
            and all(count == 0 for count in lava),
        }
    return told


def table(result: Row) -> str:
    """Return the rows of docs/spiking-affect.md."""
    heads = "| network | parameters | RMSE | valence PCC, CCC | arousal PCC, CCC | µJ per frame | zeros skipped |"
    lines = [heads, "| --- | --- | --- | --- | --- | --- | --- |"]
    for entry in result["networks"]:
        row = entry["rows"][0]
        pairs = [f"{_shown(told['pcc'])}, {_shown(told['ccc'])}" for told in row["outputs"].values()]
        energy, skipped = entry["mean"]["uj_per_frame"], row.get("uj_per_frame_zeros_skipped")
        cells = [f"`{entry['name']}`", f"{row['parameters']:,}", f"{entry['mean']['rmse']:.4f}", *pairs]
        lines.append(f"| {' | '.join([*cells, f'{energy:.3f}', '' if skipped is None else f'{skipped:.3f}'])} |")
    if result["networks"]:
        constant = result["networks"][0]["mean"]["constant_rmse"]
        lines.append(f"| always the training mean | 0 | {constant:.4f} | -, 0 | -, 0 | 0 | |")
    return "\n".join([*lines, json.dumps(result["verdict"], indent=1)])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()

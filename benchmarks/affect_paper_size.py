"""The six networks of valence and arousal at the paper's size: ``python benchmarks/affect_paper_size.py``.

Faces are rendered at 224x224 pixels, seen by the simulated camera and written as event frames once. Each network trains
a fixed small budget on the training people, one thread, in a process of its own, and is scored on all frames of people
that it has not seen, beside the predictor that always says the training mean. A network that is done is not done
again; one that was interrupted continues. A row of benchmarks/results/affect_paper_size.json is written as soon as its
network is scored. All six together take about three and a half hours of one core.

The criterion of a row: root mean squared error over both outputs together below that of the constant predictor.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from paper_size_process import measured
from simulate_parts import machine

from export.storage import write_json
from neuroemo.affect.settings import AffectSettings
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.pixel.settings import preset

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "affect_paper_size.json"
FACES = {"subjects": 50, "clips_per_subject": 12, "seed": 0}
"""30 people to train on, 10 to validate, 10 to test, as the faces are always split."""
THRESHOLD = 0.05
"""Change of the logarithm of intensity that makes an event: a sensitive camera, so that frames have contours."""
BUDGETS: dict[str, dict[str, Any]] = {
    "resnet18": {"epochs": 4, "frames_per_epoch": 800, "batch": 16, "learning_rate": 5e-4},
    "resnet-lstm": {"epochs": 6, "batch": 48, "learning_rate": 3e-4, "augment": False},
    "resnet-transformer": {"epochs": 5, "batch": 48, "learning_rate": 1e-4, "augment": False},
    "resnet-fusion": {"epochs": 4, "frames_per_epoch": 1000, "batch": 24, "learning_rate": 3e-4},
    "ic3d": {"epochs": 8, "frames_per_epoch": 1500, "batch": 24, "learning_rate": 5e-4, "halve_every": 3},
    "vit": {"epochs": 8, "frames_per_epoch": 3000, "batch": 16, "learning_rate": 5e-4, "halve_every": 3},
}
"""What each network trains. A frozen backbone sees every frame once, and what follows it trains on its features; the
vision transformer and IC3D, whose parts are all new, need more frames than the others."""
COMMON: dict[str, Any] = {"validation_frames": 120, "halve_every": 2, "clip_gradient": 1.0, "seed": 0, "threads": 1}
LIMIT_S = 4 * 3600.0


def main() -> None:
    """Fill the rows that are missing, and write each as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/affect-paper-size"), help="where data and runs are kept"
    )
    parser.add_argument("--models", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--again", action="store_true", help="compute the rows again that are there")
    parser.add_argument("--one", choices=list(BUDGETS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    work = args.work.resolve()
    if args.one:
        sys.stdout.write(json.dumps(row(args.one, work)) + "\n")
        return
    work.mkdir(parents=True, exist_ok=True)
    prepare(work)
    for name in args.models:
        if name in known()["rows"] and not args.again:
            continue
        say(f"{name}: training")
        done = measured(
            [sys.executable, str(HERE / "affect_paper_size.py"), "--one", name, "--work", str(work)], (0,), LIMIT_S
        )
        told = {**done["told"], "peak_bytes": done["peak_bytes"], "processor_seconds": done["processor_seconds"]}
        result = known()
        result["rows"] = {
            model: (result["rows"] | {name: told})[model] for model in BUDGETS if model in {*result["rows"], name}
        }
        write_json(RESULTS, result)
        say(summary(name, told))


def known() -> dict[str, Any]:
    """Return the results so far, of this setup and these budgets; those of others are left behind."""
    setup = {
        "faces": FACES,
        "event_frames": settings().to_dict(),
        "common": COMMON,
        "criterion": "rmse of both outputs together below that of the constant predictor, on people not seen",
    }
    setup = json.loads(json.dumps(setup))
    if RESULTS.exists():
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
        if found.get("setup") == setup:
            rows = {name: row for name, row in found["rows"].items() if row["budget"] == BUDGETS[name]}
            return dict(found) | {"rows": rows}
    return {"setup": setup, "machine": machine(), "rows": {}}


def settings() -> EventFrameSettings:
    """Return how the event frames are made: 224x224, 8 slices of 5 ms."""
    camera = replace(preset("clean"), positive_threshold=THRESHOLD, negative_threshold=THRESHOLD)
    return EventFrameSettings(size=224, pixel=camera)


def prepare(work: Path) -> None:
    """Render the faces and their event frames, unless they are there."""
    from neuroemo.datasets.event_frame_prepare import prepare_event_frames

    def told(done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            say(f"event frames: {done} of {total} clips")

    prepare_event_frames(
        "faces", work / "faces", work / "frames.h5", settings(), options=FACES, workers=1, progress=told
    )


def row(name: str, work: Path) -> dict[str, Any]:
    """Train one network and score it; what the results say of it."""
    import torch

    from neuroemo.affect.metrics import scores
    from neuroemo.affect.predict import predict
    from neuroemo.affect.run import open_affect
    from neuroemo.affect.training import train_affect
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.models.affect.network import parameter_counts
    from neuroemo.models.affect.table import spec_by_name

    torch.set_num_threads(1)
    spec, chosen, out = spec_by_name(name), AffectSettings(**{**COMMON, **BUDGETS[name]}), work / name
    resumed = (out / "last.safetensors").exists()
    with EventFrames.open(work / "frames.h5") as data:
        started = time.process_time()
        history = train_affect(spec, data, out, chosen, say=say)
        training_s = time.process_time() - started
        run = open_affect(out)
        test = data.indices("test")
        truth, constant = data.affect(test), np.asarray(run.train_mean)
        started = time.process_time()
        said = predict(run.network, spec, data, test)
        scoring_s = time.process_time() - started
    both = [float(np.sqrt(np.mean((guess - truth) ** 2))) for guess in (said, constant)]
    return {
        "budget": BUDGETS[name],
        "parameters": parameter_counts(spec),
        "initialisation": run.initialisation,
        "epochs": len(history),
        "frames": {"train": len(data.indices("train")), "test": len(test)},
        "resumed": resumed,
        "training_processor_seconds": training_s,
        "scoring_seconds_per_frame": scoring_s / len(test),
        "step": step_seconds(name, chosen.batch),
        "scores": scores(truth, said, constant=run.train_mean),
        "rmse_of_both": {"network": both[0], "constant": both[1]},
        "beats_the_mean": both[0] < both[1],
    }


def step_seconds(name: str, batch: int, repeats: int = 3) -> dict[str, float]:
    """Return the median processor seconds of one training step on frames of zeros and ones, and its frames.

    Of a network with a frozen backbone, with the backbone: what a step costs whose features are not kept.
    """
    import torch

    from neuroemo.models.affect.network import build_affect
    from neuroemo.models.affect.table import spec_by_name

    spec = spec_by_name(name)
    network = build_affect(spec).train()
    chunks = max(1, batch // spec.frames)
    frames = (torch.rand(chunks, spec.frames, 1, spec.size, spec.size) > 0.95).float()
    optimiser = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad])
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        optimiser.zero_grad()
        network(frames).square().mean().backward()
        optimiser.step()
        taken.append(time.process_time() - started)
    return {"frames": chunks * spec.frames, "processor_seconds": sorted(taken)[repeats // 2]}


def summary(name: str, told: dict[str, Any]) -> str:
    """Return the line of a finished network."""
    both = told["rmse_of_both"]
    parts = [f"{name}: RMSE of both {both['network']:.4f}, constant {both['constant']:.4f}"]
    for output, score in told["scores"].items():
        pcc, ccc = (("undefined" if score[key] is None else f"{score[key]:.3f}") for key in ("pcc", "ccc"))
        parts.append(f"{output} {score['rmse']:.4f} (constant {score['constant']['rmse']:.4f}), PCC {pcc}, CCC {ccc}")
    parts.append(f"{told['processor_seconds']:.0f} s, {told['peak_bytes'] / 2**30:.2f} GiB")
    return "; ".join(parts)


def say(text: str) -> None:
    """Print to standard error, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()

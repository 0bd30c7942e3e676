"""Everything the report shows, gathered into one JSON-ready dictionary."""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import load_chip
from hw_targets.graph import Array
from hw_targets.readout import group_rates
from hw_targets.registry import get_target

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore
    from neuroemo.demo.settings import DemoSettings

STRIP = 6
"""Number of pictures in each film strip."""


def assemble(settings: DemoSettings, results: dict[str, Any], timings: dict[str, float]) -> dict[str, Any]:
    """Return the report of a demo run; docs/report.md describes its entries."""
    from importlib.metadata import version

    from neuroemo.datasets.store import ClipStore

    store = ClipStore.open(settings.out / "clips.h5")
    lava = results["lava"]
    return {
        "schema": 1,
        "ok": results["export"]["ok"] and not lava.get("lava", {}).get("mismatched_spikes", 0),
        "title": "NeuroEmo demo"
        + (" (small: shows that all runs, its accuracy means nothing)" if settings.small else "")
        + (": synthetic faces" if settings.videos is None else f": {settings.videos.name}"),
        "tool": {"name": "neuroemo", "version": version("neuroemo")},
        "command": _command(settings),
        **_accuracy(results, store),
        "data": _data(settings, store),
        "events": _density(results["events"]),
        "clip": film_strips(settings, store),
        "network": _network(settings.out / "snn"),
        "training": {name: _training(settings, results[name]) for name in ("snn", "ann")},
        "steps": _steps(settings, results["snn"], store),
        "export": _export(results["export"], results["events"]["findings"]),
        "lava": lava if "skipped" in lava else lava["lava"],
        "simulation": {key: results["simulate"][key] for key in ("clips", "clips_per_s", "seconds")},
        "voting": voting_examples(settings),
        "energy": results["energy"],
        "timings": timings,
        "next": [
            f"neuroemo simulate {settings.out / 'bundle'} --clips YOUR_VIDEOS --backend both",
            f"neuroemo evaluate {settings.out / 'snn'} --data YOUR_VIDEOS --split all",
            f"neuroemo verify {settings.out / 'bundle'}",
            "neuroemo reproduce table2",
        ],
    }


def _command(settings: DemoSettings) -> str:
    parts = ["neuroemo demo", f"-o {settings.out}", f"--seed {settings.seed}"]
    parts += [f"--videos {settings.videos}"] if settings.videos else []
    parts += ["--small"] if settings.small else []
    return " ".join(parts)


def _accuracy(results: dict[str, Any], store: ClipStore) -> dict[str, Any]:
    """Return accuracies, the number of clips each was measured on, and Wilson intervals."""
    from neuroemo.training.metrics import wilson_interval

    snn, ann, simulated, lava = (results[name] for name in ("snn", "ann", "simulate", "lava"))
    accuracy = {
        "float": snn["test"]["accuracy"],
        "quantised": simulated["accuracy"],
        "lava": lava.get("lava", {}).get("accuracy"),
        "ann": ann["test"]["accuracy"],
        "trivial": snn["trivial"]["accuracy"],
        "linear_events": snn["linear_events"]["accuracy"],
        "chance": snn["chance"]["accuracy"],
    }
    clips = dict.fromkeys(accuracy, len(store.indices("test"))) | {"lava": lava.get("clips", 0)}
    intervals = {
        name: list(wilson_interval(round(value * clips[name]), clips[name]))
        for name, value in accuracy.items()
        if value is not None and name != "chance"
    }
    return {"accuracy": accuracy, "accuracy_clips": clips, "intervals_95": intervals}


def _data(settings: DemoSettings, store: ClipStore) -> dict[str, Any]:
    splits = ("train", "val", "test")
    subjects = {split: len({str(store.subjects[i]) for i in store.indices(split)}) for split in splits}
    return {
        "name": "procedural talking faces" if settings.videos is None else settings.videos.name,
        "synthetic": settings.videos is None,
        "classes": list(store.classes),
        "clips": {split: len(store.indices(split)) for split in splits},
        "subjects": subjects if all(str(subject) for subject in store.subjects) else None,
        "fps": float(np.median(store.index.fps)),
        **store.settings.to_dict(),
    }


def _density(events: dict[str, Any]) -> dict[str, Any]:
    density = events["density"]
    return {
        "clips": events["clips"],
        "density": density["per_channel"],
        "density_any_polarity": density["any_polarity"],
        "density_on": density["on"],
        "density_off": density["off"],
    }


def film_strips(settings: DemoSettings, store: ClipStore) -> dict[str, Any]:
    """Return the first test clip as pictures: gray frames of the video and the events made of them."""
    from neuroemo.events.video import read_gray

    index = int(store.indices("test")[0])
    root = settings.videos or settings.out / "videos"
    frames = store.settings.steps + (store.settings.first_frame == "spikes")
    video = read_gray(root / str(store.names[index]), size=128, max_frames=frames)
    clip = store.batch(np.array([index]))[:, 0]
    first = 1 if store.settings.first_frame == "float" else 0
    last = min(len(video.frames), store.settings.steps) - 1
    steps = sorted({int(step) for step in np.linspace(first, last, STRIP)})
    return {
        "name": str(store.names[index]),
        "label": str(store.classes[int(store.labels[index])]),
        "steps": steps,
        "frames_png": [picture(video.frames[step]) for step in steps],
        "events_png": [picture(event_picture(clip[step])) for step in steps],
        "event_colours": "orange: brighter (ON), blue: darker (OFF)",
    }


def event_picture(frame: Array) -> Array:
    """Return ON and OFF events [2, H, W] as a BGR picture, ON orange and OFF blue on white."""
    image = np.full((*frame.shape[1:], 3), 255, dtype=np.uint8)
    image[frame[0] > 0] = (0, 94, 213)
    image[frame[1] > 0] = (178, 114, 0)
    return image.repeat(2, axis=0).repeat(2, axis=1)


def picture(image: Array) -> str:
    """Return an image as a PNG data URI."""
    import cv2

    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


def _network(checkpoint: Path) -> dict[str, Any]:
    """Return the network's layers with sizes, from one forward pass."""
    import torch

    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import forward

    network, description = load_model(checkpoint)
    spec = description.spec
    layers: list[dict[str, Any]] = []

    def record(name: str, module: torch.nn.Module) -> Any:
        def hook(_: Any, __: Any, output: torch.Tensor) -> None:
            spiking = hasattr(module, "v_threshold")
            tau = float(1 / module.w.sigmoid()) if hasattr(module, "w") else getattr(module, "tau", None)
            layers.append(
                {
                    "name": name,
                    "kind": type(module).__name__,
                    "output_shape": list(output.shape[2:]),
                    "parameters": sum(p.numel() for p in module.parameters()),
                    "neurons": int(np.prod(output.shape[2:])) if spiking else 0,
                    "tau": tau if spiking else None,
                }
            )

        return module.register_forward_hook(hook)

    leaves = [(name, module) for name, module in network.named_modules() if _is_layer(module)]
    handles = [record(name, module) for name, module in leaves]
    forward(network, spec, torch.zeros(spec.steps, 1, 2, spec.size, spec.size))
    for handle in handles:
        handle.remove()
    return {
        "name": spec.name,
        "neuron": spec.neuron,
        "threshold": spec.threshold,
        "parameters": sum(p.numel() for p in network.parameters()),
        "layers": layers,
    }


def _is_layer(module: Any) -> bool:
    return hasattr(module, "v_threshold") or (
        not any(True for _ in module.children()) and type(module).__module__.endswith("layer")
    )


def _training(settings: DemoSettings, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "settings": asdict(settings.training()),
        "epochs": [
            {
                "epoch": entry["epoch"],
                "loss": entry["loss"],
                "val_accuracy": entry["validation"]["accuracy"],
                "val_loss": entry["validation"]["steps"]["loss"][-1],
            }
            for entry in result["history"]
        ],
    }


def _steps(settings: DemoSettings, result: dict[str, Any], store: ClipStore) -> dict[str, Any]:
    """Return accuracy and loss along the steps: before training, after the first epoch, of the best network."""
    import torch

    from neuroemo.models.emotion import build_network
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import evaluate

    network, description = load_model(settings.out / "snn")
    torch.manual_seed(settings.seed)
    before = evaluate(build_network(description.spec), description.spec, store, store.indices("val"))
    return {
        "split": "val",
        "clips": len(store.indices("val")),
        "before": before.steps.to_dict(),
        "during": result["history"][0]["validation"]["steps"] | {"epoch": 1},
        "after": evaluate(network, description.spec, store, store.indices("val")).steps.to_dict(),
    }


def _export(result: dict[str, Any], about_data: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "target": result["target"],
        "bundle": result["bundle"],
        "file_bytes": result["file_bytes"],
        "ok": result["ok"],
        "clips": result["verify"]["clips"],
        "label_agreement": result["verify"]["label_agreement"],
        "rate_error_mean": result["verify"]["rate_error_mean"],
        "rate_error_max": result["verify"]["rate_error_max"],
        "findings": [*about_data, *result["findings"]],
        "layers": result["layers"],
    }


def voting_examples(settings: DemoSettings) -> dict[str, Any]:
    """Return Figure 3 for one right and one wrong clip: spikes and potentials of the voting neurons on the chip."""
    from neuroemo.datasets.store import ClipStore

    store, bundle = ClipStore.open(settings.out / "clips.h5"), settings.out / "bundle"
    chip = load_chip(bundle)
    indices = store.indices("test")
    last = chip.layers[-1]
    run = get_target("loihi2").simulate(chip, store.batch(indices), probe=(last.name,))
    rates = group_rates(run.output, chip.voting)
    margins = np.abs(rates[:, 0] - rates[:, 1:].max(axis=1))
    right = rates.argmax(axis=1) == np.asarray(store.labels)[indices]
    examples: dict[str, Any] = {}
    for name, of_kind in (("right", right), ("wrong", ~right)):
        chosen = np.flatnonzero(of_kind)
        examples[name] = None
        if len(chosen):
            at = int(chosen[margins[chosen].argmax()])
            index = int(indices[at])
            examples[name] = {
                "clip": str(store.names[index]),
                "label": str(store.classes[int(store.labels[index])]),
                "predicted": str(store.classes[int(rates[at].argmax())]),
                "rates": [float(rate) for rate in rates[at]],
                "spikes": run.output[:, at].tolist(),
                "membrane": (run.membrane[last.name][:, at] / (64.0 * last.scale * last.payload)).round(5).tolist(),
                "threshold": last.threshold / (last.scale * last.payload),
            }
    return examples

"""The numbers of Figure 2: four curves on the same test clips, as a JSON-ready dictionary, a table, and files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from neuroemo.reproduce.figure2 import Figure2Settings
from neuroemo.reproduce.figure_data import Bars, FigureData, open_stores
from neuroemo.reproduce.figure_runs import best_of, built_aside, curve_of, curve_on, spec_for, train_for_figure
from neuroemo.training.metrics import wilson_interval

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore

SCHEMA = 1
NAMES = ("figure2.svg", "figure2.pdf")


def figure2_document(settings: Figure2Settings, bars: Bars) -> dict[str, Any]:
    """Train pureSNN and 0.4SNN in ``settings.out``, as far as that is not done, and return the numbers of Figure 2.

    Every stage continues where an interrupted run stopped. "After" is the best epoch of a run by its validation
    accuracy, then loss; the test clips choose nothing.

    Raises:
        InputError: the data cannot be used, or ``settings.out`` holds runs with other settings.
    """
    data = settings.data or FigureData()
    training = settings.recipe.settings(data)
    if settings.during >= training.epochs:
        fix = "choose an earlier epoch: --during"
        found = f"epoch {settings.during} of {training.epochs} is not during training"
        raise InputError(Finding("E942", "error", "--during", found, str(training.epochs - 1), fix=fix))
    panels = []
    with ExitStack() as opened:
        stores = open_stores(data, settings.out, bars, ("spikes", "float"))
        for store in stores.values():
            opened.enter_context(store)
        pure, gray = spec_for("puresnn", stores["spikes"]), spec_for("0.4snn", stores["float"])
        with bars(f"train {pure.name}") as progress:
            epochs = train_for_figure(pure, stores["spikes"], settings.out / "puresnn", training, progress)
        with bars(f"train {gray.name}") as progress:
            train_for_figure(gray, stores["float"], settings.out / "0.4snn", training, progress)
        before = curve_on(built_aside(pure, training.seed), pure, stores["spikes"])
        panels.append(panel("a", "Before training, pure spike trains", pure.name, before))
        title = f"During training (epoch {settings.during}), pure spike trains"
        panels.append(panel("b", title, pure.name, epochs[settings.during]))
        for letter, store, row, words in (
            ("c", stores["spikes"], "puresnn", "pure spike trains"),
            ("d", stores["float"], "0.4snn", "gray first frame"),
        ):
            network, spec = best_of(settings.out / row)
            curve = curve_on(network, spec, store)
            panels.append(panel(letter, f"After training, {words}", spec.name, curve))
        document = _document(panels, chance_of(stores["float"]), gray.steps)
    return document | {
        "data": data.name or str(data.store),
        "split": "test",
        "training": asdict(training),
        "during": settings.during,
        "test_curves_of_every_epoch": {str(epoch): _course(curve) for epoch, curve in sorted(epochs.items())},
    }


def document_of_models(models: Sequence[Path], data: Path | None, bars: Bars) -> dict[str, Any]:
    """Return the numbers of a figure with one panel per checkpoint, on test clips of what each was trained on.

    ``data``, a store or a folder of videos, replaces that; of a folder all clips are taken.

    Raises:
        InputError: a checkpoint or its clips cannot be used.
    """
    from neuroemo.training.checkpoint import trained_on

    panels, steps, chances = [], set(), set()
    with bars("evaluate") as progress:
        for number, model in enumerate(models):
            made, chance, length = model_panel(model, data or trained_on(model), chr(ord("a") + number % 26))
            panels.append(made)
            steps.add(length)
            chances.add(chance)
            progress(number + 1, len(models), "")
    if len(steps) > 1:
        found = f"networks of {', '.join(map(str, sorted(steps)))} steps"
        fix = "draw them one by one"
        raise InputError(Finding("E942", "error", "--model", found, "one number of steps in a figure", fix=fix))
    common = chances.pop() if len(chances) == 1 else None
    return _document(panels, common, steps.pop()) | {"models": [str(model) for model in models]}


def model_panel(model: Path, data: Path, letter: str = "a") -> tuple[dict[str, Any], float, int]:
    """Return the panel of a checkpoint on a store or a folder of videos, the share of the largest class, the steps."""
    from neuroemo import pipeline

    network, description, store, indices, labels = pipeline.opened_for_scoring(model, data, None)
    spec = description.spec
    with store:
        if spec.neuron == "relu":
            found = "an ANN: it answers once, there is no curve along the steps"
            raise InputError(Finding("E942", "error", str(model), found, "a spiking network"))
        curve = curve_of(network, spec, store, indices, labels)
        share = float(np.bincount(labels).max() / len(labels))
        return panel(letter, f"{model.name or model}, after training", spec.name, curve), share, spec.steps


def panel(letter: str, title: str, network: str, curve: dict[str, Any]) -> dict[str, Any]:
    """Return one panel: the curve with 95 % Wilson intervals, and the step of the lowest loss (the first of several).

    >>> made = panel("a", "t", "n", {"correct": [1, 2], "loss": [0.3, 0.2], "clips": 4})
    >>> made["accuracy"], made["lowest_loss"]
    ([0.25, 0.5], {'step': 2, 'loss': 0.2, 'accuracy': 0.5})
    """
    at = int(np.argmin(curve["loss"]))
    course = _course(curve)
    lowest = {"step": at + 1, "loss": curve["loss"][at], "accuracy": course["accuracy"][at]}
    return {"panel": letter, "title": title, "network": network, **course, "lowest_loss": lowest}


def _course(curve: dict[str, Any]) -> dict[str, Any]:
    clips = curve["clips"]
    return {
        "clips": clips,
        "correct": curve["correct"],
        "accuracy": [right / clips for right in curve["correct"]],
        "interval_95": [list(wilson_interval(right, clips)) for right in curve["correct"]],
        "loss": curve["loss"],
    }


def chance_of(store: ClipStore, split: str = "test") -> float:
    """Return the share of the largest class among the clips of a split."""
    labels = np.asarray(store.labels)[store.indices(split)]
    return float(np.bincount(labels).max() / len(labels))


def _document(panels: list[dict[str, Any]], chance: float | None, steps: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "figure2",
        "steps": list(range(1, steps + 1)),
        "largest_class": chance,
        "panels": panels,
    }


def write_figure2(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write figure2.json, figure2.svg and figure2.pdf; return their paths."""
    from neuroemo.reproduce.figure2_drawing import draw_figure2
    from neuroemo.training.figure_style import save

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "figure2.json", document)
    figure = draw_figure2(document)
    return [folder / "figure2.json", *(save(figure, folder / name) for name in NAMES)]


def figure2_text(document: dict[str, Any]) -> str:
    """Return the figure as a table: first step, step of the lowest loss, last step."""
    lines = []
    for made in document["panels"]:
        low, high = made["interval_95"][-1]
        best = made["lowest_loss"]
        lines.append(
            f"({made['panel']}) {made['title']} [{made['network']}]\n"
            f"    step 1: accuracy {made['accuracy'][0]:.1%}, loss {made['loss'][0]:.4f}; "
            f"lowest loss {best['loss']:.4f} at step {best['step']} (accuracy {best['accuracy']:.1%})\n"
            f"    step {len(made['loss'])}: accuracy {made['accuracy'][-1]:.1%} "
            f"(95 % interval {low:.1%} to {high:.1%}) on {made['clips']} clips, loss {made['loss'][-1]:.4f}"
        )
    return "\n".join(lines)

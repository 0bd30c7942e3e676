"""What a training writes for people: a row per epoch, a row per step, and TensorBoard's files if asked for.

``log.csv`` is written anew from the run's history after every epoch. ``steps.csv`` grows by a row per batch;
a resumed run first cuts off the rows of batches that it is about to repeat, so that no row stands twice.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, MissingDependencyError
from neuroemo.training.resume import writing

EPOCHS, STEPS, TENSORBOARD = "log.csv", "steps.csv", "tensorboard"
STEP_COLUMNS = ("epoch", "step", "clips", "learning_rate", "loss", "gradient_norm")
EPOCH_COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "loss",
    "gradient_norm",
    "validation_accuracy",
    "validation_low_95",
    "validation_high_95",
    "validation_loss",
    "validation_clips",
)


class RunLog:
    """The log of one run in the folder ``out``; ``step`` is how many batches the saved run has done.

    Raises:
        MissingDependencyError: ``tensorboard`` is asked for and not installed.
    """

    def __init__(self, out: Path, step: int, history: list[dict[str, Any]], *, tensorboard: bool = False) -> None:
        self._out = out
        self._rows: list[str] = []
        self._board = _open_board(out / TENSORBOARD, step) if tensorboard else None
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            _replace(out / STEPS, _kept_rows(out / STEPS, step))
            if history:
                _replace(out / EPOCHS, epoch_rows(history))
            else:
                (out / EPOCHS).unlink(missing_ok=True)

    def step(self, epoch: int, step: int, clips: int, learning_rate: float, loss: float, norm: float) -> None:
        """Note one batch; it is on disk after the next ``flush``."""
        self._rows.append(_row((epoch, step, clips, learning_rate, loss, norm)))
        if self._board is not None:
            for name, value in (("loss/training", loss), ("learning_rate", learning_rate), ("gradient_norm", norm)):
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Append the noted batches to ``steps.csv``; called before the run is saved."""
        if self._rows:
            with writing(self._out), (self._out / STEPS).open("a", encoding="utf-8", newline="") as file:
                file.write("".join(self._rows))
            self._rows.clear()
        if self._board is not None:
            self._board.flush()

    def epoch(self, history: list[dict[str, Any]]) -> None:
        """Write ``log.csv`` after an epoch, the last of ``history``."""
        self.flush()
        with writing(self._out):
            _replace(self._out / EPOCHS, epoch_rows(history))
        if self._board is not None:
            entry, validation = history[-1], history[-1]["validation"]
            self._board.add_scalar("loss/validation", validation["steps"]["loss"][-1], entry["step"])
            self._board.add_scalar("accuracy/validation", validation["accuracy"], entry["step"])
            for layer, rate in entry["firing_rates"].items():
                self._board.add_scalar(f"firing_rate/{layer}", rate, entry["step"])

    def close(self) -> None:
        """Close what is open; batches since the last ``flush`` are not written, the run will repeat them."""
        if self._board is not None:
            self._board.close()


def epoch_rows(history: list[dict[str, Any]]) -> str:
    """Return ``log.csv``: a row per epoch, its last columns the firing rate of each layer of spiking neurons."""
    layers = list(history[-1].get("firing_rates", {}))
    rows = [_row((*EPOCH_COLUMNS, *(f"firing_rate:{layer}" for layer in layers)))]
    for entry in history:
        validation = entry["validation"]
        row = (
            entry["epoch"],
            entry.get("step", ""),
            entry.get("learning_rate", ""),
            entry["loss"],
            entry.get("gradient_norm", ""),
            validation["accuracy"],
            *validation["interval_95"],
            validation["steps"]["loss"][-1],
            validation["clips"],
        )
        rows.append(_row((*row, *(entry.get("firing_rates", {}).get(layer, "") for layer in layers))))
    return "".join(rows)


def _kept_rows(path: Path, step: int) -> str:
    """Return the header and the complete rows of ``steps.csv`` up to a step; what a kill tore off is dropped."""
    return "".join([_row(STEP_COLUMNS), *_rows_until(path, step)])


def _rows_until(path: Path, step: int) -> Iterator[str]:
    if not step or not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for line in file:
            cells = line.rstrip("\n").split(",")
            whole = line.endswith("\n") and len(cells) == len(STEP_COLUMNS) and cells[1].isdecimal()
            if whole and int(cells[1]) <= step:
                yield line


def _row(values: tuple[Any, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text, encoding="utf-8", newline="")
    os.replace(aside, path)


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        fix = (
            "install it with `pip install tensorboard`, or leave --tensorboard out: log.csv and steps.csv say the same"
        )
        found = "not installed"
        raise MissingDependencyError(Finding("E905", "error", "tensorboard", found, fix=fix)) from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)

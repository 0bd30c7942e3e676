"""``run.json``: how a training was started, so that ``neuroemo train --resume DIR`` needs nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.storage import read_json, write_json
from hw_targets.finding import Finding, InputError
from neuroemo.training.checkpoint import LAST
from neuroemo.training.resume import writing
from neuroemo.training.settings import TrainSettings

RUN = "run.json"
SCHEMA = 1
OWN = ("epochs", "learning_rate")
"""Settings of a fine-tuning that do not go to the training of the float network before it."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a run was asked for; ``qat`` are the weight bits of a fine-tuning, which starts from ``start``."""

    model: str
    data: Path | None
    settings: TrainSettings
    qat: int | None = None
    start: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the run as a flat JSON-ready dictionary."""
        paths = {
            name: None if path is None else str(path) for name, path in (("data", self.data), ("start", self.start))
        }
        return {"model": self.model, "qat": self.qat, **paths, **asdict(self.settings)}

    @classmethod
    def from_dict(cls, told: dict[str, Any], where: str) -> RunFile:
        """Rebuild what ``to_dict`` made; what is missing, unknown or out of range is an InputError."""
        left = dict(told)
        try:
            model, qat, data, start = (left.pop(name) for name in ("model", "qat", "data", "start"))
            wrong = not isinstance(model, str) or (qat is not None and type(qat) is not int)
            if wrong or any(path is not None and not isinstance(path, str) for path in (data, start)):
                raise ValueError(f"{model!r}, {qat!r}, {data!r}, {start!r}")
            settings = TrainSettings(**left)
        except (KeyError, TypeError, ValueError) as error:
            fix = "give the command that started the run instead: it continues the run too"
            raise InputError(Finding("E908", "error", where, f"not the start of a run: {error!r}", fix=fix)) from error
        return cls(model, None if data is None else Path(data), settings, qat, None if start is None else Path(start))

    def in_two_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings that a fine-tuning shares with the float training before it, and its own."""
        told = asdict(self.settings)
        return {name: told[name] for name in told if name not in OWN}, {name: told[name] for name in OWN}


def write_run(folder: Path, run: RunFile) -> None:
    """Write how a run was started, unless the folder holds one that has begun; that one keeps its own."""
    if (folder / LAST).exists():
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RUN, {"schema": SCHEMA} | run.to_dict())


def read_run(folder: Path) -> RunFile:
    """Return how the run in a folder was started.

    Raises:
        InputError: there is none, or its file is damaged.
    """
    if not (folder / RUN).is_file():
        fix = "give the folder (-o) of a run of `neuroemo train`; one of an older version continues by its own command"
        raise InputError(Finding("E908", "error", str(folder), f"holds no run: there is no {RUN}", fix=fix))
    told = read_json(folder / RUN, "the start of a run of `neuroemo train`")
    if told.pop("schema", None) != SCHEMA:
        raise InputError(Finding("E908", "error", str(folder / RUN), "written by another version", f"schema {SCHEMA}"))
    return RunFile.from_dict(told, str(folder / RUN))

"""One training of the table: a folder that is trained, scored on the test clips, and then never touched again.

``run.json`` is written last and holds the identity of the run (network, settings, fingerprint of the data), so
that a finished run is known by what it is. Whatever was killed before continues after its last complete epoch
(``training.loop``), on any machine that sees the folder.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import read_json, write_json
from hw_targets.finding import Finding, InputError, NeuroEmoError

if TYPE_CHECKING:
    from torch import nn

    from neuroemo.datasets.store import ClipStore
    from neuroemo.models.spec import EmotionSpec
    from neuroemo.training.loop import TrainSettings

RUN, PROGRESS, STOP = "run.json", "progress.json", "stop"
SCHEMA = 1
WAIT_S = 0.5
TOLD_EVERY_S = 1.0

_ONE_AT_A_TIME = threading.Lock()
"""torch's random numbers and threads belong to the process: two runs in threads of one would mix them."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """One training to do: network, settings, the file of clips and what it must hold, the folder, the stop file."""

    model: str
    spec: dict[str, Any]
    settings: dict[str, Any]
    store: str
    fingerprint: str
    folder: str
    stop: str

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.settings["seed"])

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return int(self.settings["epochs"])

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result: network, settings and data."""
        return {"spec": self.spec, "settings": self.settings, "data": self.fingerprint}


def plan_run(model: str, spec: EmotionSpec, settings: TrainSettings, store: ClipStore, out: Path) -> RunJob:
    """Return the job of one training; its folder's name changes with its identity, so that none is mistaken.

    ``out``/runs/MODEL-seedN-XXXXXXXX, the last part from the sha256 of the identity.
    """
    told = {"spec": spec.to_dict(), "settings": json.loads(json.dumps(asdict(settings))), "data": store.fingerprint()}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    folder = out.resolve() / "runs" / f"{model}-seed{settings.seed}-{digest}"
    paths = {"store": str(store.path.resolve()), "folder": str(folder), "stop": str(out.resolve() / STOP)}
    return RunJob(model, told["spec"], told["settings"], fingerprint=told["data"], **paths)


def finished_run(job: RunJob) -> dict[str, Any] | None:
    """Return the record of a finished run, None where there is none of this identity; a damaged one is none."""
    path = Path(job.folder) / RUN
    if not path.is_file():
        return None
    try:
        told = read_json(path, "a run of the table")
    except InputError:
        return None
    sound = told.get("schema") == SCHEMA and told.get("identity") == job.identity and "answers" in told
    return told if sound else None


def run_job(job: RunJob) -> dict[str, Any]:
    """Train and score one network (runs here, in a worker process, or on a cluster) and return its record.

    What stops it comes back as {"findings": [...]}, an interrupt as {"stopped": true}: an exception would not
    travel through every pool. While another process works in the folder, it waits and takes that one's result.
    """
    from neuroemo.training.loop import StoppedError

    try:
        with _ONE_AT_A_TIME:
            return _run(job)
    except StoppedError:
        return {"stopped": True}
    except NeuroEmoError as error:
        return {"findings": [finding.to_dict() for finding in error.findings]}
    except OSError as error:
        found = f"cannot be written or read: {error.strerror or error}"
        fix = "check the place and the free space; on a cluster every worker must see this folder"
        return {"findings": [Finding("E934", "error", job.folder, found, fix=fix).to_dict()]}


def _run(job: RunJob) -> dict[str, Any]:
    folder = Path(job.folder)
    if not folder.parent.is_dir() or not Path(job.store).is_file():
        found = "a worker does not see the folder of the table, or its clips"
        fix = "put both on a file system that all workers share"
        raise InputError(Finding("E934", "error", job.folder, found, fix=fix))
    folder.mkdir(exist_ok=True)
    with _alone(folder, Path(job.stop)):
        known = finished_run(job)
        if known is None:
            known = _trained(job, folder)
            write_json(folder / RUN, known)
        return known


def _trained(job: RunJob, folder: Path) -> dict[str, Any]:
    from neuroemo.datasets.store import ClipStore
    from neuroemo.models.spec import EmotionSpec
    from neuroemo.training import loop
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import evaluate

    started = time.monotonic()
    with ClipStore.open(job.store) as store:
        if store.fingerprint() != job.fingerprint:
            fix = "run the same command again"
            raise InputError(Finding("E934", "error", job.store, "changed since the table was planned", fix=fix))
        spec, settings = EmotionSpec.from_dict(job.spec), loop.TrainSettings(**job.settings)
        teller = _Teller(job)
        history = loop.train(
            spec, store, folder, settings, progress=teller.progress, stop=teller.stop, on_epoch=teller.on_epoch
        )
        network, _ = load_model(folder)
        found = evaluate(network, spec, store, store.indices("test"))
    best = max(history, key=loop.rank)
    return {
        "schema": SCHEMA,
        "model": job.model,
        "seed": job.seed,
        "identity": job.identity,
        "answers": [int(answer) for answer in found.predicted],
        "correct": int((found.predicted == found.labels).sum()),
        "clips": len(found.labels),
        "best_epoch": int(best["epoch"]),
        "validation_accuracy": float(best["validation"]["accuracy"]),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "history": [[float(entry["loss"]), float(entry["validation"]["accuracy"])] for entry in history],
        "versions": library_versions(),
        "seconds": round(time.monotonic() - started, 3),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of what decides about the numbers of a training."""
    from importlib.metadata import version

    return {name: version(name) for name in ("neuroemo", "numpy", "spikingjelly", "torch")}


class _Teller:
    """Tells in the folder of a run how far it is, and passes on that it is to stop."""

    def __init__(self, job: RunJob) -> None:
        self.job, self.file, self.stop_file = job, Path(job.folder) / PROGRESS, Path(job.stop)
        self.told = -TOLD_EVERY_S
        self.accuracy: float | None = None

    def progress(self, done: int, total: int, loss: float) -> None:
        """Take what the loop says after every batch; it is written about once a second."""
        if done < total and time.monotonic() - self.told < TOLD_EVERY_S:
            return
        self.told = time.monotonic()
        epochs = done * self.job.epochs / total
        write_json(self.file, {"epochs": epochs, "loss": loss, "validation_accuracy": self.accuracy})

    def on_epoch(self, entry: dict[str, Any], network: nn.Module) -> None:
        """Keep the validation accuracy of an epoch."""
        self.accuracy = float(entry["validation"]["accuracy"])

    def stop(self) -> int:
        """Return the signal of Ctrl-C once the stop file is there, else 0."""
        return int(signal.SIGINT) if self.stop_file.exists() else 0


@contextmanager
def _alone(folder: Path, stop: Path) -> Iterator[None]:
    """Wait until no other process works in a folder; the lock ends with its process, also when that is killed."""
    from neuroemo.training.loop import StoppedError

    with (folder / "lock").open("w") as file:
        while not try_lock(file):
            if stop.exists():
                raise StoppedError(Finding("E935", "error", str(folder), "stopped while it waited"), signal.SIGINT)
            time.sleep(WAIT_S)
        yield


def try_lock(file: Any) -> bool:
    """Take a lock on an open file for this process; False while another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows: two tables in one folder are the user's to avoid
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

"""One training of a table: a folder that is trained on one split, answers its test frames, and is never touched again.

``run.json`` is written last and holds what decides the result (network, settings, fold, fingerprint of the data,
weights it began with), so that a finished run is known by what it is and serves all tables. Whatever was killed
before continues after its last save (``affect.training``). A run of Table 5 also tells the emotions of the videos of a
store, kept beside it under the fingerprint of that store.
"""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import read_json, write_json
from hw_targets.finding import Finding, InputError, NeuroEmoError

if TYPE_CHECKING:
    from hw_targets.graph import Array
    from neuroemo.affect.settings import AffectSettings
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.models.affect.spec import AffectSpec

RUN, PROGRESS, STOP = "run.json", "progress.json", "stop"
SCHEMA = 1
TOLD_EVERY_S = 1.0
PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class AffectJob:
    """One training to do: network, settings, file of frames and what it holds, test fold (None: its splits), folder."""

    model: str
    spec: dict[str, Any]
    settings: dict[str, Any]
    store: str
    fingerprint: str
    fold: int | None
    backbone: str | None
    backbone_sha256: str | None
    folder: str
    stop: str

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        return {
            "spec": self.spec,
            "settings": self.settings,
            "data": self.fingerprint,
            "fold": self.fold,
            "backbone": self.backbone_sha256,
        }

    @property
    def progress_file(self) -> Path:
        """Where the run says how far it is."""
        return Path(self.folder) / PROGRESS

    @property
    def name(self) -> str:
        """What the run is called in messages.

        >>> AffectJob("vit", {"n_bits": 8}, {"seed": 1}, "", "", 2, None, None, "", "").name
        'vit, 8 bits, fold 2, seed 1'
        """
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.model}, {self.spec['n_bits']} bits{fold}, seed {self.settings['seed']}"


@dataclass(frozen=True, slots=True)
class EmotionJob:
    """A finished run (``folder``) that is to tell the emotions of the videos of a store, ``test`` by ``train``."""

    run: str
    folder: str
    store: str
    fingerprint: str
    test: str
    stop: str

    @property
    def name(self) -> str:
        """What the work is called in messages."""
        return f"emotions by {self.run}"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result, beside the run."""
        return {"data": self.fingerprint, "test": self.test, "run": read_json(Path(self.folder) / RUN, RUN)["identity"]}

    @property
    def progress_file(self) -> Path:
        """Where the work says how far it is."""
        return Path(self.folder) / f"emotions-{PROGRESS}"

    @property
    def path(self) -> Path:
        """Where the answers lie."""
        return Path(self.folder) / f"emotions-{self.fingerprint[:8]}-{self.test}.json"


Job = AffectJob | EmotionJob


def plan_run(
    model: str,
    spec: AffectSpec,
    settings: AffectSettings,
    store: EventFrames,
    fold: int | None,
    out: Path,
    backbone: tuple[Path, str] | None,
) -> AffectJob:
    """Return the job of one training; ``backbone`` is a file of weights and its sha256, for a full ResNet18 inside.

    The folder is ``out``/runs/MODEL-8bits-foldK-seedN-XXXXXXXX, the last part from the sha256 of the identity.
    """
    weights, digest = backbone if backbone is not None and spec.has_full_resnet else (None, None)
    job = AffectJob(
        model=model,
        spec=json.loads(json.dumps(spec.to_dict())),
        settings=settings.to_dict(),
        store=str(store.path.resolve()),
        fingerprint=store.fingerprint(),
        fold=fold,
        backbone=None if weights is None else str(weights.resolve()),
        backbone_sha256=digest,
        folder="",
        stop=str(out.resolve() / STOP),
    )
    mark = hashlib.sha256(json.dumps(job.identity, sort_keys=True).encode()).hexdigest()[:8]
    place = "" if fold is None else f"-fold{fold}"
    name = f"{model}-{spec.n_bits}bits{place}-seed{settings.seed}-{mark}"
    fields = {key: getattr(job, key) for key in AffectJob.__slots__} | {"folder": str(out.resolve() / "runs" / name)}
    return AffectJob(**fields)


def split_of(store: EventFrames, fold: int | None) -> dict[str, Array]:
    """Return the frames under "train", "val" and "test": those of a fold, or of the store's own splits."""
    return {part: store.indices(part) for part in PARTS} if fold is None else store.fold(fold)


def finished(job: Job) -> dict[str, Any] | None:
    """Return the record of finished work, None where there is none of this identity; a damaged one is none."""
    path = Path(job.folder) / RUN if isinstance(job, AffectJob) else job.path
    if not path.is_file():
        return None
    try:
        told = read_json(path, "a run of a table")
        identity = job.identity
    except (InputError, KeyError):
        return None
    return told if told.get("schema") == SCHEMA and told.get("identity") == identity else None


def run_job(job: Job) -> dict[str, Any]:
    """Do the work of a job, here or in a worker process, and return its record.

    What stops it comes back as {"findings": [...]}, an interrupt as {"stopped": true}: an exception would not travel
    through every pool.
    """
    from neuroemo.training.loop import StoppedError

    try:
        return _trained(job) if isinstance(job, AffectJob) else _told(job)
    except StoppedError:
        return {"stopped": True}
    except NeuroEmoError as error:
        return {"findings": [finding.to_dict() for finding in error.findings]}
    except OSError as error:
        found = f"cannot be written or read: {error.strerror or error}"
        fix = "check the place and the free space"
        return {"findings": [Finding("E934", "error", job.folder, found, fix=fix).to_dict()]}


def _trained(job: AffectJob) -> dict[str, Any]:
    from neuroemo.affect.predict import predict
    from neuroemo.affect.run import open_affect
    from neuroemo.affect.settings import AffectSettings
    from neuroemo.affect.training import rank, train_affect
    from neuroemo.models.affect.spec import AffectSpec

    started, folder, teller = time.monotonic(), Path(job.folder), Teller(job)
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(job) as store:
        split = split_of(store, job.fold)
        history = train_affect(
            AffectSpec.from_dict(job.spec),
            store,
            folder,
            AffectSettings(**job.settings),
            split={part: split[part] for part in ("train", "val")},
            progress=teller.progress,
            stop=teller.stop,
            backbone_weights=None if job.backbone is None else Path(job.backbone),
            told={} if job.fold is None else {"fold": job.fold},
        )
        run = open_affect(folder)
        predicted = predict(
            run.network, run.spec, store, split["test"], progress=teller.counted("test frames", last=True)
        )
    best = max(history, key=rank)
    record = {
        "schema": SCHEMA,
        "model": job.model,
        "identity": job.identity,
        "predicted": predicted.astype(float).tolist(),
        "train_mean": list(run.train_mean),
        "best_epoch": int(best["epoch"]),
        "epochs": len(history),
        "validation": {name: float(best["validation"][name]) for name in ("ccc", "rmse")},
        "initialisation": run.initialisation,
        "parameters": sum(weight.numel() for weight in run.network.parameters()),
        "trained_parameters": sum(weight.numel() for weight in run.network.parameters() if weight.requires_grad),
        "versions": library_versions(),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_json(folder / RUN, record)
    return record


def _told(job: EmotionJob) -> dict[str, Any]:
    import torch

    from neuroemo.affect.predict import predict
    from neuroemo.affect.run import open_affect
    from neuroemo.affect.zero_shot import zero_shot_on

    started, teller = time.monotonic(), Teller(job)
    torch.set_num_threads(1)
    run = open_affect(Path(job.folder))
    with _opened(job) as store:

        def estimate(frames: Array) -> Array:
            return predict(run.network, run.spec, store, frames, progress=teller.counted("frames"))

        found = zero_shot_on(store, estimate, test=job.test)
    record = {"schema": SCHEMA, "identity": job.identity, "emotions": found.to_dict()}
    record["seconds"] = round(time.monotonic() - started, 3)
    write_json(job.path, record)
    return record


def _opened(job: Job) -> EventFrames:
    from neuroemo.datasets.event_frames import EventFrames

    store = EventFrames.open(job.store)
    if store.fingerprint() != job.fingerprint:
        store.close()
        fix = "run the same command again"
        raise InputError(Finding("E934", "error", job.store, "changed since the table was planned", fix=fix))
    return store


def library_versions() -> dict[str, str]:
    """Return the versions of what decides about the numbers of a training."""
    from importlib.metadata import version

    return {name: version(name) for name in ("neuroemo", "numpy", "torch")}


class Teller:
    """Tells in the folder of a run how far it is, as a share, and passes on that it is to stop."""

    def __init__(self, job: Job) -> None:
        self.file, self.stop_file = job.progress_file, Path(job.stop)
        self.told = -TOLD_EVERY_S

    def progress(self, done: int, total: int, note: str) -> None:
        """Take what a training says after every step; it is written about once a second."""
        if done < total and time.monotonic() - self.told < TOLD_EVERY_S:
            return
        self.told = time.monotonic()
        write_json(self.file, {"share": done / max(1, total), "note": note})

    def counted(self, what: str, *, last: bool = False) -> Callable[[int, int], None]:
        """Return a progress function without a note that also stops; the ``last`` piece of a work moves no bar."""
        from neuroemo.training.loop import StoppedError

        def report(done: int, total: int) -> None:
            self.progress(total if last else done, total, what)
            if self.stop():
                raise StoppedError(Finding("E935", "error", str(self.file.parent), "stopped"), signal.SIGINT)

        return report

    def stop(self) -> int:
        """Return the signal of Ctrl-C once the stop file is there, else 0."""
        return int(signal.SIGINT) if self.stop_file.exists() else 0

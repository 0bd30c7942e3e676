"""The verbs `affect train` and `affect evaluate`: parsed arguments in, a result shown. Heavy imports are late."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console

if TYPE_CHECKING:
    from hw_targets.graph import Array
    from neuroemo.affect.inputs import FrameStore
    from neuroemo.affect.run import AffectRun
    from neuroemo.models.affect.spec import AffectSpec

NO_FOLD = "the folds of a data set that comes in folds"


def train(args: Namespace, console: Console) -> int:
    """Train a network of valence and arousal; a folder that holds a run continues."""
    from neuroemo.affect.settings import AffectSettings
    from neuroemo.affect.training import StoppedError, train_affect
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.training.stopping import stop_on_signals

    given = {field.name: getattr(args, field.name) for field in fields(AffectSettings)}
    settings = AffectSettings(**{name: value for name, value in given.items() if value is not None})
    if not args.save_every >= 0:
        raise InputError(Finding("E959", "error", "--save-every", str(args.save_every), "0 minutes or more"))
    _refuse_useless(args)
    with EventFrames.open(args.data) as data, stop_on_signals() as stop:
        spec = spec_for(args.model, data)
        split = split_of(data, args.fold)
        told = {} if args.fold is None else {"fold": args.fold}
        try:
            with console.progress(f"train {args.model}") as progress:
                history = train_affect(
                    spec,
                    data,
                    args.output,
                    settings,
                    split={part: split[part] for part in ("train", "val")},
                    progress=progress,
                    stop=stop,
                    say=console.say,
                    backbone_weights=args.backbone,
                    told=told,
                    save_every_s=60.0 * args.save_every,
                )
        except StoppedError as error:
            fix = "the same command continues it"
            return console.fail(tuple(replace(one, fix=fix) for one in error.findings), error.exit_code)
        document = _tested(args.output, data, split.get("test"), console)
    from neuroemo.affect.evaluate_text import evaluation_text

    text = "no test frames: the scores are missing" if document is None else evaluation_text(document)
    text += f"\nnext: neuroemo affect evaluate {args.output} -o {args.output / 'evaluation'}"
    console.show({"output": str(args.output), "epochs": len(history), "test": document}, text)
    return 0


def _tested(folder: Path, data: FrameStore, frames: Array | None, console: Console) -> dict[str, Any] | None:
    from neuroemo.affect.evaluate import evaluate_affect
    from neuroemo.affect.run import open_affect

    if frames is None or not len(frames):
        return None
    with console.progress("evaluate") as progress:
        return evaluate_affect(
            open_affect(folder), data, frames, progress=lambda done, total: progress(done, total, "")
        )


def _refuse_useless(args: Namespace) -> None:
    if args.augment is False:
        for name in ("mirror", "shift"):
            if getattr(args, name) is not None:
                option = "--no-mirror" if name == "mirror" else "--shift"
                fix = "leave one of the two out"
                raise InputError(Finding("E959", "error", option, "means nothing with --no-augment", fix=fix))


def spec_for(name: str, data: FrameStore) -> AffectSpec:
    """Return the network of a name for the frames of a store: their number of bits, and their size or a refusal.

    Raises:
        InputError: no network of that name, or one for frames of another size.
    """
    from neuroemo.models.affect.table import spec_by_name

    spec = spec_by_name(name, n_bits=data.settings.n_bits)
    if spec.size != data.settings.size:
        fix = f"choose {name.partition('@')[0]}@{data.settings.size}, or make frames of {spec.size} pixels"
        found = f"frames of {data.settings.size} pixels"
        raise InputError(Finding("E954", "error", str(data.path), found, f"{spec.size} pixels for {name}", fix=fix))
    return spec


def split_of(data: FrameStore, fold: int | None) -> dict[str, Array]:
    """Return the frames under train, val and, where there are any, test: of a fold, or of the store's own splits.

    Raises:
        InputError: a store in folds without the number of one, a number that is none of its folds, or the other way.
    """
    folds = sorted({int(number) for number in data.folds} - {-1})
    if fold is not None:
        if fold not in folds:
            limit = f"one of {', '.join(map(str, folds))}" if folds else NO_FOLD
            found = f"{fold}" if folds else f"{fold}, but {data.path} comes in splits"
            fix = "" if folds else "leave it out"
            raise InputError(Finding("E959", "error", "--fold", found, limit, fix=fix))
        return dict(data.fold(fold))
    if folds and not any(data.splits):
        fix = f"say which one is tested: --fold {folds[0]}"
        found = f"{len(folds)} folds and no splits"
        raise InputError(Finding("E959", "error", str(data.path), found, "one fold", fix=fix))
    parts = [part for part in ("train", "val", "test") if part in data.splits]
    return {part: data.indices(part) for part in dict.fromkeys(["train", "val", *parts])}


def evaluate(args: Namespace, console: Console) -> int:
    """Score a network of valence and arousal."""
    from neuroemo.affect.evaluate import evaluation_of
    from neuroemo.affect.evaluate_files import refuse_output, write_evaluation
    from neuroemo.affect.evaluate_text import evaluation_text
    from neuroemo.affect.run import open_affect
    from neuroemo.datasets.event_frames import EventFrames

    if args.output is not None:
        refuse_output(args.output, force=args.force)
    elif args.force:
        fix = "say where to write: -o DIR"
        raise InputError(Finding("E959", "error", "--force", "means nothing without -o", fix=fix))
    run = open_affect(args.model)
    with EventFrames.open(args.data or _data_of(args.model)) as data:
        frames = _frames(run, data, args)
        with console.progress("evaluate") as progress:
            evaluation = evaluation_of(
                run,
                data,
                frames,
                zeros=args.zeros,
                resamples=args.resamples,
                seed=args.seed,
                progress=lambda done, total: progress(done, total, ""),
            )
        told, text = evaluation.document, evaluation_text(evaluation.document)
        if args.output is not None:
            written = [str(path) for path in write_evaluation(evaluation, data, args.output, force=args.force)]
            told = told | {"written": written}
            text += f"\nlook at {', '.join(written)}"
    console.show(told, text)
    return 0


def _frames(run: AffectRun, data: FrameStore, args: Namespace) -> Array:
    import numpy as np

    if args.split == "all":
        return np.arange(len(data))
    fold = args.fold
    if fold is None and data.fingerprint() == run.trained_on.get("fingerprint"):
        told = run.trained_on.get("fold")
        fold = told if isinstance(told, int) else None
    if fold is None and args.split in data.splits:
        return data.indices(args.split)
    parts = split_of(data, fold)
    if args.split not in parts:
        limit = f"one of {', '.join(parts)}, all"
        raise InputError(Finding("E959", "error", "--split", f"{data.path} has no {args.split}", limit))
    return parts[args.split]


def _data_of(folder: Path) -> Path:
    """Return the event frames that a run was trained on, if they are still there."""
    from export.storage import read_json
    from neuroemo.training.checkpoint import TRAINING

    fix = "say which frames to score: --data FILE.h5"
    path = folder / TRAINING
    told = read_json(path, "written by `neuroemo affect train`").get("data") if path.is_file() else None
    if not isinstance(told, str):
        raise InputError(Finding("E959", "error", str(folder), "does not say what it was trained on", fix=fix))
    if not Path(told).is_file():
        raise InputError(Finding("E959", "error", told, "the event frames that it was trained on are gone", fix=fix))
    return Path(told)

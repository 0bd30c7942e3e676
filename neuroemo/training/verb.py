"""The verb `train`: parsed arguments in, a result shown, an exit code out. Heavy imports are late."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console, Report

if TYPE_CHECKING:
    from neuroemo.training.distributed import World
    from neuroemo.training.resume import Keeping
    from neuroemo.training.run_file import RunFile

MODEL = "0.4snn"
ADAMW_RATE = 0.001
"""Learning rate of AdamW where none is given: torch's default."""
VALUES = (
    "epochs", "batch", "learning_rate", "momentum", "seed", "shift", "threads", "optimiser", "weight_decay", "schedule",
    "drop_events", "shift_steps", "clip_gradient", "patience", "precision", "engine",
    "operations_penalty", "penalty_warmup",
)  # fmt: skip
"""Options whose value is the setting of the same name."""
FLAGS = {
    "plain_sgd": ("layerwise", False),
    "balanced": ("balanced", True),
    "no_augment": ("augment", False),
    "no_mirror": ("mirror", False),
}
"""Options that are there or not, with the setting that they change."""


def train(args: Namespace, console: Console) -> int:
    """Train a network, or fine-tune one on a chip's grid; a folder that holds a run continues."""
    from neuroemo.training.distributed import world_from_environment
    from neuroemo.training.loop import StoppedError

    _refuse_arguments(args)
    with world_from_environment() as world:
        console.as_json = console.as_json and world.is_first  # one object on stdout; errors of the others: on stderr
        out, asked = (args.output, _new_run(args)) if args.resume is None else (args.resume, _resumed_run(args))
        _refuse_processes(asked, world)
        try:
            with _progress(console, f"train {asked.model}", world) as progress:
                result = _trained(asked, out, _keeping(args), world, progress)
        except StoppedError as error:
            fix = f"continue it with: neuroemo train --resume {out}"
            findings = tuple(replace(finding, fix=fix) for finding in error.findings)
            return console.fail(findings, error.exit_code) if world.is_first else error.exit_code
    if world.is_first:
        console.show(result, _text(result, out))
    return 0


def _trained(asked: RunFile, out: Path, keeping: Keeping, world: World, progress: Report) -> dict[str, Any]:
    from neuroemo.pipeline import fine_tune_network, train_network
    from neuroemo.training.stopping import stop_on_signals

    if asked.qat is not None:
        parts = asked.in_two_parts()
        return fine_tune_network(asked.start, asked.model, asked.data, out, asked.qat, *parts, progress)
    with stop_on_signals() as stop:
        return train_network(
            asked.model, asked.data or Path(), out, asked.settings, progress, world=world, keeping=keeping, stop=stop
        )


def given_options(args: Namespace) -> dict[str, Any]:
    """Return what the command line says about the numbers of a run, under the names of ``run.json``.

    >>> given_options(Namespace(epochs=3, model=None, plain_sgd=True))
    {'epochs': 3, 'layerwise': False}
    """
    given = {name: getattr(args, name, None) for name in ("model", "qat", *VALUES)}
    for name in ("data", "start"):
        path = getattr(args, name, None)
        given[name] = None if path is None else str(path.resolve())
    told = {name: value for name, value in given.items() if value is not None}
    return told | {name: value for option, (name, value) in FLAGS.items() if getattr(args, option, None)}


def _new_run(args: Namespace) -> RunFile:
    """Return the run that a command line without --resume asks for."""
    from neuroemo.models.table1 import spec_by_name
    from neuroemo.training import fine_tune
    from neuroemo.training.engine import default_engine
    from neuroemo.training.run_file import RunFile
    from neuroemo.training.settings import TrainSettings

    model = args.model or MODEL
    chosen: dict[str, Any] = {}
    if args.optimiser == "adamw":
        chosen = {"learning_rate": ADAMW_RATE, "layerwise": False}
    if args.qat is None:
        penalty = args.operations_penalty or 0.0
        chosen["engine"] = default_engine(spec_by_name(model), args.precision or "float32", penalty)
    else:
        chosen |= {"epochs": fine_tune.EPOCHS, "learning_rate": fine_tune.LEARNING_RATE}
    given = given_options(args)
    chosen |= {name: value for name, value in given.items() if name not in ("model", "qat", "data", "start")}
    data, start = (None if path is None else path.resolve() for path in (args.data, args.start))
    return RunFile(model, data, TrainSettings(**chosen), args.qat, start)


def _resumed_run(args: Namespace) -> RunFile:
    """Return the run in the folder --resume; whatever else the command line says must be what that run has."""
    from neuroemo.training.run_file import read_run

    run, given = read_run(args.resume), given_options(args)
    told = run.to_dict()
    if args.data is not None:  # the events may have moved: their fingerprint says whether they are the same
        run = replace(run, data=args.data.resolve())
    findings = [
        Finding(
            "E907", "error", _option(name), f"{value}, but the run in {args.resume} has {told[name]}", fix=LEAVE_OUT
        )
        for name, value in given.items()
        if name != "data" and value != told[name]
    ]
    if args.output is not None and args.output.resolve() != args.resume.resolve():
        findings.append(
            Finding("E907", "error", "--output", f"{args.output}, but the run is in {args.resume}", fix=LEAVE_OUT)
        )
    if findings:
        raise InputError(findings)
    return run


LEAVE_OUT = "leave it out, or train anew in another folder"


def _option(name: str) -> str:
    """Return the option that says a setting.

    >>> _option("learning_rate"), _option("layerwise")
    ('--learning-rate', '--plain-sgd')
    """
    flags = {setting: option for option, (setting, _) in FLAGS.items()}
    return "--" + flags.get(name, name).replace("_", "-")


def _refuse_arguments(args: Namespace) -> None:
    """Raise InputError, with everything at once, for options that are missing or that mean nothing together."""
    findings = list(_missing(args)) if args.resume is None else []
    findings += _meaningless(args)
    if findings:
        raise InputError(findings)


def _missing(args: Namespace) -> Iterator[Finding]:
    see = "see `neuroemo train --help`"
    if args.output is None:
        yield Finding("E019", "error", "--output", "is missing", fix="say where the network goes: -o DIR")
    if args.qat is None and args.data is None and args.start is None:
        fix = "say which events to train on: --data FILE.h5, or which run to continue: --resume DIR"
        yield Finding("E019", "error", "--data", "is missing", fix=fix)
    if args.qat is None and args.start is not None:
        yield Finding("E019", "error", "--start", "means nothing without --qat", fix=see)
    if args.start is not None and args.model is not None:
        yield Finding("E019", "error", "--model", "means nothing with --start, which is a network", fix=see)


def _meaningless(args: Namespace) -> Iterator[Finding]:
    def nothing(option: str, because: str) -> Finding:
        return Finding("E901", "error", option, f"means nothing with {because}", fix="leave one of the two out")

    if args.plain_sgd and args.optimiser == "adamw":
        yield nothing("--plain-sgd", "--optimiser adamw")
    if args.no_augment:
        for name in ("no_mirror", "shift", "drop_events", "shift_steps"):
            if getattr(args, name) is not None:
                yield nothing(_option(name) if name != "no_mirror" else "--no-mirror", "--no-augment")
    if args.qat is not None:
        for name in ("tensorboard", "save_every"):
            if getattr(args, name) is not None:
                yield nothing(_option(name), "--qat, which saves after every epoch")
    if args.save_every is not None and not args.save_every >= 0:
        yield Finding("E900", "error", "--save-every", str(args.save_every), ">= 0 minutes")


def _refuse_processes(asked: RunFile, world: World) -> None:
    if asked.qat is not None and world.size > 1:
        fix = "start it without torchrun"
        raise InputError(Finding("E909", "error", "--qat", f"on {world.size} processes", "1 process", fix=fix))


def _keeping(args: Namespace) -> Keeping:
    from neuroemo.training.resume import Keeping

    every = {} if args.save_every is None else {"save_every_s": 60.0 * args.save_every}
    return Keeping(**every, tensorboard=bool(args.tensorboard))


@contextmanager
def _progress(console: Console, title: str, world: World) -> Iterator[Report]:
    """Yield the first process's progress; the others show none."""
    if not world.is_first:
        yield lambda done, total, note: None
        return
    with console.progress(title) as report:
        yield report


def _text(result: dict[str, Any], out: Path) -> str:
    low, high = result["test"]["interval_95"]
    return (
        f"test accuracy {result['test']['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"on {result['test']['clips']} clips; mean-frame baseline {result['trivial']['accuracy']:.1%}, "
        f"summed-events baseline {result['linear_events']['accuracy']:.1%}, chance {result['chance']['accuracy']:.1%}\n"
        f"next: neuroemo export {out} --target loihi2"
    )

"""The verbs `energy` and `reproduce table2`: parsed arguments in, a result shown, an exit code out."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console
from neuroemo.energy.options import printable

if TYPE_CHECKING:
    from neuroemo.energy.run import EnergySettings


def energy(args: Namespace, console: Console) -> int:
    """Count what a network's spikes cost, price it, and show it beside its ANN twin."""
    from neuroemo.energy.run import energy_document, refuse_output, write_energy_report
    from neuroemo.energy.text import energy_text

    settings = _settings(args)
    if args.output is not None:
        refuse_output(args.output, args.force)
    done = "before the first clip"
    with console.progress("count operations") as report:

        def progress(now: int, total: int, note: str) -> None:
            nonlocal done
            done = f"after {now} of {total} clips"
            report(now, total, note)

        try:
            document = energy_document(args.model, settings, progress=progress)
            written = [] if args.output is None else write_energy_report(document, args.output, force=args.force)
        except KeyboardInterrupt:
            fix = "nothing is left behind; the same command begins anew"
            return console.fail((Finding("E886", "error", "", f"interrupted {done}", fix=fix),), 130)
    told = {"ok": True, "exit_code": 0} | document
    text = energy_text(document)
    if written:
        told |= {"written": [str(path) for path in written]}
        text += f"\nlook at {args.output / 'report.html'}"
    console.show(told, text)
    return 0


def _settings(args: Namespace) -> EnergySettings:
    from neuroemo.deployment.model import ModelOptions
    from neuroemo.energy.run import EnergySettings

    return EnergySettings(
        data=args.data,
        split=args.split,
        limit=args.limit,
        targets=args.targets,
        precision=args.precision,
        energy_model=args.energy_model,
        nodes=args.nodes,
        pooling=args.pooling,
        skip_zero_weights=args.skip_zero_weights,
        options=ModelOptions(
            args.weights, args.input_shape, args.steps, args.dt, args.first_frame, args.spike_comparison, args.voting
        ),
        command=command_line(args),
    )


_SAID = {
    "data": "--data", "split": "--split", "limit": "--limit", "targets": "--targets", "precision": "--precision",
    "energy_model": "--energy-model", "nodes": "--nodes", "pooling": "--pooling",
    "skip_zero_weights": "--skip-zero-weights", "weights": "--weights", "input_shape": "--input-shape",
    "steps": "--steps", "dt": "--dt", "first_frame": "--first-frame", "spike_comparison": "--spike-comparison",
    "voting": "--voting",
}  # fmt: skip


def command_line(args: Namespace) -> str:
    """Return the command that makes the same report again; where it was written to is not part of that.

    >>> command_line(Namespace(model="my net", limit=8, targets=("cmos45", "loihi1"), skip_zero_weights=True))
    "neuroemo energy 'my net' --limit 8 --targets cmos45,loihi1 --skip-zero-weights"
    """
    words = ["neuroemo", "energy", str(args.model)]
    for name, option in _SAID.items():
        value: Any = getattr(args, name, None)
        if value in (None, False, ()):
            continue
        words += (
            [option] if value is True else [option, ",".join(map(str, value)) if type(value) is tuple else str(value)]
        )
    return printable(shlex.join(words))


def diff(args: Namespace, console: Console) -> int:
    """Say what changed between two energy reports."""
    from neuroemo.energy import diff_verb

    return diff_verb.diff(args, console)


def tradeoff(args: Namespace, console: Console) -> int:
    """Put several energy reports into one picture of accuracy against energy."""
    from neuroemo.energy.tradeoff import verb

    return verb.tradeoff(args, console)


def table2(args: Namespace, console: Console) -> int:
    """Print the paper's Table II beside the exact one, and from a network's measured spikes if one is named."""
    from neuroemo.profiling import paper

    result = paper.reproduce_table2()
    text = paper.table2_text(result)
    if args.model is None:
        _refuse_without_model(args)
        console.show(result, text)
        return 0
    from neuroemo.energy.run import EnergySettings, counted
    from neuroemo.profiling.measured_table import measured_table2, measured_table2_text
    from neuroemo.profiling.prices import load_prices

    settings = EnergySettings(data=args.data, split=args.split, limit=args.limit)
    with console.progress("count operations") as progress:
        snn, ann = counted(args.model, settings, progress)
    measured = measured_table2(snn, ann, load_prices("cmos45"))
    console.show(result | {"measured": measured}, f"{text}\n\n{measured_table2_text(measured)}")
    return 0


def _refuse_without_model(args: Namespace) -> None:
    given = {"--data": args.data, "--split": args.split, "--limit": args.limit}
    wrong = [
        Finding("E883", "error", name, "means nothing without --model", fix="name a checkpoint: --model DIR")
        for name, value in given.items()
        if value is not None
    ]
    if wrong:
        raise InputError(wrong)

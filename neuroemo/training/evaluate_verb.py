"""The verb `evaluate`: parsed arguments in, a result shown, an exit code out. Heavy imports are late."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console


def evaluate(args: Namespace, console: Console) -> int:
    """Score a trained network."""
    from neuroemo.pipeline import evaluate_checkpoint
    from neuroemo.training.checkpoint import trained_on
    from neuroemo.training.evaluation_files import refuse_output, write_evaluation
    from neuroemo.training.evaluation_text import evaluation_text

    if args.output is not None:
        refuse_output(args.output, force=args.force)
    elif args.force:
        fix = "say where to write: -o DIR"
        raise InputError(Finding("E923", "error", "--force", "means nothing without -o", fix=fix))
    data = args.data or trained_on(args.model)
    with console.progress("evaluate") as progress:
        result = evaluate_checkpoint(args.model, data, args.split, progress)
    text = evaluation_text(result)
    told: dict[str, Any] = result
    if args.output is not None:
        written = write_evaluation(result, args.output, force=args.force)
        told = result | {"written": [str(path) for path in written]}
        text += f"\nlook at {', '.join(str(path) for path in written)}"
    console.show(told, text)
    return 0

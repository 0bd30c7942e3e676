"""The verb `simulate`: parsed arguments in, a result shown, an exit code out. Heavy imports happen here, late."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from hw_targets.finding import Finding
from neuroemo.console import Console

if TYPE_CHECKING:
    from neuroemo.simulation.settings import SimulationSettings


def simulate(args: Namespace, console: Console) -> int:
    """Run clips through a bundle or a netx file."""
    from neuroemo.simulation.run import simulate_clips
    from neuroemo.simulation.text import result_text

    done, settings = "before the first clip", _settings(args)

    with console.progress("simulate") as report:

        def progress(now: int, total: int, note: str) -> None:
            nonlocal done
            done = f"after {now} of {total}"
            report(now, total, note)

        try:
            result = simulate_clips(args.bundle, args.clips, settings, progress=progress, log=console.say)
        except KeyboardInterrupt:
            fix = "nothing half written is left; the same command begins anew"
            return console.fail((Finding("E697", "error", "", f"interrupted {done}", fix=fix),), 130)
    console.show(result, result_text(result, args.clips, settings))
    return int(result["exit_code"])


def _settings(args: Namespace) -> SimulationSettings:
    from neuroemo.simulation.settings import SimulationSettings

    return SimulationSettings(
        backend=args.backend,
        mode=args.mode,
        reset=None if args.reset_interval is None else (args.reset_interval, args.reset_offset),
        path=args.path,
        threads=args.threads,
        device=args.device,
        limit=args.limit,
        split=args.split,
        batch=args.batch,
        input_message_bits=args.input_message_bits,
        layers=args.layers,
        probe=tuple(args.probe),
        save=args.save,
        output=args.output,
        force=args.force,
        timeout_s=args.timeout,
    )

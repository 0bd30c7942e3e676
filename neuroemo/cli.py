"""The command line: a verb is a thin shell over one public function.

stdout is the result, stderr is log and progress; ``--json`` prints one object, also on failure. Exit codes:
0 done and verified, 1 our bug, 2 usage or unreadable input, 3 unsupported by the target, 4 does not fit,
5 written but verification failed, 6 an optional package is missing or another process
was lost, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from hw_targets.finding import Finding, InputError
from neuroemo import data_frames_options, data_frames_verb, data_options, data_verb, verbs
from neuroemo.affect import options as affect_options
from neuroemo.affect import verb as affect
from neuroemo.console import Console, run_verb
from neuroemo.deployment import options
from neuroemo.deployment import verbs as deploy
from neuroemo.energy import options as energy_options
from neuroemo.energy import verb as energy
from neuroemo.events import options as event_options
from neuroemo.events import verb as events
from neuroemo.reproduce import options as reproduce_options
from neuroemo.reproduce.verb import reproduce
from neuroemo.simulation import options as simulation
from neuroemo.simulation.verb import simulate
from neuroemo.training import evaluate_options
from neuroemo.training import options as train_options
from neuroemo.training.evaluate_verb import evaluate
from neuroemo.training.verb import train
from neuroemo.watch import options as watch_options
from neuroemo.watch.verb import watch

EPILOG = "Begin with `neuroemo demo`: it makes videos, trains, exports, simulates and reports, all from scratch."
TWO_WORDS = (
    *("energy diff", "energy tradeoff", "events show", "data prepare", "data frames", "data check"),
    *("affect train", "affect evaluate"),
)
"""Verbs whose second word would else be read as a path."""
NOT_ALONE = ("data", "affect")
"""First words that are no verb without their second."""
FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose")


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors are findings like any other."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise InputError(Finding("E010", "error", self.prog, message, fix=f"see `{self.prog} --help`"))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; it imports nothing heavy."""
    parser = _Parser(
        prog="neuroemo", description="Emotion recognition from video to a neuromorphic chip.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"neuroemo {version('neuroemo')}")
    verb_parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = verb_parsers.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON object on stdout, also on failure")
        sub.add_argument("-q", "--quiet", action="store_true", help="no progress, no remarks")
        sub.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
        return sub

    _demo(verb("demo", verbs.demo, "run the whole pipeline on synthetic faces, or on your videos"))
    event_options.events(verb("events", events.events, "turn a video, or a folder LABEL/*.mp4, into events"))
    event_options.show(verb("events show", events.show, "say what a recording of an event camera holds, and draw it"))
    data_options.prepare(verb("data prepare", data_verb.prepare, "convert a data set once into a store of clips"))
    data_frames_options.frames(verb("data frames", data_frames_verb.frames, "make labelled event frames, once"))
    data_options.check(verb("data check", data_verb.check, "compare a prepared store with its checksums"))
    train_options.train(verb("train", train, "train a spiking network (or its ANN twin) on prepared events"))
    evaluate_options.evaluate(verb("evaluate", evaluate, "score a trained network: classes, subjects, time steps"))
    watch_options.watch(verb("watch", watch, "show valence and arousal over time: an annotated film and a table"))
    affect_options.train(verb("affect train", affect.train, "train a network of valence and arousal on event frames"))
    affect_options.evaluate(verb("affect evaluate", affect.evaluate, "score a network of valence and arousal"))
    options.targets(verb("targets", deploy.targets, "list the chips, their limits and where each number comes from"))
    options.check(verb("check", deploy.check, "say everything that stands between a network and a chip"))
    options.export(verb("export", deploy.export, "turn a trained network into a verified bundle for a chip"))
    simulation.simulate(verb("simulate", simulate, "run clips through a bundle or a netx file, bit-exactly"))
    options.verify(verb("verify", deploy.verify, "repeat the verdict on a bundle from its own files"))
    options.diff(verb("diff", deploy.diff, "say what changed between two bundles"))
    energy_options.energy(verb("energy", energy.energy, "count what spikes cost, price it, beside the twin ANN"))
    energy_options.diff(verb("energy diff", energy.diff, "say what changed between two energy reports"))
    energy_options.tradeoff(verb("energy tradeoff", energy.tradeoff, "draw accuracy against energy of networks"))
    reproduce_options.reproduce(
        verb("reproduce", reproduce, "make a table or a figure of the paper anew, beside its own")
    )
    _report(verb("report", verbs.report, "write report.html anew from report.json"))
    options.doctor(verb("doctor", deploy.doctor, "say what this machine can do and what is missing"))
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code."""
    console = Console(
        as_json="--json" in arguments,
        quiet="-q" in arguments or "--quiet" in arguments,
        verbose="-v" in arguments or "--verbose" in arguments,
    )

    def chosen() -> int:
        parsed = build_parser().parse_args(_joined(arguments))
        code: int = parsed.run(parsed, console)
        return code

    if "-h" in arguments or "--help" in arguments or "--version" in arguments:
        console.close()  # help is a result
    return run_verb(console, chosen)


def _joined(arguments: Sequence[str]) -> list[str]:
    """Make one verb of two words such as `energy diff`.

    >>> _joined(["energy", "--json", "diff", "a", "b"]), _joined(["energy", "runs/snn"])
    (['energy diff', '--json', 'a', 'b'], ['energy', 'runs/snn'])
    """
    verb, *rest = arguments or [""]
    at = next((place for place, word in enumerate(rest) if word not in FLAGS), None)
    if at is not None and f"{verb} {rest[at]}" in TWO_WORDS:
        return [f"{verb} {rest[at]}", *rest[:at], *rest[at + 1 :]]
    if verb in NOT_ALONE:
        raise _half_a_verb(verb, "" if at is None else rest[at])
    return list(arguments)


def _half_a_verb(verb: str, second: str) -> InputError:
    verbs = [words for words in TWO_WORDS if words.startswith(f"{verb} ")]
    found = f"has no word {second!r}" if second and not second.startswith("-") else "needs a second word"
    fix = f"see `neuroemo {verbs[0]} --help`"
    return InputError(Finding("E010", "error", f"neuroemo {verb}", found, " or ".join(verbs), fix=fix))


def _force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/demo"), help="folder of the run (default runs/demo)"
    )
    parser.add_argument("--videos", type=Path, help="your videos as DIR/<label>/*.mp4 instead of synthetic faces")
    parser.add_argument("--small", action="store_true", help="few clips and epochs: shows that everything runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faces and of the training")
    parser.add_argument("--lava-clips", type=int, default=8, help="test clips to run in Lava too (default 8)")
    _force(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder that holds report.json")

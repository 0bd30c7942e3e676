"""The command line: a verb is a thin shell over one public function.

stdout is the result, stderr is log and progress; ``--json`` prints one object, also on failure. Exit codes:
0 done and verified, 1 our bug, 2 usage or unreadable input, 3 unsupported by the target, 4 does not fit,
5 written but verification failed, 6 an optional package is missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from hw_targets.finding import Finding, InputError
from neuroemo import data_options, data_verb, verbs
from neuroemo.console import Console, run_verb
from neuroemo.deployment import options
from neuroemo.deployment import verbs as deploy
from neuroemo.energy import options as energy_options
from neuroemo.energy import verb as energy
from neuroemo.events import options as event_options
from neuroemo.events import verb as events
from neuroemo.simulation import options as simulation
from neuroemo.simulation.verb import simulate

EPILOG = "Begin with `neuroemo demo`: it makes videos, trains, exports, simulates and reports, all from scratch."
TWO_WORDS = ("energy diff", "events show", "data prepare", "data check")
"""Verbs whose second word would else be read as a path."""
FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose")
MODELS = "a network of the paper's Table I (default 0.4snn); NAME@48 and NAME@32 are small, NAME-ann is its twin"


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
    data_options.check(verb("data check", data_verb.check, "compare a prepared store with its checksums"))
    _train(verb("train", verbs.train, "train a spiking network (or its ANN twin) on prepared events"))
    _evaluate(verb("evaluate", verbs.evaluate, "score a trained network"))
    options.targets(verb("targets", deploy.targets, "list the chips, their limits and where each number comes from"))
    options.check(verb("check", deploy.check, "say everything that stands between a network and a chip"))
    options.export(verb("export", deploy.export, "turn a trained network into a verified bundle for a chip"))
    simulation.simulate(verb("simulate", simulate, "run clips through a bundle or a netx file, bit-exactly"))
    options.verify(verb("verify", deploy.verify, "repeat the verdict on a bundle from its own files"))
    options.diff(verb("diff", deploy.diff, "say what changed between two bundles"))
    energy_options.energy(verb("energy", energy.energy, "count what spikes cost, price it, beside the twin ANN"))
    energy_options.diff(verb("energy diff", energy.diff, "say what changed between two energy reports"))
    energy_options.reproduce(verb("reproduce", energy.reproduce, "print a result of the paper beside the exact one"))
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
    return list(arguments)


def _force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def _split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="which clips (default: test of prepared events, all of a folder of videos)",
    )


def _data(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--data", type=Path, help=f"{what}: prepared events, or a folder of videos (default: what it was trained on)"
    )


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/demo"), help="folder of the run (default runs/demo)"
    )
    parser.add_argument("--videos", type=Path, help="your videos as DIR/<label>/*.mp4 instead of synthetic faces")
    parser.add_argument("--small", action="store_true", help="few clips and epochs: shows that everything runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faces and of the training")
    parser.add_argument("--lava-clips", type=int, default=8, help="test clips to run in Lava too (default 8)")
    _force(parser)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="events of a folder of videos (`neuroemo events DIR`)")
    parser.add_argument("--model", default="0.4snn", help=MODELS)
    parser.add_argument("-o", "--output", type=Path, required=True, help="checkpoint folder; a run in it continues")
    parser.add_argument("--epochs", type=int, help="(default 12; 3 with --qat)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, help="(default 0.01; 0.003 with --qat)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1: reproducible anywhere)")
    parser.add_argument("--plain-sgd", action="store_true", help="do not scale gradients to the length of each layer")
    parser.add_argument(
        "--qat",
        type=int,
        choices=range(3, 9),
        metavar="BITS",
        help="fine-tune with weights of 3..8 bits, in the chip's own arithmetic",
    )
    parser.add_argument(
        "--start", type=Path, help="trained checkpoint to fine-tune (default: train --model first, in OUTPUT/float)"
    )
    parser.add_argument("--seed", type=int, default=0)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="checkpoint folder")
    _data(parser, "clips to score")
    _split(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder that holds report.json")

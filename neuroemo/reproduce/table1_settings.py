"""What `reproduce table1` is asked for: which data, which rows, how many seeds, how they are trained, and where."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.reproduce.options import NAMED_DATA
from neuroemo.reproduce.table1_paper import ROWS

if TYPE_CHECKING:
    from neuroemo.models.spec import EmotionSpec
    from neuroemo.training.settings import TrainSettings

STEPS = {128: 68, 48: 16, 32: 14}
"""Time steps by frame size in pixels: the paper's, and those of the small presets."""

FACES = {
    False: {"subjects": 50, "clips_per_subject": 24, "seed": 0},
    True: {"subjects": 10, "clips_per_subject": 4, "seed": 0},
}
"""Which faces are rendered, also for ``--quick``: 720, 240 and 240 clips, or 24, 8 and 8, of different subjects."""

EPOCHS = {"faces": {"epochs": 16}}
FILE_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class Table1Settings:
    """One table: ``models`` x ``seeds`` trainings on ``data``, kept in ``out``.

    ``data`` is "mosi", "faces", "folder" or a file of prepared events, and ``pure_data`` the same clips without a
    gray first frame (for puresnn). ``size`` in pixels chooses the preset where the data are prepared here.
    ``training`` holds entries of ``TrainSettings``. ``command`` makes the same report again.

    Raises:
        InputError: what is missing, unknown or means nothing with these data, all at once.
    """

    data: str
    out: Path
    root: Path | None = None
    pure_data: Path | None = None
    options: tuple[str, ...] = ()
    skip_broken: bool = False
    size: int | None = None
    models: tuple[str, ...] = tuple(ROWS)
    seeds: int = 3
    quick: bool = False
    workers: int | None = None
    scheduler: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        findings = list(_findings(self))
        if findings:
            raise InputError(findings)

    @property
    def is_file(self) -> bool:
        """Whether ``data`` names a file of prepared events."""
        return self.data not in NAMED_DATA

    @property
    def pixels(self) -> int:
        """Height and width of the frames that are prepared here."""
        return self.size or (32 if self.quick or self.data == "faces" else 128)

    def train_settings(self, seed: int, spec: EmotionSpec) -> TrainSettings:
        """Return how one network is trained; by the fused engine where it can be, as by `neuroemo train`."""
        from neuroemo.training.engine import default_engine
        from neuroemo.training.settings import TrainSettings

        usual: dict[str, Any] = {"epochs": 2} if self.quick else EPOCHS.get(self.data, {})
        return TrainSettings(**{"engine": default_engine(spec)} | usual | self.training | {"seed": seed})


def spec_of(model: str, size: int, steps: int, classes: int) -> EmotionSpec:
    """Return a row's network for frames of ``size`` pixels: the small preset at 48 and 32, else the paper's widths.

    >>> spec_of("puresnn", 32, 14, 2).channels, spec_of("plif", 64, 68, 2).hidden
    ((8, 16), 1024)
    """
    from neuroemo.models.table1 import spec_by_name

    preset = f"{model}@{size}" if size in (48, 32) else model
    first_frame = "spikes" if model == "puresnn" else "float"
    return spec_by_name(preset, size=size, steps=steps, classes=classes, first_frame=first_frame)


def settings_from(args: Namespace) -> Table1Settings:
    """Return the settings of a command line.

    Raises:
        InputError: see ``Table1Settings``.
    """
    asked = {"epochs": args.epochs, "batch": args.batch, "learning_rate": args.learning_rate}
    training = {name: value for name, value in asked.items() if value is not None}
    return Table1Settings(
        data=args.data,
        out=args.output,
        root=args.root,
        pure_data=args.pure_data,
        options=tuple(args.option),
        skip_broken=args.skip_broken,
        size=args.size,
        models=tuple(ROWS) if args.models is None else args.models,
        seeds=args.seeds or (2 if args.quick else 3),
        quick=args.quick,
        workers=args.workers,
        scheduler=args.scheduler,
        training=training | ({"layerwise": False} if args.plain_sgd else {}),
        command=command_line(args),
    )


_SAID = ("data", "root", "pure_data", "option", "skip_broken", "size", "models", "seeds", "epochs", "batch",
         "learning_rate", "plain_sgd", "quick")  # fmt: skip


def command_line(args: Namespace) -> str:
    """Return the command that makes the same report; where it is written and who does the work is not part of that.

    >>> command_line(Namespace(data="my clips.h5", models=("plif", "0.4snn"), quick=True, seeds=None, option=["a=1"]))
    "neuroemo reproduce table1 --data 'my clips.h5' --option a=1 --models plif,0.4snn --quick"
    """
    words = ["neuroemo", "reproduce", "table1"]
    for name in _SAID:
        value: Any = getattr(args, name, None)
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            words += [word for each in value for word in (option, str(each))]
        elif value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, ",".join(value) if isinstance(value, tuple) else str(value)]
    return shlex.join(words).encode("utf-8", "replace").decode("utf-8")


def _findings(settings: Table1Settings) -> Iterator[Finding]:
    """Yield everything that is wrong with what was asked."""

    def wrong(name: str, found: str, limit: str = "", fix: str = "see `neuroemo reproduce table1 --help`") -> Finding:
        return Finding("E930", "error", name, found, limit, fix=fix)

    for name in settings.models:
        if name not in ROWS:
            yield wrong("--models", f"no row {name!r} in Table I", ", ".join(ROWS))
    if len(set(settings.models)) != len(settings.models):
        yield wrong("--models", "a row twice")
    if settings.seeds < 1:
        yield wrong("--seeds", str(settings.seeds), "1 or more")
    if settings.scheduler is not None and settings.workers is not None:
        yield wrong("--workers", "means nothing with --scheduler", fix="the cluster has its own workers; leave it out")
    if settings.is_file:
        yield from _file_findings(settings, wrong)
        return
    if settings.pure_data is not None:
        yield wrong("--pure-data", f"means nothing with --data {settings.data}", "a file of prepared events")
    if settings.root is None and settings.data != "faces":
        yield wrong("--root", f"is missing with --data {settings.data}", fix="say where the folder is: --root DIR")
    if settings.size is not None and settings.size not in STEPS:
        yield wrong("--size", str(settings.size), ", ".join(map(str, STEPS)))


def _file_findings(settings: Table1Settings, wrong: Any) -> Iterator[Finding]:
    if Path(settings.data).suffix not in FILE_SUFFIXES:
        yield wrong("--data", repr(settings.data), f"{', '.join(NAMED_DATA)}, or FILE.h5 of prepared events")
        return
    meaningless = {
        "--root": settings.root, "--option": settings.options, "--size": settings.size,
        "--skip-broken": settings.skip_broken,
    }  # fmt: skip
    for name, value in meaningless.items():
        if value:
            yield wrong(name, "means nothing with a file of prepared events", fix="leave it out")
    needs_pure = "puresnn" in settings.models
    if needs_pure and settings.pure_data is None:
        fix = "prepare the same clips with --first-frame spikes and name them here, or leave puresnn out of --models"
        yield wrong("--pure-data", "is missing: puresnn is trained on events without a gray first frame", fix=fix)
    if not needs_pure and settings.pure_data is not None:
        yield wrong("--pure-data", "means nothing without puresnn", fix="leave it out")

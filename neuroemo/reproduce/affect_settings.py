"""What a table of valence and arousal is asked for: data, networks, folds, seeds, training, and where it lies."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.reproduce.affect_options import TABLES
from neuroemo.reproduce.affect_paper import FRAME_BASED, NETWORKS, PIXELS, VIDEO_BASED

if TYPE_CHECKING:
    from neuroemo.affect.settings import AffectSettings
    from neuroemo.models.affect.spec import AffectSpec

NAMED = ("afew-va", "faces")
FILE_SUFFIXES = (".h5", ".hdf5")
FIRST_BITS, SECOND_BITS, SLICE_US = 8, 16, 5000
"""Bits of an event frame in every table, in the second half of Table 4, and microseconds of a bit (section 4)."""

ROWS: dict[str, tuple[str, ...]] = {
    "affect-table1": FRAME_BASED,
    "affect-table2": VIDEO_BASED,
    "affect-table3": NETWORKS,
    "affect-table4": NETWORKS,
    "affect-table5": NETWORKS,
}
"""Networks that a table trains: Tables 3 and 5 choose the best of all six by their validation clips."""

FACES: dict[bool, dict[str, int]] = {
    False: {"subjects": 50, "clips_per_subject": 12, "frames": 25, "seed": 0},
    True: {"subjects": 10, "clips_per_subject": 2, "frames": 14, "seed": 0},
}
"""Which faces are rendered, also for ``--quick``; ``fps`` is 25."""
FACES_TRAINING: dict[str, Any] = {"epochs": 30, "learning_rate": 1e-3, "frames_per_epoch": 5000}


@dataclass(frozen=True, slots=True)
class AffectTableSettings:
    """One table: ``models`` x ``folds`` x ``seeds`` trainings on ``data``, kept in ``out`` with those of the others.

    ``data`` is "afew-va", "faces" or a file of event frames; ``data_16`` the same clips with 16 bits (Table 4).
    ``nefer_root`` or ``nefer_data`` are the videos whose emotions are told (Table 5; faces stand in for themselves).
    ``threshold`` is that of the camera that is simulated here. ``models`` None are all of the table, ``folds`` None all
    that the data have. ``training`` holds entries of ``AffectSettings``. ``command`` makes the same report again.

    Raises:
        InputError: what is missing, unknown or means nothing with these data, all at once (E970).
    """

    table: str
    data: str
    out: Path
    root: Path | None = None
    data_16: Path | None = None
    nefer_root: Path | None = None
    nefer_data: Path | None = None
    options: tuple[str, ...] = ()
    nefer_options: tuple[str, ...] = ()
    skip_broken: bool = False
    threshold: float | None = None
    size: int | None = None
    models: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    seeds: int = 1
    quick: bool = False
    workers: int | None = None
    backbone_weights: Path | None = None
    training: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        findings = list(_findings(self))
        if findings:
            raise InputError(findings)

    @property
    def is_file(self) -> bool:
        """Whether ``data`` names a file of event frames."""
        return self.data not in NAMED

    @property
    def rows(self) -> tuple[str, ...]:
        """The networks of the table that are asked for, in its order."""
        allowed = ROWS[self.table]
        return allowed if self.models is None else tuple(name for name in allowed if name in self.models)

    @property
    def pixels(self) -> int:
        """Height and width of the frames that are prepared here."""
        return self.size or (32 if self.quick else 64 if self.data == "faces" else PIXELS)

    @property
    def folder(self) -> Path:
        """Where the report of this table goes."""
        return self.out / self.table

    def train_settings(self, seed: int) -> AffectSettings:
        """Return how one network is trained."""
        from neuroemo.affect.settings import AffectSettings

        usual = FACES_TRAINING if self.data == "faces" else {}
        quick = {"epochs": 1} if self.quick else {}
        return AffectSettings(**(usual | quick | self.training | {"seed": seed}))


def spec_of(model: str, size: int, n_bits: int) -> AffectSpec:
    """Return a network for frames of ``size`` pixels: the paper's at 224, else the small preset of its family.

    >>> spec_of("vit", 224, 8).embedding, spec_of("vit", 64, 16).n_bits
    (256, 16)

    Raises:
        InputError: no small preset has this size.
    """
    from neuroemo.models.affect.table import spec_by_name

    return spec_by_name(model if size == PIXELS else f"{model}@{size}", n_bits=n_bits)


def settings_from(args: Namespace) -> AffectTableSettings:
    """Return the settings of a command line.

    Raises:
        InputError: see ``AffectTableSettings``.
    """
    asked = {name: getattr(args, name) for name in ("epochs", "batch", "learning_rate", "loss", "frames_per_epoch")}
    training = {name: value for name, value in asked.items() if value is not None}
    return AffectTableSettings(
        table=args.what,
        data=args.data,
        out=args.output,
        root=args.root,
        data_16=getattr(args, "data_16", None),
        nefer_root=getattr(args, "nefer_root", None),
        nefer_data=getattr(args, "nefer_data", None),
        options=tuple(args.option),
        nefer_options=tuple(getattr(args, "nefer_option", ())),
        skip_broken=args.skip_broken,
        threshold=args.threshold,
        size=args.size,
        models=args.models,
        folds=args.folds,
        seeds=args.seeds or 1,
        quick=args.quick,
        workers=args.workers,
        backbone_weights=args.backbone_weights,
        training=training | ({"augment": False} if args.no_augment else {}),
        command=command_line(args),
    )


_SAID = ("data", "root", "data_16", "nefer_root", "nefer_data", "nefer_option", "option", "skip_broken", "threshold",
         "size", "models", "folds", "seeds", "epochs", "batch", "learning_rate", "loss", "frames_per_epoch",
         "no_augment", "backbone_weights", "quick")  # fmt: skip


def command_line(args: Namespace) -> str:
    """Return the command that makes the same report; where it is written and who does the work is not part of that.

    >>> command_line(Namespace(what="affect-table1", data="my frames.h5", models=("vit",), folds=(0, 2), quick=True))
    "neuroemo reproduce affect-table1 --data 'my frames.h5' --models vit --folds 0,2 --quick"
    """
    words = ["neuroemo", "reproduce", args.what]
    for name in _SAID:
        value: Any = getattr(args, name, None)
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            words += [word for each in value for word in (option, str(each))]
        elif value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join(words).encode("utf-8", "replace").decode("utf-8")


def _wrong(settings: AffectTableSettings, name: str, found: str, limit: str = "", fix: str = "") -> Finding:
    help_text = f"see `neuroemo reproduce {settings.table} --help`"
    return Finding("E970", "error", name, found, limit, fix=fix or help_text)


def _findings(settings: AffectTableSettings) -> Iterator[Finding]:
    """Yield everything that is wrong with what was asked."""
    if settings.table not in TABLES:
        yield Finding("E970", "error", settings.table, "no table of that name", ", ".join(TABLES))
        return
    yield from _run_findings(settings)
    yield from _nefer_findings(settings)
    yield from _name_findings(settings)
    if settings.is_file:
        yield from _file_findings(settings)
        return
    if settings.data_16 is not None:
        found = f"means nothing with --data {settings.data}"
        yield _wrong(settings, "--data-16", found, "a file of event frames", "leave it out")
    if settings.root is None and settings.data != "faces":
        found = f"is missing with --data {settings.data}"
        yield _wrong(settings, "--root", found, fix="say where the folder is: --root DIR")
    if settings.size is not None:
        yield from _size_findings(settings)


def _run_findings(settings: AffectTableSettings) -> Iterator[Finding]:
    allowed = ROWS[settings.table]
    for name in settings.models or ():
        if name not in allowed:
            yield _wrong(settings, "--models", f"no network {name!r} in {settings.table}", ", ".join(allowed))
    if settings.models is not None and not settings.models:
        yield _wrong(settings, "--models", "names no network", ", ".join(allowed))
    for option, given in (("--models", settings.models), ("--folds", settings.folds)):
        if given is not None and len(set(given)) != len(given):
            yield _wrong(settings, option, "names one twice", "each once")
    if settings.seeds < 1:
        yield _wrong(settings, "--seeds", str(settings.seeds), "1 or more")
    weights = settings.backbone_weights
    if weights is not None and not weights.is_file():
        fix = "check the path, or leave it out: the networks then begin at random"
        yield _wrong(settings, "--backbone-weights", f"{weights}: no such file", fix=fix)
    if weights is not None and not set(settings.rows) - {"vit", "ic3d"}:
        yield _wrong(settings, "--backbone-weights", "no network asked for has a ResNet18", fix="leave it out")
    try:
        settings.train_settings(0)
    except InputError as error:
        yield from error.findings


def _size_findings(settings: AffectTableSettings) -> Iterator[Finding]:
    for model in settings.rows[:1]:
        try:
            spec_of(model, settings.pixels, FIRST_BITS)
        except InputError as error:
            limit = error.findings[0].limit
            yield _wrong(settings, "--size", str(settings.size), f"{limit}, or {PIXELS}")


def _nefer_findings(settings: AffectTableSettings) -> Iterator[Finding]:
    root, data = settings.nefer_root, settings.nefer_data
    if settings.table != "affect-table5":
        for option, given in (("--nefer-root", root), ("--nefer-data", data)):
            if given is not None:
                yield _wrong(settings, option, f"means nothing to {settings.table}", "affect-table5", "leave it out")
        return
    if root is not None and data is not None:
        yield _wrong(settings, "--nefer-data", "means nothing beside --nefer-root", "one of them", "leave one out")
    if root is None and data is None and settings.data != "faces":
        fix = "say where NEFER is: --nefer-root DIR, or --nefer-data FILE.h5"
        yield _wrong(settings, "--nefer-root", "is missing: the table tells the emotions of its videos", fix=fix)
    if settings.nefer_options and root is None:
        yield _wrong(settings, "--nefer-option", "means nothing without --nefer-root", fix="leave it out")


def _name_findings(settings: AffectTableSettings) -> Iterator[Finding]:
    """Yield what is neither a data set with valence and arousal nor, by its ending, a file of event frames."""
    named = Path(settings.data) if settings.is_file else None
    for option, path in (("--data", named), ("--data-16", settings.data_16), ("--nefer-data", settings.nefer_data)):
        if path is not None and path.suffix not in FILE_SUFFIXES:
            names = f"{', '.join(NAMED)}, or " if option == "--data" else ""
            yield _wrong(settings, option, repr(str(path)), f"{names}FILE.h5 of event frames")


def _file_findings(settings: AffectTableSettings) -> Iterator[Finding]:
    if settings.table != "affect-table4" and settings.data_16 is not None:
        yield _wrong(settings, "--data-16", f"means nothing to {settings.table}", "affect-table4", "leave it out")
    meaningless = {"--root": settings.root, "--option": settings.options, "--size": settings.size,
                   "--threshold": settings.threshold}  # fmt: skip
    if settings.nefer_root is None:
        meaningless["--skip-broken"] = settings.skip_broken
    for name, value in meaningless.items():
        if value:
            yield _wrong(settings, name, "means nothing with a file of event frames", fix="leave it out")
    if settings.table == "affect-table4" and settings.data_16 is None:
        fix = f"prepare the same clips with --bits {SECOND_BITS} and name them here"
        yield _wrong(settings, "--data-16", "is missing: the table compares 8 with 16 bits", fix=fix)

"""The events of a figure: the same clips twice, with a gray first frame and as pure spike trains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hw_targets.finding import Finding, InputError

if TYPE_CHECKING:
    from neuroemo.datasets.catalogue import Listed
    from neuroemo.datasets.store import ClipStore

Bars = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]
"""Makes a progress function (done, total, note) for a stage with a title."""

FirstFrame = Literal["float", "spikes"]
DATA_SETS = ("faces", "mosi", "folder")
FACES: dict[int, dict[str, int]] = {
    128: {"subjects": 50, "clips_per_subject": 24, "size": 128, "frames": 69},
    48: {"subjects": 50, "clips_per_subject": 24, "size": 96, "frames": 18},
    32: {"subjects": 25, "clips_per_subject": 16, "size": 64, "frames": 15},
}
"""Which faces are rendered for frames of so many pixels."""
QUICK_FACES = {"subjects": 10, "clips_per_subject": 4, "size": 64, "frames": 15}


@dataclass(frozen=True, slots=True)
class FigureData:
    """Where the clips come from: a data set by ``name`` in ``root``, or prepared events ``store``.

    ``pure_store`` holds the clips of ``store`` without a gray first frame. ``size`` None is that of the data set: 48
    for faces, else the paper's 128. ``quick`` renders a few faces. ``options`` are those of `data prepare`.
    """

    name: str | None = "faces"
    root: Path | None = None
    store: Path | None = None
    pure_store: Path | None = None
    size: int | None = None
    options: tuple[str, ...] = ()
    skip_broken: bool = False
    workers: int = 2
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse a choice that contradicts itself, all at once."""
        findings = list(self._wrong())
        if findings:
            raise InputError(findings)

    def _wrong(self) -> list[Finding]:
        if self.store is None:
            named = f"with --data {self.name}"
            bad = [] if self.pure_store is None else ["--pure-data"]
            if self.quick and self.name != "faces":
                bad.append("--quick")
            if self.quick and self.size not in (None, 32):
                bad.append("--size")
            findings = [Finding("E940", "error", option, f"means nothing {named}") for option in bad]
            if self.root is None and self.name != "faces":
                findings.append(
                    Finding("E940", "error", "--root", f"is missing {named}", fix="say where it is: --root DIR")
                )
            return findings
        given = {
            "--root": self.root, "--size": self.size, "--option": self.options or None,
            "--skip-broken": self.skip_broken or None, "--quick": self.quick or None,
        }  # fmt: skip
        return [
            Finding("E940", "error", option, f"means nothing with prepared events ({self.store})")
            for option, value in given.items()
            if value is not None
        ]

    @property
    def frame_size(self) -> int:
        """Height and width of the frames in pixels, where they are made here."""
        return self.size or (128 if self.name != "faces" else 32 if self.quick else 48)


def figure_data(text: str | None, **fields: Any) -> FigureData:
    """Read what stands behind ``--data``: the name of a data set, or a file of prepared events (None: faces).

    Raises:
        InputError: neither of them, or fields that contradict it.
    """
    if text is None or text in DATA_SETS:
        return FigureData(name=text or "faces", **fields)
    path = Path(text)
    if path.suffix not in (".h5", ".hdf5"):
        fix = "videos of your own: --data folder --root DIR"
        wanted = f"{', '.join(DATA_SETS)} or FILE.h5"
        raise InputError(Finding("E940", "error", "--data", f"{text!r} is no data set of that name", wanted, fix=fix))
    return FigureData(name=None, store=path, **fields)


def open_stores(data: FigureData, out: Path, bars: Bars, kinds: tuple[FirstFrame, ...]) -> dict[FirstFrame, ClipStore]:
    """Prepare, where needed, and open the store of each kind of first frame, "float" or "spikes".

    Made stores lie in ``out``/events-KIND.h5; an interrupted preparation continues.

    Raises:
        InputError: the data cannot be used, a store has another first frame, or the two hold other test clips.
    """
    from neuroemo.datasets.store import ClipStore

    paths = {kind: _path(data, out, kind) for kind in kinds}
    if data.store is None:
        _prepare(data, out, paths, bars)
    with ExitStack() as opened:
        stores = {kind: opened.enter_context(ClipStore.open(path)) for kind, path in paths.items()}
        _check(stores, paths)
        opened.pop_all()
    return stores


def _path(data: FigureData, out: Path, kind: str) -> Path:
    if data.store is None:
        return out / f"events-{kind}.h5"
    if kind == "float":
        return data.store
    if data.pure_store is None:
        found = "is missing: the gray first frame cannot be turned into spikes afterwards"
        fix = "prepare the same clips with --first-frame spikes, and name them: --pure-data FILE.h5"
        raise InputError(Finding("E940", "error", "--pure-data", found, fix=fix))
    return data.pure_store


def _prepare(data: FigureData, out: Path, paths: dict[FirstFrame, Path], bars: Bars) -> None:
    from neuroemo.datasets.prepare import prepare_clips
    from neuroemo.events.framediff import FrameDiffSettings

    spec = _spec(data.frame_size)
    listed: Listed | None = None
    for kind, path in paths.items():
        settings = FrameDiffSettings(size=spec.size, steps=spec.steps, first_frame=kind)
        if listed is None:
            listed = _listed(data, out, bars)
        with bars(f"events, {'gray first frame' if kind == 'float' else 'pure spikes'}") as report:
            prepare_clips(
                listed,
                path,
                settings,
                skip_broken=data.skip_broken,
                workers=data.workers,
                progress=_unnoted(report),
            )


def _listed(data: FigureData, out: Path, bars: Bars) -> Listed:
    from neuroemo.datasets.catalogue import list_dataset, read_options
    from neuroemo.events.framediff import FrameDiffSettings

    spec = _spec(data.frame_size)
    options = read_options(list(data.options))
    if data.name == "faces":
        options = (QUICK_FACES if data.quick else FACES[data.frame_size]) | options
    with bars(f"list {data.name}") as report:
        return list_dataset(
            str(data.name),
            data.root or out / "videos",
            FrameDiffSettings(size=spec.size, steps=spec.steps, first_frame="spikes"),
            options,
            skip_broken=data.skip_broken,
            workers=data.workers,
            progress=_unnoted(report),
        )


def _unnoted(report: Callable[[int, int, str], None]) -> Callable[[int, int], None]:
    """Return a progress function without a note."""
    return lambda done, total: report(done, total, "")


def network_name(row: str, size: int) -> str:
    """Return the name of a row of Table I on frames of so many pixels.

    >>> network_name("0.4snn", 48), network_name("puresnn", 128)
    ('0.4snn@48', 'puresnn')
    """
    return f"{row}@{size}" if size in (48, 32) else row


def _spec(size: int) -> Any:
    from neuroemo.models.table1 import spec_by_name

    return spec_by_name(network_name("0.4snn", size), size=size)


def _check(stores: dict[FirstFrame, ClipStore], paths: dict[FirstFrame, Path]) -> None:
    """Raise unless each store has its kind of first frame, and all hold the same test clips with the same labels."""
    findings = []
    for kind, store in stores.items():
        if store.settings.first_frame != kind:
            found = f"events with first frame {store.settings.first_frame!r}"
            fix = f"prepare them with --first-frame {kind}"
            findings.append(Finding("E940", "error", str(paths[kind]), found, repr(kind), fix=fix))
    shapes = {(store.settings.size, store.settings.steps) for store in stores.values()}
    if len(shapes) > 1:
        found = " and ".join(f"{size} pixels, {steps} steps" for size, steps in sorted(shapes))
        findings.append(Finding("E940", "error", "the two files", found, "the same size and steps"))
    tests = {
        tuple((store.names[i], store.classes[int(store.labels[i])]) for i in store.indices("test"))
        for store in stores.values()
    }
    if len(tests) > 1:
        fix = "prepare both from the same data set with the same options"
        findings.append(Finding("E940", "error", "the two files", "other test clips or labels", "the same", fix=fix))
    if findings:
        raise InputError(findings)

"""From what a user names, a network and clips, to both opened: MODEL may be what training or an export wrote.

checkpoint   counted on the chip, as trained, and beside its ANN twin
bundle       counted on the chip; the twin where the bundle says which architecture it holds
netx         counted on the chip alone
module       ``package.module:factory``, counted live as it runs, nothing exported
nir          counted on its graph
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Graph
from neuroemo.deployment.clips import ClipSet
from neuroemo.deployment.model import LoadedModel, ModelOptions
from neuroemo.energy.options import printable
from neuroemo.pipeline import Progress, quiet_progress, spread

if TYPE_CHECKING:
    from torch import nn

    from export.deployment import Deployment
    from neuroemo.models.emotion import EmotionSpec

Form = Literal["checkpoint", "bundle", "netx", "module", "nir"]
CHIP = "loihi2"
NETX_SUFFIXES = (".net", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True, eq=False)
class EnergySource:
    """A network in every form that can be counted, and the clips at ``positions`` to count it on.

    ``deployment`` is the network on the chip, ``module`` the live one, ``graph`` one of a file, ``spec`` the
    architecture whose ANN twin stands beside it; what a source does not have is None. ``wraps``: a sum beyond the
    chip's range is taken as a bare file means it; an export promised that there is none. ``votes``: output neurons
    vote for classes, and are not read as values.
    """

    model: str
    form: Form
    network: str
    clips: ClipSet
    positions: Array
    data: str
    split: str | None
    first_frame: str
    classes: tuple[str, ...] | None = None
    deployment: Deployment | None = None
    wraps: bool = False
    module: nn.Module | None = None
    graph: Graph | None = None
    spec: EmotionSpec | None = None
    findings: tuple[Finding, ...] = ()
    votes: bool = True

    @property
    def labels(self) -> Array | None:
        """Class indices int64 [S] of the chosen clips; None where they are not known, or the network gives values."""
        known = self.clips.labels(self.positions)
        return None if known is None or np.ndim(known) != 1 else np.asarray(known, dtype=np.int64)


def open_source(
    model: str,
    data: Path | None = None,
    *,
    split: str | None = None,
    limit: int | None = None,
    options: ModelOptions | None = None,
    progress: Progress = quiet_progress,
) -> EnergySource:
    """Open MODEL and its clips, at most ``limit`` of them, evenly spread.

    Raises:
        InputError: one of them cannot be read, they do not fit each other, there is no clip, or an option means
            nothing for this kind of model.
        UnsupportedError, CapacityError: a checkpoint that the chip cannot hold.
    """
    options = options or ModelOptions()
    path = Path(model)
    if path.suffix in NETX_SUFFIXES or (path / "manifest.json").is_file():
        _refuse_options(model, options)
        return _exported(path, _needed(data, model), split, limit, progress)
    return _loaded(model, data, split, limit, options, progress)


def _refuse_options(model: str, options: ModelOptions) -> None:
    wrong = [
        Finding("E883", "error", name, f"means nothing for {model}, which says all that itself", fix="leave it out")
        for name in options.given()
    ]
    if wrong:
        raise InputError(wrong)


def _needed(data: Path | None, model: str) -> Path:
    if data is None:
        found = f"no --data were given, and {model} does not say which clips it is for"
        fix = "energy depends on the clips: --data FILE.h5, a folder LABEL/*.mp4, CLIPS.npy or CLIPS.npz"
        raise InputError(Finding("E880", "error", "--data", found, fix=fix))
    return data


def _positions(clips: ClipSet, where: str, limit: int | None) -> Array:
    total = len(clips.names)
    if not total:
        fix = "another --split, or data with clips in it"
        raise InputError(Finding("E881", "error", where, "no clips", "at least 1", fix=fix))
    if limit is not None and limit < 1:
        raise InputError(Finding("E883", "error", "--limit", str(limit), "at least 1"))
    return spread(np.arange(total), limit)


def _split_of(clips: ClipSet, split: str | None) -> str | None:
    """Return which split was taken: what was asked, or the default of prepared events; None where there is none."""
    store = getattr(clips, "store", None)
    if told := getattr(clips, "split", None):
        return str(told)
    if store is None:
        return None
    return split or ("all" if len(getattr(clips, "indices", ())) == len(store) else "test")


def _exported(path: Path, data: Path, split: str | None, limit: int | None, progress: Progress) -> EnergySource:
    from neuroemo.simulation.opening import open_both
    from neuroemo.simulation.settings import SimulationSettings

    opened = open_both(path, data, SimulationSettings(split=split), progress)
    network, clips = opened.network, opened.clips
    said = network.description
    findings = [*network.findings]
    if said is None:
        found = "the architecture it was trained as is not in it: it stands alone, without an ANN twin"
        fix = "count the checkpoint that it was made from"
        findings.append(Finding("W882", "warning", str(path), found, fix=fix))
    return EnergySource(
        model=shown_path(path),
        form="bundle" if network.is_bundle else "netx",
        network=path.stem if said is None else said.spec.name,
        clips=clips,
        positions=_positions(clips, shown_path(data), limit),
        data=shown_path(data),
        split=_split_of(clips, split),
        first_frame="float" if network.gray_first else "spikes",
        classes=None if network.readout is not None else network.classes,
        deployment=network.deployment,
        wraps=network.wraps,
        spec=None if said is None else said.spec,
        findings=tuple(findings),
        votes=network.readout is None,
    )


def _loaded(
    model: str, data: Path | None, split: str | None, limit: int | None, options: ModelOptions, progress: Progress
) -> EnergySource:
    from neuroemo.deployment.clips import open_clips
    from neuroemo.deployment.model import load_model_argument
    from neuroemo.training.checkpoint import trained_on

    loaded = load_model_argument(model, options)
    data = trained_on(loaded.checkpoint) if data is None and loaded.checkpoint is not None else _needed(data, model)
    _refuse_split(data, split)
    clips, notes = open_clips(loaded, data, split, progress)
    source = EnergySource(
        model=printable(model) if ":" in model else shown_path(Path(model)),
        form="checkpoint",
        network=loaded.name,
        clips=clips,
        positions=_positions(clips, shown_path(data), limit),
        data=shown_path(data),
        split=_split_of(clips, split),
        first_frame=loaded.first_frame,
        classes=loaded.classes,
        findings=(*loaded.notes, *notes),
    )
    if loaded.description is not None:
        return _checkpoint(source, loaded)
    return _stranger(source, loaded)


def _refuse_split(data: Path, split: str | None) -> None:
    if split is not None and data.suffix in (".npy", ".npz"):
        found = f"means nothing for {data.name}, which has no splits"
        raise InputError(
            Finding("E883", "error", "--split", found, "prepared events or videos", fix="leave --split out")
        )


def _checkpoint(source: EnergySource, loaded: LoadedModel) -> EnergySource:
    """Compile the network for the chip; one that was fine-tuned on the chip's grid has no other form."""
    from export.compile import Options, compile_source
    from hw_targets.registry import deploy_target

    said = loaded.description
    assert said is not None, "only a checkpoint comes here"
    example = source.clips.batch(source.positions[:1])
    compiled = compile_source(loaded.source, example, deploy_target(CHIP), Options())
    return replace(
        source,
        network=said.spec.name,
        deployment=compiled.deployment,
        module=None if compiled.fine_tuned else getattr(loaded.source, "model", None),
        spec=said.spec,
        findings=(*source.findings, *compiled.findings),
    )


def _stranger(source: EnergySource, loaded: LoadedModel) -> EnergySource:
    """Take a module as it runs, or its graph: a Norse network hands its state out, which a counter does not hold."""
    found = "a network of your own has no ANN twin that we could know"
    fix = "count the ANN by itself: neuroemo.profiling.count_operations(model, batches, time_first=False)"
    findings = (*source.findings, Finding("W882", "warning", source.model, found, fix=fix))
    model = getattr(loaded.source, "model", None)
    if model is None or loaded.source.framework == "norse":
        graph = loaded.source.graph(source.clips.batch(source.positions[:1]))
        return replace(source, form="nir" if model is None else "module", graph=graph, findings=findings)
    _refuse_weights(model, source.model)
    return replace(source, form="module", module=model, findings=findings)


def _refuse_weights(model: nn.Module, where: str) -> None:
    """Raise for weights that are NaN or infinite: neurons behind them are silent, and silence looks cheap."""
    findings = []
    for name, value in model.state_dict().items():
        wrong = int((~value.isfinite()).sum()) if hasattr(value, "isfinite") else 0
        if wrong:
            found = f"{wrong} of {value.numel()} values of {name} are NaN or infinite"
            fix = "train again with a lower learning rate, or load other weights"
            findings.append(Finding("E882", "error", where, found, "finite numbers", str(wrong), fix))
    if findings:
        raise InputError(findings)


def shown_path(path: Path) -> str:
    """Return a path as a report may show it: below the current folder, or by its last name alone.

    >>> shown_path(Path("runs/demo/clips.h5")), shown_path(Path("/data/of/mine/clips.h5"))
    ('runs/demo/clips.h5', 'clips.h5')
    """
    if not path.is_absolute():
        return printable(path.as_posix())
    try:
        return printable(path.relative_to(Path.cwd()).as_posix())
    except ValueError:
        return printable(path.name)

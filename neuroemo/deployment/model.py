"""What MODEL may be: a checkpoint of ours, ``package.module:factory``, or a NIR file. Nothing is ever unpickled."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.imports import import_quietly

if TYPE_CHECKING:
    from torch import nn

    from export.sources import Source
    from hw_targets.readout import ValueReadout
    from neuroemo.affect.run import AffectRun
    from neuroemo.training.checkpoint import Description


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the command line says about MODEL; None where it says nothing. ``dt_s`` is in seconds."""

    weights: Path | None = None
    input_shape: tuple[int, ...] | None = None
    steps: int | None = None
    dt_s: float | None = None
    first_frame: str | None = None
    spike_comparison: str | None = None
    voting: int | None = None

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by their name on the command line."""
        named = {
            "--weights": self.weights,
            "--input-shape": self.input_shape,
            "--steps": self.steps,
            "--dt": self.dt_s,
            "--first-frame": self.first_frame,
            "--spike-comparison": self.spike_comparison,
            "--voting": self.voting,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to export; ``description`` is there for checkpoints of ours alone, ``affect`` for affect runs."""

    source: Source
    kind: str
    name: str
    input_shape: tuple[int, ...]
    steps: int
    first_frame: str
    classes: tuple[str, ...] | None = None
    description: Description | None = None
    checkpoint: Path | None = None
    notes: tuple[Finding, ...] = ()
    affect: AffectRun | None = None

    @property
    def readout(self) -> ValueReadout | None:
        """How values are read from the output spikes; None for a network that votes for classes."""
        if self.affect is None:
            return None
        from neuroemo.models.affect.spiking import readout_of

        return readout_of(self.affect.spec)


def load_model_argument(text: str, options: ModelOptions) -> LoadedModel:
    """Load what MODEL names.

    Raises:
        InputError: it names nothing, an option is missing, or an option does not belong to this kind of model.
        MissingDependencyError: the ``nir`` package is needed and not installed.
    """
    path = Path(text)
    if path.suffix == ".nir":
        return _nir(path, options)
    if path.exists():
        return _checkpoint(path, options)
    if ":" in text and "/" not in text:
        return _factory(text, options)
    if path.suffix in (".pt", ".pth", ".ckpt", ".pkl"):
        raise InputError(_pickled(text))
    raise InputError(
        Finding(
            "E640",
            "error",
            text,
            "no such model",
            "a checkpoint folder or .safetensors file of ours, package.module:factory, or FILE.nir",
            fix="`neuroemo train` writes checkpoints; docs/export.md shows how to bring your own network",
        )
    )


def _pickled(text: str) -> Finding:
    save = "safetensors.torch.save_file(model.state_dict(), FILE)"
    fix = f"save it once with {save} and give `module:factory --weights FILE`"
    return Finding("E641", "error", text, "a pickled checkpoint, which could run code when it is loaded", fix=fix)


def _refuse_options(options: ModelOptions, kind: str, names: tuple[str, ...]) -> None:
    """Raise for every option that was given and means nothing for this kind of model."""
    wrong = [name for name in options.given() if name not in names]
    if wrong:
        may = ", ".join(names) or "none of these options"
        raise InputError([Finding("E642", "error", name, f"means nothing for {kind}", may) for name in wrong])


def _frames(options: ModelOptions) -> tuple[tuple[int, ...], int]:
    """Return the shape of a frame and the steps of a clip, which a module does not say itself."""
    shape, steps = options.input_shape, options.steps
    if shape is None or steps is None:
        needed = {
            "--input-shape": "the shape of one frame, C,H,W or F",
            "--steps": "the number of time steps of a clip",
        }
        missing = {name: text for name, text in needed.items() if name not in options.given()}
        raise InputError([Finding("E643", "error", name, "is missing", fix=text) for name, text in missing.items()])
    return shape, steps


def _checkpoint(path: Path, options: ModelOptions) -> LoadedModel:
    from neuroemo.training.checkpoint import load_model

    if path.is_file() and path.suffix != ".safetensors":
        if path.suffix in (".pt", ".pth", ".ckpt", ".pkl"):
            raise InputError(_pickled(str(path)))
        kinds = "a folder, a .safetensors or a .nir file"
        raise InputError(Finding("E644", "error", str(path), f"a file with the suffix {path.suffix!r}", kinds))
    _refuse_options(options, "a checkpoint, which says all that itself", ())
    from neuroemo.deployment.affect import is_affect_run, load_affect

    if is_affect_run(path):
        return load_affect(path)
    network, description = load_model(path)
    spec = description.spec
    if spec.neuron == "relu":
        fix = "train the spiking network: the same name without -ann"
        raise InputError(Finding("E649", "error", str(path), "an ANN: it has no spikes to export", fix=fix))
    return LoadedModel(
        _source_of(network, description.dt_us, spec.first_frame),
        "checkpoint",
        path.stem if path.is_file() else path.resolve().name,
        (2, spec.size, spec.size),
        spec.steps,
        spec.first_frame,
        description.classes,
        description,
        path,
    )


def _source_of(network: nn.Module, dt_us: float | None, first_frame: Any) -> Source:
    from export.sources import ModuleSource
    from neuroemo.training.quantized import QuantizedNetwork, QuantizedSource

    if isinstance(network, QuantizedNetwork):
        return QuantizedSource(network)
    return ModuleSource(network, dt_us, first_frame)


def _factory(text: str, options: ModelOptions) -> LoadedModel:
    shape, steps = _frames(options)
    allowed = ("--weights", "--input-shape", "--steps", "--dt", "--first-frame")
    _refuse_options(options, "a module", allowed)
    model = make_module(text)
    notes: tuple[Finding, ...] = ()
    if options.weights is not None:
        from neuroemo.training.checkpoint import load_tensors, load_weights

        load_weights(model, load_tensors(options.weights)[0], str(options.weights))
    else:
        found = "no --weights were given: the weights are those the factory made"
        notes = (Finding("W645", "warning", text, found, fix="--weights FILE.safetensors"),)
    first_frame = options.first_frame or "spikes"
    source = _source_of(model.eval(), None if options.dt_s is None else options.dt_s * 1e6, first_frame)
    return LoadedModel(source, "factory", text.split(":")[-1], shape, steps, first_frame, notes=notes)


def make_module(text: str) -> nn.Module:
    """Import ``package.module:factory`` from the current folder or the installation, and call it.

    A factory is a callable without arguments that returns a torch module, or the module itself.
    """
    from importlib import import_module

    from torch import nn

    where, _, attribute = text.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    import_quietly("spikingjelly.activation_based.neuron")  # it talks when it is imported
    try:
        made: Any = import_module(where)
        for part in attribute.split("."):
            made = getattr(made, part)
        made = made if isinstance(made, nn.Module) else made()
    except Exception as error:  # the user's own code: whatever it raises is theirs to read
        found = f"{type(error).__name__}: {error}"
        fix = (
            f"`python -c 'import {where}'` in this folder must work, and {attribute or 'the factory'}() return a module"
        )
        raise InputError(Finding("E646", "error", text, found, "an importable factory", fix=fix)) from error
    if not isinstance(made, nn.Module):
        raise InputError(
            Finding("E647", "error", text, f"the factory returned {type(made).__name__}", "torch.nn.Module")
        )
    return made


def _nir(path: Path, options: ModelOptions) -> LoadedModel:
    from export.frontends.nir_file import read_nir

    _refuse_options(
        options,
        "a NIR file",
        ("--steps", "--dt", "--first-frame", "--spike-comparison", "--voting", "--input-shape"),
    )
    first_frame: Any = options.first_frame
    source = read_nir(
        path,
        steps=options.steps,
        dt_us=None if options.dt_s is None else options.dt_s * 1e6,
        inclusive=None if options.spike_comparison is None else options.spike_comparison == ">=",
        first_frame=first_frame,
        voting=options.voting,
    )
    graph = source.graph
    if options.input_shape is not None and options.input_shape != graph.input_shape:
        found = f"--input-shape {options.input_shape}"
        raise InputError(Finding("E648", "error", str(path), found, f"the file's own {graph.input_shape}"))
    return LoadedModel(
        FixedGraphSource(graph, source.spikes),
        "nir",
        path.stem,
        graph.input_shape,
        graph.steps,
        graph.first_frame,
        notes=tuple(source.findings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FixedGraphSource:
    """A network that is a graph already, with a function that runs the original: ``run(clips)`` to spikes."""

    fixed: Any
    run: Any
    framework: str = "nir"

    def graph(self, example: Any) -> Any:
        """Return the graph; nothing needs to be watched."""
        return self.fixed

    def spikes(self, clips: Any) -> Any:
        """Return what the original gives."""
        return self.run(clips)

    def chip(self) -> None:
        """Return None: a float network has no integers yet."""

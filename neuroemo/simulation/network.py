"""What is simulated: the network of a bundle, or a bare netx file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import A_BUNDLE, load_deployment, load_readout
from export.deployment import Deployment
from export.storage import read_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape
from hw_targets.readout import ValueReadout
from neuroemo.deployment.affect import described

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.models.affect.spec import AffectSpec
    from neuroemo.training.checkpoint import Description

NETX_TARGET = "loihi2"


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedNetwork:
    """A chip with the means to run it.

    ``file`` is the chip's file for the vendor's simulator. ``steps`` and ``description`` are known for bundles alone,
    ``classes`` for bundles of our own checkpoints; ``readout`` and ``affect`` (spec and event frames) for bundles of
    networks that estimate valence and arousal. ``wraps``: a sum beyond the 24-bit current is taken as the vendor's
    simulator takes it, as a bare file means it; an export promised that there is none, so there it is refused.
    """

    source: Path
    file: Path
    deployment: Deployment
    wraps: bool
    steps: int | None = None
    description: Description | None = None
    findings: tuple[Finding, ...] = ()
    readout: ValueReadout | None = None
    affect: tuple[AffectSpec, EventFrameSettings] | None = None

    @property
    def chip(self) -> Any:
        """The integers."""
        return self.deployment.chip

    @property
    def is_bundle(self) -> bool:
        """Whether it is one of our exports."""
        return self.source.is_dir()

    @property
    def input_shape(self) -> Shape:
        """Shape of a frame, C, H, W or F."""
        host = self.deployment.host
        return tuple(self.chip.input_shape if host is None else host.input_shape)

    @property
    def gray_first(self) -> bool:
        """Whether step 0 carries gray values in [0, 1]."""
        host = self.deployment.host
        first = self.chip.first_frame if host is None else host.first_frame
        return self.deployment.binarised or first == "float"

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes where they are known; of the two groups of every output where values are read."""
        if self.readout is not None:
            return tuple(f"{output}, {sign}" for output in self.readout.outputs for sign in ("more", "less"))
        return None if self.description is None else self.description.classes

    @property
    def takes_vectors(self) -> bool:
        """Whether a frame may come flattened: the first layer does not care how its input is laid out."""
        if self.deployment.host is not None:
            return False
        shape = self.input_shape
        return self.chip.layers[0].kind != "conv" or prod(shape) == shape[-1]

    @property
    def layer_names(self) -> list[str]:
        """Names of the populations on the chip, in data-flow order."""
        return [str(layer.name) for layer in self.chip.layers]

    @property
    def neurons(self) -> dict[str, int]:
        """Number of neurons of every layer, those on the host included, in data-flow order."""
        counts: dict[str, int] = {}
        host = self.deployment.host
        if host is not None:
            counts = {node.name: prod(shape) for node, _, shape in host.layers() if type(node).__name__ == "LIF"}
        return counts | {str(layer.name): int(layer.neurons) for layer in self.chip.layers}


def open_bundle(folder: Path) -> SimulatedNetwork:
    """Open a bundle that `neuroemo export` wrote.

    Raises:
        InputError: the folder is not a bundle, or a file in it is damaged.
    """
    from neuroemo.training.checkpoint import Description

    deployment = load_deployment(folder)
    manifest = read_json(folder / "manifest.json", A_BUNDLE)
    details = manifest.get("details") or {}
    if not isinstance(details, dict):
        raise InputError(
            Finding("E680", "error", str(folder / "manifest.json"), "details that are no object", A_BUNDLE)
        )
    where, file, steps = str(folder / "manifest.json"), folder / "target" / "model.net", int(deployment.chip.steps)
    affect = described(details, where)
    description = Description.from_dict(dict(details), where) if details and affect is None else None
    more: dict[str, Any] = {"readout": load_readout(folder), "affect": affect}
    return SimulatedNetwork(folder, file, deployment, False, steps, description, **more)


def open_netx(path: Path, *, steps: int, layers: int | None, magnitude: int | None) -> SimulatedNetwork:
    """Open a netx file for clips of ``steps`` steps whose values are spikes, or of ``magnitude`` at most.

    Raises:
        InputError, UnsupportedError: see the target's reader.
    """
    from hw_targets.registry import deploy_target

    target: Any = deploy_target(NETX_TARGET)
    first_frame = "spikes" if magnitude is None else "integers"
    # A payload of 1 would say that the input is spikes, and -1 is none.
    said = {"steps": steps, "first_frame": first_frame, "payload": 1 if magnitude is None else max(magnitude, 2)}
    opened = target.open_file(path, **said, layers=layers)
    deployment = Deployment(target, opened.chip, "spikes" if magnitude is None else "graded")
    return SimulatedNetwork(path, path, deployment, True, findings=tuple(opened.findings))


def probes_of(network: SimulatedNetwork, texts: tuple[str, ...]) -> dict[str, Array | None]:
    """Read ``LAYER`` or ``LAYER:0,5,10-19`` into neurons by layer name; None is every neuron of the layer.

    A layer is called as in the bundle, or ``layer0``, ``layer1``, ... as in a netx file; neurons are counted in
    C, H, W order.

    Raises:
        InputError: no such layer, a neuron that it does not have, or a layer named twice; all at once.
    """
    names = network.layer_names
    known = {f"layer{index}": name for index, name in enumerate(names)} | {name: name for name in names}
    probes: dict[str, Array | None] = {}
    findings = []
    for text in texts:
        layer, _, chosen = (text, "", "") if text in known else text.rpartition(":")
        if layer not in known:
            found = f"no layer {text.split(':')[0]!r} on the chip"
            findings.append(Finding("E681", "error", "--probe", found, f"one of {', '.join(names)}"))
        elif known[layer] in probes:
            fix = f"give its neurons in one list: --probe {layer}:0,5,10-19"
            findings.append(Finding("E682", "error", "--probe", f"{layer} is named twice", fix=fix))
        else:
            name = known[layer]
            probes[name], wrong = _neurons(text, chosen, network.neurons[name])
            findings += wrong
    if findings:
        raise InputError(findings)
    return probes


def _neurons(text: str, chosen: str, count: int) -> tuple[Array | None, list[Finding]]:
    if not chosen:
        return None, []
    picked: list[int] = []
    fix = "count in C, H, W order: LAYER:0,5,10-19"
    for part in chosen.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            return None, [Finding("E683", "error", "--probe", f"neurons {chosen!r} in {text!r}", "numbers", fix=fix)]
        low, high = int(first), int(last or first)
        if high >= count or low > high:
            found = f"neurons {part} in {text!r}"
            return None, [Finding("E683", "error", "--probe", found, f"0 to {count - 1}", fix=fix)]
        picked += range(low, high + 1)
    return np.unique(np.array(picked, dtype=np.int64)), []

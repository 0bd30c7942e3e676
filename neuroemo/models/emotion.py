"""The emotion networks of "Spiking Emotions" and their ANN twin.

Named as in the paper (section 2.3): a feature extraction module of {3x3 convolution without padding,
batch normalisation, spiking neurons, average pool} stages and a hidden linear layer; a voting neuron
group module of ten neurons per emotion; and the emotional mapping, the mean firing rate of each group.
The paper prints neither layer count nor widths: ``0.4snn`` is the architecture whose operation counts
come out as printed (310.9M, 9.1M, 47.9M), inferred and not confirmed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hw_targets.finding import Finding, InputError
from hw_targets.graph import window_count
from neuroemo.imports import import_quietly

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class EmotionSpec:
    """Everything that defines one network; ``neuron="relu"`` is the ANN twin of the same layers.

    ``channels`` are the widths of the convolution stages, ``hidden`` the width of the linear layer before
    the voting neurons, ``tau`` the (initial) membrane time constant in steps.
    """

    name: str
    size: int = 128
    steps: int = 68
    channels: tuple[int, ...] = (32, 32, 32)
    hidden: int = 1024
    classes: int = 2
    voting: int = 10
    neuron: Literal["plif", "lif", "relu"] = "plif"
    threshold: float = 0.4
    tau: float = 2.0
    pool: Literal["average", "max"] = "average"
    first_frame: Literal["float", "spikes"] = "float"

    def __post_init__(self) -> None:
        """Refuse a spec that no network can be built from."""
        size = self.size
        for stage in range(len(self.channels)):
            size = window_count(window_count(size, 3, 1), 2, 2)
            if size < 1:
                raise InputError(
                    Finding(
                        "E020",
                        "error",
                        self.name,
                        f"{len(self.channels)} stages on {self.size}x{self.size} frames",
                        f"{stage} stages",
                        fix="use larger frames or fewer stages",
                    )
                )

    @property
    def feature_size(self) -> int:
        """Height and width of the last pooled feature map."""
        size = self.size
        for _ in self.channels:
            size = window_count(window_count(size, 3, 1), 2, 2)
        return size

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dictionary."""
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EmotionSpec:
        """Rebuild a spec from ``to_dict``; an unknown or a missing entry is an InputError."""
        try:
            return cls(**{**data, "channels": tuple(data["channels"])})
        except (TypeError, KeyError) as error:
            raise InputError(Finding("E021", "error", "spec", f"not a network description: {error}")) from error


SPECS: dict[str, EmotionSpec] = {
    spec.name: spec
    for spec in (
        EmotionSpec("0.4snn"),
        EmotionSpec("ann", neuron="relu"),
        EmotionSpec("demo", size=48, steps=16, channels=(12, 16, 16), hidden=64),
        EmotionSpec("demo-ann", size=48, steps=16, channels=(12, 16, 16), hidden=64, neuron="relu"),
        EmotionSpec("demo-small", size=32, steps=14, channels=(8, 16), hidden=32),
        EmotionSpec("demo-small-ann", size=32, steps=14, channels=(8, 16), hidden=32, neuron="relu"),
        EmotionSpec("tiny", size=32, steps=8, channels=(4, 8), hidden=16),
        EmotionSpec("tiny-ann", size=32, steps=8, channels=(4, 8), hidden=16, neuron="relu"),
    )
}


def spec_by_name(name: str, **changes: Any) -> EmotionSpec:
    """Return a named spec with some of its fields changed.

    >>> spec_by_name("0.4snn").feature_size
    14
    """
    if name not in SPECS:
        raise InputError(Finding("E022", "error", name, "no network of that name", f"one of {', '.join(SPECS)}"))
    return replace(SPECS[name], **changes)


def twin_of(spec: EmotionSpec) -> EmotionSpec:
    """Return the ANN twin: the same layers with ReLU, one pass over the frames stacked as channels."""
    return replace(spec, name=f"{spec.name}-ann", neuron="relu")


def build_network(spec: EmotionSpec) -> nn.Module:
    """Build the network of a spec with torch's default initialisation.

    SNN: input [T, N, 2, H, W], output the votes [T, N, classes], the share of each group's neurons that
    fire at each step. ANN: input [N, T, H, W] (``stacked_frames``), output [N, classes].
    """
    from collections import OrderedDict

    from torch import nn

    if spec.neuron == "relu":
        return nn.Sequential(
            OrderedDict(
                features=nn.Sequential(*_ann_stages(spec)),
                classifier=nn.Linear(spec.hidden, spec.classes),
            )
        )
    layer, functional = _spikingjelly("layer"), _spikingjelly("functional")
    network = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*_snn_stages(spec)),
            voting_neurons=nn.Sequential(
                layer.Linear(spec.hidden, spec.classes * spec.voting, bias=False), _neuron(spec)
            ),
            emotional_mapping=layer.VotingLayer(spec.voting),
        )
    )
    functional.set_step_mode(network, "m")
    return network


def stacked_frames(clips: torch.Tensor, first_frame: str) -> torch.Tensor:
    """Turn clips [T, N, 2, H, W] into the twin's input [N, T, H, W]: gray frame, then polarities -1, 0, +1."""
    frames = clips[:, :, 0] - clips[:, :, 1]
    if first_frame == "float":
        frames[0] = clips[0, :, 0]
    return frames.transpose(0, 1).contiguous()


def _spikingjelly(module: str) -> Any:
    return import_quietly(f"spikingjelly.activation_based.{module}")


def _neuron(spec: EmotionSpec) -> nn.Module:
    neuron, surrogate = _spikingjelly("neuron"), _spikingjelly("surrogate")
    settings = {"v_threshold": spec.threshold, "surrogate_function": surrogate.ATan(), "detach_reset": True}
    if spec.neuron == "plif":
        return neuron.ParametricLIFNode(init_tau=spec.tau, **settings)
    return neuron.LIFNode(tau=spec.tau, **settings)


def _snn_stages(spec: EmotionSpec) -> list[nn.Module]:
    layer = _spikingjelly("layer")
    pool = layer.AvgPool2d if spec.pool == "average" else layer.MaxPool2d
    modules: list[nn.Module] = []
    inputs = 2
    for width in spec.channels:
        modules += [
            layer.Conv2d(inputs, width, 3, bias=False),
            layer.BatchNorm2d(width),
            _neuron(spec),
            pool(2),
        ]
        inputs = width
    features = inputs * spec.feature_size**2
    return [*modules, layer.Flatten(), layer.Linear(features, spec.hidden, bias=False), _neuron(spec)]


def _ann_stages(spec: EmotionSpec) -> list[nn.Module]:
    from torch import nn

    pool = nn.AvgPool2d if spec.pool == "average" else nn.MaxPool2d
    modules: list[nn.Module] = []
    inputs = spec.steps
    for width in spec.channels:
        modules += [nn.Conv2d(inputs, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), pool(2)]
        inputs = width
    features = inputs * spec.feature_size**2
    return [*modules, nn.Flatten(), nn.Linear(features, spec.hidden, bias=False), nn.ReLU()]

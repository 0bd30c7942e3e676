"""The emotion networks of "Spiking Emotions" and their ANN twin, built from a spec (``spec.py``, ``table1.py``).

Named as in the paper (section 2.3): a feature extraction module of {3x3 convolution, batch normalisation,
spiking neurons, pool} stages and a hidden linear layer; a voting neuron group module of ten neurons per
emotion; and the emotional mapping, the mean firing rate of each group. The paper prints neither layer
count nor widths: ``0.4snn`` is the architecture whose operation counts come out as printed (310.9M, 9.1M,
47.9M), inferred and not confirmed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from neuroemo.imports import import_quietly
from neuroemo.models.spec import EmotionSpec
from neuroemo.models.table1 import SPECS, TABLE_I, spec_by_name, twin_of

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["SPECS", "TABLE_I", "EmotionSpec", "build_network", "spec_by_name", "stacked_frames", "twin_of"]


def build_network(spec: EmotionSpec) -> nn.Module:
    """Build the network of a spec with torch's default initialisation.

    SNN: input [T, N, 2, H, W], output the votes [T, N, classes], the share of each group's neurons that
    fire at each step. ANN: input [N, T, H, W] (``stacked_frames``), output [N, classes]. Dropout, where a
    spec has it, stands before both linear layers and keeps its mask for all steps of a clip.
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
    settings = {"v_threshold": float(spec.threshold), "surrogate_function": surrogate.ATan(), "detach_reset": True}
    if spec.neuron == "plif":
        return neuron.ParametricLIFNode(init_tau=float(spec.tau), **settings)
    return neuron.LIFNode(tau=float(spec.tau), **settings)


def _snn_stages(spec: EmotionSpec) -> list[nn.Module]:
    layer = _spikingjelly("layer")
    modules: list[nn.Module] = []
    for inputs, width in pairwise((2, *spec.channels)):
        modules += _stage(spec, layer, inputs, width, _neuron(spec))
    drop = [layer.Dropout(spec.dropout) for _ in range(2 if spec.dropout else 0)]
    hidden = [layer.Linear(spec.features, spec.hidden, bias=False), _neuron(spec)]
    return [*modules, layer.Flatten(), *drop[:1], *hidden, *drop[1:]]


def _ann_stages(spec: EmotionSpec) -> list[nn.Module]:
    from torch import nn

    modules: list[nn.Module] = []
    for inputs, width in pairwise((spec.steps, *spec.channels)):
        modules += _stage(spec, nn, inputs, width, nn.ReLU())
    drop = [nn.Dropout(spec.dropout) for _ in range(2 if spec.dropout else 0)]
    hidden = [nn.Linear(spec.features, spec.hidden, bias=False), nn.ReLU()]
    return [*modules, nn.Flatten(), *drop[:1], *hidden, *drop[1:]]


def _stage(spec: EmotionSpec, layers: Any, inputs: int, width: int, neuron: nn.Module) -> list[nn.Module]:
    """Return one stage of the feature extraction module, of torch's layers or SpikingJelly's."""
    convolution = layers.Conv2d(inputs, width, 3, stride=spec.stride, padding=spec.padding, bias=False)
    stage = [convolution, layers.BatchNorm2d(width), neuron]
    if spec.pool != "none":
        pool = layers.AvgPool2d(2) if spec.pool == "average" else layers.MaxPool2d(2)
        stage.insert(3 if spec.pool_place == "after neuron" else 2, pool)
    return stage

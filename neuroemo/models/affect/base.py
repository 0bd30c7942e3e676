"""What all valence and arousal networks share: one call, one check of shapes, a backbone that may stay as it is."""

from __future__ import annotations

import torch
from torch import nn

from hw_targets.finding import Finding, InputError
from neuroemo.models.affect.resnet import ResNet18
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec

START = 0.1
"""Initial weights of the last layer over those that torch draws."""


class AffectNetwork(nn.Module):
    """A network for event frames: float32 [N, F, 1, H, W] -> [N, F, 2], valence and arousal in (-1, 1).

    ``initialisation`` says what the weights were before any training: "random", or "imagenet:SHA-256" of the file
    that the ResNet inside was loaded from.

    Raises:
        InputError: a call with another shape (E969).
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__()
        self.spec = spec
        self.initialisation = "random"

    def check(self, x: torch.Tensor) -> None:
        """Refuse an input of another shape than the spec says; frame networks take any number of frames."""
        spec = self.spec
        shape = tuple(x.shape)
        fits = len(shape) == 5 and shape[2:] == (1, spec.size, spec.size) and shape[1] >= 1
        if not fits or (spec.is_video and shape[1] != spec.frames):
            frames = spec.frames if spec.is_video else "F"
            limit = f"[N, {frames}, 1, {spec.size}, {spec.size}]"
            fix = "prepare frames of the network's size, and give it chunks of its length"
            raise InputError(Finding("E969", "error", spec.name, f"input {list(shape)}", limit, fix=fix))


class BackboneNetwork(AffectNetwork):
    """A network that looks at every frame with a ResNet18 first: ``head(features(x))``.

    ``features``: [N, F, 1, H, W] -> [N, F, 8 width]; ``head``: [N, F, 8 width] -> [N, F, 2]. A frozen backbone stays
    in eval mode whatever the mode of the rest, so that its batch-norm statistics stay too, and none of its parameters
    asks for a gradient: its features can be computed once. Behind a frozen backbone every feature is first brought to
    mean 0 and variance 1 over the training frames (batch norm without parameters of its own), because what follows
    could not do with features of any scale and offset: those of a random ResNet18 vary by a hundredth.
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        self.backbone = ResNet18(width_of(spec), spec.input_channels or 1)
        self.standardise: nn.Module = nn.Identity()
        if spec.frozen:
            self.backbone.requires_grad_(False).eval()
            self.standardise = nn.BatchNorm1d(self.backbone.features, affine=False)

    def train(self, mode: bool = True) -> BackboneNetwork:
        """Set the mode of everything but a frozen backbone."""
        super().train(mode)
        if self.spec.frozen:
            self.backbone.eval()
        return self

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """[N, F, 1, H, W] -> [N, F, 8 width]: what the ResNet18 makes of every frame by itself."""
        self.check(x)
        pictures = x.flatten(0, 1)
        if self.spec.input_channels == 3:
            pictures = pictures.expand(-1, 3, -1, -1)
        return self.backbone(pictures).unflatten(0, x.shape[:2])

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2]: what the network makes of the features of a chunk."""
        return self.regress(self.standardise(features.flatten(0, 1)).unflatten(0, features.shape[:2]))

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2], of standardised features; each kind has its own."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, F, 1, H, W] -> [N, F, 2]."""
        return self.head(self.features(x))


def width_of(spec: AffectSpec) -> int:
    """Return the channels of the first convolution, which a checked spec of such a kind has."""
    return given(spec, "width")


def given(spec: AffectSpec, name: str) -> int:
    """Return a whole-numbered field that the spec's kind needs, so that a checked spec has it."""
    return int(getattr(spec, name))


def output_layer(inputs: int) -> nn.Sequential:
    """One linear layer and tanh: [..., inputs] -> [..., 2].

    The layer starts with a tenth of torch's weights and no bias, so that an untrained network says about 0, the middle
    of the range: from answers all over the range, a short training ends further off than the constant predictor.
    """
    layer = nn.Linear(inputs, len(OUTPUTS))
    with torch.no_grad():
        layer.weight.mul_(START)
        layer.bias.zero_()
    return nn.Sequential(layer, nn.Tanh())


def regressor(inputs: int, hidden: int) -> nn.Sequential:
    """Two linear layers with ReLU between and tanh behind: [..., inputs] -> [..., 2]."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), *output_layer(hidden))

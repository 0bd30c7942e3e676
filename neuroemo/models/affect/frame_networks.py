"""The two networks that see one event frame at a time: ResNet18 and a vision transformer."""

from __future__ import annotations

import torch
from torch import nn

from neuroemo.models.affect.base import AffectNetwork, BackboneNetwork, given, output_layer
from neuroemo.models.affect.spec import AffectSpec


class ResNetRegressor(BackboneNetwork):
    """ResNet18 and one linear layer: [N, F, 1, H, W] -> [N, F, 2], every frame by itself.

    ``tanh(W f + b)`` with the 512 features f of a frame. Parameters: 11,177,538 at the paper's size (11.178 million),
    176,058 of ``resnet18@SIZE``.
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        self.regressor = output_layer(self.backbone.features)

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2]."""
        return self.regressor(features)


class VisionTransformer(AffectNetwork):
    """Vision transformer (Dosovitskiy et al. 2020): [N, F, 1, H, W] -> [N, F, 2], every frame by itself.

    A frame is cut into patches, each mapped linearly to a token of ``embedding`` values; a learned class token comes
    first and learned positions are added: 1 + (H / patch)**2 tokens, 785 at the paper's size. ``depth`` layers of
    attention with ``heads`` heads follow, each norm first, with GELU, without dropout. The class token gives the
    output: ``tanh(W norm(token) + b)``. Parameters: 3,377,922 at the paper's size (3.378 million).
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        width, patch = given(spec, "embedding"), given(spec, "patch")
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + (spec.size // patch) ** 2, width))
        self.layers = transformer_encoder(spec, given(spec, "depth"), "gelu")
        self.regressor = output_layer(width)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, F, 1, H, W] -> [N, F, 2]."""
        self.check(x)
        patches = self.patches(x.flatten(0, 1)).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(patches), -1, -1), patches), 1) + self.positions
        return self.regressor(self.layers(tokens)[:, 0]).unflatten(0, x.shape[:2])


def transformer_encoder(spec: AffectSpec, depth: int, activation: str) -> nn.TransformerEncoder:
    """Layers of self-attention, norm first, batch first, without dropout, and a norm behind the last."""
    width = given(spec, "embedding")
    layer = nn.TransformerEncoderLayer(
        width, given(spec, "heads"), given(spec, "feedforward"), 0.0, activation, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

"""IC3D: Inception-v1 with every filter inflated to three dimensions, one stream, as many outputs as frames.

After Carreira and Zisserman, "Quo vadis, action recognition? A new model and the Kinetics dataset" (CVPR 2017), which
inflates Szegedy et al. 2015. Theirs halves time three times, which leaves one output of six frames; here no layer has
a stride in time, and the mean at the end is taken over space only.
"""

from __future__ import annotations

import torch
from torch import nn

from neuroemo.models.affect.base import AffectNetwork, output_layer, width_of
from neuroemo.models.affect.spec import AffectSpec

FULL = 64
"""Width of the first convolution that the table of blocks is written for."""

BLOCKS: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Channels of each Inception block, between the pools: 1x1; reduction and output of both 3x3 branches; pool branch."""


class Convolution3d(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: [N, I, T, H, W] -> [N, O, T, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), kernel // 2, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )


class InceptionBlock(nn.Module):
    """Four branches over the same input, put one after another: [N, I, T, H, W] -> [N, O, T, H, W].

    A 1x1x1 convolution; a 1x1x1 that reduces and a 3x3x3, twice; a 3x3x3 maximum and a 1x1x1.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        plain, reduce_a, wide_a, reduce_b, wide_b, pooled = channels
        self.outputs = plain + wide_a + wide_b + pooled
        self.branches = nn.ModuleList(
            (
                Convolution3d(inputs, plain, 1),
                nn.Sequential(Convolution3d(inputs, reduce_a, 1), Convolution3d(reduce_a, wide_a, 3)),
                nn.Sequential(Convolution3d(inputs, reduce_b, 1), Convolution3d(reduce_b, wide_b, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), Convolution3d(inputs, pooled, 1)),
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, I, T, H, W] -> [N, O, T, H, W]."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Inception3d(AffectNetwork):
    """IC3D: [N, F, 1, H, W] -> [N, F, 2], every output seeing frames before and after it.

    All channels are those of Inception-v1 times ``width / 64``. Four pools, 1x3x3 and 3x3x3 with stride 2 in space only
    (the last 1x2x2), then the mean over space and ``tanh(W f + b)`` per frame. Parameters: 12,245,410 at the paper's
    size (12.245 million).
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        width = width_of(spec)
        wide = 3 * width
        stem = [
            Convolution3d(1, width, 7, 2),
            _pool(1, 3),
            Convolution3d(width, width, 1),
            Convolution3d(width, wide, 3),
        ]
        layers: list[nn.Module] = [*stem, _pool(1, 3)]
        pools = (_pool(3, 3), nn.MaxPool3d((1, 2, 2), (1, 2, 2), ceil_mode=True), None)
        for group, pool in zip(BLOCKS, pools, strict=True):
            for channels in group:
                block = InceptionBlock(wide, tuple(c * width // FULL for c in channels))
                layers.append(block)
                wide = block.outputs
            layers += [] if pool is None else [pool]
        self.layers = nn.Sequential(*layers)
        self.regressor = output_layer(wide)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # by inputs: blocks narrow to few maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, F, 1, H, W] -> [N, F, 2]."""
        self.check(x)
        maps = self.layers(x.transpose(1, 2))
        return self.regressor(maps.mean((3, 4)).transpose(1, 2))


def _pool(time: int, space: int) -> nn.MaxPool3d:
    return nn.MaxPool3d((time, space, space), (1, 2, 2), (time // 2, space // 2, space // 2))

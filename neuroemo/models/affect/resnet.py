"""ResNet18 (He et al., "Deep residual learning for image recognition", CVPR 2016) in any width.

The layers, their order and the names of their tensors are torchvision's, so that torchvision's weights fit and give
torchvision's very numbers; torchvision itself is not needed.
"""

from __future__ import annotations

import torch
from torch import nn

STAGES = (1, 2, 4, 8)
"""Channels of each stage over those of the first."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip: y = relu(bn2(conv2(relu(bn1(conv1(x))))) + skip(x)).

    [N, I, H, W] -> [N, O, H / stride, W / stride]; the skip is x itself, or where shapes differ a 1x1 convolution of
    the same stride with batch norm.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, I, H, W] -> [N, O, H / stride, W / stride]."""
        skip = x if self.downsample is None else self.downsample(x)
        inner = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(inner)) + skip)


class ResNet18(nn.Module):
    """7x7 convolution, 3x3 max pool, four stages of two blocks, mean over the map: [N, C, H, W] -> [N, 8 width].

    With ``classes`` a linear layer ``fc`` follows, and the output is [N, classes]. Parameters with width 64 and 3
    input channels: 11,176,512; with torchvision's 1,000 classes 11,689,512.

    >>> sum(p.numel() for p in ResNet18().parameters()), ResNet18(width=8).features
    (11176512, 64)
    """

    def __init__(self, width: int = 64, input_channels: int = 3, classes: int | None = None) -> None:
        super().__init__()
        self.features = width * STAGES[-1]
        self.conv1 = nn.Conv2d(input_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = None if classes is None else nn.Linear(self.features, classes)
        self._initialise()

    def _initialise(self) -> None:
        """Draw the convolutions as He et al. 2015 do for ReLU, by their outputs; batch norms start as identities."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, 8 width], or [N, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = torch.flatten(self.avgpool(x), 1)
        return x if self.fc is None else self.fc(x)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))

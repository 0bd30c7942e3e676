"""The three networks that put a ResNet18's features of 6 frames in relation: LSTM, transformer, fusion."""

from __future__ import annotations

import torch
from torch import nn

from neuroemo.models.affect.base import BackboneNetwork, given, regressor
from neuroemo.models.affect.frame_networks import transformer_encoder
from neuroemo.models.affect.spec import AffectSpec


class ResNetLstm(BackboneNetwork):
    """ResNet18, 3 layers of LSTM, two linear layers: [N, F, 1, H, W] -> [N, F, 2].

    Causal: a frame's output depends on it and the frames before it in its chunk. The LSTM starts at zero with every
    chunk. At the paper's size 512 features, LSTM 512 -> 256 three times, then 256 -> 128 -> 2. Parameters: 1,874,306
    trained (1.874 million) and 11,176,512 frozen.
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        hidden = given(spec, "hidden")
        self.lstm = nn.LSTM(self.backbone.features, hidden, given(spec, "layers"), batch_first=True)
        self.regressor = regressor(hidden, given(spec, "regressor_hidden"))

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2]."""
        return self.regressor(self.lstm(features)[0])


class ResNetTransformer(BackboneNetwork):
    """ResNet18, transformer encoder and decoder, two linear layers: [N, F, 1, H, W] -> [N, F, 2].

    The encoder reads the features of the frames, with learned positions added; the decoder starts from one learned
    query per frame (not from the values to be predicted, which would leak) and attends to what the encoder made. Norm
    first, ReLU, no dropout. Features of another width than ``embedding`` pass a linear layer first. Parameters at the
    paper's size: 44,212,610 trained (6,144 of them queries and positions) and 11,176,512 frozen.
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        width, layers = given(spec, "embedding"), given(spec, "layers")
        same = self.backbone.features == width
        self.project: nn.Module = nn.Identity() if same else nn.Linear(self.backbone.features, width)
        self.positions = nn.Parameter(torch.empty(1, spec.frames, width))
        self.queries = nn.Parameter(torch.empty(1, spec.frames, width))
        self.encoder = transformer_encoder(spec, layers, "relu")
        layer = nn.TransformerDecoderLayer(
            width, given(spec, "heads"), given(spec, "feedforward"), 0.0, "relu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.regressor = regressor(width, given(spec, "regressor_hidden"))
        for learned in (self.positions, self.queries):
            nn.init.trunc_normal_(learned, std=0.02)

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2]."""
        memory = self.encoder(self.project(features) + self.positions)
        return self.regressor(self.decoder(self.queries.expand(len(features), -1, -1), memory))


class ResNetFusion(BackboneNetwork):
    """ResNet18 and two heads, one for the chunk and one for each frame: [N, F, 1, H, W] -> [N, F, 2].

    At the paper's size the video head maps all features of the 6 frames together, 3072 -> 512 -> 128, the frame head
    those of one frame, 512 -> 256 -> 128, and of both together 256 -> 128 -> 2 gives the frame's output; ReLU after
    every linear layer but the last. Parameters: 13,012,930 (13.013 million), all trained.
    """

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__(spec)
        features, out = self.backbone.features, given(spec, "head_features")
        self.video_head = _two_layers(features * spec.frames, given(spec, "video_hidden"), out)
        self.frame_head = _two_layers(features, given(spec, "frame_hidden"), out)
        self.regressor = regressor(2 * out, given(spec, "regressor_hidden"))

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """[N, F, 8 width] -> [N, F, 2]."""
        video = self.video_head(features.flatten(1)).unsqueeze(1).expand(-1, features.shape[1], -1)
        return self.regressor(torch.cat((video, self.frame_head(features)), 2))


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs), nn.ReLU())

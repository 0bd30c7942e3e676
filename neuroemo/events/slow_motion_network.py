"""Super SloMo: frames between two by a trained network (Jiang et al., CVPR 2018); the weights are the user's.

With gray pictures A at time 0 and B at time 1, less the mean gray of the training set, one U-Net gives the optical
flow both ways, and for every time t a second one refines the flows from t and says where each picture can be seen::

    F01, F10     = U(A, B)
    F0           = -(1 - t) t F01 + t^2 F10,   F1 = (1 - t)^2 F01 - t (1 - t) F10
    d0, d1, v    = U'(A, B, F01, F10, F1, F0, g(B, F1), g(A, F0)),   V0 = sigmoid(v),   V1 = 1 - V0
    frame at t   = ((1 - t) V0 g(A, F0 + d0) + t V1 g(B, F1 + d1)) / ((1 - t) V0 + t V1)

g(P, F) samples P bilinearly where the flow points. It does so as v2e's copy of the network does with a current
torch, because the weights come with it: half a pixel up and to the left of that place, and the mean gray outside.
Sums are float32 on one thread, so that the same frames give the same pictures whatever else runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.slow_motion_weights import BETWEEN, FLOW, PARTS, NetworkWeights, layers, load_tensors

if TYPE_CHECKING:
    import torch

Gray = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]

MEAN_GRAY = 0.428
"""Mean of the training set's pictures in [0, 1]; v2e takes it off on a GPU, and forgets to on a processor."""

GRAY_LEVELS = 255
SIDE = 32
"""Pictures are continued to a multiple of this: five times the network halves them."""

SLOPE = 0.1
SMALL_MAP = 8
"""Below this side a convolution is a plain product: torch's fast one has given wrong sums on maps this small."""

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give torch one thread; the number belongs to the whole process, so two callers take turns."""
    import torch

    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)


class SlowMotionNetwork:
    """The two U-Nets with the weights of a file, about 160 MB.

    ``mean`` is taken off pictures in [0, 1]: ``MEAN_GRAY``, or 0 for what v2e computes without a GPU.

    Raises ``InputError`` as ``load_tensors`` does.
    """

    def __init__(self, weights: NetworkWeights, *, mean: float = MEAN_GRAY) -> None:
        import torch

        self.name, self.mean = weights.name, mean
        self._tensors = {name: torch.from_numpy(value) for name, value in load_tensors(weights).items()}

    def pair(self, before: Gray, after: Gray) -> FramePair:
        """Return two frames, uint8 ``[H, W]`` each, and the optical flow between them.

        Raises:
            InputError: the network's flow is not finite (E859).
        """
        import torch

        with _one_thread():
            first, second = self._picture(before), self._picture(after)
            flows = self.unet(FLOW, torch.cat((first, second), 1))
        height, width = before.shape
        self.check_finite(flows[..., :height, :width], "optical flow")
        return FramePair(self, first, second, flows[:, :2], flows[:, 2:], (height, width))

    def check_finite(self, made: torch.Tensor, what: str) -> None:
        """Raise ``InputError`` (E859) for numbers that overflowed."""
        wrong = int((~made.isfinite()).sum())
        if wrong:
            found = f"{wrong} of {made.numel()} values of the network's {what} are not finite"
            fix = "these weights do not suit these frames: use --slow-motion dis"
            raise InputError(Finding("E859", "error", self.name, found, "finite numbers", fix=fix))

    def _picture(self, frame: Gray) -> torch.Tensor:
        """Return a frame as float32 [1, 1, H', W'], its last row and column repeated up to a multiple of ``SIDE``."""
        import torch

        wider = [(0, -side % SIDE) for side in frame.shape]
        gray = np.pad(frame, wider, mode="edge").astype(np.float32) / np.float32(GRAY_LEVELS)
        return torch.from_numpy(gray - np.float32(self.mean))[None, None]

    def unet(self, part: str, maps: torch.Tensor) -> torch.Tensor:
        """Return what one of the U-Nets makes of maps float32 ``[1, inputs, H, W]``: ``[1, outputs, H, W]``."""
        import torch
        from torch.nn.functional import avg_pool2d, interpolate

        sizes = layers(*PARTS[part])

        def twice(name: str, first: torch.Tensor, skipped: torch.Tensor | None = None) -> torch.Tensor:
            made = convolve(f"{name}conv1", first)
            return convolve(f"{name}conv2", made if skipped is None else torch.cat((made, skipped), 1))

        def convolve(name: str, given: torch.Tensor) -> torch.Tensor:
            weight, bias = (self._tensors[f"{part}.{name}.{kind}"] for kind in ("weight", "bias"))
            return _convolve(given, weight, bias, sizes[name][2] // 2)

        seen = [twice("", maps)]
        for number in range(1, 6):
            seen.append(twice(f"down{number}.", avg_pool2d(seen[-1], 2)))
        made = seen.pop()
        for number in range(1, 6):
            larger = interpolate(made, scale_factor=2.0, mode="bilinear", align_corners=False)
            made = twice(f"up{number}.", larger, seen.pop())
        return convolve("conv3", made)


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two pictures float32 ``[1, 1, H', W']`` and their flows ``[1, 2, H', W']`` (columns, rows), in pixels."""

    network: SlowMotionNetwork
    first: torch.Tensor
    second: torch.Tensor
    forward: torch.Tensor
    backward: torch.Tensor
    shape: tuple[int, int]

    def flows(self) -> tuple[Flow, Flow]:
        """Return the flow from the first frame to the second and back, float32 ``[H, W, 2]``, of the true picture."""
        height, width = self.shape
        made: Any = tuple(
            flow[0, :, :height, :width].permute(1, 2, 0).numpy() for flow in (self.forward, self.backward)
        )
        return made  # type: ignore[no-any-return]

    def gray(self, share: float) -> npt.NDArray[np.float32]:
        """Return the frame at time ``share`` in 0..1, float32 ``[H, W]`` in [0, 1] and a little beyond.

        Raises:
            InputError: the network's picture is not finite (E859).
        """
        import torch

        t = share
        first, second, forward, backward = self.first, self.second, self.forward, self.backward
        with _one_thread():
            to_first = -(1 - t) * t * forward + t * t * backward
            to_second = (1 - t) * (1 - t) * forward - t * (1 - t) * backward
            seen = (first, second, forward, backward, to_second, to_first)
            warped = (_warp(second, to_second), _warp(first, to_first))
            refined = self.network.unet(BETWEEN, torch.cat((*seen, *warped), 1))
            visible = torch.sigmoid(refined[:, 4:5])
            before, after = (1 - t) * visible, t * (1 - visible)
            made = before * _warp(first, to_first + refined[:, :2]) + after * _warp(second, to_second + refined[:, 2:4])
            height, width = self.shape
            gray = (made / (before + after))[0, 0, :height, :width] + self.network.mean
        self.network.check_finite(gray, "picture")
        return gray.numpy()

    def at(self, share: float) -> Gray:
        """Return the frame at time ``share``, uint8 ``[H, W]``, rounded to the nearest gray level, halves up."""
        levels = self.gray(share) * np.float32(GRAY_LEVELS)
        return np.clip(np.floor(levels + np.float32(0.5)), 0, GRAY_LEVELS).astype(np.uint8)


def _convolve(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, padding: int) -> torch.Tensor:
    from torch.nn.functional import conv2d, leaky_relu, unfold

    height, width = given.shape[2:]
    if min(height, width) >= SMALL_MAP:
        return leaky_relu(conv2d(given, weight, bias, padding=padding), SLOPE)
    patches = unfold(given, weight.shape[2:], padding=padding)[0]
    made = weight.reshape(len(weight), -1) @ patches + bias[:, None]
    return leaky_relu(made.reshape(1, len(weight), height, width), SLOPE)


def _warp(picture: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Return the picture [1, 1, H, W] sampled where the flow [1, 2, H, W] points, 0 outside."""
    import torch
    from torch.nn.functional import grid_sample

    height, width = picture.shape[2:]
    columns = (torch.arange(width, dtype=torch.float32) + flow[:, 0]) * 2 / width - 1
    rows = (torch.arange(height, dtype=torch.float32)[:, None] + flow[:, 1]) * 2 / height - 1
    where = torch.stack((columns, rows), 3)
    return grid_sample(picture, where, mode="bilinear", padding_mode="zeros", align_corners=False)


@lru_cache(maxsize=1)
def load_network(weights: NetworkWeights, path: str) -> SlowMotionNetwork:
    """Return the network of weights that lie at ``path``, kept for the next clip.

    Raises ``InputError`` as ``SlowMotionNetwork`` does.
    """
    return SlowMotionNetwork(NetworkWeights(weights.name, weights.sha256, path))

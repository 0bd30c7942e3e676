"""Weights and frames by formula, so that 40 million numbers need not be kept: the same in every numpy and torch."""

from __future__ import annotations

import zlib

import numpy as np

LOUD = 6.0
"""Factor of the last layers, so that flows reach several pixels and visibility leaves one half."""


def mixed(name: str, size: int) -> np.ndarray:
    """Return ``size`` numbers in [-1, 1), float32: the finaliser of MurmurHash3 over ``index * 2654435769 + crc32``."""
    bits = np.arange(size, dtype=np.uint32) * np.uint32(2654435769) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 2246822507), (13, 3266489909)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return weights uniform within sqrt(6 / fan-in), the last layer's ``LOUD`` times that, and biases within 0.05."""
    if len(shape) == 1:
        return mixed(name, shape[0]) * np.float32(0.05)
    bound = (6 / np.prod(shape[1:])) ** 0.5 * (LOUD if ".conv3." in name else 1.0)
    return (mixed(name, int(np.prod(shape))) * np.float32(bound)).reshape(shape)


def frames(height: int = 64, width: int = 96) -> np.ndarray:
    """Return two frames, uint8 [2, H, W]: waves that move 4 pixels right and 2 down."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    moved = [(rows - 2 * step, columns - 4 * step) for step in (0, 1)]
    waves = [np.sin(x / 5) + np.sin(y / 4 + 1) + np.sin((x + 2 * y) / 9) for y, x in moved]
    return np.rint(128 + 40 * np.stack(waves)).astype(np.uint8)

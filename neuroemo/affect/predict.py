"""What a network says about event frames: valence and arousal of each, in the order in which they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.chunks import Chunks, chunks_of
from neuroemo.affect.inputs import FrameInput, FrameStore, unpack
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

FRAMES_AT_ONCE = 64
VALUES_AT_ONCE = 2**22
"""Input values of the frames that are computed together: fewer frames where they are large."""


def predict(
    network: nn.Module,
    spec: AffectSpec,
    data: FrameStore,
    indices: Array,
    *,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Return valence and arousal float32 [n, 2] of the frames ``indices`` of a store, in their order.

    ``batch`` chunks are computed together (None: as many as fit); it does not change which frames a network sees
    together. ``progress(done, total)`` counts chunks.

    Raises:
        InputError: the frames are not what the network reads, or an answer is NaN or infinite.
    """
    asked = np.asarray(indices, dtype=np.int64)
    chunks = chunks_of(data.clip, asked, spec.frames)
    source = FrameInput(spec, data)
    answers = of_chunks(lambda index: answer(network, source(index)), chunks, chunks_at_once(spec, batch), progress)
    frames = np.unique(asked)
    _refuse_nonsense(answers, spec.name)
    return answers[np.searchsorted(frames, asked)]


def of_chunks(
    compute: Callable[[Array], Array],
    chunks: Chunks,
    batch: int,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Return what ``compute`` (index [N, F] to values [N, F, D]) says of every fresh frame, by ascending frame."""
    parts, frames = [np.empty((0, len(OUTPUTS)), np.float32)], [np.empty(0, np.int64)]
    for start in range(0, len(chunks), batch):
        index, fresh = chunks.index[start : start + batch], chunks.fresh[start : start + batch]
        parts.append(compute(index)[fresh])
        frames.append(index[fresh])
        if progress is not None:
            progress(min(start + batch, len(chunks)), len(chunks))
    values = np.concatenate(parts if len(parts) == 1 else parts[1:])
    return values[np.argsort(np.concatenate(frames), kind="stable")]


def predict_array(
    network: nn.Module, spec: AffectSpec, codes: Array, n_bits: int, *, msb: str = "newest", batch: int | None = None
) -> Array:
    """Return valence and arousal float32 [n, 2] of the codes [n, H, W] of one clip in order of time.

    Raises:
        InputError: the codes are not of the network's size or number of bits, or an answer is NaN or infinite.
    """
    codes = np.asarray(codes)
    wrong = codes.ndim != 3 or codes.shape[1:] != (spec.size, spec.size) or codes.dtype not in (np.uint8, np.uint16)
    if wrong or n_bits != spec.n_bits or msb not in ("newest", "oldest"):
        found = f"{codes.dtype} codes of shape {list(codes.shape)}, {n_bits} bits, msb {msb}"
        limit = f"uint8 or uint16 [n, {spec.size}, {spec.size}], {spec.n_bits} bits, msb newest or oldest"
        raise InputError(Finding("E954", "error", spec.name, found, limit))
    chunks = chunks_of(np.zeros(len(codes), np.int64), np.arange(len(codes)), spec.frames)
    compute = lambda index: answer(network, unpack(codes[index], spec, msb))  # noqa: E731
    answers = of_chunks(compute, chunks, chunks_at_once(spec, batch))
    _refuse_nonsense(answers, spec.name)
    return answers


def chunks_at_once(spec: AffectSpec, batch: int | None = None) -> int:
    """Return how many chunks are computed together: ``batch``, or about 64 frames and at most 4 million values.

    >>> small = AffectSpec("small", "ic3d", size=64, frames=6, width=8)
    >>> chunks_at_once(small), chunks_at_once(small, 3)
    (10, 3)
    """
    if batch is not None:
        if batch < 1:
            raise InputError(Finding("E954", "error", "batch", str(batch), "at least 1 chunk"))
        return batch
    values = spec.size**2 * (spec.n_bits if spec.input == "bits" else 1)
    return max(1, min(FRAMES_AT_ONCE, VALUES_AT_ONCE // values) // spec.frames)


def answer(network: nn.Module, inputs: Array) -> Array:
    """Run a network in evaluation mode on one batch of inputs [N, F, ...] and return [N, F, 2]."""
    import torch

    network.eval()
    with torch.no_grad():
        return network(torch.from_numpy(inputs).to(device_of(network))).cpu().numpy()  # type: ignore[no-any-return]


def device_of(network: nn.Module) -> torch.device:
    """Return where the weights of a network are; the CPU for one without any."""
    import torch

    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def _refuse_nonsense(answers: Array, name: str) -> None:
    if broken := int((~np.isfinite(answers)).any(axis=1).sum()):
        fix = "the weights are damaged or the training diverged: train again with a lower learning rate"
        found = f"{broken} of {len(answers)} answers are NaN or infinite"
        raise InputError(Finding("E954", "error", name, found, "0", str(broken), fix))

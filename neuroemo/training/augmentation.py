"""Augmentation that respects events: what is done to a clip could have been done before the camera.

Mirror and shift move the whole clip, the gray first frame with its events. Lost events and a shift in time
change events alone: a gray first frame is a picture at the start of the clip and stays whole, at step 0.
Spikes stay 0 or 1, and both polarities of a pixel move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_targets.graph import Array
from neuroemo.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a clip of a batch, each at random and apart from the others.

    ``mirror``: left and right change places, for half of the clips. ``shift``: up to that many pixels in
    either direction and axis. ``drop_events``: the share of events that is lost, each event by itself.
    ``shift_steps``: up to that many time steps earlier or later. What leaves the frame or the clip is lost,
    and zeros (no event; black in a gray frame) enter.
    """

    mirror: bool = True
    shift: int = 2
    drop_events: float = 0.0
    shift_steps: int = 0

    @classmethod
    def of(cls, settings: TrainSettings) -> Augmentation:
        """Return the augmentation that training settings ask for."""
        return cls(settings.mirror, settings.shift, settings.drop_events, settings.shift_steps)


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one clip: mirrored or not, pixels down and right, steps later, seed of the lost events."""

    mirrored: bool
    down: int
    right: int
    later: int
    seed: int


def draw(count: int, random: np.random.Generator, augmentation: Augmentation) -> list[Change]:
    """Draw what happens to each of ``count`` clips.

    Several processes draw for the whole batch and apply their share: the clips come out as one would make them.
    """
    return [_draw_one(random, augmentation) for _ in range(count)]


def _draw_one(random: np.random.Generator, augmentation: Augmentation) -> Change:
    mirrored = random.random() < 0.5 and augmentation.mirror
    down, right = random.integers(-augmentation.shift, augmentation.shift + 1, size=2)
    reach = augmentation.shift_steps
    later = int(random.integers(-reach, reach + 1)) if reach else 0
    seed = int(random.integers(2**63)) if augmentation.drop_events else 0
    return Change(bool(mirrored), int(down), int(right), later, seed)


def apply(clips: Array, changes: list[Change], augmentation: Augmentation, *, gray_first: bool) -> Array:
    """Return clips [T, N, 2, H, W] with ``changes[n]`` made to clip n; ``gray_first``: step 0 is a picture."""
    result = np.zeros_like(clips)
    start = 1 if gray_first else 0
    for n, change in enumerate(changes):
        clip = clips[:, n, :, :, ::-1] if change.mirrored else clips[:, n]
        into, out = result[:, n], clip
        if gray_first:
            _move(out[:1], into[:1], change.down, change.right)
        _move(*_in_time(out[start:], into[start:], change.later), change.down, change.right)
        if augmentation.drop_events:
            _drop(into[start:], augmentation.drop_events, np.random.default_rng(change.seed))
    return result


def augment(clips: Array, random: np.random.Generator, augmentation: Augmentation, *, gray_first: bool = True) -> Array:
    """Return clips [T, N, 2, H, W] with each of them changed at random; the input stays as it is."""
    return apply(clips, draw(clips.shape[1], random, augmentation), augmentation, gray_first=gray_first)


def _in_time(source: Array, target: Array, later: int) -> tuple[Array, Array]:
    """Return the steps that are read and the steps that they become."""
    read, written = _overlap(len(source), later)
    return source[read], target[written]


def _move(source: Array, target: Array, down: int, right: int) -> None:
    """Copy frames [T, 2, H, W] into zeros, moved by whole pixels."""
    height, width = source.shape[-2:]
    (rows, new_rows), (columns, new_columns) = _overlap(height, down), _overlap(width, right)
    target[..., new_rows, new_columns] = source[..., rows, columns]


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    """Return which places of an axis are read and written when its content moves by ``by`` places.

    >>> _overlap(5, 2), _overlap(5, -7)
    ((slice(0, 3, None), slice(2, 5, None)), (slice(5, 5, None), slice(0, 0, None)))
    """
    return slice(min(max(-by, 0), length), max(length - max(by, 0), 0)), slice(
        min(max(by, 0), length), max(length - max(-by, 0), 0)
    )


def _drop(events: Array, portion: float, random: np.random.Generator) -> None:
    """Set each event of [T, 2, H, W] to 0 with probability ``portion``, in place."""
    places = np.nonzero(events)
    lost = random.random(len(places[0])) < portion
    events[tuple(axis[lost] for axis in places)] = 0

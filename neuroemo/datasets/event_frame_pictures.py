"""Pictures whose gray values are codes of events, as in NEFER's ``event_frames``: read bit by bit, never as a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.image_frames import read_gray_image

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT, _COLOUR_AT = 24, 25
_PLAIN = (0, 2, 3)
"""Colour types of PNG without an alpha channel: gray, colour, palette."""

_FIX = "give the pictures as they were published: PNG, 8 bits per pixel, gray"


def read_code_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Return the codes of one picture, uint8 ``[H, W]``: its gray values, exactly.

    Raises ``InputError`` (E792) as ``read_gray_image`` does, and for whatever would change a code: a JPEG, other than
    8 bits per channel, transparency, colours.
    """
    codes = read_gray_image(path)
    try:
        with path.open("rb") as file:
            head = file.read(_COLOUR_AT + 1)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from error
    if not head.startswith(_PNG):
        raise _refused(path, "JPEG, which changes the codes")
    if head[_DEPTH_AT] != 8 or head[_COLOUR_AT] not in _PLAIN:
        raise _refused(path, f"{head[_DEPTH_AT]} bits per channel, PNG colour type {head[_COLOUR_AT]}")
    if head[_COLOUR_AT] and not _is_gray(path):
        raise _refused(path, "a picture in colours")
    return codes


def _is_gray(path: Path) -> bool:
    """Say whether all channels of a colour picture are equal; a weighted mean of others would be no code."""
    import cv2

    colour = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return colour is not None and bool((colour == colour[..., :1]).all())


def _refused(path: Path, found: str) -> InputError:
    return InputError(Finding("E792", "error", str(path), found, "a PNG of 8-bit gray", fix=_FIX))

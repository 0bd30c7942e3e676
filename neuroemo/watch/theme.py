"""The look of the film: colours, and text in the DejaVu fonts that come with matplotlib.

A light theme, because the film's pictures end up in papers and README files, which are white. Data colours are those of
Okabe and Ito ("Color Universal Design", 2008), told apart by the colour-blind.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, MissingDependencyError

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

PAGE: Colour = (246, 247, 249)
CARD: Colour = (255, 255, 255)
EDGE: Colour = (222, 225, 230)
WELL: Colour = (245, 245, 245)
INK: Colour = (31, 35, 40)
MUTED: Colour = (101, 109, 118)
FAINT: Colour = (208, 212, 217)
VALENCE: Colour = (0, 134, 98)
"""Bluish green, a shade darker than Okabe and Ito's, so that numbers in it can be read on white."""
AROUSAL: Colour = (170, 68, 130)
"""Reddish purple, darker for the same reason."""

REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"


@lru_cache(maxsize=32)
def _font(face: str, size: int) -> Any:
    try:
        import matplotlib
        from matplotlib.ft2font import FT2Font
    except ImportError as error:
        fix = "pip install matplotlib"
        raise MissingDependencyError(Finding("E988", "error", "matplotlib", "is not installed", fix=fix)) from error
    font = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/{face}")
    font.set_size(size, 72)
    return font


@lru_cache(maxsize=1024)
def inked(text: str, size: int, face: str = REGULAR) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the cover 0..255 of a line of text [h, w], and the row on which its letters stand.

    The width is the sum of what the letters advance: all digits take the same room, so numbers do not dance. A letter
    that the font does not have is a question mark.
    """
    font = _font(face, size)
    text = "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in text)
    font.set_text(text, 0.0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    image = np.array(font.get_image(), dtype=np.uint8)
    base, left = image.shape[0] - 1 - round(font.get_descent() / 64), max(0, round(font.get_bitmap_offset()[0] / 64))
    advance = round(sum(font.load_char(ord(letter)).linearHoriAdvance for letter in text) / 65536)
    # The bitmap ends with a blank column or two, which may reach beyond.
    cover = np.zeros((image.shape[0], left + image.shape[1] + advance), np.uint8)
    cover[:, left : left + image.shape[1]] = image
    return np.ascontiguousarray(cover[:, : advance + 1]), base


def text_width(text: str, size: int, face: str = REGULAR) -> int:
    """Return the width of a line of text in pixels."""
    return inked(text, size, face)[0].shape[1] if text else 0


def write(
    page: Picture,
    text: str,
    place: tuple[int, int],
    size: int,
    colour: Colour = INK,
    *,
    face: str = REGULAR,
    align: float = 0.0,
) -> int:
    """Write a line of text whose letters stand on ``place`` (x, y); return its width in pixels.

    ``align`` is the share of the width that lies left of x: 0 begins there, 0.5 centres, 1 ends there. ``size`` is the
    height of the font in pixels. What reaches over the page is cut off.
    """
    if not text:
        return 0
    cover, base = inked(text, size, face)
    left, top = place[0] - round(align * cover.shape[1]), place[1] - base
    blend(page, cover, (left, top), colour)
    return int(cover.shape[1])


def blend(page: Picture, cover: npt.NDArray[np.uint8], place: tuple[int, int], colour: Colour) -> None:
    """Paint a colour through a cover 0..255 [h, w], whose upper left corner is at ``place`` (x, y)."""
    left, top = place
    x, y = max(0, left), max(0, top)
    below, right = min(page.shape[0], top + cover.shape[0]), min(page.shape[1], left + cover.shape[1])
    if x >= right or y >= below:
        return
    share = cover[y - top : below - top, x - left : right - left, None].astype(np.int32)
    part = page[y:below, x:right]
    part[:] = (part * (255 - share) + np.array(colour, np.int32) * share + 127) // 255


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Return ``(1 - share) colour + share other``.

    >>> mixed((0, 0, 0), (255, 255, 255), 0.5)
    (128, 128, 128)
    """
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def card(page: Picture, left: int, top: int, width: int, height: int) -> None:
    """Draw a white card with rounded corners and a thin edge."""
    import cv2

    radius = 12
    for colour, inset in ((EDGE, 0), (CARD, 1)):
        a, b = (left + inset, top + inset), (left + width - 1 - inset, top + height - 1 - inset)
        cv2.rectangle(page, (a[0] + radius, a[1]), (b[0] - radius, b[1]), colour, -1)
        cv2.rectangle(page, (a[0], a[1] + radius), (b[0], b[1] - radius), colour, -1)
        for x in (a[0] + radius, b[0] - radius):
            for y in (a[1] + radius, b[1] - radius):
                cv2.circle(page, (x, y), radius, colour, -1, cv2.LINE_AA)


def signed(value: float) -> str:
    """Return a number in -1..1 with its sign and two digits, as wide as any other.

    >>> signed(0.5), signed(-0.256), signed(-0.001)
    ('+0.50', '−0.26', '+0.00')
    """
    text = f"{value:+.2f}"
    return "+0.00" if text == "-0.00" else text.replace("-", "−")


def clock(seconds: float) -> str:
    """Return a time as minutes, seconds and hundredths, with hours where there are any.

    >>> clock(72.34), clock(3600.0)
    ('1:12.34', '1:00:00.00')
    """
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    tail = f"{rest // 100:02}.{rest % 100:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{tail}" if minutes >= 60 else f"{minutes}:{tail}"

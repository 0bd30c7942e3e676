"""Temporal binary representation: N binary slices of a recording, read as one N-bit number per pixel.

Source: S. U. Innocenti, F. Becattini, F. Pernici, A. Del Bimbo, "Temporal Binary Representation for Event-Based
Action Recognition", ICPR 2020, arXiv 2010.08946.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.representations.checks import (
    Polarity,
    SensorSize,
    choice,
    event_columns,
    integer,
    plain,
    raise_any,
)
from neuroemo.events.representations.windows import Windows, WindowSettings, cut

MostSignificant = Literal["newest", "oldest"]
Norm = Literal["2^N", "2^N-1"]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
MAX_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TbrSettings(WindowSettings):
    """How bits become frames; the defaults are 8 slices of 5 ms, one frame of a 25 Hz video.

    ``n_bits`` is N, 1 to 16; ``dt_us`` the length of a slice, so that a frame lasts ``N * dt_us``; ``count``
    is a number of frames. ``msb`` says which slice is the most significant bit: "newest" weighs slice k
    (0 the oldest) by 2^k, as the sum of b_k 2^k in the source does; "oldest" by 2^(N-1-k), as Bina-Rep and tonic
    do. A network trained on one order fails on the other. ``norm`` divides by 2^N ([0, 1), as public TBR code
    does), by 2^N - 1 ([0, 1], as Bina-Rep) or, None, not at all. ``polarity="merge"`` sets a bit for an event of
    either polarity (the source); "split" keeps ON in channel 0 and OFF in channel 1.

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    n_bits: int = 8
    msb: MostSignificant = "newest"
    norm: Norm | None = "2^N"
    polarity: Polarity = "merge"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        raise_any(
            [
                *self.window_findings(),
                *integer("n_bits", self.n_bits, 1, MAX_BITS),
                *choice("msb", self.msb, ("newest", "oldest")),
                *choice("norm", self.norm, ("2^N", "2^N-1", None)),
                *choice("polarity", self.polarity, ("merge", "split")),
            ]
        )


@dataclass(frozen=True, slots=True)
class Tbr:
    """Frames of codes ``[F, C, H, W]``, uint8 up to 8 bits, else uint16 (an 8-bit image would drop half of those).

    ``mean_times_us`` float64 [F] is the mean time of a frame's events, the centre of a frame without one: the
    time to look a label up with. ``left_out`` events lie before the first or after the last frame.
    """

    codes: Codes
    settings: TbrSettings
    start_us: int
    mean_times_us: npt.NDArray[np.float64]
    left_out: int

    def values(self) -> npt.NDArray[np.float32]:
        """Return the normalised frames, float32 ``[F, C, H, W]``: ``code / 2^N``, ``code / (2^N - 1)`` or ``code``."""
        full = 2**self.settings.n_bits
        divisor = {"2^N": full, "2^N-1": full - 1, None: 1}[self.settings.norm]
        return (self.codes.astype(np.float64) / divisor).astype(np.float32)

    def metadata(self) -> dict[str, Any]:
        """Return what has to be stored beside the codes to read them, ready for JSON."""
        facts = {"representation": "tbr", "start_us": self.start_us, "left_out": self.left_out}
        return {**plain(self.settings), **facts, "type": str(self.codes.dtype), "shape": list(self.codes.shape)}


def tbr(events: npt.NDArray[Any], sensor_size: SensorSize, settings: TbrSettings | None = None) -> Tbr:
    """Return the temporal binary representation: ``code = sum over k of b_k 2^k``, b_k = 1 if slice k has an event.

    Raises ``InputError``: E780 for the events, E781 for the sensor size, E783 over 4 GiB.

    >>> kind = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    >>> events = np.array([(0, 0, 0, 1), (5000, 1, 0, 0), (39999, 1, 0, 1), (40000, 0, 0, 1)], kind)
    >>> tbr(events, (2, 1, 2), TbrSettings(start_us=0)).codes.tolist()
    [[[[1, 130]]], [[[1, 0]]]]
    >>> tbr(events, (2, 1, 2), TbrSettings(start_us=0, msb="oldest")).codes.tolist()
    [[[[128, 65]]], [[[128, 0]]]]
    """
    from neuroemo.events.representations.kernels import set_bits

    chosen = settings or TbrSettings()
    columns = event_columns(events, sensor_size, chosen.polarity)
    bits = bit_weights(chosen.n_bits, chosen.msb)
    windows = cut(columns.t, chosen, group=chosen.n_bits, plane_bytes=bits.itemsize * columns.plane)
    frames = (windows.edges.size - 1) // chosen.n_bits
    codes: Any = np.zeros((frames, columns.plane), bits.dtype)
    set_bits(windows.bounds, columns.cell, bits, codes)
    whole = Windows(windows.edges[:: chosen.n_bits], windows.bounds[:: chosen.n_bits], windows.left_out)
    shaped: Codes = codes.reshape(frames, *columns.shape)
    return Tbr(shaped, chosen, windows.start_us, whole.mean_times(columns.t), windows.left_out)


def bit_weights(n_bits: int, msb: MostSignificant) -> Codes:
    """Return the weight of every slice, the oldest first.

    >>> bit_weights(4, "newest").tolist(), bit_weights(4, "oldest").tolist()
    ([1, 2, 4, 8], [8, 4, 2, 1])
    """
    raise_any([*integer("n_bits", n_bits, 1, MAX_BITS), *choice("msb", msb, ("newest", "oldest"))])
    exponents = np.arange(n_bits) if msb == "newest" else np.arange(n_bits)[::-1]
    return (2**exponents).astype(np.uint8) if n_bits <= 8 else (2**exponents).astype(np.uint16)


def codes_to_steps(codes: Codes, n_bits: int, msb: MostSignificant) -> npt.NDArray[np.uint8]:
    """Return frames of codes [F, C, H, W] as time steps, uint8 {0, 1} ``[F * N, C, H, W]``, the oldest first.

    The same information for a spiking network: no multiplication in the first layer. Raises ``InputError`` (E782)
    for codes of another type or shape, or over ``2^N - 1``.

    >>> codes_to_steps(np.array([[[[6]]]], np.uint8), 4, "newest").ravel().tolist()
    [0, 1, 1, 0]
    """
    weights = bit_weights(n_bits, msb)
    found = f"{getattr(codes, 'dtype', type(codes).__name__)} {list(getattr(codes, 'shape', []))}"
    if not isinstance(codes, np.ndarray) or codes.dtype.kind != "u" or codes.ndim != 4:
        raise InputError(Finding("E782", "error", "codes", found, "unsigned integers [F, C, H, W]"))
    largest = int(codes.max(initial=0))
    if largest >= 2**n_bits:
        limit, over = str(2**n_bits - 1), str(largest - 2**n_bits + 1)
        raise InputError(Finding("E782", "error", "codes", f"code {largest}", limit, over, "give their number of bits"))
    steps = (codes[:, None] & weights[:, None, None, None]) != 0
    return steps.astype(np.uint8).reshape(-1, *codes.shape[1:])


def steps_to_codes(steps: npt.NDArray[Any], n_bits: int, msb: MostSignificant) -> Codes:
    """Return time steps {0, 1} ``[F * N, C, H, W]``, the oldest first, as codes ``[F, C, H, W]``.

    The inverse of ``codes_to_steps``. Raises ``InputError`` (E782) for other values or a part of a frame.

    >>> steps_to_codes(np.array([0, 1, 1, 0]).reshape(4, 1, 1, 1), 4, "newest").tolist()
    [[[[6]]]]
    """
    weights = bit_weights(n_bits, msb)
    found = f"{getattr(steps, 'dtype', type(steps).__name__)} {list(getattr(steps, 'shape', []))}"
    if not isinstance(steps, np.ndarray) or steps.ndim != 4 or len(steps) % n_bits:
        raise InputError(Finding("E782", "error", "steps", found, f"[F * {n_bits}, C, H, W]"))
    if steps.dtype != np.bool_ and not ((steps == 0) | (steps == 1)).all():
        raise InputError(Finding("E782", "error", "steps", f"{found}, other values than 0 and 1", "0 and 1"))
    grouped = steps.astype(np.uint8).reshape(len(steps) // n_bits, n_bits, *steps.shape[1:])
    codes: Codes = (grouped * weights[:, None, None, None]).sum(axis=1, dtype=weights.dtype)
    return codes

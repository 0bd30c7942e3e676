"""The inner loops of the pixel model, in machine code: one pass over the pixels, one over those that fire.

Most pixels of most frames see too little change for an event. The first loop compares and lists the others; only these
are visited again. States are float32, or float64 behind a photoreceptor of limited bandwidth, as in v2e, so that the
same thresholds are crossed at the same frames.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def whole_thresholds(change: Any, threshold: Any) -> int:
    """Return floor(change / threshold), exactly: a quotient near a whole number is looked at again."""
    change, threshold = np.float64(change), np.float64(threshold)
    quotient = change / threshold
    whole = math.floor(quotient)
    if quotient - whole < 1e-9 * max(1.0, quotient):
        whole = round((change - np.fmod(change, threshold)) / threshold)
    return int(whole)


@numba.njit(cache=True, nogil=True)
def leak(base: Any, positive: Any, spread: Any, amount: Any, width: Any, key: int) -> None:
    """Let memories sink by ``amount`` thresholds, times a pixel's ``spread``, times 1 + width (u - 1/2), in place.

    u is uniform in [0, 1): the finaliser of MurmurHash3 over the pixel's number and the ``key`` of the frame, which
    needs no state and so no order.
    """
    one, half, scale = np.float32(1), np.float32(0.5), np.float32(2.0**-24)
    for pixel in range(base.size):
        bits = np.uint32(np.uint32(pixel) * np.uint32(0x9E3779B9) + np.uint32(key))
        bits = np.uint32(bits ^ (bits >> np.uint32(16)))
        bits = np.uint32(bits * np.uint32(0x85EBCA6B))
        bits = np.uint32(bits ^ (bits >> np.uint32(13)))
        bits = np.uint32(bits * np.uint32(0xC2B2AE35))
        bits = np.uint32(bits ^ (bits >> np.uint32(16)))
        drawn = np.float32(bits >> np.uint32(8)) * scale
        share = amount * spread[pixel] * (one + width * (drawn - half))
        base[pixel] -= share * positive[pixel]


@numba.njit(cache=True, nogil=True)
def advance(
    frame: Any, table: Any, slow: Any, light: Any, before: Any, base: Any, positive: Any, negative: Any,
    active: Any, counts: Any,
) -> Any:  # fmt: skip
    """Let the photoreceptors follow a frame, and list the pixels that fire with their events, negative for OFF.

    ``light`` <- (1 - slow[g]) light + slow[g] table[g] for the gray level g of each pixel; ``slow`` is empty where
    the bandwidth is unlimited. ``before`` keeps the light of the last frame, unless it is empty. Returns how
    many pixels fire, how many events that makes, and the most events of one pixel.
    """
    found = 0
    for pixel in range(frame.size):
        level = frame[pixel]
        if before.size:
            before[pixel] = light[pixel]
        if slow.size:
            light[pixel] = (1 - slow[level]) * light[pixel] + slow[level] * table[level]
        else:
            light[pixel] = table[level]
        change = light[pixel] - base[pixel]
        # Written to in any case and kept only if the pixel fires: no branch that could be guessed wrong.
        active[found] = pixel
        found += int(change >= positive[pixel]) | int(-change >= negative[pixel])
    total, most = 0, 0
    for index in range(found):
        pixel = active[index]
        change = light[pixel] - base[pixel]
        rising = change > 0
        size, threshold = (change, positive[pixel]) if rising else (-change, negative[pixel])
        # Twice a threshold is exact, and most pixels that fire do so once.
        events = 1 if size < threshold + threshold else whole_thresholds(size, threshold)
        counts[index] = events if rising else -events
        total += events
        most = max(most, events)
    return found, total, most


@numba.njit(cache=True, nogil=True)
def send(
    active: Any, counts: Any, light: Any, before: Any, base: Any, positive: Any, negative: Any, last: Any,
    refractory: Any, slots: Any, start_us: float, length_us: float, out_t: Any, out_pixel: Any, out_p: Any,
) -> int:  # fmt: skip
    """Send the events of one frame, pixel by pixel, and move the memories; return how many were sent.

    With ``slots`` (seconds) the k-th event of a pixel has the k-th of them; else the time at which the brightness, on
    a straight line from ``before`` to ``light``, is k thresholds away from the memory. An event that comes
    within ``refractory`` seconds of the pixel's last one is not sent and leaves the memory where it is.
    ``out_t`` are slots, or microseconds after ``start_us``.
    """
    sent = 0
    for index in range(active.size):
        pixel, count = active[index], counts[index]
        rising = count > 0
        threshold = positive[pixel] if rising else negative[pixel]
        memory, kept = base[pixel], 0
        for event in range(1, abs(count) + 1):
            place = event - 1
            offset = 0.0
            if slots.size == 0:
                step = event * threshold
                crossing = memory + step if rising else memory - step
                path = light[pixel] - before[pixel]
                share = (crossing - before[pixel]) / path if path != 0 else 1.0
                offset = min(max(share, 0.0), 1.0) * length_us
            if refractory > 0:
                at = slots[event - 1] if slots.size else np.float32((start_us + offset) * 1e-6)
                if not at - last[pixel] > refractory:
                    continue
                last[pixel] = at
            out_t[sent] = place if slots.size else round(offset)
            out_pixel[sent], out_p[sent] = pixel, rising
            sent += 1
            kept += 1
        # The memory moves by a product in single precision whatever the type of the state: so it does in v2e.
        moved = np.float32(kept) * np.float32(threshold)
        base[pixel] = memory + moved if rising else memory - moved
    return sent


@numba.njit(cache=True, nogil=True)
def in_order(
    times: Any, pixels: Any, polarity: Any, width: int, stamps: Any, start_us: int, bins: Any, events: Any
) -> None:
    """Write events in ascending time by counting how many fall into each bin; equal times keep their order.

    ``times`` are bins: microseconds after ``start_us``, or places in ``stamps`` (microseconds) if there are any.
    """
    bins[:] = 0
    for index in range(times.size):
        bins[times[index] + 1] += 1
    for index in range(1, bins.size):
        bins[index] += bins[index - 1]
    for index in range(times.size):
        time, pixel = times[index], pixels[index]
        place = bins[time]
        bins[time] = place + 1
        record = events[place]
        record.t = stamps[time] if stamps.size else start_us + time
        row = pixel // width
        record.x = pixel - row * width
        record.y = row
        record.p = polarity[index]

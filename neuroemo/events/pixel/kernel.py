"""The inner loops of the pixel model, in machine code: one call per frame.

Pixels are visited in blocks that fit the processor's first cache, in short loops without branches, which the compiler
turns into vector instructions; those that fire are listed and visited again. States are float32, or float64 behind a
photoreceptor of limited bandwidth, as in v2e, so that the same thresholds are crossed at the same frames.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.pixel.noise import draw_noise, send_noise

BLOCK, DIGIT = 1024, 1 << 16
RECORD: Any = numba.from_dtype(EVENT_DTYPE)


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
def leak(base: Any, positive: Any, spread: Any, amount: Any) -> None:
    """Let memories sink by ``amount`` thresholds, times a pixel's ``spread``, in place."""
    kind = base.dtype.type
    for pixel in range(base.size):
        base[pixel] -= kind(amount * spread[pixel]) * positive[pixel]


@numba.njit(cache=True, nogil=True)
def leak_unevenly(base: Any, positive: Any, spread: Any, amount: Any, width: Any, key: Any) -> None:
    """Let memories sink as ``leak`` does, times 1 + width (u - 1/2) for each pixel.

    u is uniform in [0, 1): the finaliser of MurmurHash3 over the pixel's number times 0x9E3779B9 plus ``key``, which
    needs no state and so no order.
    """
    kind = base.dtype.type
    one, half, scale = np.float32(1), np.float32(0.5), np.float32(2.0**-24)
    for pixel in range(base.size):
        bits = np.uint32(np.uint32(pixel) * np.uint32(0x9E3779B9) + key)
        bits = np.uint32(bits ^ (bits >> np.uint32(16)))
        bits = np.uint32(bits * np.uint32(0x85EBCA6B))
        bits = np.uint32(bits ^ (bits >> np.uint32(13)))
        bits = np.uint32(bits * np.uint32(0xC2B2AE35))
        bits = np.uint32(bits ^ (bits >> np.uint32(16)))
        drawn = np.float32(np.int32(bits >> np.uint32(8))) * scale
        share = amount * spread[pixel] * (one + width * (drawn - half))
        base[pixel] -= kind(share) * positive[pixel]


@numba.njit(cache=True, nogil=True)
def look(frame: Any, table: Any, light: Any) -> None:
    """Read the brightness of every gray level from a table."""
    for pixel in range(frame.size):
        light[pixel] = table[frame[pixel]]


@numba.njit(cache=True, nogil=True)
def follow(frame: Any, keep: Any, gain: Any, before: Any, light: Any) -> None:
    """Let photoreceptors follow a frame: ``light`` <- keep[g] before + gain[g] for the gray level g of each pixel."""
    for pixel in range(frame.size):
        level = frame[pixel]
        light[pixel] = keep[level] * before[pixel] + gain[level]


@numba.njit(cache=True, nogil=True)
def compare(light: Any, base: Any, positive: Any, negative: Any, fires: Any) -> None:
    """Set ``fires`` where the change of brightness since the memory reaches a threshold."""
    for pixel in range(light.size):
        change = light[pixel] - base[pixel]
        fires[pixel] = np.uint8(change >= positive[pixel]) | np.uint8(-change >= negative[pixel])


@numba.njit(cache=True, nogil=True)
def list_active(fires: Any, first: int, active: Any, found: int) -> int:
    """Append the numbers of pixels that fire, counted from ``first``, to a list of ``found``; return its new length."""
    for pixel in range(fires.size):
        # Written to in any case and kept only if the pixel fires: no branch that could be guessed wrong.
        active[found] = first + pixel
        found += fires[pixel]
    return found


@numba.njit(cache=True, nogil=True)
def expose(
    frame: Any, table: Any, cutoff_hz: float, seconds: float, before: Any, light: Any, base: Any, positive: Any,
    negative: Any, spread: Any, amount: Any, width: Any, key: Any, active: Any,
) -> int:  # fmt: skip
    """Show a frame to all pixels, and list those that fire; return how many do.

    ``before`` and ``light`` are the brightness at the last frame and at this one, which is written.
    ``amount``: leak in thresholds, ``width``: its jitter.
    """
    keep, gain, fires = np.empty(256), np.empty(256), np.empty(BLOCK, np.uint8)
    if cutoff_hz > 0:
        tau = 1 / (math.pi * 2 * cutoff_hz)
        for level in range(256):
            slow = min((level + 20.0) / 275.0 * (seconds / tau), 1.0)
            keep[level], gain[level] = 1 - slow, slow * np.float64(table[level])
    found = 0
    for start in range(0, frame.size, BLOCK):
        stop = min(start + BLOCK, frame.size)
        memory, rising = base[start:stop], positive[start:stop]
        if amount > 0 and width > 0:
            shifted = np.uint32(np.uint32(start) * np.uint32(0x9E3779B9) + key)
            leak_unevenly(memory, rising, spread[start:stop], amount, width, shifted)
        elif amount > 0:
            leak(memory, rising, spread[start:stop], amount)
        if cutoff_hz > 0:
            follow(frame[start:stop], keep, gain, before[start:stop], light[start:stop])
        else:
            look(frame[start:stop], table, light[start:stop])
        compare(light[start:stop], memory, rising, negative[start:stop], fires)
        found = list_active(fires[: stop - start], start, active, found)
    return found


@numba.njit(cache=True, nogil=True)
def count(active: Any, found: int, light: Any, base: Any, positive: Any, negative: Any, counts: Any) -> Any:
    """Count the events of listed pixels, negative for OFF; return their sum and the most of one pixel."""
    total, most = 0, 0
    for index in range(found):
        pixel = active[index]
        change, up, down = light[pixel] - base[pixel], positive[pixel], negative[pixel]
        rising = change > 0
        size, threshold = abs(change), up if rising else down
        # Twice a threshold is exact, and most pixels that fire do so once.
        events = 1 if size < threshold + threshold else whole_thresholds(size, threshold)
        counts[index] = events if rising else -events
        total += events
        most = max(most, events)
    return total, most


@numba.njit(cache=True, nogil=True)
def move(active: Any, found: int, counts: Any, base: Any, positive: Any, negative: Any) -> None:
    """Move the memories of listed pixels by their events, as ``fire`` does."""
    for index in range(found):
        pixel, events = active[index], counts[index]
        up, down = positive[pixel], negative[pixel]
        base[pixel] += np.float32(events) * np.float32(up if events > 0 else down)


@numba.njit(cache=True, nogil=True)
def send_slots(active: Any, found: int, counts: Any, columns: int, slots: Any, events: Any) -> None:
    """Write the events slot by slot: every pixel uses the first ones. ``active`` and ``counts`` are used up."""
    place = 0
    for slot in range(slots.size):
        time = np.int64(np.rint(np.float64(slots[slot]) * 1e6))
        row, row_start, left = 0, 0, 0
        for index in range(found):
            pixel, number = active[index], counts[index]
            while pixel >= row_start + columns:
                row += 1
                row_start += columns
            record = events[place]
            record.t, record.x, record.y, record.p = time, pixel - row_start, row, number > 0
            place += 1
            # Those with more events move up; written to in any case, as in ``list_active``.
            active[left], counts[left] = pixel, number
            left += abs(number) > slot + 1
        found = left


@numba.njit(cache=True, nogil=True)
def place_slots(most: int, start_us: int, stop_us: int) -> Any:
    """Return the times at which v2e lets pixels fire in one frame, float32 [most], seconds.

    Single precision from both ends, each with one rounding, as torch spaces numbers and v2e its slots.
    """
    slots = np.empty(most, np.float32)
    start, stop = start_us * 1e-6, stop_us * 1e-6
    first, last = np.float32(start + (stop - start) / max(most, 1)), np.float32(stop)
    step = np.float64(0)
    if most > 1:
        step = np.float64(np.float32(np.float32(last - first) / np.float32(most - 1)))
    for place in range(most):
        if place < most // 2 or most == 1:
            slots[place] = np.float32(np.float64(first) + step * place)
        else:
            slots[place] = np.float32(np.float64(last) - step * (most - 1 - place))
    return slots


@numba.njit(cache=True, nogil=True)
def fire(
    active: Any, found: int, counts: Any, light: Any, before: Any, base: Any, positive: Any, negative: Any,
    last: Any, refractory: Any, slots: Any, start_us: int, length_us: int, times: Any,
) -> int:  # fmt: skip
    """Find the times of the events of one frame, pixel by pixel, and move the memories; return how many are sent.

    With ``slots`` (seconds) the k-th event of a pixel has the k-th of them; else the time at which the brightness, on
    a straight line from ``before`` to ``light``, is k thresholds away from the memory. An event that comes
    within ``refractory`` seconds of the pixel's last one is not sent and leaves the memory where it is.
    ``times`` are slots, or microseconds after ``start_us``; ``counts`` become those of the events sent.
    """
    sent = 0
    for index in range(found):
        pixel, events = active[index], counts[index]
        rising, up, down = events > 0, positive[pixel], negative[pixel]
        threshold = up if rising else down
        memory, kept = base[pixel], 0
        for event in range(1, abs(events) + 1):
            time = event - 1
            offset = 0.0
            if slots.size == 0:
                crossing = memory + (event if rising else -event) * threshold
                path = light[pixel] - before[pixel]
                share = (crossing - before[pixel]) / path if path != 0 else 1.0
                offset = min(max(share, 0.0), 1.0) * length_us
                time = int(np.rint(offset))
            if refractory > 0:
                at = slots[event - 1] if slots.size else np.float32((start_us + offset) * 1e-6)
                if not at - last[pixel] > refractory:
                    continue
                last[pixel] = at
            times[sent] = time
            sent += 1
            kept += 1
        counts[index] = kept if rising else -kept
        # By a product in single precision whatever the type of the state: so does v2e.
        base[pixel] = memory + np.float32(counts[index]) * np.float32(threshold)
    return sent


@numba.njit(cache=True, nogil=True)
def count_places(keys: Any, largest: int) -> Any:
    """Return the place of every key (0 to ``largest``) in ascending order; equal keys keep theirs."""
    ends = np.zeros(largest + 2, np.int32)
    for index in range(keys.size):
        ends[keys[index] + 1] += 1
    for key in range(largest):
        ends[key + 1] += ends[key]
    places = np.empty(keys.size, np.int32)
    for index in range(keys.size):
        places[index] = ends[keys[index]]
        ends[keys[index]] += 1
    return places


@numba.njit(cache=True, nogil=True)
def in_order(times: Any, longest: int) -> Any:
    """Return the place of every time (0 to ``longest``) in ascending order; equal times keep theirs.

    >>> in_order(np.array([5, 0, 5, 3], np.int32), 5).tolist()
    [2, 0, 3, 1]
    """
    if longest < DIGIT:
        return count_places(times, longest)
    # By the low digit, and what comes of that by the high one.
    places = count_places(times % DIGIT, DIGIT - 1)
    high = np.empty(times.size, np.int32)
    for index in range(times.size):
        high[places[index]] = times[index] // DIGIT
    after = count_places(high, longest // DIGIT)
    for index in range(times.size):
        places[index] = after[places[index]]
    return places


@numba.njit(cache=True, nogil=True)
def send(
    active: Any, found: int, counts: Any, times: Any, places: Any, columns: int, slots: Any, start_us: int, events: Any
) -> None:
    """Write the events at their places."""
    taken, row, row_start = 0, 0, 0
    for index in range(found):
        pixel = active[index]
        while pixel >= row_start + columns:
            row += 1
            row_start += columns
        for _ in range(abs(counts[index])):
            time = times[taken]
            record = events[places[taken]]
            record.t = np.int64(np.rint(np.float64(slots[time]) * 1e6)) if slots.size else start_us + time
            record.x = pixel - row_start
            record.y = row
            record.p = counts[index] > 0
            taken += 1


@numba.njit(cache=True, nogil=True)
def frame_events(
    frame: Any, columns: int, table: Any, before: Any, light: Any, base: Any, positive: Any, negative: Any,
    spread: Any, last: Any, active: Any, counts: Any, start_us: int, stop_us: int, cutoff_hz: float,
    leak_hz: Any, leak_width: Any, refractory_us: float, linear: bool, noise: Any, tables: Any, key: Any,
) -> Any:  # fmt: skip
    """Return the events between two frames, of type ``EVENT_DTYPE``, and move all states."""
    seconds = stop_us * 1e-6 - start_us * 1e-6
    length_us = stop_us - start_us
    amount = np.float32(seconds) * leak_hz
    short_key = np.uint32(key & np.uint64(0xFFFFFFFF))
    found = expose(
        frame, table, cutoff_hz, seconds, before, light, base, positive, negative, spread, amount, leak_width,
        short_key, active,
    )  # fmt: skip
    total, most = count(active, found, light, base, positive, negative, counts)
    noisy = draw_noise(frame, positive, negative, noise, tables, key) if noise.candidates else 0
    # v2e drops the refractory period where slots are further apart anyway.
    free = refractory_us == 0 if linear else not refractory_us > length_us / max(most, 1)
    slots = place_slots(0 if linear else max(most, 1), start_us, stop_us)
    if free and not linear:
        move(active, found, counts, base, positive, negative)
        events = np.empty(total + noisy, RECORD)
        send_slots(active, found, counts, columns, slots, events)
    else:
        times = np.empty(total, np.int32)
        period = np.float32(0) if free else np.float32(refractory_us * 1e-6)
        total = fire(
            active, found, counts, light, before, base, positive, negative, last, period, slots, start_us,
            length_us, times,
        )  # fmt: skip
        places = in_order(times[:total], length_us if linear else slots.size - 1)
        events = np.empty(total + noisy, RECORD)
        send(active, found, counts, times, places, columns, slots, start_us, events)
    if noisy:
        send_noise(tables.marked, columns, stop_us, light, base, events[total:])
    return events

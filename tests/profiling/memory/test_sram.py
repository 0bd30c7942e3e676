"""The energy of a memory access: hand values, the published line, and what the three readings differ by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroemo.profiling.memory.sram import ROWS, Sram
from neuroemo.profiling.prices import load_prices

RATES = load_prices("cmos45").rows
SHARE, WHOLE, LINE = (Sram.of(RATES, model) for model in ("share", "whole", "linear"))


@pytest.mark.parametrize(
    ("kilobytes", "whole"),
    [(0, 0.0), (4, 5.0), (8, 10.0), (20, 15.0), (32, 20.0), (528, 60.0), (1024, 100.0), (25_000, 100.0)],
)
def test_interpolation_by_hand(kilobytes: int, whole: float) -> None:
    # Halfway between 32 KB and 1024 KB lies 528 KB: (20 + 100) / 2. Nothing above 1 MB costs more.
    assert WHOLE.access_pj(kilobytes * 256, 32) == pytest.approx(whole)
    assert SHARE.access_pj(kilobytes * 256, 32) == pytest.approx(whole / 2)
    assert SHARE.access_pj(kilobytes * 1024, 8) == pytest.approx(whole / 8)
    assert SHARE.access_pj(kilobytes * 128, 64) == pytest.approx(whole)


def test_the_line_is_the_published_one_to_its_printed_digits() -> None:
    slope, offset = np.polyfit(np.array([8e3, 32e3, 1e6]) * 8, [10.0, 20.0, 100.0], 1)
    assert LINE.line() == (pytest.approx(offset), pytest.approx(slope))
    assert (f"{LINE.line()[0]:.1f}", f"{LINE.line()[1]:.2e}") == ("13.2", "1.09e-05")


def test_the_line_takes_the_width_into_the_size_only() -> None:
    assert LINE.access_pj(1000, 32) == pytest.approx(LINE.access_pj(4000, 8))
    assert LINE.access_pj(0, 32) == pytest.approx(13.2, abs=0.05)


def test_published_disagreements() -> None:
    # A kernel of 2304 bytes, 32 x 126 x 126 potentials, the 25.7 MB of a dense layer, words of 32 bits. By hand from
    # the printed line: 13.2 + 1.09e-5 x 18,432 = 13.4, x 16,257,024 = 190.4, x 205,520,896 = 2253.4.
    sizes = [576, 32 * 126 * 126, 6272 * 1024]
    assert [LINE.access_pj(words, 32) for words in sizes] == pytest.approx([13.4, 190.4, 2253.4], rel=0.005)
    assert [WHOLE.access_pj(words, 32) for words in sizes] == pytest.approx([2.8125, 100.0, 100.0])


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([8, 16, 32]))
def test_a_larger_memory_never_costs_less(first: int, second: int, bits: int) -> None:
    small, large = sorted((first, second))
    for memory in (SHARE, WHOLE, LINE):
        assert memory.access_pj(small, bits) <= memory.access_pj(large, bits)


def test_every_point_counts() -> None:
    for name in ROWS:
        raised = load_prices("cmos45").with_value(name, 400.0).rows
        sizes = (2048, 8192, 262144)
        before, after = ([Sram.of(rows, "share").access_pj(words, 32) for words in sizes] for rows in (RATES, raised))
        assert before != after

"""At which activity an SNN and its ANN cost the same when memory is charged: per synapse, in closed form.

A synapse of the ANN costs one multiply-accumulate and a weight read, used R times; a spike at a synapse of the
SNN costs one accumulate, a weight read, and a potential read and written::

    S* = (E_MAC + e_w / R) / (E_AC + e_w + 2 e_v)      spikes per synapse and inference
"""

from __future__ import annotations

from neuroemo.profiling.memory.rows import WORD_BITS, check_positive, take_rows, word_bits
from neuroemo.profiling.prices import PriceList


def spikes_per_synapse(
    prices: PriceList, precision: str, *, memory: str = "memory.sram_32kb", reuse: float = 1.0
) -> float:
    """Return S*, with weights and potentials in a memory that costs its share of an access at every precision.

    >>> from neuroemo.profiling.prices import load_prices
    >>> round(spikes_per_synapse(load_prices("cmos45"), "fp32"), 3)  # 10 pJ per 32 bit: 14.6 / 30.9
    0.472

    Raises:
        UnsupportedError: a precision of unknown width.
        InputError: rows that the list lacks, or a reuse that is not positive.
    """
    check_positive("break-even", {"reuse": reuse})
    bits = word_bits("break-even", precision, tuple(WORD_BITS))
    names = (f"arithmetic.{precision}.add", f"arithmetic.{precision}.mult", memory)
    rows = take_rows(prices, names, "break-even")
    add, mult = rows[names[0]].value, rows[names[1]].value
    access = rows[memory].for_bits(bits)[0]
    return (add + mult + access / reuse) / (add + 3 * access)

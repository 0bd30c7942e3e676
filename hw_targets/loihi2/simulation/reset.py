"""Lava's periodic reset of LIF neurons, each layer one step after the one before it."""

from __future__ import annotations

from dataclasses import dataclass

from hw_targets.finding import Finding, InputError


@dataclass(frozen=True, slots=True)
class Reset:
    """``reset_interval`` R and ``reset_offset`` o of netx.

    u and v of layer i become 0 before every step t, counted from 1, with::

        t mod R = (o + 1 + i) mod R

    Layers are counted from 0, neurons on the input included; sigma-delta neurons are never reset.
    Source: lava-dl 0.6.0 ``netx/hdf5.py``, lava-nc 0.10.0 ``proc/lif/models.py`` (PyLifResetModelBitAcc).

    >>> Reset(4, 1).steps(0, 10), Reset(4, 1).steps(1, 10)
    ([1, 5, 9], [2, 6])
    """

    interval: int
    offset: int = 0

    def __post_init__(self) -> None:
        """Refuse what netx would divide by.

        Raises:
            InputError: an interval below 1.
        """
        if self.interval < 1:
            raise InputError(Finding("E236", "error", "reset interval", str(self.interval), "at least 1"))

    def steps(self, layer: int, until: int) -> list[int]:
        """Return the steps (from 0, below ``until``) before which ``layer`` is reset."""
        first = (self.offset + layer) % self.interval
        return list(range(first, until, self.interval))

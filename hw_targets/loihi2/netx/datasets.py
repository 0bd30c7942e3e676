"""Numbers and words of an HDF5 file that is not trusted, one dataset at a time.

Nothing is followed out of the file (links, external storage, virtual datasets, filters that are plug-ins), and nothing
is read before its declared size is known to be reasonable: a file of a few bytes can declare terabytes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import h5py
import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape

BYTES_MAX = 2**31
"""Largest size of all numbers of a file together, as the 64-bit integers that they become."""

SAFE_FILTERS = frozenset([1, 2, 3, 4, 5, 6, 32000])
"""HDF5's own filters (deflate, shuffle, fletcher32, szip, nbit, scale-offset) and h5py's lzf."""


def refusal(code: str, node: str, found: str, limit: str = "", over: str = "", fix: str = "") -> InputError:
    """Return an InputError with one finding."""
    return InputError(Finding(code, "error", node, found, limit, over, fix))


class NetxGroup:
    """One group of the file; ``node`` names it in findings.

    Every method raises an InputError for what is missing (E041), of the wrong kind (E041) or not safe to read (E045).
    """

    def __init__(self, group: h5py.Group, node: str, budget: list[int] | None = None) -> None:
        self.node = node
        self._group = group
        self._names = list(group)
        self._budget = [BYTES_MAX] if budget is None else budget  # one for the whole file, shared by its groups

    def keys(self) -> list[str]:
        """Return the names of what the group holds."""
        return list(self._names)

    def __contains__(self, key: str) -> bool:
        """Return whether there is such a name, without following a link."""
        return key in self._names

    def group(self, key: str, node: str = "") -> NetxGroup:
        """Return a group inside this one."""
        item = self._item(key)
        if not isinstance(item, h5py.Group):
            raise refusal("E041", self.node, f"{key} is no group")
        return NetxGroup(item, node or self.node, self._budget)

    def is_group(self, key: str) -> bool:
        """Return whether ``key`` is a group."""
        return isinstance(self._item(key), h5py.Group)

    def shape(self, key: str) -> Shape:
        """Return the declared shape of a dataset without reading it."""
        return tuple(int(n) for n in self._dataset(key).shape)

    def text(self, key: str) -> str:
        """Return a word: a scalar, or the first of a list, as netx takes it."""
        dataset = self._dataset(key)
        if dataset.size > 16 or h5py.check_string_dtype(dataset.dtype) is None:
            raise refusal("E041", self.node, f"{key} is no word but {dataset.dtype} {dataset.shape}")
        value = dataset[()] if dataset.shape == () else dataset[()][0]
        if not isinstance(value, bytes):
            raise refusal("E041", self.node, f"{key} is no word")
        return value.decode("ascii")

    def numbers(self, key: str) -> Array:
        """Return the numbers of a dataset as they are stored; an array without axes for a single one."""
        dataset = self._dataset(key)
        if dataset.dtype.kind not in "biuf":
            raise refusal("E041", self.node, f"{key} holds {dataset.dtype}, not numbers")
        if dataset.size == 0:
            raise refusal("E041", self.node, f"{key} is empty, shape {dataset.shape}")
        self._afford(key, dataset)
        return np.asarray(dataset[()])

    def integers(self, key: str) -> Array:
        """Return the integers of a dataset, int64."""
        values = self.numbers(key)
        if values.dtype.kind not in "iu":
            raise refusal("E041", self.node, f"{key} holds {values.dtype}, not integers")
        return values.astype(np.int64)

    def _item(self, key: str) -> Any:
        if key not in self:
            raise refusal("E041", self.node, f"not a readable netx file: {key} is missing")
        link = self._group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise refusal("E045", self.node, f"{key} is a link ({type(link).__name__}), not data of this file")
        return self._group[key]

    def _dataset(self, key: str) -> Any:
        item = self._item(key)
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            raise refusal("E041", self.node, f"{key} is no array of numbers")
        if item.is_virtual or item.external:
            raise refusal("E045", self.node, f"{key} is stored in another file")
        return item

    def _afford(self, key: str, dataset: Any) -> None:
        size = prod(dataset.shape) * max(8, dataset.dtype.itemsize)
        filters = dataset.id.get_create_plist()
        used = {filters.get_filter(number)[0] for number in range(filters.get_nfilters())}
        if used - SAFE_FILTERS:
            raise refusal("E045", self.node, f"{key} needs a filter plug-in, number {min(used - SAFE_FILTERS)}")
        if size > self._budget[0]:
            found = f"{key} {dataset.shape} needs {size} bytes"
            raise refusal("E045", self.node, found, str(BYTES_MAX), fix="all numbers of a file together")
        stored = int(dataset.id.get_storage_size())
        if not used and stored < prod(dataset.shape) * dataset.dtype.itemsize:
            raise refusal("E045", self.node, f"{key} declares {dataset.shape} and stores {stored} bytes")
        self._budget[0] -= size

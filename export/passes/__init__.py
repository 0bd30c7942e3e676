"""Passes: each rewrites a graph into an equivalent one that a chip can hold, exactly or not at all."""

from export.passes.lower import lower

__all__ = ["lower"]

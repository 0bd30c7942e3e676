"""One limit of a target: a named number, and where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """Largest value allowed, its unit and its source; ``secondary`` marks somebody else's account of the source."""

    name: str
    value: int
    unit: str
    source: str
    secondary: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the limit as a JSON-ready dictionary."""
        return asdict(self)

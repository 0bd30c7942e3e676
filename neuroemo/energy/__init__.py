"""What a network's answers cost: counted on real clips, priced with provenance, shown beside its ANN twin."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "EnergySettings": "neuroemo.energy.run",
    "checked_energy_report": "neuroemo.energy.schema",
    "energy_document": "neuroemo.energy.run",
    "measure_energy": "neuroemo.energy.demo_entry",
    "write_energy_report": "neuroemo.energy.run",
}
__all__ = [
    "EnergySettings",
    "checked_energy_report",
    "energy_document",
    "measure_energy",
    "write_energy_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `import neuroemo.energy` costs nothing."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'neuroemo.energy' has no attribute {name!r}")

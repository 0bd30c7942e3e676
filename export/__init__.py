"""From a trained spiking network to a verified bundle for a chip.

>>> import export
>>> export.export_model.__name__
'export_model'
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "ExportResult": "export.exporter",
    "Provenance": "export.exporter",
    "Tolerance": "export.verify",
    "export_model": "export.exporter",
    "load_deployment": "export.bundle",
}
__all__ = ["ExportResult", "Provenance", "Tolerance", "export_model", "load_deployment"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `import export` costs nothing."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'export' has no attribute {name!r}")

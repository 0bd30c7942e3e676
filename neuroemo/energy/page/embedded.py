"""Data and code inside the page: JSON that no label can break out of, and hashes that let only our own code run."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

_DANGEROUS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def json_text(value: Any) -> str:
    r"""Return JSON that may stand inside a script element whatever its texts hold.

    >>> json_text({"label": "</script>&"})
    '{"label":"\\u003c/script\\u003e\\u0026"}'
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).translate(_DANGEROUS)


def policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy of the page: this style, this script, and nothing from anywhere.

    >>> policy("", "")[:50]
    "default-src 'none'; style-src 'sha256-47DEQpj8HBSa"
    """
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

"""Is a JSON object what a report must be? Checked whole, so that everything missing or damaged is named at once.

A specification is a nested literal: a dictionary of keys (``"key?"`` may be absent or null), a one-element list for
"any number of these", or the name of a kind of value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Kinds = Mapping[str, tuple[str, Callable[[Any], bool]]]
"""What each kind of value is called, and whether a value is of it."""


def problems(value: Any, specification: Any, kinds: Kinds, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, complaint) of everything wrong; an empty complaint means that the entry is missing.

    >>> number = {"number": ("a number", lambda value: isinstance(value, int))}
    >>> list(problems({"a": [1, "x"]}, {"a": ["number"], "b": "number", "c?": "number"}, number))
    [('a[1]', 'not a number'), ('b', '')]
    """
    if isinstance(specification, str):
        wanted, accepts = kinds[specification]
        if not accepts(value):
            yield path, f"not {wanted}"
    elif isinstance(specification, list):
        if not isinstance(value, list | tuple):
            yield path, "not a list"
            return
        for index, item in enumerate(value):
            yield from problems(item, specification[0], kinds, f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield path, "not an object"
    else:
        for key, inner in specification.items():
            name = key.rstrip("?")
            full = f"{path}.{name}" if path else name
            if value.get(name) is not None:
                yield from problems(value[name], inner, kinds, full)
            elif key == name:
                yield full, ""


def sorted_problems(value: Any, specification: Any, kinds: Kinds) -> tuple[list[str], list[str]]:
    """Return the paths of what is missing, and those of what is damaged with the complaint in brackets."""
    missing: list[str] = []
    damaged: list[str] = []
    for path, complaint in problems(value, specification, kinds):
        (damaged if complaint else missing).append(f"{path} ({complaint})" if complaint else path)
    return missing, damaged


def completed(value: Any, specification: Any) -> Any:
    """Copy, with None for every optional entry that is absent.

    >>> completed({"a": 1}, {"a": "number", "b?": "number"})
    {'a': 1, 'b': None}
    """
    if isinstance(specification, list):
        return [completed(item, specification[0]) for item in value]
    if not isinstance(specification, dict):
        return value
    names = {key.rstrip("?"): inner for key, inner in specification.items()}
    return dict(value) | {
        name: None if value.get(name) is None else completed(value[name], inner) for name, inner in names.items()
    }

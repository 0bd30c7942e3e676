"""BibTeX of the tool and of every source that a report's numbers come from, in the sources' own words.

An entry holds what the price lists and the energy models say of themselves; nothing is looked up, so no address,
author or page is made up. Sources are one entry if their words up to the year are the same, or if they name the same
arXiv number, DOI, or volume and article.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from neuroemo.energy.latex import escaped, price_names

Document = dict[str, Any]

_DERIVED = "add + mult of "
_SCALED = re.compile(r"; x [0-9.e+-]+ from .* by ")
_ADDRESS = re.compile(r"https?://[\w./:;()~-]+", re.ASCII)  # signs that neither BibTeX nor LaTeX reads
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_IDENTIFIER = re.compile(r"arXiv:\d{4}\.\d{4,5}|10\.\d{4,}/[\w.()-]+|\b\d+:\d{4,}\b")
"""What names one publication whatever the words around it: arXiv number, DOI, volume and article."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is cited: its words, its year where one is known, and what else is said of where the numbers stand."""

    words: str
    year: int | None
    details: tuple[str, ...] = ()
    model: str = ""
    url: str = ""


def bibtex(document: Document) -> str:
    """Return the entries: the tool first, then the models and the sources of the prices in use, each once."""
    entries, keys = [_tool(document["tool"])], {"neuroemo"}
    for cited in publications(document):
        key = _plain_key(cited.model) if cited.model else f"{_author(cited.words)}{cited.year}"
        fields = {"howpublished": escaped(cited.words), "year": "" if cited.year is None else str(cited.year)}
        fields |= {"url": cited.url, "note": escaped("; ".join(cited.details))}
        entries.append(_entry("misc", _unique(key, keys), {name: text for name, text in fields.items() if text}))
    return "\n\n".join(entries) + "\n"


def publications(document: Document) -> list[Publication]:
    """Return what the report's models and the prices of its scenarios draw on; one publication is there once."""
    found: list[Publication] = []
    for name, model in document["models"].items():
        if _YEAR.search(model["citation"]):  # a model of our own has no publication
            known = set(_IDENTIFIER.findall(model["citation"]))
            is_its_own = bool(_ADDRESS.fullmatch(model["url"])) and any(
                _number_of(one) in model["url"] for one in known
            )
            url = model["url"] if is_its_own else ""
            found.append(Publication(model["citation"], None, (f"Energy model: {model['title']}",), name, url))
    used = dict.fromkeys(name for scenario in document["scenarios"] for name in price_names(scenario))
    for constant in (document["constants"][name] for name in used if name in document["constants"]):
        scaled = _SCALED.search(constant["source"])
        source = constant["source"][: scaled.start()] if scaled else constant["source"]
        _add(found, source.removeprefix(_DERIVED), constant["year"])
        if scaled:
            by = constant["source"][scaled.end() :]
            years = _YEAR.findall(by)
            _add(found, by, int(years[-1]) if years else None)
    return found


def _add(found: list[Publication], source: str, year: int | None) -> None:
    """Add a source, or what it says to the publication that is there already."""
    words = _words(source, year)
    names = set(_IDENTIFIER.findall(source))
    for index, known in enumerate(found):
        if known.words == words or names & set(_IDENTIFIER.findall(known.words)):
            if source not in (known.words, *known.details):
                found[index] = replace(known, details=(*known.details, source))
            return
    found.append(Publication(words, year, () if source == words else (source,)))


def _words(source: str, year: int | None) -> str:
    """Return the words of a source up to its year, else up to what identifies it, else all.

    >>> _words("Horowitz, ISSCC 2014, Fig. 1.1.9", 2014), _words("Yan et al., arXiv:2409.08290v4, E_ACC", 2026)
    ('Horowitz, ISSCC 2014', 'Yan et al., arXiv:2409.08290v4')
    """
    before, met, _ = source.partition(str(year))
    if year is not None and met:
        return f"{before}{met}".strip()
    identifier = re.search(rf"(?:{_IDENTIFIER.pattern})\w*", source)
    return source[: identifier.end()] if identifier else source


def _number_of(identifier: str) -> str:
    return identifier.removeprefix("arXiv:")


def _tool(tool: Document) -> str:
    title = "{NeuroEmo}: emotion recognition from video to a neuromorphic chip"
    fields = {"author": "{The NeuroEmo authors}", "title": title, "version": escaped(tool["version"])}
    return _entry("software", "neuroemo", fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"


def _author(publication: str) -> str:
    """Return the first capitalised word for a key.

    >>> _author("Höppner et al., 2019"), _author("42")
    ('hoppner', 'source')
    """
    word = re.search(r"[^\W\d_a-z]\w*", publication)
    return _plain_key(word[0] if word else "") or "source"


def _plain_key(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(sign for sign in ascii_text.lower() if sign.isalnum() or sign == "-").strip("-")


def _unique(key: str, keys: set[str]) -> str:
    """Return the key, with a letter or number behind it if it is taken, and take it."""
    free = key or "source"
    number = 1
    while free in keys:
        number += 1
        free = f"{key or 'source'}-{number}"
    keys.add(free)
    return free

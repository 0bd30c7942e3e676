"""Reports of an export, and how their pages are read."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import report_example as example

from export.page import model_card, page_html, report_markdown, words

ROOT = Path(__file__).resolve().parents[2]


SCHEMA = json.loads((ROOT / "docs" / "export-report.schema.json").read_text(encoding="utf-8"))


VARIANTS = {
    name: getattr(example, f"{name}_report") for name in ("build", "failed", "refused", "bare", "one_layer", "deep")
}


RENDERERS = {"page": page_html, "markdown": report_markdown, "card": model_card}


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace(words.NBSP, " ").split())


def page_of(report) -> Page:
    return Page(page_html(report))


JSON_TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and float(v).is_integer(),
}


ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}


def violations(value, schema, where="$"):
    """Yield what is wrong under JSON Schema 2020-12, for the keywords that docs/export-report.schema.json uses."""
    for keyword, wanted in schema.items():
        if keyword not in ANNOTATIONS:
            yield from KEYWORDS[keyword](value, wanted, where, schema)


def _reference(value, wanted, where, _):
    assert wanted.startswith("#/$defs/")
    yield from violations(value, SCHEMA["$defs"][wanted.removeprefix("#/$defs/")], where)


def _any_of(value, wanted, where, _):
    if all(list(violations(value, option, where)) for option in wanted):
        yield f"{where}: none of the alternatives"


def _properties(value, wanted, where, _):
    for key, inner in wanted.items():
        if isinstance(value, dict) and key in value:
            yield from violations(value[key], inner, f"{where}.{key}")


def _additional(value, wanted, where, schema):
    for key in set(value if isinstance(value, dict) else ()) - set(schema.get("properties", ())):
        yield from violations(value[key], wanted, f"{where}.{key}")


def _items(value, wanted, where, _):
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from violations(item, wanted, f"{where}[{index}]")


def _unless(holds):
    def judge(value, wanted, where, _):
        if not holds(value, wanted):
            yield f"{where}: not {wanted}"

    return judge


def _is_json_number(value):
    return JSON_TYPES["number"](value)


KEYWORDS = {
    "$ref": _reference,
    "anyOf": _any_of,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "type": _unless(lambda v, w: any(JSON_TYPES[name](v) for name in ([w] if isinstance(w, str) else w))),
    "required": _unless(lambda v, w: not isinstance(v, dict) or all(key in v for key in w)),
    "minimum": _unless(lambda v, w: not _is_json_number(v) or v >= w),
    "maximum": _unless(lambda v, w: not _is_json_number(v) or v <= w),
    "enum": _unless(lambda v, w: any(v == option and type(v) is type(option) for option in w)),
    "const": _unless(lambda v, w: v == w and not isinstance(v, bool)),
}

"""The house rules that a reader relies on: imports point one way, chips are reached by name only, files are short."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path for package in ("neuroemo", "export", "hw_targets") for path in (ROOT / package).rglob("*.py"))
CHIPS = {"loihi1", "loihi2", "speck", "xylo"}
SAME_FAMILY = {"loihi1": "loihi2"}  # one file format and one arithmetic


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def within(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    names, room = imports(path), path.relative_to(ROOT).parts[0]
    forbidden = {"neuroemo": (), "export": ("neuroemo",), "hw_targets": ("neuroemo", "export")}[room]
    for package in forbidden:
        assert not within(names, package)
    parts = path.relative_to(ROOT).parts
    own = parts[1] if parts[0] == "hw_targets" else ""
    for chip in sorted(CHIPS - {own, SAME_FAMILY.get(own, "")}):
        assert not within(names, f"hw_targets.{chip}"), "a chip's folder is reached through the registry"
    if path.parts[-2:] != ("lava", "worker.py"):
        assert not within(names, "lava"), "Lava runs in its own process"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_have_one_idea(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert not re.search(r"^\s*print\(", text, re.MULTILINE), "the library does not print"
    assert not re.search(r"except\s*:", text)
    assert "pickle.load" not in text
    assert "torch.load" not in text


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-3.11.lock"])
def test_no_path_of_this_machine_and_no_index_address_is_kept(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "@" not in text
    assert all("==" in line for line in text.splitlines())


def test_a_finding_code_means_one_thing():
    rooms: dict[str, set[str]] = {}
    for path in FILES:
        if path.name == "losses.py":  # it names the findings of others that a user may allow
            continue
        for code in re.findall(r'"([EW]\d{3})"', path.read_text()):
            rooms.setdefault(code, set()).add("/".join(path.relative_to(ROOT).parts[:2]))
    assert {code: where for code, where in rooms.items() if len(where) > 1} == {}

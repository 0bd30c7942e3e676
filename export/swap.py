"""Replacing a folder in one step: whoever looks, at any moment, finds the old one or the new one."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import tempfile
from pathlib import Path

RENAME_EXCHANGE = 2
AT_FDCWD = -100


def folder_aside(out: Path) -> Path:
    """Make a hidden sibling of ``out`` to write into, and remove those that killed runs left behind."""
    out.parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(f".{out.name}.aside-") + r"(\d+)-")
    for sibling in out.parent.iterdir():
        found = pattern.match(sibling.name)
        if found and not _alive(int(found[1])):
            shutil.rmtree(sibling, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f".{out.name}.aside-{os.getpid()}-", dir=out.parent))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def put_in_place(aside: Path, out: Path) -> None:
    """Rename ``aside`` to ``out``; an ``out`` that exists changes places with it in one system call, then goes.

    Where the file system cannot exchange two names, the old folder is moved away first: a kill between the two
    renames then leaves none, and the old one beside it.
    """
    os.chmod(aside, 0o755)
    if not out.exists():
        os.rename(aside, out)
        return
    if not _exchange(aside, out):
        old = aside.with_name(aside.name + ".old")
        os.rename(out, old)
        os.rename(aside, out)
        aside = old
    shutil.rmtree(aside)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names atomically (Linux); return whether that could be done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0)

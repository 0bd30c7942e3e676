"""Stages of a long run: each leaves its result behind, so that an interrupted run continues where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.bundle import read_json, write_json
from hw_targets.finding import InputError


class Stages:
    """Runs named stages in order and remembers their results in ``stages.json`` of a folder.

    A stage is taken from memory when it ended before with the same settings and so did every stage
    before it; the first one that has to run makes all later ones run too.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], log: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.log = folder / "stages.json", log
        self.key = json.dumps(settings, sort_keys=True)
        self.done = self._remembered()
        self.fresh = False
        self.timings: dict[str, float] = {}

    def _remembered(self) -> dict[str, Any]:
        if not self.file.exists():
            return {}
        try:
            return read_json(self.file, "the stages of an earlier run")
        except InputError:  # a damaged memory only costs time
            return {}

    def run(self, name: str, title: str, stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the stage's result, from memory if it is there."""
        self.key = hashlib.sha256(f"{self.key}/{name}".encode()).hexdigest()
        known = self.done.get(name)
        if known and known["key"] == self.key and not self.fresh:
            self.timings[name] = known["seconds"]
            self.log(f"{title}: done before")
            return dict(known["result"])
        self.fresh = True
        self.log(title)
        started = time.monotonic()
        result = stage()
        self.timings[name] = time.monotonic() - started
        self.done[name] = {"key": self.key, "seconds": self.timings[name], "result": result}
        write_json(self.file, self.done)
        return result

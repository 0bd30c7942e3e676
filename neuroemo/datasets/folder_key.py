"""The name under which the prepared events of a folder of videos are kept and found again."""

from __future__ import annotations

import hashlib
import json

from neuroemo.datasets.folder import VideoEntry, VideoFolder
from neuroemo.datasets.store_file import SCHEMA
from neuroemo.events.framediff import FrameDiffSettings


def folder_key(folder: VideoFolder, settings: FrameDiffSettings) -> str:
    """Return a hash of what the store of a folder depends on; the videos count by size and time."""
    rows = [[entry.name, entry.label, entry.subject, entry.split, *_stamp(entry)] for entry in folder.entries]
    text = json.dumps([SCHEMA, settings.to_dict(), rows], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(entry: VideoEntry) -> tuple[int, int]:
    status = entry.path.stat()
    return status.st_size, status.st_mtime_ns

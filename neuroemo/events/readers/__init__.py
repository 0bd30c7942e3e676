"""Recordings of event cameras in the formats of their makers, read as untrusted input into one event array."""

from __future__ import annotations

from neuroemo.events.readers.event_file import EventFile
from neuroemo.events.readers.opening import file_format, open_events
from neuroemo.events.readers.writing import write_events

__all__ = ["EventFile", "file_format", "open_events", "write_events"]

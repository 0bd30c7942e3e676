"""Representations of events for networks: each a settings class, a pure function of (events, sensor size), a result."""

from neuroemo.events.representations.binary import Tbr, TbrSettings, codes_to_steps, steps_to_codes, tbr
from neuroemo.events.representations.histogram import Histogram, HistogramSettings, event_histogram
from neuroemo.events.representations.labels import nearest_labels
from neuroemo.events.representations.spikes import SpikeClip, SpikeClipSettings, spike_clip
from neuroemo.events.representations.surface import SurfaceSettings, TimeSurface, time_surface
from neuroemo.events.representations.voxel import VoxelGrid, VoxelSettings, voxel_grid
from neuroemo.events.representations.windows import WindowSettings

__all__ = [
    "Histogram",
    "HistogramSettings",
    "SpikeClip",
    "SpikeClipSettings",
    "SurfaceSettings",
    "Tbr",
    "TbrSettings",
    "TimeSurface",
    "VoxelGrid",
    "VoxelSettings",
    "WindowSettings",
    "codes_to_steps",
    "event_histogram",
    "nearest_labels",
    "spike_clip",
    "steps_to_codes",
    "tbr",
    "time_surface",
    "voxel_grid",
]

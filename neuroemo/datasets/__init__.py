"""Labelled clips: folders of videos, the prepared HDF5 store, and the procedural faces."""

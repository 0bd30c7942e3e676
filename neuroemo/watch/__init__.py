"""Valence and arousal over time from a video or a recording of an event camera, as a film and a table."""

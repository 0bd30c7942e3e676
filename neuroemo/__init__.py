"""Emotion recognition from video to a neuromorphic chip, with every step proven."""

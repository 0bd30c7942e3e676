"""Valence and arousal from event frames: chunks, metrics, training, prediction and evaluation."""

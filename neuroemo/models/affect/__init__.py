"""The networks that turn event frames into valence and arousal."""

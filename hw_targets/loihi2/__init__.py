"""Loihi 2 through lava-dl's netx format."""

"""Xylo, checked from public documents; no vendor package is used."""

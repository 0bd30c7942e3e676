"""Speck (DYNAP-CNN), checked from public documents; no vendor package is used."""

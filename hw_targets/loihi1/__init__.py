"""Loihi 1: the netx file and the integers of Loihi 2, on smaller cores."""

"""The pixel model of an event camera: settings, simulator, and the loops in machine code."""

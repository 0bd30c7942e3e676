"""The engine of the fixed-point simulator: one population after the other, a stretch of time at once."""

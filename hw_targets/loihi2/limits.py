"""What Loihi 2 can hold, one named number at a time, each with its source."""

from __future__ import annotations

from hw_targets.limit import Limit

_LAVA_LIF = "Lava lif/process.py and lif/models.py (lava-nc 0.10.0)"
_LAVA_CONV = "Lava conv/models.py: LavaPyType(np.ndarray, np.int8) (lava-nc 0.10.0)"
_BRIEF = "Intel Loihi 2 technology brief, as quoted by SANA-FE's loihi2 profile"


WEIGHT_MAX = Limit("weight", 127, "synaptic units (8-bit signed, symmetric)", "lava dense/conv process documentation")
THRESHOLD_MAX = Limit("threshold mantissa", 131071, "synaptic units (17 bit)", _LAVA_LIF)
BIAS_MAX = Limit("bias mantissa", 4095, "synaptic units (13-bit signed)", _LAVA_LIF)
DECAY_MAX = Limit("voltage decay", 4095, "1/4096 per step (12 bit)", _LAVA_LIF)
ACTIVATION_MAX = Limit("synaptic sum", 131071, "synaptic units (24-bit current after << 6)", _LAVA_LIF)
GEOMETRY_MAX = Limit("convolution kernel, stride, padding, dilation", 127, "pixels (signed byte)", _LAVA_CONV)
CORES = Limit("neuro cores per chip", 128, "cores", _BRIEF, secondary=True)
NEURONS_PER_CORE = Limit("neurons per core", 8192, "neurons", _BRIEF, secondary=True)
SYNAPSE_BYTES_PER_CORE = Limit("synaptic memory per core", 131072, "bytes", _BRIEF, secondary=True)

LIMITS = (
    WEIGHT_MAX,
    THRESHOLD_MAX,
    BIAS_MAX,
    DECAY_MAX,
    ACTIVATION_MAX,
    GEOMETRY_MAX,
    CORES,
    NEURONS_PER_CORE,
    SYNAPSE_BYTES_PER_CORE,
)

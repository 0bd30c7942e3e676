"""What Loihi 1 can hold, one named number at a time, each with its source."""

from __future__ import annotations

from hw_targets.limit import Limit
from hw_targets.loihi2.limits import ACTIVATION_MAX, BIAS_MAX, DECAY_MAX, THRESHOLD_MAX, WEIGHT_MAX

_DAVIES = "Davies et al., Loihi: a neuromorphic manycore processor with on-chip learning, IEEE Micro 38(1), 2018"
_NENGO = "github.com/nengo/nengo-loihi nengo_loihi/block.py (commit e564f66), its account of NxSDK"

PAYLOAD_MAX = Limit("spike payload", 1, "binary spikes", _DAVIES)
CORES = Limit("neuro cores per chip", 128, "cores", _DAVIES)
NEURONS_PER_CORE = Limit("neurons per core", 1024, "compartments", f"{_DAVIES}; nengo-loihi MAX_COMPARTMENTS")
IN_AXONS_PER_CORE = Limit("input axons per core", 4096, "axons", f"{_NENGO}: MAX_IN_AXONS", secondary=True)
OUT_AXONS_PER_CORE = Limit("output axons per core", 4096, "axons", f"{_NENGO}: MAX_OUT_AXONS", secondary=True)
SYNAPSE_BITS_PER_CORE = Limit(
    "synaptic memory per core", 1_048_576, "bits", f"{_NENGO}: MAX_SYNAPSE_BITS", secondary=True
)

LIMITS = (
    WEIGHT_MAX,
    THRESHOLD_MAX,
    BIAS_MAX,
    DECAY_MAX,
    ACTIVATION_MAX,
    PAYLOAD_MAX,
    CORES,
    NEURONS_PER_CORE,
    IN_AXONS_PER_CORE,
    OUT_AXONS_PER_CORE,
    SYNAPSE_BITS_PER_CORE,
)
"""The integers are those of Loihi 2: Lava runs the same models for both on a CPU."""

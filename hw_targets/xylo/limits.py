"""What XyloAudio 2 can hold, one named number at a time, from the public documents of Rockpool and nothing else."""

from __future__ import annotations

from hw_targets.limit import Limit

_ROCKPOOL = "github.com/synsense/rockpool (commit 42cee1c)"
_OVERVIEW = f"{_ROCKPOOL} docs/devices/xylo-overview.ipynb"
_NEURON = f"{_ROCKPOOL} docs/devices/images/xylo_neuron-model.png"

INPUTS = Limit("input channels", 16, "channels", _OVERVIEW)
HIDDEN = Limit("hidden neurons", 1000, "neurons", _OVERVIEW)
OUTPUTS = Limit("output neurons", 8, "neurons", _OVERVIEW)
FAN_OUT = Limit("fan-out", 64, "weights from one hidden neuron to others", _OVERVIEW)
HIDDEN_WEIGHTS = Limit(
    "hidden weights",
    32_000,
    "weights between hidden neurons, per synaptic state",
    f"{_OVERVIEW}: an average fan-out of 32 times 1000 neurons",
    secondary=True,
)
BIT_SHIFT = Limit("decay", 15, "bits to shift by, 1 or more", _NEURON)
WEIGHT_MAX = Limit("weight", 127, "8-bit signed", _NEURON)
THRESHOLD_MAX = Limit("threshold", 32767, "16-bit signed", _NEURON)

LIMITS = (INPUTS, HIDDEN, OUTPUTS, FAN_OUT, HIDDEN_WEIGHTS, BIT_SHIFT, WEIGHT_MAX, THRESHOLD_MAX)

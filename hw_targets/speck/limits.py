"""What Speck 2f can hold, one named number at a time, from the public documents of sinabs and nothing else."""

from __future__ import annotations

from hw_targets.limit import Limit

_SINABS = "github.com/synsense/sinabs (commit 904eb89)"
_OVERVIEW = f"{_SINABS} docs/speck/overview.md"
_MEMORY = f"{_SINABS} docs/speck/overview.md and sinabs/backend/dynapcnn/chips/dynapcnn.py"

CORES = Limit("cores", 9, "layers per chip", _OVERVIEW)
INPUT_SIZE = Limit("input map", 128, "pixels per side", _OVERVIEW)
OUTPUT_SIZE = Limit("output map", 64, "pixels per side", _OVERVIEW)
CHANNELS = Limit("channels", 1024, "input or output channels of a layer", _OVERVIEW)
KERNEL = Limit("kernel", 16, "taps per side, square", _OVERVIEW)
STRIDE = Limit("stride", 8, "pixels, one of 1, 2, 4, 8", _OVERVIEW)
PADDING = Limit("padding", 7, "pixels", _OVERVIEW)
POOLING = Limit("sum pooling", 4, "pixels per side, one of 1, 2, 4", _OVERVIEW)
WEIGHT_MAX = Limit("weight", 127, "8-bit signed", _OVERVIEW)
STATE_MAX = Limit("neuron state and threshold", 32767, "16-bit signed", _OVERVIEW)
BIAS_WORDS = Limit("bias memory", 1024, "words per core", f"{_SINABS} sinabs/backend/dynapcnn/chips/dynapcnn.py")

STRIDES = (1, 2, 4, 8)
POOLS = (1, 2, 4)

_Ki = 1024
KERNEL_WORDS = tuple(size * _Ki for size in (16, 16, 16, 32, 32, 64, 64, 16, 16))
NEURON_WORDS = tuple(size * _Ki for size in (64, 64, 64, 32, 32, 16, 16, 16, 16))
"""Memory of each of the nine cores: the more kernel, the fewer neurons."""


def _memory(cores: str, core: int) -> tuple[Limit, Limit]:
    return (
        Limit(f"kernel memory, {cores}", KERNEL_WORDS[core], "words of 8 bit", _MEMORY),
        Limit(f"neuron memory, {cores}", NEURON_WORDS[core], "words of 16 bit", _MEMORY),
    )


LIMITS = (
    CORES,
    INPUT_SIZE,
    OUTPUT_SIZE,
    CHANNELS,
    KERNEL,
    STRIDE,
    PADDING,
    POOLING,
    WEIGHT_MAX,
    STATE_MAX,
    *_memory("cores 0 to 2", 0),
    *_memory("cores 3 and 4", 3),
    *_memory("cores 5 and 6", 5),
    *_memory("cores 7 and 8", 7),
    BIAS_WORDS,
)

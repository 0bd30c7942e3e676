"""The integer neuron, compiled: one pass over time for each neuron, its state never leaving registers."""

from __future__ import annotations

import numba
import numpy as np

from hw_targets.graph import Array

V_MAX = 2**23 - 1
WRAP = 2**24


@numba.njit(cache=True, nogil=True)
def integrate_populations(
    sums: Array,
    bias: Array,
    current_decay: int,
    voltage_decay: int,
    threshold: int,
    spikes: Array,
    membrane: Array,
    state: Array,
) -> None:
    """Fill ``spikes`` [T, N, M] from synaptic ``sums`` int32 [T, N, M].

    ``membrane`` [T, N, M] and ``state`` [2, N, M] (u and v after the last step) are filled unless they are empty.

    ``bias`` int32 [M] and ``threshold`` are already shifted left by 6. State starts at zero.
    """
    steps, samples, neurons = sums.shape
    keep_u = 4096 - current_decay
    keep_v = 4096 - voltage_decay
    u = np.zeros(neurons, dtype=np.int64)
    v = np.zeros(neurons, dtype=np.int64)
    recording = membrane.size > 0
    for n in range(samples):
        u[:] = 0
        v[:] = 0
        for t in range(steps):
            for m in range(neurons):
                current = u[m]
                current = (abs(current) * keep_u) >> 12 if current >= 0 else -((abs(current) * keep_u) >> 12)
                current += np.int64(sums[t, n, m]) << 6
                # Lava wraps the current once, not modulo: a second excess stays outside 24 bits.
                if current > V_MAX + 1:
                    current -= WRAP
                elif current <= -(V_MAX + 1):
                    current += WRAP
                u[m] = current
                potential = v[m]
                potential = (abs(potential) * keep_v) >> 12 if potential >= 0 else -((abs(potential) * keep_v) >> 12)
                potential += current + bias[m]
                if potential > V_MAX:
                    potential = V_MAX
                elif potential < -V_MAX:
                    potential = -V_MAX
                if recording:
                    membrane[t, n, m] = potential
                fired = potential > threshold
                spikes[t, n, m] = fired
                v[m] = 0 if fired else potential
        if state.size > 0:
            state[0, n] = u
            state[1, n] = v

"""Random networks through the real Lava runtime: every spike of every layer, streamed samples, biases, graded input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from hw_targets.finding import CapacityError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.rules import check_chip
from hw_targets.loihi2.simulate import refuse_overflow, simulate
from tests.hw_targets.test_simulate import chips

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lava,
    pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`"),
]


@seed(20)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(chips(), st.integers(0, 2**32 - 1))
def test_random_networks_equal_lava(tmp_path_factory, chip, number):
    assume(not any(finding.severity == "error" for finding in check_chip(chip)))
    try:
        refuse_overflow(chip)
    except CapacityError:
        assume(False)
    rng = np.random.default_rng(number)
    clips = (rng.random((5, 3, *chip.input_shape)) < 0.4).astype(np.float32)
    if chip.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    file = tmp_path_factory.mktemp("random") / "model.net"
    write_netx(chip, file)
    judged = run_lava(chip, file, clips, timeout_s=120)
    for name, spikes in simulate(chip, clips).spikes.items():
        np.testing.assert_array_equal(judged.run.spikes[name], spikes)

"""What several test folders share: small networks and clips that are made, never downloaded."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

with contextlib.redirect_stdout(io.StringIO()):  # SpikingJelly prints when optional data sets are missing
    import spikingjelly.activation_based.functional
    import torch

torch.set_num_threads(1)


def spiking_network(seed: int = 0, **changes):
    """A small emotion network whose layers all fire: weights scaled up, statistics of its own."""
    from neuroemo.models.emotion import build_network, spec_by_name

    torch.manual_seed(seed)
    spec = spec_by_name("tiny", **changes)
    network = build_network(spec)
    clips = random_clips(spec, 6, seed)
    with torch.no_grad():
        for module in network.modules():
            if type(module).__name__ == "Linear":
                module.weight.mul_(6)
            if type(module).__name__ == "BatchNorm2d":
                module.bias.uniform_(-0.2, 0.5)
        network.train()
        for _ in range(5):
            network(torch.from_numpy(clips))
            spikingjelly.activation_based.functional.reset_net(network)
    return network.eval(), spec


def random_clips(spec, count: int, seed: int = 0) -> np.ndarray:
    """Clips [T, N, 2, H, W]: gray first frame in both channels, spikes after it."""
    rng = np.random.default_rng(seed)
    clips = (rng.random((spec.steps, count, 2, spec.size, spec.size)) < 0.2).astype(np.float32)
    if spec.first_frame == "float":
        clips[0] = np.rint(rng.random((count, 1, spec.size, spec.size)) * 255) / 255
    return clips


@pytest.fixture(scope="session")
def exported():
    """A compiled tiny network with its clips: (network, spec, clips, compiled)."""
    from export.exporter import compile_model
    from hw_targets.registry import get_target

    network, spec = spiking_network()
    clips = random_clips(spec, 8, 1)
    compiled = compile_model(network, clips, get_target("loihi2"), dt_us=33333.0, first_frame="float")
    return network, spec, clips, compiled

"""Train the networks beside this file on moving bars: ``python train.py`` or ``python train.py norse``.

Writes the weights as safetensors (a file that cannot run code) and clips the network has not seen, with their labels.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

STEPS, SIZE = 12, 16
BATCHES, BATCH = 120, 32


def moving_bars(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return clips float32 [12, count, 2, 16, 16] of 0 and 1 and labels int64 [count].

    A bar two pixels wide moves one pixel per step: its leading edge makes ON events (channel 1), its trailing edge
    OFF events (channel 0). One position in fifty fires at random besides.
    """
    clips = np.zeros((STEPS, count, 2, SIZE, SIZE), dtype=np.float32)
    labels = generator.integers(0, 4, count)
    for clip, label in enumerate(labels):
        start, low = generator.integers(0, SIZE), generator.integers(0, SIZE - 6)
        sign = -1 if label in (0, 2) else 1
        for step in range(STEPS):
            lead = (start + sign * step) % SIZE
            trail = (lead - 2 * sign) % SIZE
            for channel, at in ((1, lead), (0, trail)):
                across = slice(low, low + 6)
                place = (across, at) if label < 2 else (at, across)
                clips[step, clip, channel][place] = 1.0
    noise = generator.random(clips.shape) < 0.02
    return np.maximum(clips, noise.astype(np.float32)), labels


def jelly_rates(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Run a SpikingJelly network from rest and return rates [N, 4]."""
    from spikingjelly.activation_based import functional

    functional.reset_net(network)
    return network(clips)


def norse_rates(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Run a Norse network step by step from rest and return rates [N, 4]."""
    state, total = None, torch.zeros(())
    for frame in clips:
        spikes, state = network(frame, state)
        total = total + spikes
    return total / len(clips)


def main(which: str) -> None:
    """Train, say how well it works on clips that were not trained on, and write weights and clips."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if which == "norse":
        from norse_model import factory

        rates_of, name = norse_rates, "norse_model"
    else:
        from model import factory

        rates_of, name = jelly_rates, "model"
    network, generator = factory(), np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    for batch in range(BATCHES):
        clips, labels = moving_bars(BATCH, generator)
        wanted = nn.functional.one_hot(torch.from_numpy(labels), 4).float()
        loss = nn.functional.mse_loss(rates_of(network, torch.from_numpy(clips)), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 30 == 29:
            print(f"batch {batch + 1} of {BATCHES}: loss {loss.item():.3f}")
    network.eval()
    clips, labels = moving_bars(200, np.random.default_rng(1))
    with torch.no_grad():
        answers = rates_of(network, torch.from_numpy(clips)).argmax(1).numpy()
    print(f"right on {(answers == labels).mean():.1%} of {len(labels)} new clips (guessing: 25 %)")
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, f"{name}.safetensors")
    # In files one clip follows the other, [N, T, C, H, W]; networks take [T, N, C, H, W].
    np.savez_compressed("clips.npz", clips=clips.swapaxes(0, 1), labels=labels)
    print(f"wrote {name}.safetensors and clips.npz")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "spikingjelly")

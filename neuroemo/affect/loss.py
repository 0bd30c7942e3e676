"""Losses of valence and arousal: mean squared error, 1 - CCC, or their sum, over the frames whose label is known.

MSE averages over all known labels of a batch. 1 - CCC takes the concordance of all known frames of the batch,
2 cov / (var + var + gap^2 + 1e-8) with variances divided by n, and averages over the outputs; an output with fewer
than two known frames in the batch is left out of that average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from neuroemo.affect.settings import Loss

NEVER_ZERO = 1e-8
"""Keeps the gradient of CCC finite where a network says the same about every frame of a batch."""


def loss_of(said: torch.Tensor, truth: torch.Tensor, kind: Loss) -> torch.Tensor:
    """Return the loss of answers [N, F, 2] for labels [N, F, 2]; an unknown label (NaN) does not count.

    >>> import torch
    >>> said, truth = torch.tensor([[[0.5, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.0, 0.0], [0.0, float("nan")]]])
    >>> round(float(loss_of(said, truth, "mse")), 6)
    0.083333
    """
    said, truth = said.reshape(-1, said.shape[-1]), truth.reshape(-1, truth.shape[-1])
    known = ~truth.isnan()
    wanted = truth.nan_to_num()
    parts = []
    if kind in ("mse", "mse+ccc"):
        parts.append(((said - wanted).square() * known).sum() / known.sum().clamp_min(1))
    if kind in ("ccc", "mse+ccc"):
        parts.append(_discordance(said, wanted, known))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _discordance(said: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    weight = known.to(said.dtype)
    count = weight.sum(0).clamp_min(1)
    mean_said, mean_wanted = (said * weight).sum(0) / count, (wanted * weight).sum(0) / count
    gap_said, gap_wanted = (said - mean_said) * weight, (wanted - mean_wanted) * weight
    spread = (gap_said.square() + gap_wanted.square()).sum(0) / count + (mean_said - mean_wanted).square()
    concordance = 2 * (gap_said * gap_wanted).sum(0) / count / (spread + NEVER_ZERO)
    enough = (known.sum(0) >= 2).to(said.dtype)
    return ((1 - concordance) * enough).sum() / enough.sum().clamp_min(1)

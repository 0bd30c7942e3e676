"""How sure an accuracy is, and a difference of two: a bootstrap over test subjects and over training seeds at once.

The clips of one person are alike, and so are the answers of all seeds to one clip: neither may count as independent.
So whole subjects are drawn with replacement (clips, where subjects are unknown), and independently of them seeds
(the pigeonhole bootstrap: Owen 2007, doi:10.1214/07-AOAS122, on the conservative side for crossed data). A
difference of two networks is taken within each draw, on the same clips and seeds (paired). With one seed the interval
says nothing about training again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hw_targets.graph import Array

DRAWS = 10_000
METHOD = (
    "95 % percentile interval of a bootstrap that draws test subjects (test clips where subjects are unknown) and "
    f"training seeds, independently and with replacement, {DRAWS:,} times; differences are paired by clip and seed"
)


@dataclass(frozen=True)
class Bootstrap:
    """The draws, shared by all rows: ``groups`` names the subject of every test clip, ``seeds`` how many there are.

    >>> fair = Bootstrap(("a", "b"), seeds=1)
    >>> fair.interval(np.array([[1, 0]]))
    (0.0, 1.0)
    """

    groups: tuple[str, ...]
    seeds: int

    @cached_property
    def _members(self) -> Array:
        """Which clip is whose: float64 [clips, groups]."""
        names = sorted(set(self.groups))
        return np.array([[float(group == name) for name in names] for group in self.groups])

    @cached_property
    def _draws(self) -> tuple[Array, Array]:
        """How often each seed and each group is drawn: [draws, seeds], [draws, groups]."""
        random = np.random.default_rng(0)
        count = self._members.shape[1]
        groups = random.multinomial(count, np.full(count, 1 / count), size=DRAWS)
        seeds = random.multinomial(self.seeds, np.full(self.seeds, 1 / self.seeds), size=DRAWS)
        return seeds.astype(np.float64), groups.astype(np.float64)

    def interval(self, values: Array) -> tuple[float, float]:
        """Return the 95 % interval of the mean of ``values`` [seeds, clips]: right answers, or their differences."""
        seeds, groups = self._draws
        sums = values.astype(np.float64) @ self._members
        clips = groups @ self._members.sum(axis=0)
        means = ((seeds @ sums) * groups).sum(axis=1) / (self.seeds * clips)
        low, high = np.quantile(means, (0.025, 0.975))
        return float(low), float(high)


def groups_of(subjects: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return what is drawn together: subjects where all are known, else every clip for itself.

    >>> groups_of(["ann", "ann"], ["a.mp4", "b.mp4"]), groups_of(["ann", ""], ["a.mp4", "b.mp4"])
    (('ann', 'ann'), ('a.mp4', 'b.mp4'))
    """
    return tuple(subjects) if all(subjects) else tuple(names)


def spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1), None for a single value.

    >>> spread([1.0, 2.0, 3.0]), spread([1.0])
    (1.0, None)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired(first: Array, second: Array, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return how much more often ``first`` is right than ``second``, both bool [seeds, clips].

    ``won`` and ``lost`` count the answers, over all seeds, that only the one or only the other has right.
    """
    difference = first.astype(np.int64) - second.astype(np.int64)
    low, high = bootstrap.interval(difference)
    per_seed = [float(mean) for mean in difference.mean(axis=1)]
    return {
        "difference": float(difference.mean()),
        "interval_95": [low, high],
        "per_seed": per_seed,
        "sd": spread(per_seed),
        "won": int((difference > 0).sum()),
        "lost": int((difference < 0).sum()),
    }

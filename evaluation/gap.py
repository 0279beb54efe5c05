"""How much better an editor does what its data had much of than what it had little of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.trials import Interval

LEAST = 10  # scenes of either kind: fewer bound nothing


def gap(
    values: Sequence[float], rare: Sequence[bool], scenes: Sequence[str], seed: int = 0, draws: int = 10_000
) -> Interval:
    """Mean of the common edits less that of the rare ones, and its 95% interval by bootstrap over scenes. values: one
    an edit, say how often copies succeed, or by how much more often those of one set of data do than those of another:
    then it is by how much wider the gap is. Draws of scenes that have no edit of one kind are drawn anew. Raises
    ValueError for fewer than ten scenes with edits of either kind."""
    each, few = np.asarray(values, np.float64), np.asarray(rare, bool)
    means = drawn(each[None], few, scenes, seed, draws)[:, 0]
    low, high = np.quantile(means[:, 0] - means[:, 1], (0.025, 0.975))
    return Interval(float(each[~few].mean() - each[few].mean()), float(low), float(high))


def ratio(
    before: Sequence[float],
    after: Sequence[float],
    rare: Sequence[bool],
    scenes: Sequence[str],
    seed: int = 0,
    draws: int = 10_000,
) -> Interval:
    """What share of the gap of `before` that of `after` is, and its 95% interval, of the same draws for both. Where a
    draw has no gap to begin with, the share is boundless. All else as of `gap`."""
    both, few = (
        np.stack([np.asarray(before, np.float64), np.asarray(after, np.float64)]),
        np.asarray(rare, bool),
    )
    means = drawn(both, few, scenes, seed, draws)
    found = means[..., 0] - means[..., 1]
    first, second = both[:, ~few].mean(axis=1) - both[:, few].mean(axis=1)
    boundless = found[:, 0] <= 0
    shares = np.divide(found[:, 1], found[:, 0], out=np.full(draws, np.inf), where=~boundless)
    low, high = np.quantile(shares, (0.025, 0.975), method="nearest")
    return Interval(float(second / first) if first > 0 else float("inf"), float(low), float(high))


def drawn(
    each: NDArray[np.float64], few: NDArray[np.bool_], scenes: Sequence[str], seed: int, draws: int
) -> NDArray[np.float64]:
    """(draws, rows, 2): the means of each row of `each`, (rows, edits), where `few` is false, and where it is true, of
    draws of scenes. Raises ValueError as `gap`."""
    number = {scene: n for n, scene in enumerate(dict.fromkeys(scenes))}
    at = np.array([number[scene] for scene in scenes])
    for kind in (few, ~few):
        if len(np.unique(at[kind])) < LEAST:
            raise ValueError(f"edits of each kind must be of {LEAST} scenes at least")
    sums = np.stack([[np.bincount(at[kind], row[kind], len(number)) for row in each] for kind in (~few, few)])
    counts = np.stack([np.bincount(at[kind], minlength=len(number)) for kind in (~few, few)])
    rng, found = np.random.default_rng(seed), np.empty((draws, len(each), 2))
    for turn in range(draws):
        while True:
            picks = rng.integers(len(number), size=len(number))
            total = counts[:, picks].sum(axis=1)
            if total.all():
                break
        found[turn] = (sums[:, :, picks].sum(axis=2) / total[:, None]).T
    return found

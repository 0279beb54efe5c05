"""How much better an editor does what its data had much of than what it had little of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.trials import Interval

_LEAST = 10  # scenes of either kind: fewer bound nothing


def gap(
    values: Sequence[float], rare: Sequence[bool], scenes: Sequence[str], seed: int = 0, draws: int = 10_000
) -> Interval:
    """Mean of the common edits less that of the rare ones, and its 95% interval by bootstrap over scenes. values: one
    an edit, say how often copies succeed, or by how much more often those of one set of data do than those of another:
    then it is by how much wider the gap is. Draws of scenes that have no edit of one kind are drawn anew. Raises
    ValueError for fewer than ten scenes with edits of either kind."""
    number = {scene: n for n, scene in enumerate(dict.fromkeys(scenes))}
    at, each, few = (
        np.array([number[scene] for scene in scenes]),
        np.asarray(values, np.float64),
        np.asarray(rare, bool),
    )
    for kind in (few, ~few):
        if len(np.unique(at[kind])) < _LEAST:
            raise ValueError(f"edits of each kind must be of {_LEAST} scenes at least")
    sums = np.stack([np.bincount(at[kind], each[kind], len(number)) for kind in (~few, few)])
    counts = np.stack([np.bincount(at[kind], minlength=len(number)) for kind in (~few, few)])
    drawn, found = np.random.default_rng(seed), np.empty(draws)
    for turn in range(draws):
        while True:
            picks = drawn.integers(len(number), size=len(number))
            total = counts[:, picks].sum(axis=1)
            if total.all():
                break
        common, seldom = sums[:, picks].sum(axis=1) / total
        found[turn] = common - seldom
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(float(each[~few].mean() - each[few].mean()), float(low), float(high))

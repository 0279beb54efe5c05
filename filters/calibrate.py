"""Choosing thresholds: as many right pairs accepted as a bound on wrong ones allows. Plain numpy.

Scores are arrays (n, 4) in the order of `shards.schema.CLIP_SCORES`; NaN where a score does not apply, which
breaks no rule. Wrong pairs come in sorts (a wrong attribute, an unchanged picture, another scene ...), and the
share of false accepts is the mean over the sorts, so that a large sort does not hide a small one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from filters.profiles import ClipThresholds

FALSE_ACCEPTS = 0.05
MIN_PAIRS = 40  # right pairs, and wrong pairs of each sort: with fewer, 5% is no figure
STEPS = 24  # thresholds tried per score, from "anything" up
ROC_POINTS = 40

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and what they do to the pairs that they were chosen on.

    true_accepts: share of right pairs accepted. false_accepts: mean share over the sorts; by_sort: each one's.
    roc: (false accepts, true accepts), rising, the best that any thresholds reach. auc: area under it.
    right, wrong: how many pairs there were.
    """

    thresholds: ClipThresholds
    true_accepts: float
    false_accepts: float
    by_sort: dict[str, float]
    roc: list[tuple[float, float]]
    auc: float
    right: int
    wrong: dict[str, int]


def calibrate(
    right: Scores, wrong: Mapping[str, Scores], false_accepts: float = FALSE_ACCEPTS
) -> Calibration:
    """The thresholds with most true accepts among those with at most `false_accepts`; the loosest such.

    Tried are the scores' values at STEPS shares of the right pairs, all combinations of the four: exact on
    that grid. Raises ValueError for too few pairs, or arrays of another shape.
    """
    _check(right, wrong)
    grid = _grid(right)
    true = _accepted(right, grid)
    false = sum((_accepted(scores, grid) for scores in wrong.values()), np.zeros_like(true)) / len(wrong)
    # Thresholds above every score accept nothing, so there is always one.
    allowed = np.where(false <= false_accepts + 1e-12, true, -1.0)
    best = np.flatnonzero(allowed.ravel() >= allowed.max() - 1e-12)
    places = np.stack(np.unravel_index(best, true.shape), axis=1)
    chosen = places[np.lexsort((places.sum(axis=1), np.round(false.ravel()[best], 12)))[0]]
    values = [float(levels[place]) for levels, place in zip(grid, chosen, strict=True)]
    thresholds = ClipThresholds(**dict(zip(ClipThresholds.model_fields, values, strict=True)))
    by_sort = {sort: share_accepted(scores, thresholds) for sort, scores in wrong.items()}
    roc = _frontier(false.ravel(), true.ravel())
    return Calibration(
        thresholds,
        true_accepts=share_accepted(right, thresholds),
        false_accepts=float(np.mean(list(by_sort.values()))),
        by_sort=by_sort,
        roc=_thinned(roc),
        auc=float(np.trapezoid([tpr for _, tpr in roc], [fpr for fpr, _ in roc])),
        right=len(right),
        wrong={sort: len(scores) for sort, scores in wrong.items()},
    )


def calibrate_kinds(
    right: Mapping[str, Scores],
    wrong: Mapping[str, Mapping[str, Scores]],
    false_accepts: float = FALSE_ACCEPTS,
) -> tuple[Calibration, dict[str, Calibration]]:
    """For all kinds of edit together, and for each kind that has pairs enough. right: by kind; wrong: by kind
    and sort. Raises ValueError as `calibrate` does."""
    sorts = dict.fromkeys(sort for of_kind in wrong.values() for sort in of_kind)
    whole = calibrate(
        np.concatenate(list(right.values())),
        {
            sort: np.concatenate([of_kind[sort] for of_kind in wrong.values() if sort in of_kind])
            for sort in sorts
        },
        false_accepts,
    )
    kinds = {}
    for kind, scores in right.items():
        of_kind = wrong.get(kind, {})
        if of_kind and min(len(scores), *map(len, of_kind.values())) >= MIN_PAIRS:
            kinds[kind] = calibrate(scores, of_kind, false_accepts)
    return whole, kinds


def share_accepted(scores: Scores, thresholds: ClipThresholds) -> float:
    """Of the pairs; on others than the thresholds were chosen on, the honest figure."""
    limits = np.array([getattr(thresholds, name) for name in ClipThresholds.model_fields])
    return float((~(scores < limits)).all(axis=1).mean())


def _check(right: Scores, wrong: Mapping[str, Scores]) -> None:
    for name, scores in (("right pairs", right), *wrong.items()):
        if scores.ndim != 2 or scores.shape[1] != 4:
            raise ValueError(f"{name}: scores are (n, 4), not {scores.shape}")
        if len(scores) < MIN_PAIRS:
            raise ValueError(f"{name}: needs at least {MIN_PAIRS} pairs, has {len(scores)}")
    if not wrong:
        raise ValueError("needs wrong pairs to tell right ones from")


def _grid(right: Scores) -> list[Scores]:
    """Levels per score, rising: -1 (anything), values of right pairs, 1."""
    shares = np.linspace(0, 1, STEPS) ** 2  # finer where few right pairs are lost
    found = []
    for column in right.T:
        known = column[np.isfinite(column)]
        # Rounded down: a threshold as written must not refuse the pair that it was taken from.
        inner = np.floor(np.quantile(known, shares) * 1e4) / 1e4 if len(known) else np.empty(0)
        found.append(np.unique(np.clip(np.concatenate([[-1.0], inner, [1.0]]), -1, 1)))
    return found


def _accepted(scores: Scores, grid: list[Scores]) -> Scores:
    """Share of pairs accepted at each combination of levels, an array with one axis per score.

    A pair passes the levels up to its own in each score: count pairs by their highest levels, then sum from
    the high end along every axis.
    """
    counts = np.zeros([len(levels) for levels in grid])
    highest = [
        np.where(np.isnan(column), len(levels), np.searchsorted(levels, column, side="right")) - 1
        for column, levels in zip(scores.T, grid, strict=True)
    ]
    np.add.at(counts, tuple(np.maximum(place, 0) for place in highest), 1)
    for axis in range(counts.ndim):
        counts = np.flip(np.cumsum(np.flip(counts, axis), axis), axis)
    return counts / len(scores)


def _frontier(false: Scores, true: Scores) -> list[tuple[float, float]]:
    """For each share of false accepts that occurs, the most true accepts at no more than that; ends included."""
    order = np.lexsort((-true, false))
    best = list(accumulate(true[order].tolist(), max))
    points = {0.0: 0.0}
    for fpr, tpr in zip(false[order].tolist(), best, strict=True):
        points[fpr] = max(tpr, points.get(fpr, 0.0))
    points[1.0] = 1.0
    return sorted(points.items())


def _thinned(roc: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ROC_POINTS of them, both ends among them."""
    if len(roc) <= ROC_POINTS:
        return roc
    return [roc[round(place)] for place in np.linspace(0, len(roc) - 1, ROC_POINTS)]

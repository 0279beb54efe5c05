"""Success and unwanted change by group: what each group gets, which two are furthest apart, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.gap import LEAST, drawn
from evaluation.trials import Interval, chance, holm, interval, share_interval


def by_group(
    values: Mapping[str, float], groups: Mapping[str, str], scenes: Mapping[str, str], errors: bool = False
) -> dict[str, Any]:
    """{"groups": {group: {"mean", "low", "high", "edits", "scenes"}}, "gap", "few"}, plain JSON values.

    values, groups, scenes: by edit; what is in no group is left out. values: shares, 0 to 1; with `errors` mean squared
    errors of values of 0 to 1, more than 0, which are averaged, and said in decibels. Intervals are of 95%, by
    bootstrap over scenes. gap: {"most", "least": groups, "mean", "low", "high", "p"} of the two that are furthest
    apart, None where there are no two of ten scenes each. Its interval is that of two groups that were chosen
    beforehand; its p is corrected for all pairs of groups there are (Holm 1979). few: groups of fewer scenes than that,
    which are shown and not compared."""
    own: dict[str, list[str]] = {}
    for edit in sorted(values):
        if edit in groups:
            own.setdefault(groups[edit], []).append(edit)
    found: dict[str, dict[str, Any]] = {}
    for name, edits in sorted(own.items()):
        of = [scenes[edit] for edit in edits]
        some = [values[edit] for edit in edits]
        mean = _decibels(interval(some, of)) if errors else share_interval(some, of)
        found[name] = {**asdict(mean), "edits": len(edits), "scenes": len(set(of))}
    large = [name for name in found if found[name]["scenes"] >= LEAST]
    few = [name for name in found if name not in large]
    return {"groups": found, "gap": _widest(values, own, scenes, found, large, errors), "few": few}


def _widest(
    values: Mapping[str, float],
    own: Mapping[str, Sequence[str]],
    scenes: Mapping[str, str],
    found: Mapping[str, Mapping[str, Any]],
    large: Sequence[str],
    errors: bool,
) -> dict[str, Any] | None:
    pairs = list(combinations(large, 2))
    if not pairs:
        return None
    chances = holm([apart(*_both(values, own, scenes, pair)) for pair in pairs])
    away = [found[one]["mean"] - found[two]["mean"] for one, two in pairs]
    at = int(np.argmax(np.abs(away)))
    most, least = pairs[at] if away[at] >= 0 else pairs[at][::-1]
    some, second, of = _both(values, own, scenes, (most, least))
    means = drawn(some[None], second, of, 0, 10_000)[:, 0]
    draws = 10 * np.log10(means[:, 1] / means[:, 0]) if errors else means[:, 0] - means[:, 1]
    low, high = np.quantile(draws, (0.025, 0.975))
    gap = Interval(float(abs(away[at])), float(low), float(high))
    if not errors and any(found[name]["mean"] in (0, 1) for name in (most, least)):
        gap = _squared_and_added(found[most], found[least])
    return {"most": most, "least": least, **asdict(gap), "p": chances[at]}


def _both(
    values: Mapping[str, float],
    own: Mapping[str, Sequence[str]],
    scenes: Mapping[str, str],
    pair: tuple[str, str],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Values of two groups' edits, whether each is of the second, and scenes."""
    edits = [*own[pair[0]], *own[pair[1]]]
    second = np.arange(len(edits)) >= len(own[pair[0]])
    return np.array([values[edit] for edit in edits], np.float64), second, [scenes[edit] for edit in edits]


def apart(some: NDArray[np.float64], second: NDArray[np.bool_], scenes: Sequence[str]) -> float:
    """Two-sided p of no difference of two groups' means. The difference is a sum over scenes of what their edits are
    off the mean of both; signs of these are flipped (the score bootstrap of Kline & Santos 2012, Rademacher's weights),
    so a scene may have edits of either group, or of one."""
    off = some - some.mean()
    parts = np.where(second, -off / second.sum(), off / (~second).sum())
    scale = np.abs(parts).max()
    return chance([*(parts / scale)], scenes) if scale else 1.0


def _squared_and_added(most: Mapping[str, float], least: Mapping[str, float]) -> Interval:
    """Of a difference of shares of which one is none, or all: no draw of its scenes differs, and the bootstrap would be
    too sure. From the intervals of both (Newcombe 1998, method 10)."""
    mean = most["mean"] - least["mean"]
    down = np.hypot(most["mean"] - most["low"], least["high"] - least["mean"])
    up = np.hypot(most["high"] - most["mean"], least["mean"] - least["low"])
    return Interval(mean, float(mean - down), float(mean + up))


def _decibels(error: Interval) -> Interval:
    mean, low, high = (float(-10 * np.log10(one)) for one in (error.mean, error.high, error.low))
    return Interval(mean, low, high)

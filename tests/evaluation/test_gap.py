"""How much better common edits go than rare ones, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.gap import gap


def drawn(
    seed: int, common: float, rare: float, scenes: int = 60
) -> tuple[list[float], list[bool], list[str]]:
    rng = np.random.default_rng(seed)
    few = [n % 3 == 0 for n in range(4 * scenes)]
    values = [float(rng.random() < (rare if one else common)) for one in few]
    return values, few, [str(n // 4) for n in range(4 * scenes)]


def test_a_gap_is_the_difference_of_means_and_is_found_where_there_is_one():
    values, few, scenes = drawn(0, 0.6, 0.3)
    found = gap(values, few, scenes, draws=2000)
    common = np.mean([v for v, one in zip(values, few, strict=True) if not one])
    assert found.mean == pytest.approx(
        common - np.mean([v for v, one in zip(values, few, strict=True) if one])
    )
    assert 0 < found.low < found.mean < found.high


def test_where_there_is_none_the_interval_holds_nought_in_about_95_of_100():
    held = []
    for seed in range(120):
        found = gap(*drawn(seed, 0.5, 0.5, 40), draws=400)
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) > 0.87


def test_gaps_of_two_editors_on_the_same_edits_are_subtracted_edit_by_edit():
    (a, few, scenes), (b, *_) = drawn(1, 0.7, 0.3), drawn(2, 0.6, 0.5)
    both = gap([x - y for x, y in zip(a, b, strict=True)], few, scenes, draws=10)
    assert both.mean == pytest.approx(gap(a, few, scenes, draws=1).mean - gap(b, few, scenes, draws=1).mean)


def test_few_scenes_bound_nothing():
    with pytest.raises(ValueError, match="of 10 scenes at least"):
        gap([1.0] * 20, [n < 3 for n in range(20)], [str(n) for n in range(20)])

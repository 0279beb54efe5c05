"""Thresholds keep their bound on false accepts and lose no more right pairs than they must."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from filters import calibrate as module
from filters.calibrate import MIN_PAIRS, calibrate, calibrate_kinds, share_accepted
from filters.profiles import ClipProfile, ClipThresholds, Similarities


def scores(mean: tuple[float, ...], count: int = 300, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, spread, (count, 4)), -1, 1)


RIGHT = scores((0.8, 0.3, 0.3, 0.3))
WRONG = {
    "attribute": scores((0.8, 0.3, 0.25, 0.1), seed=1),
    "unchanged": scores((0.99, 0.3, 0.2, 0.0), 100, seed=2),
    "scene": scores((0.4, 0.3, 0.3, 0.2), seed=3),
}


def test_false_accepts_stay_within_the_bound_and_figures_are_of_these_thresholds():
    found = calibrate(RIGHT, WRONG)
    assert found.false_accepts <= 0.05
    assert found.true_accepts == share_accepted(RIGHT, found.thresholds) > 0.8
    assert found.by_sort == {sort: share_accepted(wrong, found.thresholds) for sort, wrong in WRONG.items()}
    assert found.false_accepts == pytest.approx(np.mean(list(found.by_sort.values())))
    assert (found.right, found.wrong) == (300, {"attribute": 300, "unchanged": 100, "scene": 300})


def test_no_other_thresholds_of_the_grid_accept_more_right_pairs(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 5)
    found = calibrate(RIGHT, WRONG, 0.02)
    best = 0.0
    for levels in product(*module._grid(RIGHT)):
        limits = ClipThresholds(**dict(zip(ClipThresholds.model_fields, levels)))
        if np.mean([share_accepted(wrong, limits) for wrong in WRONG.values()]) <= 0.02:
            best = max(best, share_accepted(RIGHT, limits))
    assert best > 0.5 and found.true_accepts == pytest.approx(best)


def test_looser_bound_never_accepts_fewer_right_pairs_and_the_roc_rises_to_its_corner():
    strict, loose = calibrate(RIGHT, WRONG, 0.01), calibrate(RIGHT, WRONG, 0.2)
    assert strict.true_accepts < loose.true_accepts
    fpr, tpr = zip(*strict.roc)
    assert (fpr[0], fpr[-1], tpr[-1]) == (0.0, 1.0, 1.0)
    assert list(fpr) == sorted(fpr) and list(tpr) == sorted(tpr) and len(fpr) <= module.ROC_POINTS
    assert 0.9 < strict.auc <= 1


def test_pairs_that_cannot_be_told_apart_are_accepted_no_more_than_the_bound_allows():
    found = calibrate(RIGHT, {"the same": scores((0.8, 0.3, 0.3, 0.3), 2000, seed=9)})
    assert found.false_accepts <= 0.05 and found.true_accepts < 0.3
    assert found.auc < 0.75


def test_score_that_tells_nothing_apart_gets_a_threshold_that_refuses_nobody():
    found = calibrate(RIGHT, {"scene": scores((0.1, 0.3, 0.3, 0.3), seed=4)})
    assert found.true_accepts == 1.0
    assert found.thresholds.text_before <= RIGHT[:, 1].min()


def test_scores_that_do_not_apply_break_no_rule():
    right, wrong = RIGHT.copy(), WRONG["scene"].copy()
    right[:, 3] = wrong[:, 3] = np.nan
    found = calibrate(right, {"scene": wrong})
    assert found.true_accepts > 0.9 and found.false_accepts <= 0.05


def test_figures_are_those_of_the_profile_that_is_made_of_them():
    limits = calibrate(RIGHT, WRONG).thresholds
    profile = ClipProfile(name="own", models=("sha256:0",), default=limits)
    accepted = [not profile.first_broken("recolor", Similarities(*map(float, row))) for row in RIGHT]
    assert np.mean(accepted) == pytest.approx(share_accepted(RIGHT, limits))


def test_kinds_with_pairs_enough_get_thresholds_of_their_own():
    near, far = scores((0.95, 0.3, 0.3, 0.3)), scores((0.6, 0.3, 0.3, 0.3), seed=5)
    wrong = {"scene": scores((0.3, 0.3, 0.3, 0.3), seed=6)}
    whole, kinds = calibrate_kinds(
        {"recolor": near, "background": far, "style": near[: MIN_PAIRS - 1]},
        {"recolor": wrong, "background": wrong, "style": wrong},
    )
    assert kinds.keys() == {"recolor", "background"}
    assert kinds["recolor"].thresholds.image > kinds["background"].thresholds.image
    assert whole.right == 600 + MIN_PAIRS - 1 and whole.wrong == {"scene": 900}


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (RIGHT[: MIN_PAIRS - 1], WRONG, "right pairs: needs at least"),
        (RIGHT, {"scene": RIGHT[:3]}, "scene: needs at least"),
        (RIGHT[:, :3], WRONG, r"scores are \(n, 4\)"),
        (RIGHT, {}, "needs wrong pairs"),
    ],
)
def test_too_few_pairs_and_wrong_shapes_are_refused(right, wrong, expected):
    with pytest.raises(ValueError, match=expected):
        calibrate(right, wrong)

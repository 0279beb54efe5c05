"""By what share one editor's pictures are nearer than another's: known shares are found, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.distances import INCEPTION, cubic, gaussian
from evaluation.nearer import PROMISED, _discrepancies, nearer

WIDTH, FIRST, OTHER = 4, 1.2, 1.6


def drawn(rng, scenes: int, each: int, *shifts: float, common: float = 0.5):
    """Of each shift and of none: features of variance 1, of which `common` is the scene's, whoever made the picture."""
    of_scene = rng.normal(size=(scenes, WIDTH)).repeat(each, 0) * common**0.5
    found = [
        of_scene + rng.normal(size=of_scene.shape) * (1 - common) ** 0.5 + shift * np.eye(WIDTH)[0]
        for shift in (*shifts, 0.0)
    ]
    return [one.astype(np.float32) for one in found], [str(n) for n in range(scenes) for _ in range(each)]


def kid(shift: float) -> float:
    """Of normal features by (x.y / width + 1)^3: moments of x.y for independent x and y."""

    def kernel(product: float, one: float, other: float) -> float:
        first, second = product, product**2 + one + other + WIDTH
        third = product**3 + 3 * product * (one + other + WIDTH + 2)
        return third / WIDTH**3 + 3 * second / WIDTH**2 + 3 * first / WIDTH + 1

    return kernel(shift**2, shift**2, shift**2) + kernel(0, 0, 0) - 2 * kernel(0, shift**2, 0)


def cmmd(shift: float) -> float:
    """Of normal features by exp(-|x - y|^2 / 200): x - y has variance 2. Up to a factor."""
    return 1 - np.exp(-(shift**2) / (2 * (100 + 2)))


def frechet(shift: float) -> float:
    return shift**2


KNOWN = {name: 1 - of(FIRST) / of(OTHER) for name, of in (("kid", kid), ("cmmd", cmmd), ("frechet", frechet))}


def test_known_shares_are_found_and_as_sure_as_is_said():
    """Of 60 draws of 60 scenes about 57 intervals hold what is known, and they are as wide as the shares vary."""
    rng, found = np.random.default_rng(0), []
    for turn in range(60):
        (first, other, true), scenes = drawn(rng, 60, 3, FIRST, OTHER)
        found.append(nearer(first, other, true, scenes, "x", seed=turn))
    for name, known in KNOWN.items():
        shares = [getattr(one, name) for one in found]
        assert sum(one.low <= known <= one.high for one in shares) >= 52
        assert np.mean([one.share for one in shares]) == pytest.approx(known, abs=0.03)
        wide = np.mean([one.high - one.low for one in shares])
        assert wide == pytest.approx(2 * 1.96 * np.std([one.share for one in shares]), rel=0.35)
    assert (found[0].edits, found[0].scenes, found[0].judged) == (180, 60, False)


def test_ten_percent_less_are_found_of_as_many_edits_as_the_promise_is_of():
    (first, other, true), scenes = drawn(np.random.default_rng(1), PROMISED // 2, 2, 0.9**0.5, 1.0)
    found = nearer(first, other, true, scenes, "x")
    assert found.judged and found.edits == PROMISED
    assert found.frechet.low < 0.1 < found.frechet.high and found.frechet.high - found.frechet.low < 0.25
    assert found.frechet.share == 1 - found.frechet.first / found.frechet.other
    few = nearer(first[1:], other[1:], true[1:], scenes[1:], "x")
    assert not few.judged and few.edits == PROMISED - 1


def test_both_are_of_the_same_halves():
    """Of equal editors no half says otherwise, however much distances vary from half to half."""
    (first, _, true), scenes = drawn(np.random.default_rng(2), 30, 2, FIRST, OTHER)
    found = nearer(first, first.copy(), true, scenes, "x")
    for one in (found.kid, found.cmmd, found.frechet):
        assert one.first == one.other and one.share == 0
        assert (one.low, one.high) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_where_the_other_cannot_be_told_from_true_pictures_nothing_is_bounded():
    rng, low = np.random.default_rng(3), []
    for _ in range(20):
        (first, other, true), scenes = drawn(rng, 40, 1, FIRST, 0.0, common=0.0)
        found = nearer(first, other, true, scenes, "x").kid
        assert (found.share is None) == (found.other <= 0)
        low.append(found.low)
    assert low.count(None) >= 15


def test_pictures_of_one_scene_do_not_pass_for_near_ones():
    """Made of the same scenes as the true ones, and no other way alike or unlike: no distance, on average. Over all
    pairs of edits it would be far below none."""
    rng, found, plain = np.random.default_rng(4), [], []
    for _ in range(150):
        (made, true), scenes = drawn(rng, 15, 4, 0.0, common=0.8)
        own, taken = np.array([int(scene) for scene in scenes]), np.ones((1, len(scenes)), bool)
        found.append(_discrepancies(cubic, made, true, own, taken)[0])
        within = sum((k := cubic(some, some)).sum() - np.trace(k) for some in (made, true))
        plain.append(within / (60 * 59) - 2 * cubic(made, true).mean())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error and np.mean(plain) < -10 * error


@pytest.mark.parametrize("kernel", [cubic, gaussian])
def test_it_is_the_mean_over_pairs_of_two_scenes(kernel, monkeypatch):
    monkeypatch.setattr("evaluation.nearer._BLOCK", 5)  # so that there are several
    (made, true), _ = drawn(np.random.default_rng(5), 13, 1, FIRST)
    own = np.array([0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8])
    taken = np.stack([np.ones(13, bool), own % 2 == 0])
    for mean, some in zip(_discrepancies(kernel, made, true, own, taken), taken, strict=True):
        pairs = [(i, j) for i in np.flatnonzero(some) for j in np.flatnonzero(some) if own[i] != own[j]]

        def k(a, b):
            return kernel(a[None], b[None])[0, 0]

        wanted = np.mean(
            [
                k(made[i], made[j]) + k(true[i], true[j]) - k(made[i], true[j]) - k(true[i], made[j])
                for i, j in pairs
            ]
        )
        assert mean == pytest.approx(wanted, rel=1e-9)


def test_of_few_scenes_and_of_few_pictures_it_is_not_said():
    (first, other, true), scenes = drawn(np.random.default_rng(6), 10, 1, FIRST, 4.0)
    assert nearer(first[:9], other[:9], true[:9], scenes[:9], "x") is None
    found = nearer(first, other, true, scenes, INCEPTION)
    assert found.frechet is None and found.cmmd is None and found.kid.share is not None

"""Distances between sets of pictures: nothing between alike ones, more the further they are, named by the extractor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from evaluation.distances import cmmd, distances


def unit(rng, count, width, shift=0.0):
    found = rng.normal(size=(count, width)) + shift * np.eye(width)[0]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_alike_sets_are_no_distance_apart_and_others_are_the_further_the_more_they_differ():
    rng = np.random.default_rng(0)
    true = unit(rng, 200, 16)
    found = [distances(unit(rng, 200, 16, shift), true, "some clip") for shift in (0.0, 1.0, 3.0)]
    for name in ("kid", "cmmd"):
        near, apart, far = (getattr(one, name) for one in found)
        assert near.low < 0 < near.high
        assert apart.low > 0 and apart.mean < far.mean
    assert found[0].frechet < found[1].frechet < found[2].frechet
    assert found[0].features == "some clip" and found[0].pictures == 200


def test_a_frechet_distance_is_given_of_enough_pictures_alone():
    rng = np.random.default_rng(1)
    assert distances(unit(rng, 79, 16), unit(rng, 79, 16), "x").frechet is None
    assert distances(unit(rng, 80, 16), unit(rng, 80, 16), "x").frechet is not None
    assert distances(unit(rng, 7, 16), unit(rng, 7, 16), "x") is None


def test_the_frechet_distance_is_what_its_formula_says():
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), in double precision."""
    rng = np.random.default_rng(2)
    made, true = unit(rng, 400, 12, 2.0), unit(rng, 400, 12)
    means = [some.astype(np.float64).mean(0) for some in (made, true)]
    spreads = [np.cov(some.astype(np.float64), rowvar=False) for some in (made, true)]
    root = sqrtm(spreads[0] @ spreads[1])
    wanted = np.square(means[0] - means[1]).sum() + np.trace(spreads[0] + spreads[1] - 2 * np.real(root))
    assert distances(made, true, "x").frechet == pytest.approx(wanted, rel=1e-5)


def test_cmmd_is_that_of_its_definition():
    rng = np.random.default_rng(3)
    x, y = unit(rng, 20, 4, 1.0), unit(rng, 30, 4)

    def k(a, b):
        return np.exp(-np.square(a.astype(float) - b).sum() / 200)

    same = [np.mean([k(a, b) for n, a in enumerate(s) for m, b in enumerate(s) if n != m]) for s in (x, y)]
    cross = np.mean([k(a, b) for a in x for b in y])
    assert cmmd(x, y) == pytest.approx(1000 * (sum(same) - 2 * cross), rel=1e-6)

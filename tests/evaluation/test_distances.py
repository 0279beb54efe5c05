"""Distances between sets of pictures: nothing between alike ones, more the further they are, named by the extractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from evaluation.distances import INCEPTION, cmmd, cubic, distances, frechet


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


@pytest.mark.parametrize(("width", "least"), [(12, 1.0), (48, 0.03)])
def test_the_frechet_distance_is_what_its_formula_says(width, least):
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), in double precision, by scipy's root and by torchmetrics'; where features
    say hardly anything in some ways, as Inception-v3's do, too. least: of their spreads."""
    rng = np.random.default_rng(2)
    spreads = np.geomspace(1, least, width)
    made, true = ((rng.normal(size=(5 * width, width)) * spreads).astype(np.float32) for _ in range(2))
    made[:, 0] += 0.5
    means = [some.astype(np.float64).mean(0) for some in (made, true)]
    covariances = [np.cov(some.astype(np.float64), rowvar=False) for some in (made, true)]
    trace = np.trace(sum(covariances) - 2 * np.real(sqrtm(covariances[0] @ covariances[1])))
    wanted = np.square(means[0] - means[1]).sum() + trace
    pairs = [torch.from_numpy(one) for pair in zip(means, covariances, strict=True) for one in pair]
    assert float(_compute_fid(*pairs)) == pytest.approx(wanted, rel=1e-5)
    assert distances(made, true, "x").frechet == pytest.approx(wanted, rel=1e-5)
    assert frechet(made, true) == pytest.approx(wanted, rel=1e-5)


def test_a_frechet_distance_of_fewer_pictures_than_features_are_wide_is_as_exact():
    """Where covariances are singular, as those of a half may be, and of equal sets, where all must cancel."""
    rng = np.random.default_rng(4)
    made, true = (rng.normal(size=(6, 9)).astype(np.float32) for _ in range(2))
    assert frechet(made, made) == pytest.approx(0, abs=1e-9)
    covariances = [np.cov(some.astype(np.float64), rowvar=False) for some in (made, true)]
    # Of the root's trace: the sum of roots of the eigenvalues of C C'.
    values = np.linalg.eigvals(covariances[0] @ covariances[1])
    off = made.astype(np.float64).mean(0) - true.astype(np.float64).mean(0)
    wanted = off @ off + np.trace(sum(covariances)) - 2 * np.sqrt(np.maximum(np.real(values), 0)).sum()
    assert frechet(made, true) == pytest.approx(wanted, rel=1e-5)


def test_kid_of_two_samples_of_one_gaussian_is_none_on_average():
    """An estimate that took each picture's pair with itself for a pair of pictures would be far above."""
    rng, found, biased = np.random.default_rng(5), [], []
    for _ in range(80):
        made, true = (rng.normal(size=(40, 6)).astype(np.float32) for _ in range(2))
        found.append(distances(made, true, INCEPTION).kid.mean)
        biased.append(cubic(made, made).mean() + cubic(true, true).mean() - 2 * cubic(made, true).mean())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error and np.mean(biased) > 10 * error


def test_what_inception_sees_has_no_cmmd_which_is_of_embeddings():
    rng = np.random.default_rng(6)
    made, true = unit(rng, 40, 8), unit(rng, 40, 8)
    assert distances(made, true, INCEPTION).cmmd is None
    assert distances(made, true, "some clip").cmmd is not None


def test_cmmd_is_that_of_its_definition():
    rng = np.random.default_rng(3)
    x, y = unit(rng, 20, 4, 1.0), unit(rng, 30, 4)

    def k(a, b):
        return np.exp(-np.square(a.astype(float) - b).sum() / 200)

    same = [np.mean([k(a, b) for n, a in enumerate(s) for m, b in enumerate(s) if n != m]) for s in (x, y)]
    cross = np.mean([k(a, b) for a in x for b in y])
    assert cmmd(x, y) == pytest.approx(1000 * (sum(same) - 2 * cross), rel=1e-6)

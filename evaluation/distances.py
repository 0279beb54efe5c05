"""How far the pictures that an editor makes are from true ones, as sets, by what an extractor sees in them.

The distances carry the extractor's name: a Frechet distance is *the* FID, and a kernel distance *the* KID, with
Inception-v3's features alone (Heusel et al. 2017). The former says little of small sets, since it is biased by their
size: it is given for sets of the same size that are five times as large as the features are wide, and else left out.
Kernel distances are unbiased: KID (Binkowski et al. 2018), and CMMD (Jayasumana et al. 2024), whose Gaussian kernel of
CLIP's embeddings sees more than the mean and the spread. FID and KID are torchmetrics'.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

INCEPTION = "Inception-v3"
_ENOUGH = 5  # times the width of the features
_LEAST = 8  # pictures: of fewer nothing is said
_SUBSETS = 100
_SIGMA, _SCALE = 10.0, 1000.0  # CMMD's kernel and unit, for embeddings of length 1
Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spread:
    """Over subsets of half of the pictures: the mean, and where 95% of them lie if they are normal."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Distances:
    """features: whose. pictures: of each set. cmmd: None of Inception-v3's. frechet: None where there are too few."""

    features: str
    pictures: int
    kid: Spread
    cmmd: Spread | None
    frechet: float | None


class _AsTheyAre(nn.Module):
    """An extractor for what has been extracted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def distances(made: Features, true: Features, features: str, seed: int = 0) -> Distances | None:
    """made, true: (n, width) of the same edits; of length 1 unless `features` is `INCEPTION`. None for fewer than 8."""
    count, width = made.shape
    if count < _LEAST:
        return None
    pair = torch.from_numpy(np.asarray(made, np.float32)), torch.from_numpy(np.asarray(true, np.float32))
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that features take: they are there
        torch.manual_seed(seed)
        kid = KernelInceptionDistance(_AsTheyAre(width), subsets=_SUBSETS, subset_size=count // 2)
        mean, deviation = (float(value) for value in _computed(kid, *pair))
    frechet = None
    if enough(made, true):
        # In double precision: torchmetrics sums in it, but answers in that of the features.
        frechet = float(
            _computed(FrechetInceptionDistance(_AsTheyAre(width)), *(one.double() for one in pair))
        )
    found = None if features == INCEPTION else _cmmd(made, true, seed)
    return Distances(features, count, _spread(mean, deviation), found, frechet)


def enough(made: Features, true: Features) -> bool:
    """Whether a Frechet distance may be given."""
    return len(made) == len(true) and len(made) >= _ENOUGH * made.shape[1]


def _computed(metric: Any, made: Tensor, true: Tensor) -> Any:
    metric.update(true, real=True)
    metric.update(made, real=False)
    return metric.compute()


def _cmmd(made: Features, true: Features, seed: int) -> Spread:
    """Of unit embeddings, by subsets of half, as KID is."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(_SUBSETS):
        x, y = (some[rng.permutation(len(some))[: len(some) // 2]] for some in (made, true))
        found.append(cmmd(x, y))
    return _spread(float(np.mean(found)), float(np.std(found)))


def cmmd(x: Features, y: Features) -> float:
    """The squared maximum mean discrepancy times 1000, its unbiased estimate, with exp(-|a - b|^2 / (2 sigma^2))."""

    def within(a: Features) -> float:
        return float((gaussian(a, a).sum() - _SCALE * len(a)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(gaussian(x, y).mean())


def gaussian(a: Features, b: Features) -> NDArray[np.float64]:
    """CMMD's kernel, in its unit: (n, m) of (n, width) and (m, width)."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.asarray(_SCALE * np.exp(-np.maximum(squared, 0) / (2 * _SIGMA**2)))


def cubic(a: Features, b: Features) -> NDArray[np.float64]:
    """KID's kernel, (a.b / width + 1)^3: (n, m) of (n, width) and (m, width)."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3)


def frechet(made: Features, true: Features) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), which is torchmetrics' too, by a way that is quick enough to be taken of
    hundreds of subsets: where C = R'R and C' = S'S, the trace of the root is the sum of R S' 's singular values."""
    roots, means = [], []
    for some in (made, true):
        whole = np.asarray(some, np.float64)
        means.append(whole.mean(0))
        roots.append(np.linalg.qr(whole - means[-1], mode="r") / np.sqrt(len(whole) - 1))
    root = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float(np.square(one).sum()) for one in roots)
    return float(np.square(means[0] - means[1]).sum() + spread - 2 * root)


def _spread(mean: float, deviation: float) -> Spread:
    return Spread(mean, mean - 1.96 * deviation, mean + 1.96 * deviation)

"""By what share an editor's pictures are nearer to the true ones than another's, of the same edits.

"FID down by 10%" says something only if both are measured alike and one knows how sure it is. Both are distances of
sets, and no edit has one of its own, so edits cannot be paired as where they are right or wrong. Here both are taken of
the same edits, against the same true pictures, and again of the same random halves of the scenes.

*Halves, not a bootstrap.* A bootstrap draws with replacement, and a picture that is drawn twice is a pair of equal
pictures in a kernel's mean, which an unbiased estimate leaves out on purpose: draws of KID and CMMD would no longer be
unbiased (of U-statistics see Arcones & Gine 1992). A Frechet distance, which is too large by about a share of one over
the number of pictures (Chong & Forsyth 2020), would be so twice. Halves without replacement hold no picture twice, and
tell as much: of a mean they vary as the mean of all does, and of other figures their variance is consistent, too (the
delete-d jackknife, Shao & Wu 1989; subsampling, Politis & Romano 1994). Scenes are drawn whole, since edits of one
scene rise and fall together. A Frechet distance of half as many pictures is too large by twice as much, so only the
spread of halves is used, not where they lie. That of all pictures is too large as well, both editors' by about as much:
its share is that of the figures as they are given, and nearer to 0 than that of endless sets.

*Pairs of two scenes.* An edit's made picture and its true one are alike because they are of one scene, as are pictures
of two edits of it, and a kernel's mean over all pairs would take that for nearness: it would give copies of the true
pictures a distance below 0. So KID and CMMD are the means over pairs of edits of two scenes of k(x, x') + k(y, y') -
k(x, y') - k(x', y), the unbiased estimate for samples that come in pairs (Gretton et al. 2012, lemma 6). They differ
for this, and for being of the edits that three have in common, a little from those of `evaluation.distances`.

*Of a ratio* of two figures that are not known exactly the interval is Fieller's (1954): where the other's distance
itself cannot be told from none, no share is bounded, and it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.distances import INCEPTION, Features, cubic, enough, frechet, gaussian
from evaluation.gap import LEAST

PROMISED = 2000  # edits, of which the promise is
_HALVES = 400
_FEWER = 100  # of a Frechet distance, where each takes long
_BLOCK = 512  # rows of a kernel at once
_NORMAL = 1.96
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """By what share of the other's distance the first's is smaller, below 0 where it is larger. share: None where the
    other's is not above 0. low, high: of 95%; None where the data bound nothing."""

    first: float
    other: float
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Nearer:
    """judged: of as many edits as the promise is of; else it is a figure, and no answer to it. cmmd: None of
    Inception-v3's features. frechet: None where there are too few pictures."""

    edits: int
    scenes: int
    judged: bool
    kid: Share
    cmmd: Share | None
    frechet: Share | None


def nearer(
    first: Features, other: Features, true: Features, scenes: Sequence[str], features: str, seed: int = 0
) -> Nearer | None:
    """first, other, true: (n, width) of the same edits, of the extractor `features` as for `distances.distances`.
    scenes: whose each edit is. None for fewer than ten scenes, of which nothing can be said."""
    number = {scene: n for n, scene in enumerate(dict.fromkeys(scenes))}
    if len(number) < LEAST:
        return None
    own = np.array([number[scene] for scene in scenes])
    drawn = _halves(len(number), seed)
    with_all = np.concatenate([np.ones((1, len(number)), bool), drawn])
    taken = with_all[:, own]

    def by_kernel(kernel: Callable[[Features, Features], Values]) -> Share:
        return _share(_discrepancies(kernel, first, true, own, taken), _discrepancies(kernel, other, true, own, taken),
                      len(number))  # fmt: skip

    of_frechet = None
    if enough(first, true):
        of_frechet = _share(_frechets(first, true, taken), _frechets(other, true, taken), len(number))
    return Nearer(
        len(own), len(number), len(own) >= PROMISED, by_kernel(cubic),
        None if features == INCEPTION else by_kernel(gaussian), of_frechet,
    )  # fmt: skip


def _halves(scenes: int, seed: int) -> NDArray[np.bool_]:
    """(draws, scenes): whether a scene is in the half."""
    rng = np.random.default_rng(seed)
    half = np.arange(scenes) < scenes // 2
    return rng.permuted(np.tile(half, (_HALVES, 1)), axis=1)


def _discrepancies(
    kernel: Callable[[Features, Features], Values],
    made: Features,
    true: Features,
    own: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> Values:
    """(draws,): the unbiased squared maximum mean discrepancy of the edits that are taken. own: (n,) the scene of each.
    taken: (draws, n). A block of rows in memory at once, for all draws."""
    weights = taken.astype(np.float64)
    total = np.zeros(len(taken))
    for start in range(0, len(own), _BLOCK):
        some = slice(start, start + _BLOCK)
        of_pairs = kernel(made[some], made) + kernel(true[some], true)
        of_pairs -= kernel(made[some], true) + kernel(true[some], made)
        of_pairs[own[some, None] == own] = 0
        total += ((weights @ of_pairs.T) * weights[:, some]).sum(1)
    sizes = np.stack([np.bincount(own, one) for one in weights])
    return np.asarray(total / (sizes.sum(1) ** 2 - (sizes**2).sum(1)))


def _frechets(made: Features, true: Features, taken: NDArray[np.bool_]) -> Values:
    return np.array([frechet(made[some], true[some]) for some in taken[: 1 + _FEWER]])


def _share(first: Values, other: Values, scenes: int) -> Share:
    """first, other: distances of all edits, and then of halves."""
    one, two = float(first[0]), float(other[0])
    if two <= 0:
        return Share(one, two, None, None, None)
    kept = scenes // 2
    spread = np.cov(first[1:], other[1:]) * kept / (scenes - kept)
    of_first, of_both, of_other = (
        _NORMAL**2 * float(value) for value in (spread[0, 0], spread[0, 1], spread[1, 1])
    )
    # All ratios r at which one - r two is not told from 0: a quadratic in r, at most 0 between its roots.
    square, middle, rest = two**2 - of_other, one * two - of_both, one**2 - of_first
    if square <= 0:
        return Share(one, two, 1 - one / two, None, None)
    apart = float(np.sqrt(max(0.0, middle**2 - square * rest)))
    return Share(one, two, 1 - one / two, 1 - (middle + apart) / square, 1 - (middle - apart) / square)

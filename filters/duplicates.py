"""Pairs that say the same twice: equal to the pixel, alike to the eye, or alike to CLIP.

All three look at a pair as a whole, before and after: a picture may well be edited in many ways. Of those alike the
first is kept. Two languages for one edit are no duplicates.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_BUCKETS = 8  # hash tables of the search for near hashes
_BATCH = 4096
SIGNS = 256
"""Bits of the random projection that CLIP embeddings are looked up by."""


def exact(keys: NDArray[np.void] | NDArray[np.bytes_]) -> Bools:
    """(n,) True for rows whose key stood in an earlier row."""
    repeated = np.ones(len(keys), np.bool_)
    repeated[np.unique(keys, return_index=True)[1]] = False
    return repeated


def near(hashes: NDArray[np.uint64], groups: Ints, bits: int) -> Bools:
    """(n,) True for rows close to an earlier kept row of their group: in each column at most `bits` bits apart.

    hashes: (n, c), perceptual hashes of 64 bits, one column per picture. groups: rows of different groups are never
    alike. Found by faiss's multi-hash index: with `_BUCKETS` tables over 64 c bits, all that differ in fewer bits than
    there are tables, hence ValueError for more than that.
    """
    pictures = hashes.shape[1]
    if bits * pictures >= _BUCKETS:
        raise ValueError(f"at most {(_BUCKETS - 1) // pictures} bits a picture can be searched, not {bits}")
    codes = np.ascontiguousarray(hashes).view(np.uint8).reshape(len(hashes), 8 * pictures)
    width = 64 * pictures // _BUCKETS
    index = faiss.IndexBinaryMultiHash(64 * pictures, _BUCKETS, width)

    def alike(row: int, other: int) -> bool:
        apart = np.bitwise_count(hashes[row] ^ hashes[other])
        return bool(groups[row] == groups[other] and (apart <= bits).all())

    return _first_kept(codes, index, bits * pictures, alike)


def signs(embeddings: Floats, seed: int = 0) -> NDArray[np.uint8]:
    """(n, SIGNS / 8) bits of (n, d) embeddings: the sides of random planes, by which cosines are estimated
    (Charikar, "Similarity estimation techniques from rounding algorithms", 2002)."""
    planes = np.random.default_rng(seed).standard_normal((embeddings.shape[1], SIGNS), np.float32)
    return np.packbits(embeddings @ planes > 0, axis=1)


def semantic(
    codes: NDArray[np.uint8], groups: Ints, cosine: float, embedding: Callable[[int], Floats]
) -> Bools:
    """(n,) True for rows whose embedding has at least this cosine with that of an earlier kept row of their group.

    codes: of `signs`. embedding: the normalised embedding of a row, asked for candidates alone, so that embeddings
    need not be in memory. Candidates are those whose bits leave the cosine possible within three standard errors.
    """
    angle = np.arccos(cosine) / np.pi
    radius = int(SIGNS * angle + 3 * np.sqrt(SIGNS * angle * (1 - angle)))
    index = faiss.IndexBinaryFlat(SIGNS)

    def alike(row: int, other: int) -> bool:
        return bool(groups[row] == groups[other] and embedding(row) @ embedding(other) >= cosine)

    return _first_kept(codes, index, radius, alike)


def _first_kept(
    codes: NDArray[np.uint8], index: faiss.IndexBinary, radius: int, alike: Callable[[int, int], bool]
) -> Bools:
    """(n,) True for rows that are like an earlier row that was kept itself."""
    dropped = np.zeros(len(codes), np.bool_)
    index.add(codes)
    for start in range(0, len(codes), _BATCH):
        # faiss's radius is exclusive
        limits, _, found = index.range_search(codes[start : start + _BATCH], radius + 1)
        for place in range(len(limits) - 1):
            row = start + place
            others = np.sort(found[limits[place] : limits[place + 1]])
            dropped[row] = any(
                not dropped[other] and alike(row, int(other)) for other in others[others < row]
            )
    return dropped

"""Duplicates are found as a slow search by hand finds them, and the first stays."""

from __future__ import annotations

import numpy as np
import pytest

from filters.duplicates import exact, near, semantic, signs
from filters.quota import over_quota


def slow(rows: int, alike) -> list[bool]:
    dropped: list[bool] = []
    for row in range(rows):
        dropped.append(any(not dropped[other] and alike(row, other) for other in range(row)))
    return dropped


def flipped(value: int, bits: int, rng) -> int:
    for bit in rng.choice(64, bits, replace=False):
        value ^= 1 << int(bit)
    return value


@pytest.mark.parametrize("bits", [0, 1, 2, 3])
def test_near_duplicates_are_those_that_a_slow_search_finds(bits):
    rng = np.random.default_rng(bits)
    rows = [[int(v) for v in rng.integers(0, 2**63, 2)] for _ in range(40)]
    for _ in range(160):  # copies of copies, some within the limit and some beyond
        base = rows[int(rng.integers(len(rows)))]
        rows.append(
            [flipped(base[0], int(rng.integers(5)), rng), flipped(base[1], int(rng.integers(5)), rng)]
        )
    hashes = np.array(rows, np.uint64)
    groups = rng.integers(0, 2, len(rows))

    def alike(a: int, b: int) -> bool:
        apart = [(rows[a][c] ^ rows[b][c]).bit_count() for c in (0, 1)]
        return groups[a] == groups[b] and max(apart) <= bits

    found = near(hashes, groups, bits)
    assert found.tolist() == slow(len(rows), alike)
    assert 0 < found.sum() < len(rows)


def test_more_bits_than_can_be_searched_are_refused():
    with pytest.raises(ValueError, match="at most 3 bits"):
        near(np.zeros((2, 2), np.uint64), np.zeros(2, np.int64), 4)


def test_of_equal_keys_the_first_stays():
    keys = np.array([b"a", b"b", b"a", b"a", b"c", b"b"])
    assert exact(keys).tolist() == [False, False, True, True, False, True]


def test_semantic_duplicates_are_those_that_a_slow_search_finds():
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((30, 48))
    near_by = vectors[rng.integers(0, 30, 90)] + rng.uniform(0.05, 0.9, (90, 1)) * rng.standard_normal(
        (90, 48)
    )
    found = np.concatenate([vectors, near_by]).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    groups = rng.integers(0, 2, len(found))
    dropped = semantic(signs(found), groups, 0.93, lambda row: found[row])
    assert dropped.tolist() == slow(
        len(found), lambda a, b: groups[a] == groups[b] and found[a] @ found[b] >= 0.93
    )
    assert 5 < dropped.sum() < 85


def test_a_value_over_its_quota_loses_rows_by_their_hash_and_others_lose_none():
    directions = np.array([0] * 60 + [1] * 20 + [2] * 20 + [-1] * 50)
    order = np.random.default_rng(1).permutation(150).astype(np.uint64)
    dropped = over_quota({"direction": directions}, {"direction": 1.5}, order)
    assert np.bincount(directions[~dropped & (directions >= 0)]).tolist() == [30, 20, 20]
    assert not dropped[directions != 0].any()
    stayed = order[(directions == 0) & ~dropped]
    assert stayed.max() < order[(directions == 0) & dropped].min()


def test_a_longer_run_drops_what_the_shorter_one_dropped():
    rng = np.random.default_rng(2)
    codes, order = rng.choice(3, 400, p=[0.7, 0.2, 0.1]), rng.permutation(400).astype(np.uint64)
    short = over_quota({"a": codes[:300]}, {"a": 1.0}, order[:300])
    quota = (~short[codes[:300] == 0]).sum()
    assert quota == np.median(np.bincount(codes[:300]))


def test_without_factors_nothing_is_dropped():
    assert not over_quota({}, {}, np.arange(5, dtype=np.uint64)).any()

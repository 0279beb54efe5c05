"""What shares anything shares a split, whatever else is published beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.splits import components, is_held_out, split_of

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
COLUMN = st.lists(st.integers(-1, 6), min_size=12, max_size=12)


@given(first=COLUMN, second=COLUMN)
def test_rows_that_agree_in_a_column_are_in_one_component_and_others_are_not(first, second):
    columns = [np.array(first), np.array(second)]
    found = components(columns)
    reached = np.eye(12, dtype=bool)
    for column in columns:
        reached |= (column[:, None] == column[None]) & (column[:, None] >= 0)
    for _ in range(4):  # the closure, by squaring: another way to the same
        reached = reached @ reached
    assert np.array_equal(found[:, None] == found[None], reached)
    assert all(found[label] == label for label in found)


def test_a_value_below_zero_joins_nothing():
    assert components([np.array([-1, -1, 4, 4])]).tolist() == [0, 1, 2, 2]


def test_shares_are_kept_and_a_key_stays_where_it_is_when_others_come():
    found = [split_of(str(key), SHARES) for key in range(4000)]
    for split, share in SHARES.items():
        assert abs(found.count(split) / 4000 - share) < 0.02
    assert found[:100] == [split_of(str(key), SHARES) for key in range(100)]


def test_a_split_of_no_share_gets_nothing():
    shares = {"train": 1.0, "validation": 0.0, "test": 0.0}
    assert {split_of(str(key), shares) for key in range(500)} == {"train"}


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"add up to 0\.9"):
        split_of("a", {"train": 0.9})


def test_held_out_combinations_grow_with_the_share_and_never_change():
    few = {n for n in range(2000) if is_held_out(f"mug/{n}", 0.02)}
    more = {n for n in range(2000) if is_held_out(f"mug/{n}", 0.1)}
    assert few < more and 20 <= len(few) <= 65

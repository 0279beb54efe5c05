"""Every row once an epoch, whoever reads, and however often the training was stopped."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.order import Stretch, dealt, epoch_blocks, plan, rows_of, steps_of

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)
small = st.integers(1, 4)
seeds = st.integers(0, 2**32)


def read(blocks, sizes, seed, batch) -> list[list[list[tuple[int, int]]]]:
    """Batches of each rank."""
    return [rows_of(own, sizes, seed, 0, batch) for own in blocks]


def everything(sizes) -> set[tuple[int, int]]:
    return {(group, row) for group, rows in enumerate(sizes) for row in range(rows)}


@given(sizes=sizes, per_block=small, ranks=small, batch=small, seed=seeds)
def test_every_row_comes_once_an_epoch(sizes, per_block, ranks, batch, seed):
    blocks = plan(sizes, per_block, seed, 0, ranks)
    batches = read(blocks, sizes, seed, batch)
    counts = Counter(place for own in batches for some in own for place in some)
    assert counts == Counter(everything(sizes))
    assert steps_of(blocks, batch) == max(map(len, batches))


@settings(max_examples=200)
@given(sizes=sizes, per_block=small, batch=small, seed=seeds,
       stops=st.lists(st.tuples(small, st.integers(0, 5)), max_size=3), ranks=small)  # fmt: skip
def test_stopped_anywhere_and_gone_on_with_other_ranks_no_row_is_lost_or_comes_twice(
    sizes, per_block, batch, seed, stops, ranks
):
    seen: Counter[tuple[int, int]] = Counter()
    past: list[Stretch] = []
    for number, steps in stops:
        for own in read(plan(sizes, per_block, seed, 0, number, past), sizes, seed, batch):
            seen.update(place for some in own[:steps] for place in some)
        past.append(Stretch(number, steps, batch))
    for own in read(plan(sizes, per_block, seed, 0, ranks, past), sizes, seed, batch):
        seen.update(place for some in own for place in some)
    assert seen == Counter(everything(sizes))


@given(sizes=sizes, per_block=small, ranks=small, batch=small, seed=seeds, steps=st.integers(0, 6))
def test_going_on_with_the_same_ranks_is_as_if_nothing_had_happened(
    sizes, per_block, ranks, batch, seed, steps
):
    whole = read(plan(sizes, per_block, seed, 0, ranks), sizes, seed, batch)
    rest = read(plan(sizes, per_block, seed, 0, ranks, [Stretch(ranks, steps, batch)]), sizes, seed, batch)
    assert rest == [own[steps:] for own in whole]


def test_epochs_and_seeds_differ_and_repeat():
    many = [4] * 50
    first = epoch_blocks(many, 3, seed=1, epoch=0)
    assert first == epoch_blocks(many, 3, seed=1, epoch=0)
    assert first != epoch_blocks(many, 3, seed=1, epoch=1) and first != epoch_blocks(many, 3, seed=2, epoch=0)


def test_ranks_get_alike_many_rows():
    blocks = epoch_blocks([100, 3, 50, 20, 77, 31, 64, 8] * 10, 1, seed=0, epoch=0)
    rows = [sum(block.rows for block in own) for own in dealt(blocks, 4)]
    assert max(rows) - min(rows) <= 100


def test_rows_of_a_block_are_mixed_across_its_groups():
    batches = rows_of(epoch_blocks([50] * 4, 4, 0, 0), [50] * 4, 0, 0, 20)
    assert all(len({group for group, _ in some}) > 1 for some in batches)


@pytest.mark.parametrize("ranks", [1, 5])
def test_more_ranks_than_rows_leave_some_with_nothing(ranks):
    blocks = plan([1], 2, 0, 0, ranks)
    assert [sum(block.left for block in own) for own in blocks] == [1] + [0] * (ranks - 1)
    assert steps_of(blocks, 3) == 1

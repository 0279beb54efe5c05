"""In which order rows are learned from: a pure function of the seed, the epoch and who reads.

Rows lie in row groups, which are read whole. An epoch permutes the groups, takes some at a time as a block, whose rows
are shuffled, and deals the blocks to the ranks. Nothing is kept but how many rows each rank has read: so a training
that was killed goes on at the very row, and one that goes on with another number of ranks deals out what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Block:
    """Row groups whose rows are shuffled together. groups: numbers of groups. rows: how many rows they have. done: how
    many of these, in the shuffled order, were read before."""

    groups: tuple[int, ...]
    rows: int
    done: int = 0

    @property
    def left(self) -> int:
        return self.rows - self.done


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an epoch with one number of ranks. steps: batches that each rank took; batch: rows of each."""

    ranks: int
    steps: int
    batch: int


def epoch_blocks(sizes: Sequence[int], per_block: int, seed: int, epoch: int) -> list[Block]:
    """The epoch's blocks in their order. sizes: rows of each group. per_block: groups of a block."""
    order = np.random.default_rng([seed, epoch]).permutation(len(sizes))
    return [
        Block(tuple(int(n) for n in some), sum(sizes[int(n)] for n in some))
        for some in (order[start : start + per_block] for start in range(0, len(order), per_block))
    ]


def dealt(blocks: Sequence[Block], ranks: int) -> list[list[Block]]:
    """Each rank's blocks: the next one goes to whoever has the fewest rows."""
    found: list[list[Block]] = [[] for _ in range(ranks)]
    rows = [0] * ranks
    for block in blocks:
        rank = min(range(ranks), key=lambda n: rows[n])
        found[rank].append(block)
        rows[rank] += block.left
    return found


def remaining(blocks: Sequence[Block], rows: int) -> list[Block]:
    """What a rank has left of its blocks once it has read so many rows."""
    left = []
    for block in blocks:
        taken = min(rows, block.left)
        rows -= taken
        if taken < block.left:
            left.append(replace(block, done=block.done + taken))
    return left


def plan(
    sizes: Sequence[int], per_block: int, seed: int, epoch: int, ranks: int, past: Sequence[Stretch] = ()
) -> list[list[Block]]:
    """Each rank's blocks for the rest of an epoch. past: what was read of it before, in order."""
    own = dealt(epoch_blocks(sizes, per_block, seed, epoch), past[0].ranks if past else ranks)
    for stretch in past:
        own = _dealt_anew(own, stretch.ranks)
        own = [remaining(blocks, stretch.steps * stretch.batch) for blocks in own]
    return _dealt_anew(own, ranks)


def _dealt_anew(own: list[list[Block]], ranks: int) -> list[list[Block]]:
    """As it is, unless the number of ranks changes. Blocks that were begun come first, then those of each rank by
    turns: no rank's rest is left for the end."""
    if len(own) == ranks:
        return own
    turns = [
        (not block.done, place, rank, block)
        for rank, blocks in enumerate(own)
        for place, block in enumerate(blocks)
    ]
    return dealt([block for *_, block in sorted(turns, key=lambda turn: turn[:3])], ranks)


def steps_of(dealt_blocks: Sequence[Sequence[Block]], batch: int) -> int:
    """Batches until every rank has read all of its rows; those with fewer rows give empty ones at the end."""
    return max((-(-sum(block.left for block in own) // batch) for own in dealt_blocks), default=0)


def shuffled(block: Block, sizes: Sequence[int], seed: int, epoch: int) -> list[tuple[int, int]]:
    """(group, row in it) of the block's rows that are left, in their order."""
    places = [(group, row) for group in block.groups for row in range(sizes[group])]
    order = np.random.default_rng([seed, epoch, *block.groups]).permutation(len(places))
    return [places[int(n)] for n in order[block.done :]]


def rows_of(
    blocks: Sequence[Block], sizes: Sequence[int], seed: int, epoch: int, batch: int
) -> list[list[tuple[int, int]]]:
    """A rank's batches, (group, row) each; the last may be short. Batches go over the ends of blocks."""
    places = [place for block in blocks for place in shuffled(block, sizes, seed, epoch)]
    return [places[start : start + batch] for start in range(0, len(places), batch)]

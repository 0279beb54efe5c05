"""Batches of a published dataset, from disk or S3, in an order that `trainer.order` alone decides.

Row groups are read in a thread, ahead of what is asked for; pictures are decoded in processes of their own. Neither has
a say in what comes when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.dataset import Dataset
from shards.storage import StorageError
from shards.tables import opened
from trainer.examples import COLUMNS, Example, Seen, example
from trainer.latents import LatentStore, OpenLatents
from trainer.order import Block, Stretch, plan, rows_of, steps_of

_READERS = 8
_AHEAD = 3  # batches being decoded, per process


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of the dataset. rows: that it has. first: rows of the split before it. chosen: rows of the kinds that
    are asked for; None for all."""

    path: str
    number: int
    rows: int
    first: int = 0
    chosen: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Rows to learn from."""
        return self.rows if self.chosen is None else len(self.chosen)

    def row(self, place: int) -> int:
        """The row of the group that is the `place`th to learn from."""
        return place if self.chosen is None else self.chosen[place]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """batch: examples of a rank's batch. per_block: row groups whose rows are mixed. workers: processes that decode; 0
    for this one. kinds: of edits to learn from; none for all."""

    batch: int
    seen: Seen
    seed: int = 0
    per_block: int = 8
    workers: int = 0
    kinds: frozenset[str] = frozenset()


def groups_of(
    dataset: Dataset, split: str, kinds: frozenset[str] = frozenset(), columns: Sequence[str] = COLUMNS
) -> list[Group]:
    """All row groups of a split that have rows of these kinds, of any if none are named, by path and number. Reads
    footers, and the column of kinds where some are named.

    Raises StorageError("no_column") for a dataset without what an editor learns from, and as `opened` does.
    """

    def listed(path: str) -> list[Group]:
        with opened(dataset.storage, path) as file:
            there = set(file.schema_arrow.names)
            if missing := sorted({name.partition(".")[0] for name in columns} - there):
                raise StorageError("no_column", f"{dataset.storage.uri}/{path} has no column {missing[0]}")
            return [
                Group(path, n, file.metadata.row_group(n).num_rows, 0, _chosen(file, n, kinds))
                for n in range(file.num_row_groups)
            ]

    with ThreadPoolExecutor(_READERS) as pool:
        found = [g for some in pool.map(listed, [f.path for f in dataset.files("data", split)]) for g in some]
    first, out = 0, []
    for group in found:
        out.append(replace(group, first=first))
        first += group.rows
    return [group for group in out if group.size]


def _chosen(file: pq.ParquetFile, number: int, kinds: frozenset[str]) -> tuple[int, ...] | None:
    if not kinds:
        return None
    column = file.read_row_group(number, columns=["edit_kind"])["edit_kind"].to_pylist()
    return tuple(row for row, kind in enumerate(column) if kind in kinds)


class Stream:
    """One rank's batches. A context manager: its processes end with it."""

    def __init__(
        self, dataset: Dataset, split: str, settings: StreamSettings, store: LatentStore | None = None
    ) -> None:
        """store: latents that spare decoding. Raises StorageError; ValueError for a split without rows."""
        self.settings, self.groups = (
            settings,
            groups_of(dataset, split, settings.kinds, settings.seen.columns),
        )
        self._dataset, self._sizes, self._store = dataset, [group.size for group in self.groups], store
        if not self._sizes:
            raise ValueError(f"{dataset.storage.uri}: split {split!r} has no rows")
        self._processes: Executor | None = None

    def __enter__(self) -> Stream:
        if self.settings.workers:
            self._processes = ProcessPoolExecutor(self.settings.workers, mp_context=get_context("spawn"))
        self._threads = ThreadPoolExecutor(2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)

    def steps(self, epoch: int, ranks: int, past: Sequence[Stretch] = ()) -> int:
        """Batches that each rank has left in this epoch."""
        return steps_of(self._plan(epoch, ranks, past), self.settings.batch)

    def _plan(self, epoch: int, ranks: int, past: Sequence[Stretch]) -> list[list[Block]]:
        return plan(self._sizes, self.settings.per_block, self.settings.seed, epoch, ranks, past)

    def batches(
        self, epoch: int, rank: int = 0, ranks: int = 1, past: Sequence[Stretch] = ()
    ) -> Iterator[list[Example]]:
        """As many as `steps`; the last ones may be short, or empty. Raises RowError, StorageError."""
        settings, planned = self.settings, self._plan(epoch, ranks, past)
        batches = rows_of(planned[rank], self._sizes, settings.seed, epoch, settings.batch)
        waiting: deque[Future[list[Example]]] = deque()
        for rows in self._read(batches):
            asked = [
                _Asked(row, self.groups[group].first + n, (settings.seed, epoch, group, n))
                for (group, n), row in rows
            ]
            if self._processes is None:
                yield _examples(asked, settings.seen, self._store)
                continue
            waiting.append(self._processes.submit(_examples, asked, settings.seen, self._store))
            if len(waiting) > _AHEAD * settings.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        for _ in range(steps_of(planned, settings.batch) - len(batches)):
            yield []

    def _read(
        self, batches: list[list[tuple[int, int]]]
    ) -> Iterator[list[tuple[tuple[int, int], dict[str, Any]]]]:
        """The rows of each batch. A row group is read when its first row is near, and forgotten after its last."""
        last = {group: number for number, batch in enumerate(batches) for group, _ in batch}
        order = list(dict.fromkeys(group for batch in batches for group, _ in batch))
        coming = dict.fromkeys(order)
        tables: dict[int, Future[pa.Table]] = {}
        for number, batch in enumerate(batches):
            needed = {group for group, _ in batch}
            for group in order:
                if group in coming and (group in needed or len(tables) < self.settings.per_block + 2):
                    del coming[group]
                    tables[group] = self._threads.submit(self._table, group)
                elif group in coming:
                    break
            places = [(group, self.groups[group].row(place)) for group, place in batch]
            yield [
                ((group, row), tables[group].result().slice(row, 1).to_pylist()[0]) for group, row in places
            ]
            for group in [group for group in tables if last[group] <= number]:
                del tables[group]

    def _table(self, number: int) -> pa.Table:
        group = self.groups[number]
        with opened(self._dataset.storage, group.path) as file:
            return file.read_row_group(group.number, columns=list(self.settings.seen.columns))


@dataclass(frozen=True, slots=True)
class _Asked:
    """number: of the row in the split. seed: the draws of a row are its own, whoever makes it."""

    row: dict[str, Any]
    number: int
    seed: tuple[int, ...]


def _examples(asked: Sequence[_Asked], seen: Seen, store: LatentStore | None) -> list[Example]:
    """In a process of its own, or here."""
    kept = None if store is None else _opened(store)
    return [example(one.row, seen, np.random.default_rng(one.seed), one.number, kept) for one in asked]


@cache
def _opened(store: LatentStore) -> OpenLatents:
    return store.opened()

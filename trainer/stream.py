"""Batches of a published dataset, from disk or S3, in an order that `trainer.order` alone decides.

Row groups are read in a thread, ahead of what is asked for; pictures are decoded in processes of their own. Neither has
a say in what comes when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from shards.dataset import Dataset
from shards.storage import StorageError
from shards.tables import opened
from trainer.examples import COLUMNS, Example, example
from trainer.order import Block, Stretch, plan, rows_of, steps_of

_READERS = 8
_AHEAD = 3  # batches being decoded, per process
_PICTURES = ("original_image", "edited_image")


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of the dataset."""

    path: str
    number: int
    rows: int


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """batch: examples of a rank's batch. side: pixels. per_block: row groups whose rows are mixed. mirror: odds.
    workers: processes that decode; 0 for this one."""

    batch: int
    side: int
    seed: int = 0
    per_block: int = 8
    mirror: float = 0.5
    workers: int = 0


def groups_of(dataset: Dataset, split: str) -> list[Group]:
    """All row groups of a split, by path and number; reads footers alone.

    Raises StorageError("no_column") for a dataset without what an editor learns from, and as `opened` does.
    """

    def listed(path: str) -> list[Group]:
        with opened(dataset.storage, path) as file:
            there = set(file.schema_arrow.names)
            if missing := sorted({name.partition(".")[0] for name in COLUMNS} - there):
                raise StorageError("no_column", f"{dataset.storage.uri}/{path} has no column {missing[0]}")
            return [Group(path, n, file.metadata.row_group(n).num_rows) for n in range(file.num_row_groups)]

    with ThreadPoolExecutor(_READERS) as pool:
        return [
            group
            for some in pool.map(listed, [f.path for f in dataset.files("data", split)])
            for group in some
        ]


class Stream:
    """One rank's batches. A context manager: its processes end with it."""

    def __init__(self, dataset: Dataset, split: str, settings: StreamSettings) -> None:
        """Raises StorageError; ValueError for a split without rows."""
        self.settings, self.groups = settings, groups_of(dataset, split)
        self._dataset, self._sizes = dataset, [group.rows for group in self.groups]
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
            seeds = [(settings.seed, epoch, *place) for place, _ in rows]
            only = [row for _, row in rows]
            if self._processes is None:
                yield _examples(only, seeds, settings.side, settings.mirror)
                continue
            waiting.append(self._processes.submit(_examples, only, seeds, settings.side, settings.mirror))
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
            yield [
                ((group, row), tables[group].result().slice(row, 1).to_pylist()[0]) for group, row in batch
            ]
            for group in [group for group in tables if last[group] <= number]:
                del tables[group]

    def _table(self, number: int) -> pa.Table:
        group = self.groups[number]
        with opened(self._dataset.storage, group.path) as file:
            return file.read_row_group(group.number, columns=list(COLUMNS))


def _examples(
    rows: Sequence[dict[str, Any]], seeds: Sequence[Sequence[int]], side: int, mirror: float
) -> list[Example]:
    """In a process of its own, or here. The draws of a row are its own, whoever makes it."""
    return [
        example(row, side, np.random.default_rng(seed), mirror) for row, seed in zip(rows, seeds, strict=True)
    ]

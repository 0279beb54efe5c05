"""Attempts: how a run finds the unit, and then the row, that kills its worker.

A process that dies cannot say why. So before work starts a marker is put down, and a unit that begins for
the third time knows that two before it never finished. From then on each row is marked before it is touched
and unmarked when it is over; a row that was begun twice without an end is the culprit: it fails, and the rest
of its unit goes on. `shards.guard.RowGuard` is how a stage asks.

Not every death is the unit's doing. Machines are taken away, and drivers are killed with all their workers: the mark
that such a worker left does not count against the unit. Those before it do: the same job came back to the unit after
them, on nodes that were still there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass

from shards.storage import NotFound, Storage

ROW_BY_ROW_FROM = 3
"""From this attempt on, rows are marked one by one."""
ROW_FAILS_AFTER = 2
"""A row begun more often than this has killed its worker this many times."""
GIVE_UP_AFTER = 6
"""Later attempts fail every row that is left."""
ANYHOW_AFTER = 20
"""Later attempts are given up whoever is to blame: the unit may be what brings its machines down."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Who put a mark down. job: the driver's, new with each of them. node: the machine."""

    job: str = ""
    node: str = ""


class Attempts:
    """The markers of one stage folder: `attempts/<folder>/<unit>.<n>` and `<unit>.row<row>.<n>`, n from 1.

    Each is a tiny object put by create-if-absent, so that two workers never count the same attempt. Where the last mark
    is of another job than `whose`, or of a node that is not in `alive()` any more, it is taken back: what comes next is
    the same attempt once more. alive: None for all nodes.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        whose: Whose | None = None,
        alive: Callable[[], Container[str]] | None = None,
    ) -> None:
        self._storage = storage
        self._folder = f"attempts/{folder}"
        self._whose = whose or Whose()
        self._alive = alive
        self._only_first: set[str] = set()

    def begin(self, unit_id: str) -> int:
        """Marks an attempt. How many there were with this one: 1 for the first."""
        number, attempt = self._mark(unit_id)
        if number == 1:
            self._only_first.add(unit_id)
        else:
            self._only_first.discard(unit_id)
        return max(number, attempt) if number > ANYHOW_AFTER else attempt

    def begin_row(self, unit_id: str, row: int) -> int:
        """Marks a row before it is touched. How often it was begun, with this time."""
        self._only_first.discard(unit_id)
        return self._mark(f"{unit_id}.row{row}")[1]

    def end_row(self, unit_id: str, row: int) -> None:
        """Removes the row's markers: it left its worker alive."""
        for entry in self._storage.list(f"{self._folder}/{unit_id}.row{row}."):
            self._storage.delete(entry.key)

    def clear(self, unit_id: str) -> None:
        """Removes the unit's markers, after its commit. One request where nothing went wrong."""
        if unit_id in self._only_first:
            self._only_first.discard(unit_id)
            self._storage.delete(f"{self._folder}/{unit_id}.1")
            return
        for entry in self._storage.list(f"{self._folder}/{unit_id}."):
            self._storage.delete(entry.key)

    def _mark(self, name: str) -> tuple[int, int]:
        """The mark's number, and how many attempts there were with this one."""
        number = attempt = 1
        while not self._storage.create(f"{self._folder}/{name}.{number}", self._content(attempt)):
            attempt = self._after(f"{self._folder}/{name}.{number}")
            number += 1
        return number, attempt

    def _content(self, attempt: int) -> bytes:
        return json.dumps({**asdict(self._whose), "attempt": attempt}).encode()

    def _after(self, key: str) -> int:
        """Which attempt follows that of a mark: the next, or the same once more where its worker was taken away."""
        try:
            mark = json.loads(self._storage.read(key) or b'{"job": null, "node": null, "attempt": 1}')
        except NotFound:  # it is over by now, as are those before it
            return 1
        # Judged now and kept in the next mark: a node that goes later has no part in this.
        died = mark["job"] == self._whose.job and (self._alive is None or mark["node"] in self._alive())
        return int(mark["attempt"]) + died

"""Attempts: how a run finds the unit, and then the row, that kills its worker.

A process that dies cannot say why. So before work starts a marker is put down, and a unit that begins for
the third time knows that two before it never finished. From then on each row is marked before it is touched
and unmarked when it is over; a row that was begun twice without an end is the culprit: it fails, and the rest
of its unit goes on. `shards.guard.RowGuard` is how a stage asks.
"""

from __future__ import annotations

from shards.storage import Storage

ROW_BY_ROW_FROM = 3
"""From this attempt on, rows are marked one by one."""
ROW_FAILS_AFTER = 2
"""A row begun more often than this has killed its worker this many times."""
GIVE_UP_AFTER = 6
"""Later attempts fail every row that is left."""


class Attempts:
    """The markers of one stage folder: `attempts/<folder>/<unit>.<n>` and `<unit>.row<row>.<n>`, n from 1.

    Each is a tiny object put by create-if-absent, so that two workers never count the same attempt.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = f"attempts/{folder}"
        self._only_first: set[str] = set()

    def begin(self, unit_id: str) -> int:
        """Marks an attempt. How many there were with this one: 1 for the first."""
        attempt = self._mark(unit_id)
        if attempt == 1:
            self._only_first.add(unit_id)
        else:
            self._only_first.discard(unit_id)
        return attempt

    def begin_row(self, unit_id: str, row: int) -> int:
        """Marks a row before it is touched. How often it was begun, with this time."""
        self._only_first.discard(unit_id)
        return self._mark(f"{unit_id}.row{row}")

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

    def _mark(self, name: str) -> int:
        number = 1
        while not self._storage.create(f"{self._folder}/{name}.{number}", b""):
            number += 1
        return number

"""What a stage asks before each row, so that a row which kills its worker is found and left out.

A worker that dies cannot say which row killed it. So attempts are counted before work starts, and from the
third attempt at a unit each row is marked before it runs and unmarked once the next one is asked for: a mark
that outlives its worker points at the row that killed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shards.attempts import GIVE_UP_AFTER, ROW_BY_ROW_FROM, ROW_FAILS_AFTER


class BrokenEngine(Exception):
    """The engine under a stage (CUDA, vLLM, Blender) is beyond repair in this process.

    A stage raises it out of its call; the worker then ends its process, and the unit is tried again in a
    fresh one.
    """


class Marks(Protocol):
    """Where marks are kept; `shards.attempts.Attempts` is one."""

    def begin_row(self, unit_id: str, row: int) -> int:
        """Marks the row and says how many marks it now has."""

    def end_row(self, unit_id: str, row: int) -> None:
        """Takes back the row's marks: it left its worker alive."""


class RowGuard:
    """One attempt at one unit. Ask `may_run(row)` right before each row's work, rows in a fixed order.

    attempt: 1 for the first, as `Attempts.begin` counts.
    on_row: called for each row that may run, in an attempt that goes row by row; the worker's time limit
    starts anew there.
    """

    def __init__(
        self, marks: Marks, unit_id: str, attempt: int, on_row: Callable[[], None] | None = None
    ) -> None:
        self._marks = marks
        self._unit_id = unit_id
        self._attempt = attempt
        self._on_row = on_row
        self._running: int | None = None

    @property
    def row_by_row(self) -> bool:
        """True: work on one row at a time, in order, no batches; earlier attempts died."""
        return self._attempt >= ROW_BY_ROW_FROM

    @property
    def gives_up(self) -> bool:
        """True: too many attempts died; every row that remains is failed."""
        return self._attempt > GIVE_UP_AFTER

    @property
    def refusal(self) -> str:
        """The reason of a row that `may_run` refuses."""
        return "gave_up" if self.gives_up else "killed_its_worker"

    def may_run(self, row: int) -> bool:
        """False: do not touch this row, write it as failed with `refusal` as its reason.

        Asking for a row says that the one before is over. May raise `StorageError`.
        """
        if not self.row_by_row:
            return True
        if self.gives_up:
            return False
        if self._running is not None:
            self._marks.end_row(self._unit_id, self._running)
            self._running = None
        if self._marks.begin_row(self._unit_id, row) > ROW_FAILS_AFTER:
            return False
        self._running = row
        if self._on_row is not None:
            self._on_row()
        return True

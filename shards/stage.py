"""What every stage is: the contract between the rooms that do the work and the one that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shards.guard import RowGuard
from shards.units import Unit, UnitReport


class Stage(Protocol):
    """A stage as workers build and call it.

    Built once per worker, by keywords only, in the process that will run it: load models here. Then called
    with one unit after the other. A call reads the shards of `inputs`, asks `guard.may_run(row)` before each
    row, commits `part-<unit>.parquet` in its folder (create-if-absent) and reports. Rows that fail stay in
    the shard; an exception out of the call fails the unit, `BrokenEngine` ends the process.

    version: part of the fingerprint; to be raised whenever the same settings and inputs give other rows.
    """

    version: int

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        """run_uri: what `open_storage` takes. folder: this stage's folder, relative to the run.
        inputs: folders of the stages before, by stage name. settings: plain JSON values."""

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport: ...

"""The renderer's stage on a few tiny units, for tests and for the golden file."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from renderers import schedule
from renderers.stage import RenderScenes
from shards.guard import RowGuard
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from shards.units import Unit, UnitReport
from spatial.instruction import KINDS, LANGUAGES

RENDERED = tuple(kind for kind in KINDS if kind not in ("replace", "style"))
SETTINGS: dict[str, Any] = {
    "seed": 7,
    "unit_size": 2,
    "kinds": dict.fromkeys(RENDERED, 1.0),
    "languages": dict.fromkeys(LANGUAGES, 1.0),
    "image_size": 64,
    "objects": {"min": 2, "max": 3},
    "max_tries": 40,
    "render": {"engine": "cycles", "device": "cpu", "samples": 1, "denoise": False, "threads": 1},
    "recycle": {"scenes": 200, "memory_mb": 4096},
    "assets": None,
}
Row = dict[str, Any]


def unit(index: int, size: int = 2) -> Unit:
    return Unit("blender", index, size)


def wanted(row: int) -> tuple[str, str]:
    """The kind and the language of a row number under SETTINGS."""
    return schedule.wanted(row, SETTINGS["kinds"], SETTINGS["languages"])


def covering_units() -> list[Unit]:
    """Few units that together have every kind in every language."""
    missing = set(product(RENDERED, LANGUAGES))
    chosen: list[Unit] = []
    for least in (2, 1):  # first those of which every row is needed
        for index in range(1000):
            new = {wanted(row) for row in unit(index).rows} & missing
            if len(new) >= least:
                chosen.append(unit(index))
                missing -= new
    assert not missing
    return chosen


class NoMarks:
    """Attempts of a stage that is called without a worker around it; `begun` is what each row answers."""

    def __init__(self, begun: Mapping[int, int] | None = None) -> None:
        self._begun = begun or {}

    def begin_row(self, unit_id: str, row: int) -> int:
        return self._begun.get(row, 1)

    def end_row(self, unit_id: str, row: int) -> None: ...


@dataclass(frozen=True)
class Bench:
    """A stage with its run folder. Use as a context manager: it ends the Blender process."""

    run: Run
    stage: RenderScenes
    folder: str

    @classmethod
    def set_up(cls, path: Path, **changes: Any) -> Bench:
        run = Run.create_or_open(open_storage(str(path)), {"seed": 7})
        settings, folder = {**SETTINGS, **changes}, "pairs-blender-0"
        stage = RenderScenes(run_uri=str(path), folder=folder, inputs={}, settings=settings)
        return cls(run, stage, folder)

    def beside(self, folder: str) -> Bench:
        """The same stage and the same Blender process, for another folder of the run."""
        stage = copy.copy(self.stage)
        stage._folder = folder
        return Bench(self.run, stage, folder)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.stage._worker.close()

    def report(self, unit: Unit, attempt: int = 1, begun: Mapping[int, int] | None = None) -> UnitReport:
        """Makes a unit. attempt, begun: what its markers say."""
        return self.stage(unit, RowGuard(NoMarks(begun), unit.id, attempt))

    def table(self, unit: Unit) -> pa.Table:
        return read_table(self.run.storage, self.run.shard_key(self.folder, unit.id))

    def rows(self, units: Iterable[Unit]) -> list[Row]:
        """The rows of units, made here unless they are."""
        found: list[Row] = []
        made = self.run.done(self.folder)
        for one in units:
            if one.id not in made:
                self.report(one)
            found += self.table(one).to_pylist()
        return found

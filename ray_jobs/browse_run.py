"""A run as a catalogue to browse: its shards' small columns, read a few at a time, also while the run goes on.

A run has no index. A thread reads the units one after the other, and again looks for new ones for as long as somebody
looks at the page; what it has read so far can be searched at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_jobs.browse import DETAILS, SCORES, WORDS, Pictures, Row, Shelf, empty, scores_apart
from ray_jobs.status import Folder, folders, planned_units
from shards.run import Run
from shards.schema import CLIP_SCORES
from shards.storage import StorageError
from shards.tables import read_table

_FACETS = ("edit_kind", "language", "source", "verdict", "reason")
_PAIR = (*WORDS, "verdict", "reason", "image_bytes", *(f"scores.{name}" for name in SCORES))
_VERDICT = ("pair_id", "verdict", "reason")
_SCORE = ("pair_id", *CLIP_SCORES)
_STAGES = ("pairs", "verdicts", "scores")
_READERS = 8
_BATCH = 64  # units that are read before the table is renewed
_PAUSE_S = 3.0  # between two looks, or ten times what a look takes
_WATCHED_S = 20.0  # after the last question the thread goes to sleep


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a stage is. planned: units that the configuration asks for, None where it does not say. counts: rows by
    outcome, of folders whose rows are not in the table."""

    folder: Folder
    current: bool
    planned: int | None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """stages: every stage folder, by name. read, units: how many of the units to browse are read. troubles: a line for
    each that cannot be. finished: current.json names the folders of every route."""

    stages: tuple[Stage, ...] = ()
    read: int = 0
    units: int = 0
    troubles: tuple[str, ...] = ()
    finished: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """What a unit's rows are read from; read again when any of it changes, as by a verdict that comes later."""

    pairs: str
    unit: str
    verdicts: str | None
    scores: str | None


class RunCatalogue:
    """A run. Its shards are read by a thread that starts with the first question."""

    facets = _FACETS

    def __init__(self, run: Run) -> None:
        self._run = run
        self._shelf = Shelf(run.storage)
        self._tables: dict[_Part, pa.Table] = {}
        self._bad: dict[_Part, StorageError] = {}
        self._shown: tuple[_Part, ...] = ()
        self._counts: dict[str, tuple[int, dict[str, int]]] = {}
        self._lock = threading.Lock()
        self._asked = threading.Condition()
        self._last_asked, self._closed = 0.0, False
        self._first_look = threading.Event()
        self._thread: threading.Thread | None = None
        self._state: tuple[pa.Table, Progress] = (empty(_FACETS), Progress())

    @property
    def title(self) -> str:
        return f"run {self._run.id}"

    @property
    def uri(self) -> str:
        return self._run.storage.uri

    def table(self) -> pa.Table:
        return self.state()[0]

    def state(self) -> tuple[pa.Table, Progress]:
        """The rows read by now, and how far all is. The first time it waits for a first few units."""
        with self._asked:
            self._last_asked = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="browse-run", daemon=True)
                self._thread.start()
            self._asked.notify()
        self._first_look.wait(timeout=30)
        with self._lock:
            return self._state

    def close(self) -> None:
        """Ends the thread, once it is done with what it is reading."""
        with self._asked:
            self._closed = True
            self._asked.notify()

    def pictures(self, rows: Sequence[Row]) -> list[Pictures]:
        return self._shelf.pictures(rows)

    def details(self, row: Row) -> dict[str, Any]:
        return self._shelf.details(row, DETAILS)

    def look(self) -> None:
        """Reads what is new, and renews the table now and then. Raises StorageError where the run cannot be listed."""
        found = folders(self._run.storage)
        current = self._run.current()
        wanted = _parts(found, current)
        there = set(wanted)
        self._tables = {part: table for part, table in self._tables.items() if part in there}
        # What is damaged stays so until somebody deletes it; anything else may be over by now.
        self._bad = {part: e for part, e in self._bad.items() if part in there and e.reason == "corrupt"}
        missing = [part for part in wanted if part not in self._tables and part not in self._bad]
        for start in range(0, len(missing), _BATCH):
            if self._closed:
                return
            batch = missing[start : start + _BATCH]
            with ThreadPoolExecutor(_READERS) as pool:
                for part, read in zip(batch, pool.map(self._read, batch), strict=True):
                    if isinstance(read, StorageError):
                        self._bad[part] = read
                    else:
                        self._tables[part] = read
            if start + _BATCH < len(missing):
                self._renew(wanted, found, current)
        self._count(found)
        self._renew(wanted, found, current)

    def _watch(self) -> None:
        while not self._closed:
            began = time.monotonic()
            try:
                self.look()
            except Exception as error:  # a thread has nobody to tell: it is said on the page, and tried again
                with self._lock:
                    table, progress = self._state
                    line = str(error).splitlines()[0] if str(error) else type(error).__name__
                    progress = Progress(
                        progress.stages, progress.read, progress.units, (line,), progress.finished
                    )
                    self._state = table, progress
            self._first_look.set()
            pause = max(_PAUSE_S, 10 * (time.monotonic() - began))
            with self._asked:
                self._asked.wait_for(lambda: self._closed, timeout=pause)
                self._asked.wait_for(lambda: self._closed or time.monotonic() - self._last_asked < _WATCHED_S)

    def _renew(
        self, wanted: Sequence[_Part], found: Sequence[Folder], current: Mapping[str, Mapping[str, str]]
    ) -> None:
        parts, table = tuple(part for part in wanted if part in self._tables), self._state[0]
        if parts != self._shown:
            tables = [self._tables[part] for part in parts]
            table = pa.concat_tables(tables).combine_chunks() if tables else empty(_FACETS)
            self._shown = parts
        planned = planned_units(self._run)
        named = {folder for stages in current.values() for folder in stages.values()}
        stages = tuple(
            Stage(f, f.name in named, planned.get(f.of), self._counts.get(f.name, (0, {}))[1]) for f in found
        )
        routes = {folder.of for folder in found if folder.stage == "pairs"}
        progress = Progress(
            stages=stages,
            read=len(parts),
            units=len(wanted),
            troubles=tuple(str(error) for error in self._bad.values()),
            finished=bool(routes) and routes <= current.keys(),
        )
        with self._lock:
            self._state = table, progress
        self._first_look.set()

    def _count(self, found: Sequence[Folder]) -> None:
        """Outcomes of the stages whose rows are not in the table, such as edits in words."""
        for folder in found:
            if folder.stage in _STAGES or self._counts.get(folder.name, (0, {}))[0] == folder.units:
                continue
            try:
                self._counts[folder.name] = folder.units, self._run.counts(folder.name)
            except (StorageError, KeyError) as error:
                self._counts[folder.name] = folder.units, {f"unreadable: {error}": folder.units}

    def _read(self, part: _Part) -> pa.Table | StorageError:
        """The unit's rows, or why they cannot be read."""
        try:
            return self._rows(part)
        except StorageError as error:
            return error
        except (pa.ArrowException, KeyError) as error:  # a table, but not one of these columns
            line = f"{self._run.storage.uri}/{part.pairs}, unit {part.unit}: {error}"
            return StorageError("corrupt", line.splitlines()[0])

    def _rows(self, part: _Part) -> pa.Table:
        storage, key = self._run.storage, self._run.shard_key(part.pairs, part.unit)
        pairs = scores_apart(read_table(storage, key, _PAIR))
        if part.verdicts is not None:
            judged = read_table(storage, self._run.shard_key(part.verdicts, part.unit), _VERDICT)
            at = pc.index_in(pairs["pair_id"], value_set=judged["pair_id"].combine_chunks())
            decided = pc.is_valid(at)
            for name in ("verdict", "reason"):
                told = pc.if_else(
                    decided, judged[name].combine_chunks().take(at.combine_chunks()), pairs[name]
                )
                pairs = pairs.set_column(pairs.column_names.index(name), name, told)
        if part.scores is not None:
            scored = read_table(storage, self._run.shard_key(part.scores, part.unit), _SCORE)
            at = pc.index_in(pairs["pair_id"], value_set=scored["pair_id"].combine_chunks()).combine_chunks()
            for name in CLIP_SCORES:
                figure = pc.coalesce(scored[name].combine_chunks().take(at), pairs[name])
                pairs = pairs.set_column(pairs.column_names.index(name), name, figure)
        undecided = pc.fill_null(pairs["verdict"], "undecided")
        pairs = pairs.set_column(pairs.column_names.index("verdict"), "verdict", undecided)
        place = {
            "file": pa.repeat(pa.scalar(key), len(pairs)),
            "row_group": pa.repeat(pa.scalar(0, pa.int32()), len(pairs)),
            "row": pa.array(range(len(pairs)), pa.int32()),
        }
        for name, values in place.items():
            pairs = pairs.append_column(name, values)
        return pairs.select(empty(_FACETS).column_names)


def _parts(found: Sequence[Folder], current: Mapping[str, Mapping[str, str]]) -> list[_Part]:
    """The units to browse, in order: of each route those in its current folders, or in those that it has so far."""
    parts = []
    for route in sorted({folder.route for folder in found if folder.stage == "pairs" and folder.route}):
        chosen = {stage: _chosen(found, stage, route, current.get(route, {}).get(stage)) for stage in _STAGES}
        pairs = chosen["pairs"]
        if pairs is None:
            continue
        for unit in sorted(pairs.unit_ids):
            verdicts, scores = (
                folder.name if (folder := chosen[stage]) and unit in folder.unit_ids else None
                for stage in ("verdicts", "scores")
            )
            parts.append(_Part(pairs.name, unit, verdicts, scores))
    return parts


def _chosen(found: Sequence[Folder], stage: str, route: str, current: str | None) -> Folder | None:
    """The current folder; before there is one, that with the most units."""
    of_stage = [folder for folder in found if folder.stage == stage and folder.route == route]
    if current is not None:
        return next((folder for folder in of_stage if folder.name == current), None)
    return max(of_stage, key=lambda folder: folder.units, default=None)

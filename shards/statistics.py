"""What a dataset holds, counted from its indices: one pass, a batch of rows in memory, no picture read.

Amounts and scores go into bins that are fixed beforehand, so that any number of rows takes the same memory; only
scenes are told apart one by one, at 8 bytes each and what a set adds. Of names that a dataset may have without end
(assets, licences, nouns) the first MOST_NAMES are counted one by one, the rest together as OTHERS.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shards.dataset import SPLITS, Dataset
from shards.schema import CLIP_SCORES, GEOMETRY_SCORES
from shards.tables import read_batches

MOST_NAMES = 10_000
OTHERS = "(others)"
# The range of each amount and score that is binned: low, high, bins. What lies outside is counted apart.
AMOUNT_BINS = {
    "percent_width": (0.0, 100.0, 40),
    "percent_height": (0.0, 100.0, 40),
    "metre": (0.0, 4.0, 40),
    "degree": (0.0, 360.0, 72),
    "count": (0.5, 12.5, 12),
    "factor": (0.0, 4.0, 40),
}
SCORE_BINS = {
    **dict.fromkeys(GEOMETRY_SCORES, (0.0, 1.0, 50)),
    "centre_error": (0.0, 0.02, 40),
    "percent_error": (0.0, 2.0, 40),
    "metre_error": (0.0, 0.04, 40),
    "degree_error": (0.0, 2.0, 40),
    "factor_error": (0.0, 0.16, 40),
    "count_error": (-5.5, 5.5, 11),
    "unnamed_shift": (0.0, 0.01, 20),
    "unnamed_mask": (0.0, 0.1, 20),
    "change_outside": (0.0, 0.1, 50),
    "clip_image": (0.0, 1.0, 50),
    "clip_text_before": (0.0, 1.0, 50),
    "clip_text_after": (0.0, 1.0, 50),
    "clip_direction": (-0.5, 1.0, 60),
}
del SCORE_BINS["amount_measured"]  # in the unit of the edit: no one scale fits
assert set(CLIP_SCORES) <= SCORE_BINS.keys()

_STEP = ("direction", "region", "relation")
_COLUMNS = (
    "scene_id", "source", "edit_kind", "language", "width", "height", "image_bytes", "license", "provenance",
    "inverse_of", "scores",
    *(f"instructions.list.element.{name}" for name in _STEP),
    *(f"operations.list.element.{name}" for name in ("subject", "objects", "amount", "unit")),
    *(f"{when}.list.element.{name}"
      for when in ("objects_before", "objects_after") for name in ("id", "name", "color", "licence")),
)  # fmt: skip
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values in equal bins over [low, high], both ends included. below, above: values outside."""

    low: float
    high: float
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts) + self.below + self.above

    @property
    def edges(self) -> list[float]:
        return [float(edge) for edge in np.linspace(self.low, self.high, len(self.counts) + 1)]

    def quantile(self, share: float) -> float | None:
        """The value below which this share lies, exact to a bin; `low` or `high` for values outside. None of none."""
        if not self.total:
            return None
        wanted, edges = share * self.total - self.below, self.edges
        if wanted <= 0:
            return self.low
        for number, count in enumerate(self.counts):
            if wanted <= count:
                return edges[number] + (edges[number + 1] - edges[number]) * wanted / count
            wanted -= count
        return self.high


@dataclass(frozen=True, slots=True)
class Cell:
    """Rows that share these."""

    split: str
    source: str
    kind: str
    language: str
    rows: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Something that pairs are made of. sort: "asset", "light", "captions", "model". licence: "" where none is
    noted. rows: pairs that it is in."""

    sort: str
    name: str
    licence: str
    rows: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of pairs, unless said otherwise; mappings are ordered, most frequent first.

    cells: by split, source, kind and language. scenes: {split: distinct scenes or captions}. directions, regions,
    relations: of steps, as said. nouns, colours: of the objects that edits touch. amounts: {unit: of steps, as
    done}. scores: {score: values}, without those that no pair has. sizes: {(width, height)}. image_bytes: of all
    pictures, encoded. licences: of pairs. object_licences: of the objects in them, a pair once for each licence.
    origins: what pairs are made of. inverses: pairs that undo another.
    """

    cells: tuple[Cell, ...]
    scenes: Mapping[str, int]
    directions: Mapping[str, int]
    regions: Mapping[str, int]
    relations: Mapping[str, int]
    nouns: Mapping[str, int]
    colours: Mapping[str, int]
    amounts: Mapping[str, Histogram]
    scores: Mapping[str, Histogram]
    sizes: Mapping[tuple[int, int], int]
    image_bytes: int
    licences: Mapping[str, int]
    object_licences: Mapping[str, int]
    origins: tuple[Origin, ...]
    inverses: int

    @property
    def rows(self) -> int:
        return sum(cell.rows for cell in self.cells)

    def by(self, *names: str) -> dict[tuple[str, ...], int]:
        """Rows by some of "split", "source", "kind", "language", in the order of the cells."""
        found: Counter[tuple[str, ...]] = Counter()
        for cell in self.cells:
            found[tuple(getattr(cell, name) for name in names)] += cell.rows
        return dict(found)


def count(dataset: Dataset) -> Figures:
    """Counts all splits. Needs the files under "index" only. Raises StorageError where they cannot be read."""
    counting = _Counting()
    for file in dataset.files("index"):
        for batch in read_batches(dataset.storage, file.path, _COLUMNS, _BATCH):
            counting.add(file.split or "unknown", batch)
    return counting.figures()


@dataclass(slots=True)
class _Bins:
    low: float
    high: float
    bins: int
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.bins + 2, np.int64)  # the first below, the last above

    def add(self, values: pa.Array) -> None:
        found = values.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
        found = found[~np.isnan(found)]
        place = np.floor((found - self.low) / (self.high - self.low) * self.bins) + 1
        place[found == self.high] = self.bins
        self.counts += np.bincount(np.clip(place, 0, self.bins + 1).astype(np.int64), minlength=self.bins + 2)

    def histogram(self) -> Histogram:
        below, *counts, above = (int(n) for n in self.counts)
        return Histogram(self.low, self.high, tuple(counts), below, above)


class _Counting:
    def __init__(self) -> None:
        self._cells: Counter[tuple[str, str, str, str]] = Counter()
        self._scenes: dict[str, set[bytes]] = {}
        self._steps: dict[str, Counter[str]] = {name: Counter() for name in _STEP}
        self._nouns: Counter[str] = Counter()
        self._colours: Counter[str] = Counter()
        self._amounts = {unit: _Bins(*bins) for unit, bins in AMOUNT_BINS.items()}
        self._scores = {name: _Bins(*bins) for name, bins in SCORE_BINS.items()}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._licences: Counter[str] = Counter()
        self._object_licences: Counter[str] = Counter()
        self._origins: Counter[tuple[str, str, str]] = Counter()
        self._image_bytes = self._inverses = 0

    def add(self, split: str, batch: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([batch]).combine_chunks()
        for key, rows in _grouped(table, ("source", "edit_kind", "language")):
            source, kind, language = (str(part or "unknown") for part in key)
            self._cells[split, source, kind, language] += rows
        for key, rows in _grouped(table, ("width", "height")):
            self._sizes[int(key[0] or 0), int(key[1] or 0)] += rows
        scenes = self._scenes.setdefault(split, set())
        scenes.update(blake2b(scene.encode(), digest_size=8).digest()
                      for scene in pc.unique(table["scene_id"]).to_pylist() if scene is not None)  # fmt: skip
        self._image_bytes += pc.sum(table["image_bytes"]).as_py() or 0
        self._inverses += len(table) - table["inverse_of"].null_count
        _tally(self._licences, table["license"])
        for name, bins in self._scores.items():
            bins.add(pc.struct_field(table["scores"], name).combine_chunks())
        said = _elements(table["instructions"])
        for name, counter in self._steps.items():
            _tally(counter, said[1].field(name))
        self._add_done(table)
        details = pa.table({"details": pc.struct_field(table["provenance"], "details")})
        for key, rows in _grouped(details, ("details",)):
            for origin in sorted(_origins(key[0])):
                _more(self._origins, origin, (origin[0], OTHERS, ""), rows)

    def _add_done(self, table: pa.Table) -> None:
        rows, done = _elements(table["operations"])
        units = done.field("unit")
        for unit, bins in self._amounts.items():
            bins.add(done.field("amount").filter(pc.equal(units, unit).fill_null(False)))
        steps, ids = _elements(done.field("objects"))
        touched = _keys(np.concatenate([rows, rows[steps]]), pa.concat_arrays([done.field("subject"), ids]))
        owners, things = [], []
        for when in ("objects_before", "objects_after"):
            owner, thing = _elements(table[when])
            owners.append(owner)
            things.append(thing)
        owner, thing = np.concatenate(owners), pa.concat_arrays(things)
        keys = _keys(owner, thing.field("id"))
        # An object is there before and after: the first of both tells.
        found = np.unique(keys.to_numpy(zero_copy_only=False).astype(str), return_index=True)[1]
        first = thing.take(pa.array(found)).filter(
            pc.is_in(keys.take(pa.array(found)), value_set=touched.drop_null())
        )
        _tally(self._nouns, first.field("name"))
        _tally(self._colours, first.field("color"))
        known = pa.table({"row": owner, "licence": thing.field("licence")})
        pairs = known.group_by(["row", "licence"], use_threads=False).aggregate([])
        _tally(self._object_licences, pairs["licence"])

    def figures(self) -> Figures:
        cells = [Cell(*key, rows) for key, rows in self._cells.items()]
        amounts = {unit: bins.histogram() for unit, bins in self._amounts.items()}
        scores = {name: bins.histogram() for name, bins in self._scores.items()}
        return Figures(
            cells=tuple(
                sorted(cells, key=lambda cell: (_place(cell.split), cell.source, cell.kind, cell.language))
            ),
            scenes={split: len(self._scenes[split]) for split in sorted(self._scenes, key=_place)},
            directions=_ordered(self._steps["direction"]),
            regions=_ordered(self._steps["region"]),
            relations=_ordered(self._steps["relation"]),
            nouns=_ordered(self._nouns),
            colours=_ordered(self._colours),
            amounts={unit: found for unit, found in amounts.items() if found.total},
            scores={name: found for name, found in scores.items() if found.total},
            sizes=_ordered(self._sizes),
            image_bytes=self._image_bytes,
            licences=_ordered(self._licences),
            object_licences=_ordered(self._object_licences),
            origins=tuple(
                Origin(sort, name, licence, rows)
                for (sort, name, licence), rows in _ordered(self._origins).items()
            ),
            inverses=self._inverses,
        )


def _grouped(table: pa.Table, names: Sequence[str]) -> Iterable[tuple[tuple[Any, ...], int]]:
    """Distinct values of the columns, and rows that have them."""
    groups = table.select(list(names)).group_by(list(names), use_threads=False)  # in the rows' order
    for row in groups.aggregate([([], "count_all")]).to_pylist():
        yield tuple(row[name] for name in names), row["count_all"]


def _elements(lists: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    """For each element of a column of lists the row that it is in, and the element."""
    array = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], lists.type)
    return pc.list_parent_indices(array).to_numpy(zero_copy_only=False).astype(np.int64), pc.list_flatten(
        array
    )


def _keys(rows: NDArray[np.int64], names: pa.Array) -> pa.Array:
    """One string for a row and a name; null where there is no name."""
    return pc.binary_join_element_wise(pc.cast(pa.array(rows), pa.string()), names, "/")


def _tally(counter: Counter[str], values: pa.Array | pa.ChunkedArray) -> None:
    for found in pc.value_counts(values).to_pylist():
        if found["values"] is not None:
            _more(counter, found["values"], OTHERS, found["counts"])


def _more(counter: Counter[Any], key: Any, others: Any, rows: int) -> None:
    counter[key if key in counter or len(counter) < MOST_NAMES else others] += rows


def _place(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _ordered(counter: Mapping[Any, int]) -> dict[Any, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _origins(details: str | None) -> set[tuple[str, str, str]]:
    """(sort, name, licence) of all that a row's provenance tells of."""
    try:
        told = json.loads(details or "{}")
    except ValueError:
        return set()
    if not isinstance(told, dict):
        return set()
    found = set()
    if isinstance(assets := told.get("assets"), dict):
        found |= {("asset", str(name), str(licence)) for name, licence in assets.items()}
    if told.get("environments"):
        found.add(("light", "environment maps", str(told["environments"])))
    found |= {("model", str(told[name]), "") for name in ("model", "clip") if told.get(name)}
    edit = told.get("edit")
    caption = edit.get("caption") if isinstance(edit, dict) else None
    if isinstance(caption, dict) and caption.get("source"):
        found.add(("captions", str(caption["source"]), ""))
    return found

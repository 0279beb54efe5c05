"""What a browser of pairs needs: a table of small columns to search in, and the pairs that are looked at.

Nothing here knows how a page looks. A catalogue is a published dataset, by its index, or a run, by its shards
(`ray_jobs.browse_run`). Its table is held in memory; pictures are fetched for the pairs shown, one by one.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from shards.dataset import SPLITS, Dataset
from shards.pages import Layout, read_layout, read_pictures
from shards.schema import CLIP_SCORES, GEOMETRY_SCORES, PAIRS
from shards.storage import Storage, StorageError
from shards.tables import read_rows, read_table

SCORES = GEOMETRY_SCORES + CLIP_SCORES
PICTURES = ("original_image", "edited_image")
WORDS = ("pair_id", "edit_prompt", "edit_kind", "language", "source")
# Where a row lies: its file; its row group; its place there. A row may be counted on into the next row groups.
PLACE = ("file", "row_group", "row")
DETAILS = tuple(name for name in PAIRS.names if name not in PICTURES)
_READERS = 8
_PICTURE_BYTES = 128 << 20
_LAYOUTS = 512

# Vietnamese open syllables carry their tone on either vowel: "xoá" is "xóa".
_EITHER = {
    form: f"(?:{a + tone_b}|{tone_a + b})"
    for a, b in ("oa", "oe", "uy")
    for tone_a, tone_b in (
        tuple(unicodedata.normalize("NFC", letter + tone) for letter in (a, b))
        for tone in "\u0300\u0301\u0303\u0309\u0323"
    )
    for form in (a + tone_b, tone_a + b)
}
_SYLLABLE = re.compile("|".join(_EITHER))
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")

Row = Mapping[str, Any]
"""A row of a catalogue's table."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows to show.

    chosen: {column: values}; a column without values is not asked. text: a part of the instruction, in any case, or a
    pair's id. score: a score's name; least, most: its range, both ends included; rows without it are left out.
    """

    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    text: str = ""
    score: str | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """The encoded pictures of a pair, None where there are none. trouble: why they cannot be had, or ""."""

    before: bytes | None = None
    after: bytes | None = None
    trouble: str = ""


class Catalogue(Protocol):
    """facets: columns of the table with few values, to choose by."""

    @property
    def title(self) -> str: ...

    @property
    def uri(self) -> str: ...

    @property
    def facets(self) -> tuple[str, ...]: ...

    def table(self) -> pa.Table:
        """WORDS, facets, PLACE and SCORES of all rows that are known by now."""

    def pictures(self, rows: Sequence[Row]) -> list[Pictures]:
        """Those of these rows, in their order. What cannot be read is said in each row's `trouble`."""

    def details(self, row: Row) -> dict[str, Any]:
        """All columns of the pair but its pictures. Raises StorageError."""


def search(table: pa.Table, query: Query) -> pa.Int64Array:
    """The numbers of the table's rows that the query asks for, ascending."""
    masks = [
        pc.is_in(table[column], value_set=pa.array(list(values), pa.string()))
        for column, values in query.chosen.items()
        if values
    ]
    if text := query.text.strip():
        said = pc.utf8_lower(pc.utf8_normalize(table["edit_prompt"], form="NFC"))
        masks.append(
            pc.or_kleene(pc.match_substring_regex(said, _pattern(text)), pc.equal(table["pair_id"], text))
        )
    if query.score:
        score = table[query.score]
        masks.append(pc.is_valid(score))
        masks += (
            [pc.greater_equal(score, pa.scalar(query.least, pa.float32()))] if query.least is not None else []
        )
        masks += [pc.less_equal(score, pa.scalar(query.most, pa.float32()))] if query.most is not None else []
    if not masks:
        return pa.array(range(len(table)), pa.int64())
    whole = masks[0]
    for mask in masks[1:]:
        whole = pc.and_kleene(whole, mask)
    return pc.indices_nonzero(pc.fill_null(whole, False)).cast(pa.int64())


def _pattern(text: str) -> str:
    """A regular expression (RE2) for the text as `search` folds it, with either placement of Vietnamese tones."""
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], unicodedata.normalize("NFC", text).lower())
    return _SYLLABLE.sub(lambda found: _EITHER[found[0]], escaped)


def values(table: pa.Table, column: str) -> dict[str, int]:
    """The column's values with the number of their rows, the most frequent first."""
    counted = pc.value_counts(pc.drop_null(table[column])).to_pylist()
    return {
        each["values"]: each["counts"] for each in sorted(counted, key=lambda e: (-e["counts"], e["values"]))
    }


def score_ranges(table: pa.Table) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each score that any row has."""
    found = {name: pc.min_max(table[name]).as_py() for name in SCORES}
    return {name: (ends["min"], ends["max"]) for name, ends in found.items() if ends["min"] is not None}


class Shelf:
    """Pairs in files: pictures and details by row. What was fetched last stays in memory, whoever asks for it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._kept: OrderedDict[tuple[str, int, int], Pictures] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def pictures(self, rows: Sequence[Row]) -> list[Pictures]:
        """As `Catalogue.pictures`. One small read per file, several files at a time."""
        places = [_place(row) for row in rows]
        with self._lock:
            found = {place: self._kept[place] for place in places if place in self._kept}
            for place in found:
                self._kept.move_to_end(place)
        by_file: dict[str, list[tuple[str, int, int]]] = {}
        for place in dict.fromkeys(places):
            if place not in found:
                by_file.setdefault(place[0], []).append(place)
        if by_file:
            with ThreadPoolExecutor(_READERS) as pool:
                for fetched in pool.map(self._fetch, by_file, by_file.values()):
                    found |= fetched
                    self._keep(fetched)
        return [found[place] for place in places]

    def details(self, row: Row, columns: Sequence[str]) -> dict[str, Any]:
        """Some columns of a row, from its row group alone. Raises StorageError."""
        file, group, number = _place(row)
        try:
            place = self._layout(file).row(group, number)
            found: dict[str, Any] = read_rows(self._storage, file, [place], columns).to_pylist()[0]
        except (IndexError, ValueError) as error:
            raise StorageError("corrupt", f"{self._storage.uri}: {error}") from error
        return found

    def _fetch(
        self, file: str, places: Iterable[tuple[str, int, int]]
    ) -> dict[tuple[str, int, int], Pictures]:
        places = list(places)
        try:
            layout = self._layout(file)
            numbers = [layout.row(group, row) for _, group, row in places]
            pictures = read_pictures(self._storage, file, numbers, PICTURES, layout)
        except (
            StorageError,
            IndexError,
            ValueError,
        ) as error:  # the last two: an index that does not fit its files
            with self._lock:
                self._layouts.pop(file, None)
            return dict.fromkeys(places, Pictures(trouble=str(error)))
        pairs = zip(places, pictures, strict=True)
        return {place: Pictures(before, after) for place, (before, after) in pairs}

    def _layout(self, file: str) -> Layout:
        with self._lock:
            if (known := self._layouts.get(file)) is not None:
                self._layouts.move_to_end(file)
                return known
        layout = read_layout(self._storage, file, PICTURES)
        with self._lock:
            self._layouts[file] = layout
            while len(self._layouts) > _LAYOUTS:
                self._layouts.popitem(last=False)
        return layout

    def _keep(self, fetched: Mapping[tuple[str, int, int], Pictures]) -> None:
        with self._lock:
            for place, pictures in fetched.items():
                if not pictures.trouble and place not in self._kept:
                    self._kept[place] = pictures
                    self._bytes += _size(pictures)
            while self._bytes > _PICTURE_BYTES:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


class DatasetCatalogue:
    """A published dataset's version, by its index."""

    facets = ("edit_kind", "language", "source", "split")

    def __init__(self, dataset: Dataset) -> None:
        """Reads small columns of the index. Raises StorageError."""
        self._dataset = dataset
        self._shelf = Shelf(dataset.storage)
        columns = [*WORDS, *PLACE, *(f"scores.{name}" for name in SCORES)]
        files = sorted(dataset.files("index"), key=lambda file: _order(file.split))
        with ThreadPoolExecutor(_READERS) as pool:
            tables = pool.map(lambda file: read_table(dataset.storage, file.path, columns), files)
            parts = [
                scores_apart(table).append_column(
                    "split", pa.repeat(pa.scalar(file.split, pa.string()), len(table))
                )
                for file, table in zip(files, tables, strict=True)
            ]
        self._table = pa.concat_tables(parts).combine_chunks() if parts else empty(self.facets)

    @property
    def title(self) -> str:
        return f"{self._dataset.manifest.name} {self._dataset.manifest.version}"

    @property
    def uri(self) -> str:
        return self._dataset.storage.uri

    def table(self) -> pa.Table:
        return self._table

    def pictures(self, rows: Sequence[Row]) -> list[Pictures]:
        return self._shelf.pictures(rows)

    def details(self, row: Row) -> dict[str, Any]:
        accepted = [name for name in DETAILS if name not in ("verdict", "reason")]
        return self._shelf.details(row, [*accepted, "inverse_of"])


def _order(split: str | None) -> int:
    """Those that one trains on first, as people say them."""
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def scores_apart(table: pa.Table) -> pa.Table:
    """The table with a column for each score, in place of the struct; null where there is none."""
    scores = table["scores"].combine_chunks()
    for name in SCORES:
        table = table.append_column(name, pc.struct_field(scores, name))
    return table.drop_columns("scores")


def empty(facets: Sequence[str]) -> pa.Table:
    """A catalogue's table without rows."""
    words = dict.fromkeys((*WORDS, *facets, "file"), pa.string())
    places = dict.fromkeys(("row_group", "row"), pa.int32())
    return pa.schema(list((words | places | dict.fromkeys(SCORES, pa.float32())).items())).empty_table()


def _place(row: Row) -> tuple[str, int, int]:
    return row["file"], row["row_group"], row["row"]


def _size(pictures: Pictures) -> int:
    return len(pictures.before or b"") + len(pictures.after or b"")

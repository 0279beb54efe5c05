"""What a dataset version will hold, decided from the scans alone: which pairs, in which split, in which file.

Pairs are taken by run, route, unit and row; that order is the order of the files, and of who is first among
duplicates. Every decision is a function of the scans and the settings.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_jobs.config_publish import ConfigError, Publish
from shards.compact import PIECE
from shards.dataset import SCHEMA_VERSION, SPLITS
from shards.splits import components, split_of

VERSION = 3  # to be raised whenever the same scans and settings give other files
_ROW_OVERHEAD = 4_000  # bytes of a row besides its pictures, for cutting files
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a scan's rows lie, and by which run. pairs, verdicts, scores: folders."""

    run_uri: str
    run_id: str
    pairs: str
    verdicts: str
    scores: str | None


@dataclass(frozen=True, slots=True)
class Where:
    """A row. row: its place in its unit's shard."""

    origin: Origin
    unit: str
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one unit for one file. rows: a table of `PIECE`."""

    origin: Origin
    unit: str
    rows: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A data file to be. path: within the version. rows: inverses counted. picked: rows of the scans."""

    path: str
    split: str
    source: str
    rows: int
    picked: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """files: by path. dropped: rows by reason. inverses: how many of the rows are. id: equal for equal plans."""

    files: tuple[File, ...]
    dropped: Mapping[str, int]
    inverses: int
    id: str
    scans: pa.Table
    origins: tuple[Origin, ...]
    origin_of: NDArray[np.int64]

    def parts(self, file: File) -> list[Part]:
        """The file's rows, unit by unit."""
        picked = self.scans.take(file.picked)
        unit, origin = _codes(picked, "unit"), self.origin_of[file.picked]
        names = picked.column("unit").combine_chunks().dictionary
        starts = np.flatnonzero((unit[1:] != unit[:-1]) | (origin[1:] != origin[:-1])) + 1
        edges = [0, *starts.tolist(), len(unit)]
        return [
            Part(
                self.origins[origin[start]],
                names[int(unit[start])].as_py(),
                picked.slice(start, end - start).select(PIECE.names).cast(PIECE).combine_chunks(),
            )
            for start, end in pairwise(edges)
        ]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """{split: {source: rows}}."""
        found: dict[str, dict[str, int]] = {}
        for split in SPLITS:
            for file in self.files:
                if file.split == split:
                    sources = found.setdefault(split, {})
                    sources[file.source] = sources.get(file.source, 0) + file.rows
        return found


def plan(
    scans: Sequence[tuple[Origin, pa.Table]],
    settings: Publish,
    semantic: Callable[[Sequence[Where], Codes, float], NDArray[np.bool_]],
) -> Plan:
    """scans: tables of `SCAN`, in order. semantic: finds duplicates by embeddings, of (where rows lie,
    their groups, least cosine); asked only where the settings have it.

    Tables may be memory-mapped: what is copied into memory is a hundred bytes a row.
    """
    table = pa.concat_tables([t for _, t in scans]).unify_dictionaries()
    origins = np.repeat(np.arange(len(scans)), [len(t) for _, t in scans])
    dropped: Counter[str] = Counter()
    keep = np.ones(len(table), np.bool_)

    def drop(reason: str, which: NDArray[np.bool_]) -> None:
        if number := int((which & keep).sum()):
            dropped[reason] += number
        keep[which] = False

    drop("no_picture", _numbers(table, "image_bytes") == 0)
    places = tuple(origin for origin, _ in scans)
    _drop_duplicates(
        table,
        settings,
        keep,
        drop,
        lambda rows, groups, cosine: semantic(_wheres(table, origins, places, rows), groups, cosine),
    )
    _drop_of_samples(table, settings, keep, drop)
    _drop_over_quota(table, settings, keep, drop)
    if settings.most is not None:
        order, most = table.column("order").to_numpy(), settings.most
        drop("more_than_asked", _among(keep, lambda rows: _all_but(order[rows], most)))
    rows = np.flatnonzero(keep)
    splits = _splits(table, rows, settings)
    inverse = table.column("inverse").is_valid().to_numpy()
    files = tuple(_files(table, inverse, rows, splits, settings))
    identity = _identity(table, origins, places, inverse, files, settings)
    return Plan(files, dict(dropped), int(inverse[rows].sum()), identity, table, places, origins)


def _drop_duplicates(
    table: pa.Table, settings: Publish, keep: NDArray[np.bool_], drop: Callable[..., None], semantic: Any
) -> None:
    from filters import duplicates

    chosen = settings.duplicates
    language = _codes(table, "language")
    hashed = (_numbers(table, "pixel_before") >= 0) & (_numbers(table, "pixel_after") >= 0)
    if chosen.exact:
        columns = (_numbers(table, "pixel_before"), _numbers(table, "pixel_after"), language)
        keys = np.ascontiguousarray(np.stack(columns, axis=1)).view([("", np.int64)] * 3).ravel()
        drop("exact_duplicate", _among(keep & hashed, lambda rows: duplicates.exact(keys[rows])))
    alike = [_codes(table, name) for name in ("language", "edit_kind", "direction", "region", "source")]
    groups = np.unique(np.stack(alike, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    if chosen.near_bits is not None:
        bits = chosen.near_bits
        pair = ("perceptual_before", "perceptual_after")
        hashes = np.stack([table.column(name).to_numpy() for name in pair], axis=1)
        drop(
            "near_duplicate",
            _among(keep & hashed, lambda rows: duplicates.near(hashes[rows], groups[rows], bits)),
        )
    if (cosine := chosen.cosine) is not None:
        drop("semantic_duplicate", _among(keep, lambda rows: semantic(rows, groups[rows], cosine)))


def _wheres(table: pa.Table, origins: Codes, places: Sequence[Origin], rows: Codes) -> list[Where]:
    unit, number = _codes(table, "unit"), _numbers(table, "row")
    names = table.column("unit").combine_chunks().dictionary.to_pylist()
    return [Where(places[origins[row]], names[unit[row]], int(number[row])) for row in rows.tolist()]


def _drop_of_samples(
    table: pa.Table, settings: Publish, keep: NDArray[np.bool_], drop: Callable[..., None]
) -> None:
    """By a hash of each row's own name, so that a larger run keeps the same rows and then some. Raises ConfigError for
    a value that no row has."""
    order = table.column("order").to_numpy()
    for name, shares in settings.sample:
        codes = _codes(table, name)
        values = table.column(name).combine_chunks().dictionary.to_pylist()
        for value, share in shares.items():
            if value not in values:
                there = ", ".join(sorted(filter(None, values)))
                raise ConfigError(f"sample.{name}: no pair has {value!r}; there are: {there or 'none'}")
            of_value = keep & (codes == values.index(value))
            most = round(share * int(of_value.sum()))
            rows = np.flatnonzero(of_value)
            of_value[rows] = _all_but(order[rows], most)
            drop("not_sampled", of_value)


def _all_but(order: NDArray[np.uint64], most: int) -> NDArray[np.bool_]:
    """True for all but so many, those with the smallest `order`."""
    found = np.ones(len(order), np.bool_)
    found[np.argsort(order, kind="stable")[:most]] = False
    return found


def _drop_over_quota(
    table: pa.Table, settings: Publish, keep: NDArray[np.bool_], drop: Callable[..., None]
) -> None:
    from filters.quota import over_quota

    factors = {name: factor for name, factor in settings.balance if factor is not None}
    columns = {name: _codes(table, name) for name in factors}
    order = table.column("order").to_numpy()

    def over(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return over_quota({name: codes[rows] for name, codes in columns.items()}, factors, order[rows])

    drop("over_quota", _among(keep, over))


def _among(
    keep: NDArray[np.bool_], find: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """What `find` says of the rows still kept, as a column over all rows."""
    rows = np.flatnonzero(keep)
    which = np.zeros(len(keep), np.bool_)
    if len(rows):
        which[rows] = find(rows)
    return which


def _splits(table: pa.Table, rows: NDArray[np.int64], settings: Publish) -> NDArray[np.int8]:
    """(n,) the number of each row's split."""
    chosen = settings.splits
    shares = {split: getattr(chosen, split) for split in SPLITS}
    group = _numbers(table, "group")[rows]
    pictures = [_numbers(table, name)[rows] for name in ("pixel_before", "pixel_after")]
    component = components([group, *pictures])
    held = np.zeros(len(rows), np.bool_)
    np.logical_or.at(held, component, table.column("held_out").to_numpy()[rows])
    # The smallest group's hash names the component, whatever the order of the runs.
    key = np.full(len(rows), np.iinfo(np.int64).max)
    np.minimum.at(key, component, group)
    found = np.zeros(len(rows), np.int8)
    for first in np.unique(component):
        split = "test" if held[first] else split_of(str(key[first]), shares)
        found[first] = SPLITS.index(split)
    return found[component]


def _files(
    table: pa.Table,
    inverse: NDArray[np.bool_],
    rows: NDArray[np.int64],
    splits: NDArray[np.int8],
    settings: Publish,
) -> list[File]:
    source = _codes(table, "source")
    names = table.column("source").combine_chunks().dictionary.to_pylist()
    size = (_numbers(table, "image_bytes") + _ROW_OVERHEAD) * (1 + inverse)
    found = []
    for code, name in enumerate(names):
        for number, split in enumerate(SPLITS):
            chosen = rows[(source[rows] == code) & (splits == number)]
            cuts = _cuts(size[chosen], int(settings.file_mb * 1e6))
            for index, picked in enumerate(np.split(chosen, cuts) if len(chosen) else ()):
                path = f"data/{name}/{split}-{index:05d}-of-{len(cuts) + 1:05d}.parquet"
                found.append(File(path, split, name, int(len(picked) + inverse[picked].sum()), picked))
    return sorted(found, key=lambda file: file.path)


def _cuts(sizes: NDArray[np.int64], most: int) -> list[int]:
    """Where a new file begins, so that each has at most so many bytes, or one row."""
    cuts, total = [], 0
    for row, size in enumerate(sizes.tolist()):
        if total and total + size > most:
            cuts.append(row)
            total = 0
        total += size
    return cuts


def _identity(
    table: pa.Table,
    origins: Codes,
    places: Sequence[Origin],
    inverse: NDArray[np.bool_],
    files: Sequence[File],
    settings: Publish,
) -> str:
    """Of what the files will hold. Pairs of two runs may bear the same names: runs, folders and pictures count, and
    where a run lies does not."""
    from filters.inverse import VERSION as WORDS

    digest = hashlib.sha256(f"{VERSION}/{SCHEMA_VERSION}/{WORDS}/{settings.model_dump_json()}".encode())
    for place in places:
        digest.update(f"{place.run_id}/{place.pairs}/{place.verdicts}/{place.scores}".encode())
    columns = [table.column(name).to_numpy() for name in ("order", "held_out", "pixel_before", "pixel_after")]
    for file in files:
        digest.update(f"{file.path}/{len(file.picked)}".encode())
        for column in (*columns, origins, inverse):
            digest.update(np.ascontiguousarray(column[file.picked]).data)
    return digest.hexdigest()


def _codes(table: pa.Table, name: str) -> Codes:
    """(n,) the codes of a dictionary column; -1 for null."""
    column = table.column(name).combine_chunks()
    return np.asarray(column.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table.column(name).to_numpy(), np.int64)

"""Many small shards into few large files, without decoding a picture.

Rows are copied as Arrow columns, in the order of the plan, and cut into row groups by their size in memory, so that
the same plan gives the same bytes whoever carries it out. At most one row group of a shard and one of the file are in
memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shards.schema import CLIP_SCORES, INDEX, INSTRUCTIONS, OPERATIONS, PUBLISHED, SCORES_STRUCT
from shards.storage import Storage
from shards.tables import opened, read_table, table_writer

INVERSE = pa.struct(
    [
        ("edit_kind", pa.string()),
        ("edit_prompt", pa.string()),
        ("instructions", INSTRUCTIONS),
        ("operations", OPERATIONS),
    ]
)
"""What an inverse pair does not have from its original; null where there is no inverse."""

PIECE = pa.schema([("row", pa.int32()), ("held_out", pa.bool_()), ("inverse", INVERSE)])

_BATCH = 32_000_000  # bytes of shards that are looked at together
RUN_PREFIX = 8
"""Digits of the run's id that ids of published rows begin with."""

_SWAPPED = (
    ("original_image", "edited_image"),
    ("original_prompt", "edited_prompt"),
    ("objects_before", "objects_after"),
    ("camera_before", "camera_after"),
)
_SCORES_SWAPPED = (("visible_before", "visible_after"), ("clip_text_before", "clip_text_after"))
# Measured on the way there; what they were on the way back nobody has measured.
_ONE_WAY = ("centre_error", "amount_measured", "factor_error", "count_error", "holds")
_HASHES_SWAPPED = (("pixel_before", "pixel_after"), ("perceptual_before", "perceptual_after"))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows of one shard. pairs, scores: keys; scores None where CLIP was not run. rows: a table of `PIECE`, ascending
    by row."""

    storage: Storage
    pairs: str
    scores: str | None
    rows: pa.Table


def write_file(path: Path, pieces: Iterable[Piece], row_group_bytes: int, footer: Mapping[str, str]) -> int:
    """Writes the pieces' rows, each followed by its inverse, as one file of `PUBLISHED`; how many there are.

    row_group_bytes: at most so many in memory, or one row. footer: further metadata. Raises StorageError.
    """
    rows = 0
    with table_writer(path, PUBLISHED) as writer:
        for group in grouped(_batches(pieces), row_group_bytes):
            writer.write_table(group, row_group_size=len(group))
            rows += len(group)
        writer.add_key_value_metadata(dict(footer))
    return rows


def write_index(
    path: Path, files: Iterable[tuple[str, Storage]], row_group_bytes: int, footer: Mapping[str, str]
) -> int:
    """Writes the index over data files, in their order; how many rows it has. files: (key, storage of the version).

    Reads everything but pictures and masks. Raises StorageError.
    """
    rows = 0
    with table_writer(path, INDEX) as writer:
        for group in grouped(_indexed(files), row_group_bytes):
            writer.write_table(group, row_group_size=len(group))
            rows += len(group)
        writer.add_key_value_metadata(dict(footer))
    return rows


def grouped(tables: Iterable[pa.Table], most: int) -> Iterator[pa.Table]:
    """The same rows, in tables of at most `most` bytes, or of one row."""
    waiting, size = list[pa.Table](), 0
    for table in tables:
        sizes = row_bytes(table)
        start = 0
        for row in range(len(table)):
            if size and size + sizes[row] > most:
                waiting.append(table.slice(start, row - start))
                yield _joined(waiting)
                waiting, size, start = [], 0, row
            size += int(sizes[row])
        waiting.append(table.slice(start))
    if size:
        yield _joined(waiting)


def row_bytes(table: pa.Table) -> NDArray[np.int64]:
    """(n,) bytes of each row: its pictures', and its share of the rest."""
    pictures = np.zeros(len(table), np.int64)
    rest = table.nbytes
    for name in ("original_image", "edited_image"):
        if name in table.column_names:
            lengths = pc.binary_length(pc.struct_field(table.column(name), "bytes"))
            pictures += np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    share = max(0, rest - int(pictures.sum())) // max(1, len(table))
    return np.asarray(pictures + share, np.int64)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


def _batches(pieces: Iterable[Piece]) -> Iterator[pa.Table]:
    """The pieces' rows as they are published: many shards at once, since each step costs more than a shard's bytes."""
    waiting, size = list[tuple[pa.Table, pa.Table, pa.Table | None]](), 0
    storage = None
    for piece in pieces:
        if waiting and (size >= _BATCH or piece.storage is not storage):  # ids of another run may be the same
            yield _published(*waiting)
            waiting, size = [], 0
        storage = piece.storage
        for found in _rows(piece):
            waiting.append(found)
            size += found[0].nbytes
    if waiting:
        yield _published(*waiting)


def _rows(piece: Piece) -> Iterator[tuple[pa.Table, pa.Table, pa.Table | None]]:
    """Rows of one row group: of PAIRS, of PIECE, and the unit's scores."""
    wanted = piece.rows.column("row").to_numpy()
    scores = read_table(piece.storage, piece.scores, ("pair_id", *CLIP_SCORES)) if piece.scores else None
    with opened(piece.storage, piece.pairs) as file:
        there = set(file.schema_arrow.names)
        names = [name for name in PUBLISHED.names if name in there]
        first = 0
        for number in range(file.num_row_groups):
            behind = first + file.metadata.row_group(number).num_rows
            here = (wanted >= first) & (wanted < behind)
            if here.any():
                table = file.read_row_group(number, columns=names)
                if int(here.sum()) < len(table):
                    table = table.take(wanted[here] - first)
                yield table, piece.rows.filter(here), scores
            first = behind


def _published(*parts: tuple[pa.Table, pa.Table, pa.Table | None]) -> pa.Table:
    """Rows of PAIRS as rows of PUBLISHED, inverses behind their originals. parts: of one run."""
    table = pa.concat_tables([part[0] for part in parts]).combine_chunks()
    rows = pa.concat_tables([part[1] for part in parts]).combine_chunks()
    if scored := [part[2] for part in parts if part[2] is not None]:
        table = _set(table, "scores", _with_clip(table, pa.concat_tables(scored).combine_chunks()))
    originals = table.append_column("inverse_of", pa.nulls(len(table), pa.string()))
    originals = originals.append_column("held_out", rows.column("held_out").combine_chunks())
    originals = _named(originals.select(PUBLISHED.names).cast(PUBLISHED))
    has = rows.column("inverse").is_valid().combine_chunks()
    if not pc.any(has).as_py():
        return originals
    inverses = _inverted(originals.filter(has), rows.column("inverse").filter(has).combine_chunks())
    place = np.arange(len(table)) * 2
    order = np.argsort(np.concatenate([place, place[np.asarray(has)] + 1]), kind="stable")
    return pa.concat_tables([originals, inverses]).take(order)


def _named(table: pa.Table) -> pa.Table:
    """Ids that no other run has: those of a run count from nought."""
    run = pc.utf8_slice_codeunits(table.column("run_id"), 0, RUN_PREFIX)
    for name in ("pair_id", "edit_id", "scene_id"):
        joined = pc.binary_join_element_wise(run, table.column(name), "-")
        table = table.set_column(table.column_names.index(name), PUBLISHED.field(name), joined)
    return table


def _inverted(table: pa.Table, words: pa.StructArray) -> pa.Table:
    columns = {name: table.column(name) for name in PUBLISHED.names}
    for first, second in _SWAPPED:
        columns[first], columns[second] = columns[second], columns[first]
    for name in ("edit_kind", "edit_prompt", "instructions", "operations"):
        columns[name] = words.field(name) if words.null_count == 0 else pc.struct_field(words, name)
    columns["inverse_of"] = columns["pair_id"]
    for name in ("pair_id", "edit_id"):
        columns[name] = pc.binary_join_element_wise(columns[name], "inverse", "-")
    columns["scores"] = _swapped(table.column("scores"), _SCORES_SWAPPED, _ONE_WAY)
    columns["hashes"] = _swapped(table.column("hashes"), _HASHES_SWAPPED, ())
    return pa.table(columns).cast(PUBLISHED)


def _swapped(
    column: pa.ChunkedArray, pairs: Iterable[tuple[str, str]], cleared: Iterable[str]
) -> pa.StructArray:
    whole = column.combine_chunks()
    fields = {field.name: pc.struct_field(whole, field.name) for field in whole.type}
    for first, second in pairs:
        fields[first], fields[second] = fields[second], fields[first]
    for name in cleared:
        fields[name] = pa.nulls(len(whole), fields[name].type)
    return pa.StructArray.from_arrays(list(fields.values()), fields=list(whole.type), mask=whole.is_null())


def _with_clip(table: pa.Table, scores: pa.Table) -> pa.StructArray:
    """The column "scores", CLIP's figures filled in where a stage of its own found them."""
    own = table.column("scores").combine_chunks()
    place = pc.index_in(table.column("pair_id").combine_chunks(), scores.column("pair_id").combine_chunks())
    fields = {field.name: pc.struct_field(own, field.name) for field in SCORES_STRUCT}
    for name in CLIP_SCORES:
        fields[name] = pc.coalesce(fields[name], scores.column(name).combine_chunks().take(place))
    return pa.StructArray.from_arrays(list(fields.values()), fields=list(SCORES_STRUCT))


def _set(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _indexed(files: Iterable[tuple[str, Storage]]) -> Iterator[pa.Table]:
    columns = _leaves_without_masks()
    for key, storage in files:
        with opened(storage, key) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns=columns)
                places = {
                    "file": pa.array([key] * len(table), pa.string()),
                    "row_group": pa.array(np.full(len(table), number, np.int32)),
                    "row": pa.array(np.arange(len(table), dtype=np.int32)),
                }
                for name, column in places.items():
                    table = table.append_column(name, column)
                yield table.select(INDEX.names).cast(INDEX)


def _leaves_without_masks() -> list[str]:
    """Names to ask Parquet for: a column, or each field of an object but its mask."""
    names = list[str]()
    for field in INDEX:
        if field.name in ("objects_before", "objects_after"):
            names += [f"{field.name}.list.element.{inner.name}" for inner in field.type.value_type]
        elif field.name in PUBLISHED.names:
            names.append(field.name)
    return names

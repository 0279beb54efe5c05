"""Parquet as the Hub and its readers want it, to and from storage.

Images are stored as they are: they are compressed already, and a dictionary of them would only be thrown
away. Page index and small row groups let readers fetch one row; content-defined chunks let the Hub store
twice-used pictures once; page checksums find bits that have rotted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.features import IMAGE
from shards.storage import Storage, StorageError

ROW_GROUP_BYTES = 100_000_000
_CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1024 << 10, "norm_level": 0}
_INTERNAL = {b"ARROW:schema", b"huggingface"}


def from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table from one mapping per row; what a row leaves out is null.

    Raises ValueError, naming the field, for one that the schema lacks: pyarrow would drop it silently.
    """
    whole = pa.struct(list(schema))
    for row in rows:
        _check_fields(row, whole, "")
    return pa.Table.from_pylist(list(rows), schema=schema)


def write_table(table: pa.Table, footer: Mapping[str, str]) -> bytes:
    """The table as one Parquet file, with `footer` as further metadata of the file."""
    buffer = io.BytesIO()
    with table_writer(buffer, table.schema) as writer:
        for group in _row_groups(table):
            writer.write_table(group, row_group_size=max(1, len(group)))
        writer.add_key_value_metadata(dict(footer))
    return buffer.getvalue()


def table_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of Parquet as this project's readers want it, into a path or a file; closed by its `with`."""
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    pictures = {f"{field.name}.bytes" for field in schema if field.type == IMAGE}
    plain = [leaf for leaf in leaves if leaf not in pictures]
    return pq.ParquetWriter(
        sink,
        schema,
        compression={leaf: "none" if leaf in pictures else "zstd" for leaf in leaves},
        use_dictionary=plain,
        column_encoding=dict.fromkeys(pictures, "PLAIN"),
        write_statistics=plain,  # the smallest and largest picture help nobody, and would swell the footer
        write_page_index=True,
        write_page_checksum=True,
        use_content_defined_chunking=_CHUNKING,
    )


def read_table(storage: Storage, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table, or some of its columns ("scores.clip_image" for a part of one), checksums verified.

    Raises NotFound, and StorageError("corrupt") for anything that is not a whole Parquet file.
    """
    with opened(storage, key) as file:
        table = file.read(columns=list(columns) if columns is not None else None)
    # The footer is the file's, not the table's: tables of two shards have one schema.
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k in _INTERNAL}
    return table.replace_schema_metadata(metadata or None)


def read_rows(
    storage: Storage, key: str, rows: Sequence[int], columns: Sequence[str] | None = None
) -> pa.Table:
    """A few rows, by their ascending places in the shard; only the row groups that hold them are read.

    Raises as `read_table` does, and IndexError for a row that is not there.
    """
    found = []
    with opened(storage, key) as file:
        first = 0
        for group in range(file.num_row_groups):
            behind = first + file.metadata.row_group(group).num_rows
            if wanted := [row - first for row in rows if first <= row < behind]:
                names = list(columns) if columns is not None else None
                found.append(file.read_row_group(group, columns=names).take(wanted))
            first = behind
    if sum(map(len, found)) != len(rows) or not rows:
        raise IndexError(f"{storage.uri}/{key} has {first} rows, asked for {list(rows)}")
    return pa.concat_tables(found)


def read_row_group(
    storage: Storage, key: str, group: int, rows: Sequence[int], columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of one row group by their places in it, which is how an index names them; nothing else is read.

    Raises as `read_table` does, and IndexError for a row that is not there.
    """
    with opened(storage, key) as file:
        there = file.metadata.row_group(group).num_rows if 0 <= group < file.num_row_groups else 0
        if not rows or min(rows) < 0 or max(rows) >= there:
            raise IndexError(f"{storage.uri}/{key} has {there} rows in group {group}, asked for {list(rows)}")
        return file.read_row_group(group, columns=list(columns) if columns is not None else None).take(
            list(rows)
        )


def read_batches(
    storage: Storage, key: str, columns: Sequence[str] | None = None, rows: int = 4096
) -> Iterator[pa.RecordBatch]:
    """The table in batches of at most so many rows, in order; one row group's columns in memory at a time.

    columns: as for `read_table`; "operations.list.element.kind" is a part of a list's elements.
    Raises as `read_table` does.
    """
    names = list(columns) if columns is not None else None
    with opened(storage, key) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(rows, row_groups=[group], columns=names)


def read_footer(storage: Storage, key: str) -> dict[str, str]:
    """What `write_table` was given as footer, without reading rows."""
    with opened(storage, key) as file:
        metadata = file.metadata.metadata or {}
        return {k.decode(): v.decode() for k, v in metadata.items() if k not in _INTERNAL}


@contextmanager
def opened(storage: Storage, key: str) -> Iterator[pq.ParquetFile]:
    """The Parquet file, page checksums verified in every read.

    Raises NotFound, and StorageError("corrupt") for anything that is not a whole Parquet file, also out of the block.
    """
    with storage.open(key) as source:
        try:
            # Not through the buffer: it would fetch what lies behind the row group that was asked for.
            exact = source.raw if isinstance(source, io.BufferedReader) else source
            yield pq.ParquetFile(exact, pre_buffer=True, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's trouble, not the file's
                raise StorageError("io_error", f"{storage.uri}/{key}: {error.strerror}") from error
            message = f"{storage.uri}/{key} cannot be read as Parquet, delete it to make it again: {error}"
            raise StorageError("corrupt", message.splitlines()[0]) from error


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Slices of at most ROW_GROUP_BYTES in memory, or of one row."""
    if table.nbytes <= ROW_GROUP_BYTES or len(table) <= 1:
        yield table
        return
    middle = len(table) // 2
    yield from _row_groups(table.slice(0, middle))
    yield from _row_groups(table.slice(middle))


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Parquet's names of a column's leaves."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path


def _check_fields(value: Any, kind: pa.DataType, place: str) -> None:
    if value is None:
        return
    if pa.types.is_struct(kind) and isinstance(value, Mapping):
        names = {field.name for field in kind}
        if extra := sorted(value.keys() - names):
            raise ValueError(
                f"{place}{extra[0]} is no field of this table; it has {', '.join(sorted(names))}"
            )
        for field in kind:
            if pa.types.is_nested(field.type):
                _check_fields(value.get(field.name), field.type, f"{place}{field.name}.")
    elif pa.types.is_list(kind) and pa.types.is_nested(kind.value_type):
        for inner in value:
            _check_fields(inner, kind.value_type, place)

"""Single pictures out of a Parquet file: the pages that hold them, and no others.

A row group holds a hundred megabytes of pictures, and a reader that shows twelve wants twelve. The files have a page
index for that, but no library that reads through our storage uses it: pyarrow fetches whole column chunks. So this
module does, for the one form that `shards.tables` gives to pictures: not compressed, plain, not in lists. Any other
form is left to pyarrow.

Names as in Parquet's own definition (parquet.thrift), whose structs are read as {field number: value}.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, BinaryIO

from shards.storage import Storage, StorageError
from shards.tables import read_rows
from shards.thrift import Compact

_MAGIC = b"PAR1"
_TAIL = 128 << 10  # bytes; most footers and page indices are in the last so many
_PLAIN, _RLE, _UNCOMPRESSED, _REPEATED, _REQUIRED = 0, 3, 0, 2, 0


class _OtherForm(Exception):
    """The column is written in a way that is pyarrow's to read."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in a row group. index: where its page index lies, (start, length) in bytes. levels: how many of the
    structs and values on its path may be null."""

    index: tuple[int, int]
    levels: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where pictures lie in a file. starts: the first row of each row group, and behind the last the number of rows.
    chunks: by row group and column, only those that this module can read."""

    starts: tuple[int, ...]
    chunks: tuple[dict[str, Chunk], ...]

    def row(self, row_group: int, row: int) -> int:
        """The place in the file of a row of a row group."""
        return self.starts[row_group] + row


@dataclass(frozen=True, slots=True)
class _Page:
    """start, size: bytes in the file, with its header. first: its first row in the row group."""

    start: int
    size: int
    first: int


def read_layout(storage: Storage, key: str, columns: Sequence[str]) -> Layout:
    """The layout of a file's picture columns ("original_image").

    Raises NotFound, and StorageError("corrupt") for anything that is no whole Parquet file.
    """
    with _readable(storage, key) as file:
        return file.layout(columns)


def read_pictures(
    storage: Storage, key: str, rows: Sequence[int], columns: Sequence[str], layout: Layout | None = None
) -> list[tuple[bytes | None, ...]]:
    """The encoded pictures of some rows, by their places in the file: a tuple for each row, in the rows' order, None
    where there is no picture. layout: as read before, to save reading it again.

    Raises as `read_layout` does, and IndexError for a row that is not there.
    """
    with _readable(storage, key) as file:
        layout = layout or file.layout(columns)
        there = all(0 <= row < layout.starts[-1] for row in rows)
        found = [_column(file, layout, column, rows) for column in columns] if there else []
    if not there:
        raise IndexError(f"{storage.uri}/{key} has {layout.starts[-1]} rows, asked for {list(rows)}")
    for column, values in zip(columns, found, strict=True):
        if others := sorted(set(rows) - values.keys()):
            table = read_rows(storage, key, others, [f"{column}.bytes"])
            values |= {
                row: value and value["bytes"] for row, value in zip(others, table.column(column).to_pylist())
            }
    return [tuple(values[row] for values in found) for row in rows]


def _column(file: _File, layout: Layout, column: str, rows: Sequence[int]) -> dict[int, bytes | None]:
    """The values by row; without those that are pyarrow's to read."""
    values: dict[int, bytes | None] = {}
    for group, (start, end) in enumerate(pairwise(layout.starts)):
        wanted = sorted({row - start for row in rows if start <= row < end})
        chunk = layout.chunks[group].get(column)
        if not wanted or chunk is None:
            continue
        pages = file.pages(chunk)
        firsts = [page.first for page in pages]
        of_page: dict[int, list[int]] = {}
        for row in wanted:
            of_page.setdefault(bisect_right(firsts, row) - 1, []).append(row)
        with suppress(_OtherForm):
            for number, data in file.pages_data(pages, list(of_page)):
                inside = [row - firsts[number] for row in of_page[number]]
                decoded = _decoded(data, inside, chunk.levels)
                values.update(zip((start + row for row in of_page[number]), decoded, strict=True))
    return values


@dataclass(slots=True)
class _File:
    """An open file of which every range is read once, by one request."""

    file: BinaryIO
    size: int
    tail: bytes

    def read(self, start: int, length: int) -> bytes:
        if start < 0 or length < 0 or start + length > self.size:
            raise ValueError("it ends too early")
        from_tail = start - (self.size - len(self.tail))
        if from_tail >= 0:
            data = self.tail[from_tail : from_tail + length]
        else:
            self.file.seek(start)
            parts, got = list[bytes](), 0
            while got < length and (part := self.file.read(length - got)):
                parts.append(part)
                got += len(part)
            data = b"".join(parts)
        if len(data) != length:
            raise ValueError("it ends too early")
        return data

    def layout(self, columns: Sequence[str]) -> Layout:
        if self.tail[-4:] != _MAGIC:
            raise ValueError("it is no Parquet file, or not whole")
        length = int.from_bytes(self.tail[-8:-4], "little")
        footer = Compact(self.read(self.size - 8 - length, length)).struct()
        levels = dict(_levels(footer[2]))
        groups = footer.get(4, [])
        paths = {(column, "bytes"): column for column in columns}
        chunks = []
        for group in groups:
            found = {}
            for chunk in group[1]:
                about = chunk[3]
                path = tuple(part.decode() for part in about[3])
                if path in paths and about[4] == _UNCOMPRESSED and 4 in chunk and path in levels:
                    found[paths[path]] = Chunk((chunk[4], chunk[5]), levels[path])
            chunks.append(found)
        return Layout((0, *accumulate(group[3] for group in groups)), tuple(chunks))

    def pages(self, chunk: Chunk) -> list[_Page]:
        index = Compact(self.read(*chunk.index)).struct()
        pages = [_Page(page[1], page[2], page[3]) for page in index[1]]
        if not pages or pages[0].first != 0:
            raise ValueError("its page index does not begin with the first row")
        return pages

    def pages_data(self, pages: Sequence[_Page], numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The pages of these ascending numbers; those that lie beside each other are read in one request."""
        at = 0
        while at < len(numbers):
            end = at + 1
            while end < len(numbers) and _behind(pages[numbers[end - 1]]) == pages[numbers[end]].start:
                end += 1
            start = pages[numbers[at]].start
            data = memoryview(self.read(start, _behind(pages[numbers[end - 1]]) - start))
            for number in numbers[at:end]:
                page = pages[number]
                yield number, bytes(data[page.start - start : page.start - start + page.size])
            at = end


@contextmanager
def _readable(storage: Storage, key: str) -> Iterator[_File]:
    """An open file; whatever is wrong in it becomes a StorageError."""
    where = f"{storage.uri}/{key}"
    with storage.open(key) as opened:
        try:
            # Past the buffer: it would read more than it is asked for, and in two requests.
            file: Any = getattr(opened, "raw", opened)
            size = file.seek(0, 2)
            start = max(0, size - _TAIL)
            yield _File(file, size, _File(file, size, b"").read(start, size - start) if size else b"")
        except OSError as error:
            raise StorageError("io_error", f"{where}: {error.strerror or error}") from error
        # What a broken structure leads to, such as a field that must be there and is not.
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            message = f"{where} cannot be read as Parquet, delete it to make it again: {error}"
            raise StorageError("corrupt", message.splitlines()[0]) from error


def _behind(page: _Page) -> int:
    return page.start + page.size


def _levels(schema: Sequence[dict[int, Any]]) -> Iterator[tuple[tuple[str, ...], int]]:
    """(path, how many nodes on it may be null) of each leaf that is in no list."""
    elements = iter(schema)

    def below(path: tuple[str, ...], levels: int, children: int, single: bool) -> Iterator[Any]:
        for _ in range(children):
            element = next(elements, {})
            kind = element.get(3, _REQUIRED)
            here, flat = (*path, element[4].decode()), single and kind != _REPEATED
            deeper = levels + (kind != _REQUIRED)
            if element.get(5):
                yield from below(here, deeper, element[5], flat)
            elif flat:
                yield here, deeper

    yield from below((), 0, next(elements).get(5, 0), True)


def _decoded(page: bytes, wanted: Sequence[int], levels: int) -> list[bytes | None]:
    """The values of some ascending rows of a page, its header included."""
    reader = Compact(page)
    header = reader.struct()
    data = page[reader.at : reader.at + header[3]]
    about = header.get(5)
    if about is None or about[2] != _PLAIN or (levels and about[3] != _RLE):
        raise _OtherForm
    if 4 in header and zlib.crc32(data) != header[4] & 0xFFFFFFFF:
        raise ValueError("a page's checksum is not that of its content")
    count = wanted[-1] + 1
    if about[1] < count:
        raise ValueError("a page has fewer rows than its index says")
    at, there = 0, [True] * count
    if levels:
        length = int.from_bytes(data[:4], "little")
        at = 4 + length
        there = [level == levels for level in _hybrid(data[4:at], levels.bit_length(), count)]
    values = dict[int, bytes | None]()
    for row, present in enumerate(there):
        length = int.from_bytes(data[at : at + 4], "little") if present else 0
        values[row] = data[at + 4 : at + 4 + length] if present else None
        at += 4 + length if present else 0
    if at > len(data):
        raise ValueError("a page ends too early")
    return [values[row] for row in wanted]


def _hybrid(data: bytes, width: int, count: int) -> list[int]:
    """Parquet's mixture of run lengths and packed bits: `count` numbers of `width` bits."""
    reader, values = Compact(data), list[int]()
    while len(values) < count:
        head = reader.varint()
        if head & 1:
            length = (head >> 1) * width
            bits = int.from_bytes(reader.take(length), "little")
            values += [bits >> (i * width) & ((1 << width) - 1) for i in range((head >> 1) * 8)]
        else:
            value = int.from_bytes(reader.take((width + 7) // 8), "little")
            values += [value] * min(head >> 1, count - len(values))
    return values[:count]

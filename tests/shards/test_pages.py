"""Single pictures out of Parquet files are those that pyarrow reads, and little else is fetched for them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards import tables
from shards.local import LocalStorage
from shards.pages import read_layout, read_pictures
from shards.schema import PAIRS
from shards.storage import NotFound, StorageError
from shards.tables import from_rows, write_table

COLUMNS = ("original_image", "edited_image")
KEY = "part.parquet"


def picture(data):
    return {"bytes": data, "path": None}


def rows_of(count, seed=0, size=40_000):
    """Rows with pictures of random lengths, of which some lack one, or the bytes of one."""
    random = np.random.default_rng(seed)
    made = [random.bytes(int(random.integers(0, size))) for _ in range(count)]
    return [
        {
            "pair_id": str(number),
            "original_image": None if number % 5 == 4 else picture(None if number % 7 == 6 else data),
            "edited_image": picture(data[::-1]),
        }
        for number, data in enumerate(made)
    ]


def expected(rows, numbers):
    return [
        tuple((rows[number][column] or picture(None))["bytes"] for column in COLUMNS) for number in numbers
    ]


class Counting(LocalStorage):
    """Notes the ranges that are read."""

    def __init__(self, root):
        super().__init__(root)
        self.ranges: list[tuple[int, int]] = []

    def open(self, key):
        super().open(key).close()
        ranges, path = self.ranges, self.path(key)

        class Reader(io.FileIO):
            def readinto(self, buffer):
                at = self.tell()
                got = super().readinto(buffer)
                ranges.append((at, got))
                return got

            def read(self, size=-1):
                at = self.tell()
                data = super().read(size)
                ranges.append((at, len(data)))
                return data

        return io.BufferedReader(Reader(path))


@pytest.fixture
def storage(tmp_path):
    return Counting(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_pictures_are_those_of_the_rows_also_where_some_lack_one(storage, seed):
    rows = rows_of(120, seed)
    storage.write(KEY, write_table(from_rows(rows, PAIRS), {}))
    numbers = [*np.random.default_rng(seed).permutation(120)[:40].tolist(), 119, 0, 0]
    assert read_pictures(storage, KEY, numbers, COLUMNS) == expected(rows, numbers)


def test_rows_are_counted_through_row_groups(storage, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 400_000)
    rows = rows_of(100)
    storage.write(KEY, write_table(from_rows(rows, PAIRS), {}))
    layout = read_layout(storage, KEY, COLUMNS)
    assert len(layout.starts) > 5
    assert layout.starts[0] == 0 and layout.starts[-1] == 100
    assert read_pictures(storage, KEY, range(100), COLUMNS, layout) == expected(rows, range(100))
    last = layout.row(len(layout.chunks) - 1, 0)
    assert read_pictures(storage, KEY, [last], COLUMNS, layout) == expected(rows, [last])


def test_only_the_pages_of_the_rows_are_fetched(storage):
    rows = rows_of(200, size=300_000)
    storage.write(KEY, write_table(from_rows(rows, PAIRS), {}))
    layout = read_layout(storage, KEY, COLUMNS)
    storage.ranges.clear()
    assert read_pictures(storage, KEY, [100], COLUMNS, layout) == expected(rows, [100])
    size = storage.path(KEY).stat().st_size
    assert sum(length for _, length in storage.ranges) < 0.15 * size
    assert len(storage.ranges) == 3  # the end of the file, where its index lies, and a page of each column
    storage.ranges.clear()
    read_pictures(storage, KEY, range(100, 112), COLUMNS, layout)
    assert len(storage.ranges) == 3  # neighbours come in one request


def nested(rows):
    schema = pa.schema([PAIRS.field(name) for name in COLUMNS])
    return from_rows([{name: row[name] for name in COLUMNS} for row in rows], schema)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "snappy", "write_page_index": True},
        {"compression": "none", "write_page_index": True, "use_dictionary": True},
        {"compression": "none", "write_page_index": True, "use_dictionary": False, "data_page_version": "2.0"},
        {"compression": "none", "write_page_index": False, "use_dictionary": False},
        {"compression": "none", "write_page_index": True, "use_dictionary": False, "data_page_size": 1000},
    ],
    ids=["compressed", "dictionary", "second version", "no index", "many pages, no checksums"],
)  # fmt: skip
def test_pictures_in_another_form_are_read_all_the_same(storage, options):
    rows = rows_of(60, size=3000)
    buffer = io.BytesIO()
    pq.write_table(nested(rows), buffer, **options)
    storage.write(KEY, buffer.getvalue())
    numbers = [7, 3, 59, 4]
    assert read_pictures(storage, KEY, numbers, COLUMNS) == expected(rows, numbers)


def test_pictures_that_may_not_be_null_are_read(storage):
    strict = pa.struct([pa.field("bytes", pa.binary(), nullable=False)])
    data = [bytes([number]) * number for number in range(30)]
    table = pa.table(
        {"original_image": pa.array([{"bytes": each} for each in data], strict)},
        schema=pa.schema([pa.field("original_image", strict, nullable=False)]),
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_page_index=True)
    storage.write(KEY, buffer.getvalue())
    assert read_layout(storage, KEY, COLUMNS).chunks[0]["original_image"].levels == 0
    assert read_pictures(storage, KEY, [29, 3], ["original_image"]) == [(data[29],), (data[3],)]


def test_a_row_that_is_not_there_is_an_index_error(storage):
    storage.write(KEY, write_table(from_rows(rows_of(3), PAIRS), {}))
    with pytest.raises(IndexError, match=r"has 3 rows, asked for \[1, 3\]"):
        read_pictures(storage, KEY, [1, 3], COLUMNS)
    with pytest.raises(NotFound):
        read_pictures(storage, "other.parquet", [0], COLUMNS)


def test_no_rows_need_no_pictures(storage):
    storage.write(KEY, write_table(from_rows([], PAIRS), {}))
    assert read_layout(storage, KEY, COLUMNS).starts[-1] == 0
    assert read_pictures(storage, KEY, [], COLUMNS) == []


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no Parquet at all", b"\xff\xff\xff\x7fPAR1", b"\0" * 100 + b"PAR1"]
)
def test_what_is_no_parquet_is_one_line(storage, content):
    storage.write(KEY, content)
    with pytest.raises(StorageError, match="cannot be read as Parquet, delete it") as caught:
        read_pictures(storage, KEY, [0], COLUMNS)
    assert caught.value.reason == "corrupt"
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_picture_is_found(storage):
    rows = rows_of(20, size=2000)
    content = bytearray(write_table(from_rows(rows, PAIRS), {}))
    content[content.index(rows[3]["edited_image"]["bytes"]) + 5] ^= 4
    storage.write(KEY, bytes(content))
    with pytest.raises(StorageError, match="checksum"):
        read_pictures(storage, KEY, [3], COLUMNS)


def test_whatever_is_damaged_there_is_an_answer_or_one_line(storage):
    rows = rows_of(12, size=300)
    whole = write_table(from_rows(rows, PAIRS), {})
    right = expected(rows, range(12))
    random, failed = np.random.default_rng(7), 0
    for _ in range(150):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            content[place] = random.integers(0, 256)
        storage.write(KEY, bytes(content[: None if random.random() < 0.8 else -int(random.integers(1, 400))]))
        try:
            assert [len(pair) for pair in read_pictures(storage, KEY, range(12), COLUMNS)] == [2] * 12
        except (StorageError, IndexError) as error:
            assert "\n" not in str(error)
            failed += 1
    assert failed > 0
    storage.write(KEY, whole)
    assert read_pictures(storage, KEY, range(12), COLUMNS) == right

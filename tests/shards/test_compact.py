"""Large files are cut and laid out so that a reader far away fetches what it asked for, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.compact import grouped, row_bytes
from shards.s3 import S3Storage
from shards.schema import PUBLISHED
from shards.storage import open_storage
from shards.tables import from_rows, read_rows, table_writer
from tests.s3_server import FaultyProxy


def table(sizes, seed=0) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "pair_id": f"{seed}-{number:04d}",
            "original_image": {"bytes": rng.bytes(size), "path": None},
            "edited_image": {"bytes": rng.bytes(size), "path": None},
            "edit_prompt": f"sentence {number}",
        }
        for number, size in enumerate(sizes)
    ]
    return from_rows(rows, PUBLISHED)


def test_row_groups_hold_as_much_as_fits_and_a_giant_row_is_alone():
    tables = [table([1000] * 10), table([50_000], seed=1), table([1000] * 5, seed=2)]
    groups = list(grouped(tables, 30_000))
    assert pa.concat_tables(groups).column("pair_id").to_pylist() == [
        name for t in tables for name in t.column("pair_id").to_pylist()
    ]
    sizes = [int(row_bytes(group).sum()) for group in groups]
    assert all(size <= 30_500 or len(group) == 1 for size, group in zip(sizes, groups, strict=True))
    assert [len(group) for group in groups if len(group) == 1] == [1]
    assert len(groups) <= 4


def test_no_rows_make_no_group():
    assert list(grouped([], 10)) == []
    assert list(grouped([table([])], 10)) == []


def test_reading_rows_of_one_group_from_s3_touches_its_bytes_and_the_footer_alone(
    s3_storage: S3Storage, proxy: FaultyProxy
):
    data = io.BytesIO()
    with table_writer(data, PUBLISHED) as writer:
        for group in grouped([table([6000] * 480)], 1_500_000):
            writer.write_table(group, row_group_size=len(group))
    file = pq.ParquetFile(io.BytesIO(data.getvalue()))
    meta = file.metadata
    assert meta.num_row_groups >= 3 and meta.row_group(1).num_rows > 100
    far = open_storage(s3_storage.uri)
    far.write("data.parquet", data.getvalue())
    proxy.requests.clear()
    first = meta.row_group(0).num_rows

    rows = read_rows(far, "data.parquet", list(range(first + 3, first + 103)))

    assert len(rows) == 100
    columns = [meta.row_group(1).column(n) for n in range(meta.num_columns)]
    start = min(c.dictionary_page_offset or c.data_page_offset for c in columns)
    end = max((c.dictionary_page_offset or c.data_page_offset) + c.total_compressed_size for c in columns)
    footer = max(64 << 10, meta.serialized_size + 8)  # a reader guesses 64 KiB, and asks again for more
    fetched = 0
    for text in proxy.ranges:
        low, high = map(int, text.removeprefix("bytes=").split("-"))
        fetched += high + 1 - low
        assert (low >= start and high < end) or low >= len(data.getvalue()) - footer, text
    assert fetched <= end - start + 2 * footer
    assert len(proxy.requests) <= 8


@pytest.mark.parametrize("name", ["original_image", "edited_image"])
def test_pictures_are_stored_as_they_are(name):
    data = io.BytesIO()
    with table_writer(data, PUBLISHED) as writer:
        writer.write_table(table([2000] * 20))
    group = pq.ParquetFile(data).metadata.row_group(0)
    found = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    column = found[f"{name}.bytes"]
    assert column.compression == "UNCOMPRESSED" and "PLAIN" in column.encodings
    assert not any("DICTIONARY" in encoding for encoding in column.encodings)

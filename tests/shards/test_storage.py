"""What every storage promises, on a local folder and on a real S3 server."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.s3 import S3Options, S3Storage
from shards.storage import NotFound, Storage, StorageError, open_storage
from tests.s3_server import FaultyProxy


def test_what_was_written_is_read(storage: Storage) -> None:
    storage.write("a/b", b"one")
    storage.write("a/b", b"two")
    assert storage.read("a/b") == b"two"
    assert storage.sub("a").read("b") == b"two"
    assert storage.sub("a").uri == f"{storage.uri}/a"
    assert open_storage(storage.uri).exists("a/b")


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    assert not storage.exists("a")
    for call in (storage.read, storage.read_versioned, storage.open):
        with pytest.raises(NotFound) as caught:
            call("a/b")
        assert caught.value.reason == "not_found"
    assert list(storage.list("a/")) == []
    storage.delete("a")


def test_a_prefix_is_no_object(storage: Storage) -> None:
    storage.write("name-and-more", b"")
    assert not storage.exists("name")
    storage.delete("name-and-more")
    assert not storage.exists("name-and-more")


def test_create_never_touches_what_is_there(storage: Storage) -> None:
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"
    storage.delete("a/b")
    assert storage.create("a/b", b"third")


@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "own bytes"])
def test_a_race_to_create_has_one_winner_and_keeps_its_bytes(storage: Storage, same: bool) -> None:
    contents = [b"" if same else b"%d" % i for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda data: storage.create("race", data), contents))
    assert won.count(True) == 1
    assert storage.read("race") == contents[won.index(True)]


def test_replace_wants_the_version_that_was_read(storage: Storage) -> None:
    storage.write("a", b"1")
    _, etag = storage.read_versioned("a")
    newer = storage.replace("a", b"2", etag)
    assert newer is not None
    assert storage.read_versioned("a") == (b"2", newer)
    assert storage.replace("a", b"3", etag) is None
    assert storage.read("a") == b"2"
    assert storage.replace("not-there", b"1", etag) is None
    assert not storage.exists("not-there")


def test_concurrent_replaces_lose_no_change(storage: Storage) -> None:
    storage.write("count", b"0")

    def increment(_: int) -> None:
        while True:
            data, etag = storage.read_versioned("count")
            if storage.replace("count", b"%d" % (int(data) + 1), etag) is not None:
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(12)))
    assert storage.read("count") == b"12"


def test_lists_a_folder_in_order_with_sizes_and_by_any_prefix(storage: Storage) -> None:
    keys = ["a-b/x", "a.txt", "a/x", "a/y/z", "ab", "b/part-1", "b/part-10", "b/part-2", "Z", "é"]
    for key in reversed(keys):
        storage.write(key, key.encode())
    assert sorted(entry.key for entry in storage.list()) == sorted(keys)
    parts = [("b/part-1", 8), ("b/part-10", 9), ("b/part-2", 8)]
    assert [(entry.key, entry.size) for entry in storage.list("b/part-")] == parts
    assert [(entry.key, entry.size) for entry in storage.list("b/part-1")] == parts[:2]
    assert {entry.key for entry in storage.list("a")} == {"a-b/x", "a.txt", "a/x", "a/y/z", "ab"}
    assert [entry.key for entry in storage.sub("a").list()] == ["x", "y/z"]
    assert [entry.key for entry in storage.list("a/y")] == ["a/y/z"]


def test_lists_more_than_a_page(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: storage.write(f"many/{i:04d}", b""), range(1010)))
    assert [entry.key for entry in storage.list("many/")] == [f"many/{i:04d}" for i in range(1010)]


def test_an_open_object_seeks_and_feeds_other_readers(storage: Storage) -> None:
    table = pa.table({"number": range(50_000), "text": [f"row {i}" for i in range(50_000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=5_000)
    data = sink.getvalue().to_pybytes()
    storage.write("table.parquet", data)
    with storage.open("table.parquet") as file:
        assert file.seek(-4, 2) == len(data) - 4
        assert file.read() == b"PAR1"
        assert file.read(1) == b""
        file.seek(100)
        assert file.read(300_000) == data[100:300_100]
    with storage.open("table.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7).equals(table.slice(35_000, 5_000))


def test_an_open_s3_object_fetches_only_what_is_read(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    storage = open_storage(s3_storage.uri)
    storage.write("large", bytes(4 << 20))
    with storage.open("large") as file:
        file.seek(1 << 20)
        file.read(10)
    ranged = [request for request in proxy.requests if request.startswith("GET")]
    assert len(ranged) == 1


def test_an_s3_object_overwritten_while_open_is_an_error_and_no_mixture(s3_storage: S3Storage) -> None:
    s3_storage.write("a", b"old" * 200_000)
    with s3_storage.open("a") as file:
        file.read(10)
        s3_storage.write("a", b"new" * 200_000)
        with pytest.raises(StorageError) as caught:
            file.seek(500_000)
            file.read(10)
    assert caught.value.reason == "changed"


def through_a_pipe(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301, our own


def test_travels_to_other_processes(storage: Storage) -> None:
    storage.write("a", b"1")  # connected, where there is a connection
    assert through_a_pipe(storage).read("a") == b"1"
    error = through_a_pipe(StorageError("disk_full", "no space"))
    assert (error.reason, str(error)) == ("disk_full", "no space")
    missing = through_a_pipe(NotFound("a does not exist"))
    assert (missing.reason, str(missing)) == ("not_found", "a does not exist")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "./a"])
def test_a_key_cannot_leave_its_storage(storage: Storage, key: str) -> None:
    for call in (storage.read, storage.exists, storage.delete, lambda k: storage.write(k, b"")):
        with pytest.raises(ValueError, match="is not a key"):
            call(key)


def in_parts(storage: S3Storage) -> S3Storage:
    """The same place, with everything of 5 MiB and more sent in parts of 5 MiB."""
    return S3Storage(storage.bucket, storage.prefix, S3Options(multipart_from=5 << 20, part=5 << 20))


def test_large_s3_objects_go_up_in_parts_under_the_same_conditions(s3_storage: S3Storage) -> None:
    storage = in_parts(s3_storage)
    data = bytes(range(256)) * (11 << 12)
    assert storage.create("large", data)
    assert not storage.create("large", b"x" + data)
    assert storage.read("large") == data
    _, etag = storage.read_versioned("large")
    assert storage.replace("large", data[::-1], etag) is not None
    assert storage.replace("large", data, etag) is None
    assert storage.read("large") == data[::-1]
    pending = storage._client.list_multipart_uploads(Bucket=storage.bucket, Prefix=storage.prefix)
    assert not pending.get("Uploads")


def test_what_lies_there_after_a_race_of_multipart_creates_is_whole_and_a_winners(
    s3_storage: S3Storage,
) -> None:
    # One winner cannot be asked of this server: it looks and then writes, and on a busy machine two may win.
    contents = [bytes([i]) * (6 << 20) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda data: in_parts(s3_storage).create("race", data), contents))
    winners = [data for data, one in zip(contents, won, strict=True) if one]
    assert winners and s3_storage.read("race") in winners
    assert not in_parts(s3_storage).create("race", contents[0])

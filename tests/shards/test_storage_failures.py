"""Storage that is killed, full, forbidden, absent, slow: nothing half-written, and one clear line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from shards.patience import Patience, be_patient
from shards.run import Run
from shards.s3 import S3Options, S3Storage
from shards.storage import NotFound, StorageError, open_storage
from tests.s3_server import FaultyProxy, S3Server
from tests.shards.test_storage import in_parts

ROOT = Path(__file__).parents[2]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def line_of(error: StorageError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_a_process_killed_before_the_link_leaves_no_object(tmp_path: Path) -> None:
    killed = run_python(
        """
        import os, signal, sys
        from shards.storage import open_storage
        os.link = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        open_storage(sys.argv[1]).create("folder/part-1.parquet", b"rows")
        """,
        str(tmp_path),
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((tmp_path / "folder").iterdir())) == 1  # the temporary file was really there
    storage = open_storage(str(tmp_path))
    assert list(storage.list()) == []
    assert storage.create("folder/part-1.parquet", b"rows")
    assert [entry.key for entry in storage.list()] == ["folder/part-1.parquet"]


def test_a_process_killed_in_mid_overwrite_leaves_the_old_object(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.write("a", b"old")
    killed = run_python(
        """
        import os, pathlib, signal, sys
        from shards.storage import open_storage
        pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        open_storage(sys.argv[1]).write("a", b"new")
        """,
        str(tmp_path),
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert storage.read("a") == b"old"
    storage.write("a", b"newer")  # the lock fell with its holder
    assert storage.read("a") == b"newer"


def test_a_process_killed_before_a_multipart_completion_leaves_no_object(s3_storage: S3Storage) -> None:
    killed = run_python(
        """
        import os, signal, sys
        from botocore.client import BaseClient
        from shards.s3 import S3Options, S3Storage
        call = BaseClient._make_api_call
        def deadly(self, name, values):
            if name == "CompleteMultipartUpload":
                os.kill(os.getpid(), signal.SIGKILL)
            return call(self, name, values)
        BaseClient._make_api_call = deadly
        options = S3Options(multipart_from=5 << 20, part=5 << 20)
        S3Storage(sys.argv[1], sys.argv[2], options).create("large", bytes(6 << 20))
        """,
        s3_storage.bucket,
        s3_storage.prefix,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(s3_storage.list()) == []
    assert s3_storage.create("large", b"rows")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_written(tiny_disk: Path) -> None:
    storage = open_storage(str(tiny_disk))
    storage.write("a", b"old")
    for call in (storage.create, storage.write):
        with pytest.raises(StorageError, match="no space left") as caught:
            call("b" if call == storage.create else "a", bytes(2 << 20))
        assert caught.value.reason == "disk_full"
    assert storage.read("a") == b"old"
    assert [entry.key for entry in storage.list()] == ["a"]
    assert sum(path.stat().st_size for path in tiny_disk.iterdir()) == 3  # no temporary file eats the rest
    assert storage.create("b", b"fits")


def test_a_file_over_the_size_limit_leaves_nothing_half_written(tmp_path: Path) -> None:
    limited = run_python(
        """
        import resource, sys
        from shards.storage import StorageError, open_storage
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            open_storage(sys.argv[1]).create("a", bytes(200_000))
        except StorageError as error:
            print(error.reason)
        """,
        str(tmp_path),
    )
    assert limited.stdout.strip() == "disk_full", limited.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_disk_says_so(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StorageError, match="read-only") as caught:
        open_storage(str(tiny_disk)).create("a", b"")
    assert caught.value.reason == "read_only"


def test_a_file_where_a_folder_should_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for call in (lambda s: s.create("a", b""), lambda s: s.read("a"), lambda s: list(s.list())):
        with pytest.raises(StorageError, match="file") as caught:
            call(open_storage(str(tmp_path / "file")))
        assert caught.value.reason == "bad_path"


@pytest.mark.parametrize("uri", ["gs://bucket/a", "http://host/a", "s3://", "s3:///a", "file://host/a"])
def test_another_scheme_names_those_that_work(uri: str) -> None:
    with pytest.raises(StorageError, match="use a path, file:///path or s3://bucket/prefix") as caught:
        open_storage(uri)
    assert caught.value.reason == "wrong_scheme"


def test_file_uris_are_paths(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/with%20space")
    storage.write("a", b"1")
    assert (tmp_path / "with space" / "a").read_bytes() == b"1"


def test_a_missing_bucket_says_so(s3: S3Server) -> None:
    storage = open_storage("s3://no-such-bucket/run")
    calls: list[Callable[[], object]] = [
        lambda: storage.read("a"),
        lambda: storage.exists("a"),
        lambda: storage.open("a"),
        lambda: list(storage.list()),
        lambda: Run.create_or_open(storage, {}),
    ]
    for call in calls:
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.reason == "no_such_bucket"
        assert "create it, or correct its name" in line_of(caught.value)


def test_a_bucket_of_others_says_so(s3: S3Server) -> None:
    # Where it may not create the bucket, this server denies the write; others say that it is missing.
    with pytest.raises(StorageError) as caught:
        open_storage("s3://no-such-bucket/run").create("a", b"")
    assert caught.value.reason == "access_denied"
    assert "these credentials may not do this here" in line_of(caught.value)


def test_a_wrong_secret_says_so_and_leaves_nothing(
    s3: S3Server, s3_storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not s3_storage.exists("a")  # connected, with the right one
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError) as caught:
        open_storage(s3_storage.uri).create("a", b"")
    assert caught.value.reason == "bad_credentials"
    assert "AWS_SECRET_ACCESS_KEY" in line_of(caught.value)
    assert list(s3_storage.list()) == []


def test_no_credentials_says_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StorageError) as caught:
        open_storage(s3.uri("a")).create("a", b"")
    assert caught.value.reason == "no_credentials"
    assert "AWS_ACCESS_KEY_ID" in line_of(caught.value)


def test_an_endpoint_without_a_server_says_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError) as caught:
        open_storage(s3.uri("a")).read("a")
    assert caught.value.reason == "unreachable"
    assert "http://127.0.0.1:1" in line_of(caught.value)


def test_a_busy_server_is_asked_again(s3: S3Server, s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    storage = open_storage(s3_storage.uri)
    proxy.faults = ["503", "drop"]
    assert storage.create("a", b"rows")
    assert proxy.faults == []
    proxy.faults = ["503"]
    assert storage.read("a") == b"rows"
    proxy.faults = ["503"]
    assert [entry.key for entry in storage.list()] == ["a"]


def test_a_server_busy_for_too_long_is_an_error(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    storage = S3Storage(s3_storage.bucket, s3_storage.prefix, S3Options(max_attempts=2))
    proxy.faults = ["503", "503"]
    with pytest.raises(StorageError) as caught:
        storage.create("a", b"rows")
    assert caught.value.reason == "busy"
    assert "after retries" in line_of(caught.value)
    assert list(s3_storage.list()) == []


def test_a_server_that_never_answers_is_an_error(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    storage = S3Storage(s3_storage.bucket, s3_storage.prefix, S3Options(max_attempts=1, read_timeout=0.2))
    proxy.faults = ["hang"]
    with pytest.raises(StorageError) as caught:
        storage.create("a", b"rows")
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize("parts", [False, True], ids=["one put", "multipart"])
def test_a_create_whose_answer_got_lost_was_still_ours(
    s3_storage: S3Storage, proxy: FaultyProxy, parts: bool
) -> None:
    storage = in_parts(s3_storage) if parts else open_storage(s3_storage.uri)
    proxy.where, proxy.faults = ("POST", ["", "lose"]) if parts else ("PUT", ["lose"])
    data = bytes(6 << 20) if parts else b"rows"
    assert storage.create("a", data)
    assert proxy.faults == []
    assert s3_storage.read("a") == data


def test_an_object_whose_answer_breaks_off_is_read_again(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    s3_storage.write("a", bytes(100_000))
    storage = open_storage(s3_storage.uri)
    proxy.where, proxy.faults = "GET", ["cut", "cut", "cut"]
    assert storage.read("a") == bytes(100_000)
    proxy.faults = ["cut"]
    with storage.open("a") as file:
        assert file.read() == bytes(100_000)
    proxy.faults = ["cut"] * 4
    with pytest.raises(StorageError) as caught:
        storage.read("a")
    assert caught.value.reason == "unreachable"


@pytest.fixture
def patient() -> Iterator[list[str]]:
    """This process waits for a storage as workers do; what it entered and left while it asked."""
    seen: list[str] = []

    @contextmanager
    def during() -> Iterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    be_patient(Patience(60, during))
    yield seen
    be_patient(Patience())


def test_a_worker_waits_for_a_storage_that_is_away(
    s3_storage: S3Storage, proxy: FaultyProxy, patient: list[str]
) -> None:
    run = Run(S3Storage(s3_storage.bucket, s3_storage.prefix, S3Options(max_attempts=1)), {}, "id")
    proxy.outage.set()
    threading.Timer(2, proxy.outage.clear).start()
    began = time.monotonic()
    assert run.commit("pairs", "a-0000001", pa.table({"row": [1]}), {"accepted": 1})
    assert time.monotonic() - began > 1
    assert patient == ["in", "out"]
    assert run.done("pairs") == {"a-0000001"}


def test_a_commit_before_an_outage_is_known_for_ours_after_it(
    s3_storage: S3Storage, proxy: FaultyProxy, patient: list[str]
) -> None:
    storage = S3Storage(s3_storage.bucket, s3_storage.prefix, S3Options(max_attempts=1))
    proxy.where, proxy.faults = "PUT", ["lose"]
    assert storage.create("a", b"rows")


def test_nobody_else_waits_for_a_storage_that_is_away(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    proxy.outage.set()
    with pytest.raises(StorageError):
        S3Storage(s3_storage.bucket, s3_storage.prefix, S3Options(max_attempts=1)).create("a", b"rows")


def test_a_create_that_came_second_is_not_ours_for_a_fault(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    s3_storage.create("a", b"rows")
    proxy.where, proxy.faults = "PUT", ["503"]
    assert not open_storage(s3_storage.uri).create("a", b"rows")


def test_a_replace_whose_answer_got_lost_was_still_ours(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    s3_storage.write("a", b"1")
    storage = open_storage(s3_storage.uri)
    _, etag = storage.read_versioned("a")
    proxy.where, proxy.faults = "PUT", ["lose"]
    newer = storage.replace("a", b"2", etag)
    assert storage.read_versioned("a") == (b"2", newer)


def test_reading_goes_on_after_a_lost_connection(s3_storage: S3Storage, proxy: FaultyProxy) -> None:
    s3_storage.write("a", b"rows")
    storage = open_storage(s3_storage.uri)
    with storage.open("a") as file:
        proxy.faults = ["lose", "503"]
        assert file.read() == b"rows"
    with pytest.raises(NotFound):
        storage.read("b")

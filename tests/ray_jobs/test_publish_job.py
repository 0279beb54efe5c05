"""Killed, copied, damaged or done on Ray: a version is whole or not there, and `verify` knows which."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_jobs import __main__ as command
from shards.dataset import LATEST_FILE, open_dataset, read_latest
from shards.storage import open_storage
from tests.ray_jobs.published import SETTINGS, contents, made
from tests.runs_by_hand import hand_made_run

# --- verify ---------------------------------------------------------------------------------------------------


def test_one_changed_byte_anywhere_is_named(published, tmp_path, capsys):
    for path, data in contents(published / "data").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert command.main(["verify", "--dataset", str(tmp_path)]) == 0
    for path, data in contents(tmp_path).items():
        if path == LATEST_FILE:
            continue
        for place in (0, len(data) // 3, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            (tmp_path / path).write_bytes(changed)
            assert command.main(["verify", "--dataset", str(tmp_path)]) == 1
            assert path.removeprefix("v1.0.0/") in capsys.readouterr().out
        (tmp_path / path).write_bytes(data)
    (tmp_path / "v1.0.0/data/stranger.parquet").write_bytes(b"")
    (tmp_path / "v1.0.0/index/test.parquet").unlink()
    assert command.main(["verify", "--dataset", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "data/stranger.parquet: not_in_manifest" in out and "index/test.parquet: missing" in out


def test_a_folder_without_a_dataset_says_so(tmp_path, capsys):
    assert command.main(["verify", "--dataset", str(tmp_path)]) == 2
    assert "holds no dataset" in capsys.readouterr().err


# --- killed ---------------------------------------------------------------------------------------------------


def killed_at(folder: str, point: int, after: bool) -> None:
    """In a process of its own: publishes, and dies at the so-many-th change of the disk, before it or after it."""
    from shards.local import LocalStorage

    count = 0

    def dying(original):
        def call(self, *arguments):
            nonlocal count
            count += 1
            if count == point and not after:
                os._exit(9)
            result = original(self, *arguments)
            if count == point:
                os._exit(9)
            return result

        return call

    for name in ("_create", "write", "replace", "delete"):
        setattr(LocalStorage, name, dying(getattr(LocalStorage, name)))
    made(Path(folder), "1.1.0")
    os._exit(0)


def killed_and_done_again(folder: Path, points: list[tuple[int, bool]], units=2) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.ray_jobs.test_publish_job", "ray_jobs.publish_scan", "filters.duplicates"]
    )
    hand_made_run(str(folder / "run"), units=units, size=4)
    made(folder, "1.0.0")
    old = contents(folder / "data")
    made(folder, "1.1.0")
    new = contents(folder / "data")
    died = 0
    for point, after in points:
        for path in (folder / "data").rglob("*"):
            if path.is_file() and "v1.0.0" not in path.parts:
                path.unlink()
        (folder / "data" / LATEST_FILE).write_bytes(old[LATEST_FILE])
        process = context.Process(target=killed_at, args=(str(folder), point, after))
        process.start()
        process.join(60)
        died += process.exitcode == 9
        there = read_latest(open_storage(str(folder / "data")))["version"]
        assert open_dataset(str(folder / "data")).manifest.version == there
        if there == "1.1.0":  # then it must be whole
            assert command.main(["verify", "--dataset", str(folder / "data")]) == 0
        made(folder, "1.1.0")
        assert contents(folder / "data") == new, (point, after)
    assert died >= len(points) - 2


def test_killed_while_publishing_the_old_version_stands_and_doing_it_again_gives_the_same_bytes(tmp_path):
    killed_and_done_again(tmp_path, [(2, True), (7, False), (9, True)])


@pytest.mark.slow
def test_killed_at_any_of_twenty_points(tmp_path):
    killed_and_done_again(
        tmp_path, [(point, after) for point in range(1, 13) for after in (False, True)], units=6
    )


# --- the job, on Ray ------------------------------------------------------------------------------------------


def test_the_job_publishes_to_s3_the_bytes_that_it_publishes_to_a_folder(
    published, s3, cluster, tmp_path, capsys
):
    config = tmp_path / "publish.yaml"
    config.write_text(json.dumps(SETTINGS.model_dump(mode="json")))
    target = s3.uri(f"datasets/{tmp_path.name}")
    line = [
        "publish",
        "--run",
        str(published / "run"),
        "--to",
        target,
        "--version",
        "1.0.0",
        "--config",
        str(config),
    ]
    assert command.main(line) == 0
    out = capsys.readouterr().out
    assert re.search(r"^done: version 1\.0\.0 published in s3://", out, re.M)
    storage = open_storage(target)
    there = {e.key: storage.read(e.key) for e in storage.list() if not e.key.startswith("leases/")}
    assert there == contents(published / "data")
    assert command.main(["verify", "--dataset", target]) == 0


def test_nothing_published_says_where_or_by_whom_it_was_made(tmp_path, cluster):
    place = tmp_path / "secret-folder-of-somebody"
    hand_made_run(str(place / "run"), units=2)
    assert (
        command.main(["publish", "--run", str(place / "run"), "--to", str(place / "d"), "--version", "1.0.0"])
        == 0
    )
    # As whole words: a machine may well be called "vm", and any picture holds those two bytes.
    names = [
        socket.gethostname(),
        os.environ.get("USER", "root") + "@",
        "secret-folder-of-somebody",
        str(tmp_path),
    ]
    patterns = [re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])".encode()) for name in names]
    for path, data in contents(place / "d").items():
        texts = [data] if path.endswith((".md", ".json", LATEST_FILE)) else []
        if path.endswith(".parquet"):
            file = pq.ParquetFile(place / "d" / path)
            texts += [str(file.read().to_pylist()).encode(), str(file.metadata.metadata).encode()]
        assert str(tmp_path).encode() not in data, path
        for pattern in patterns:
            assert not any(pattern.search(text) for text in texts), (path, pattern)


def test_wrong_usage_is_one_line(tmp_path, capsys):
    hand_made_run(str(tmp_path / "run"), units=1)
    line = ["publish", "--run", str(tmp_path / "run"), "--to", str(tmp_path / "d"), "--version"]
    for more, words in (
        (["1.0.0", "--set", "splits.train=0.5"], "splits: add up to 0.6, not to 1"),
        (["1.0.0", "--set", "balanse.region=2"], "unknown key; did you mean 'balance'?"),
        (["one"], "--version one: must look like 1.0.0"),
    ):
        assert command.main([*line, *more]) == 2
        assert words in capsys.readouterr().err

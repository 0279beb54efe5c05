"""`push`: a dry run asks no network; a real one goes through `huggingface_hub` to a small Hub on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import constants

from ray_jobs import push
from ray_jobs.__main__ import main
from shards.dataset import MANIFEST_FILE, Dataset
from shards.storage import open_storage
from tests.datasets_by_hand import lay
from tests.hub_server import Hub, running_hub
from tests.pages import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # of the library's own uploads

SECRET = "hf_a-token-for-tests"
EXTRAS = {
    "README.md": b"---\nlicense: mit\n---\n\n# Demo\n",
    "CHANGELOG.md": b"# 1.0.0\n",
    "assets/kinds.png": b"PNG",
}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return lay(open_storage(str(tmp_path / "demo")), extras=EXTRAS)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub(SECRET) as found:
        yield found


@dataclass(frozen=True)
class Push:
    """What a push ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def push_to(hub, monkeypatch, capsys):
    """Pushes from this process to the small Hub."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)

    def run(uri: str, *options: str, token: str = SECRET) -> Push:
        monkeypatch.setenv("HF_TOKEN", token)
        code = main(["push", "--dataset", uri, "--repo", "me/demo", *options])
        said = capsys.readouterr()
        assert token not in said.out + said.err
        return Push(code, said.out, said.err)

    return run


def files_of(dataset: Dataset) -> dict[str, bytes]:
    return {
        path: dataset.storage.read(path)
        for path in [*(f.path for f in dataset.manifest.files), MANIFEST_FILE]
    }


def test_a_dry_run_lists_every_file_and_asks_no_network(dataset, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a dry run needs no network"))
    assert main(["push", "--dataset", dataset.storage.uri, "--repo", "me/demo", "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    expected = {path: len(data) for path, data in files_of(dataset).items()}
    assert {line.split()[1]: int(line.split()[0].replace(",", "")) for line in lines} == expected
    assert f"{len(expected)} files, {sum(expected.values()):,} bytes" in last and "as v1.0.0" in last
    assert lines[-1].endswith("MANIFEST.json")


@pytest.mark.parametrize("token", [None, "  "])
def test_without_a_token_it_is_one_line_and_exit_2(token, dataset, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", "--dataset", dataset.storage.uri, "--repo", "me/demo"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: HF_TOKEN is not set") and error.count("\n") == 1


@pytest.mark.parametrize(
    "repo", ["demo", "me/demo/x", "me/../x", "-/-", "me demo/x", "https://huggingface.co/me/demo"]
)
def test_names_that_are_no_repository_are_refused(repo, dataset, capsys):
    assert main(["push", "--dataset", dataset.storage.uri, f"--repo={repo}", "--dry-run"]) == 2
    assert "OWNER/NAME" in capsys.readouterr().err


def test_a_push_makes_one_commit_that_ends_with_the_manifest_and_is_tagged(dataset, hub, push_to):
    run = push_to(dataset.storage.uri, "--private")
    assert run.code == 0, run.err
    assert hub.private is True
    assert hub.files == files_of(dataset) == hub.tags["v1.0.0"]
    (commit,) = hub.commits
    assert [line["value"].get("path") for line in commit][-1] == MANIFEST_FILE
    assert "demo 1.0.0 is up" in run.out


def test_settings_come_from_the_environment(dataset, hub):
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": SECRET, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        "HF_HOME": "/nonexistent", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "ray_jobs",
        "push",
        "--dataset",
        dataset.storage.uri,
        "--repo",
        "me/demo",
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert hub.files == files_of(dataset)


def test_the_same_version_again_sends_nothing(dataset, hub, push_to):
    assert push_to(dataset.storage.uri).code == 0
    hub.requests.clear()
    run = push_to(dataset.storage.uri)
    assert run.code == 0 and "is there already" in run.out
    assert not any("/commit/" in request or "PUT" in request for request in hub.requests)


def test_a_newer_version_takes_away_what_the_older_one_left(dataset, hub, push_to, tmp_path):
    assert push_to(dataset.storage.uri).code == 0
    hub.files |= {
        "data/coco/train-00000-of-00009.parquet": b"old",
        ".gitattributes": b"*",
        "NOTES.md": b"by hand",
    }
    newer = lay(open_storage(str(tmp_path / "demo")), "1.1.0", {"README.md": b"# 1.1.0\n"})
    run = push_to(str(tmp_path / "demo"))
    assert run.code == 0, run.err
    left = {".gitattributes": b"*", "NOTES.md": b"by hand", "CHANGELOG.md": EXTRAS["CHANGELOG.md"]}
    assert hub.files == files_of(newer) | left
    assert hub.commits[-1][-1]["value"]["path"] == MANIFEST_FILE
    assert hub.tags["v1.0.0"] == files_of(dataset) and hub.tags["v1.1.0"] == hub.files


def test_a_version_that_is_there_with_other_content_is_refused(dataset, hub, push_to, tmp_path):
    assert push_to(dataset.storage.uri).code == 0
    other = lay(open_storage(str(tmp_path / "other")), extras={"README.md": b"# another\n"})
    run = push_to(other.storage.uri)
    assert run.code == 2 and "publish a new version" in run.err and run.err.count("\n") == 1
    assert hub.files == files_of(dataset)


def test_a_push_that_was_stopped_goes_on_without_sending_twice(dataset, hub, push_to):
    hub.refuse, hub.status = "/commit/", 400
    run = push_to(dataset.storage.uri)
    assert run.code == 1 and run.err.startswith("error: ") and run.err.count("\n") == 1
    assert hub.files == {} and len(hub.blobs) > 5
    hub.refuse = ""
    hub.requests.clear()
    assert push_to(dataset.storage.uri).code == 0
    assert not any(request.startswith("PUT") for request in hub.requests)
    assert hub.files == files_of(dataset)


def test_a_file_that_is_not_what_the_manifest_says_stops_before_any_commit(dataset, hub, push_to):
    dataset.storage.write("index/test.parquet", b"other")
    run = push_to(dataset.storage.uri)
    assert run.code == 1 and "index/test.parquet is not what the manifest says" in run.err
    assert hub.commits == []


def test_a_token_that_may_not_write_is_one_line_without_the_token(dataset, hub, push_to):
    run = push_to(dataset.storage.uri, token="hf_wrong")
    assert run.code == 2 and "HF_TOKEN may not write there" in run.err and run.err.count("\n") == 1


def test_no_answer_is_one_line(dataset, hub, push_to):
    hub.close()
    run = push_to(dataset.storage.uri)
    assert run.code == 1 and run.err.startswith("error: the Hub took not all: ")
    assert run.err.count("\n") == 1


def test_it_goes_up_from_s3_large_files_by_way_of_the_disk(s3, hub, push_to, monkeypatch):
    laid = lay(open_storage(s3.uri("push/demo")), extras=EXTRAS)
    run = push_to(s3.uri("push/demo"))
    assert run.code == 0, run.err
    assert hub.files == files_of(laid)
    monkeypatch.setattr(push, "_IN_MEMORY", 1000)
    file = laid.files("data", "test")[0]
    with push._checked(laid, file) as path:
        assert isinstance(path, str) and Path(path).stat().st_size == file.bytes
    assert not Path(path).exists()

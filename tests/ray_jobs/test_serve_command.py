"""The command that serves pairs, as a person meets it: where it answers, how it ends, what it says of wrong input."""

from __future__ import annotations

import http.client
import importlib
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ray_jobs.__main__ import main
from ray_jobs.browse import DatasetCatalogue
from ray_jobs.serve import quick_import
from shards.storage import open_storage
from tests.datasets import pair, publish

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch, tmp_path_factory):
    """The command leaves its temporary folder in the environment."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))


def test_the_command_serves_until_it_is_ended_and_leaves_nothing(tmp_path):
    publish(open_storage(str(tmp_path / "dataset")), {"train": [pair(0)]})
    (tmp_path / "kept").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "kept"), "HTTP_PROXY": "http://127.0.0.1:9"}
    with subprocess.Popen(
        [sys.executable, "-m", "ray_jobs", "serve", "--dataset", str(tmp_path / "dataset"), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line.startswith(f"spatial-demo 1.0.0 in {tmp_path}/dataset/v1.0.0: http://127.0.0.1:"), (
                line
            )
            place = urlsplit(re.search(r"http://\S+", line)[0])
            connection = http.client.HTTPConnection(place.netloc, timeout=120)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200 and b"gradio" in answer.read()
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output, errors) == (0, "", "")
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "no/such"], "holds no dataset (neither MANIFEST.json nor LATEST)"),
        (["--run", "no/such"], "holds no run (it has no run.yaml): check the path"),
        (["--dataset", "ftp://host/x"], "use a path, file:///path or s3://bucket/prefix"),
        (["--run", "no/such", "--port", "70000"], "choose others with --host and --port"),
        (["--run", "no/such", "--host", "no.such.host.invalid"], "choose others with --host and --port"),
    ],
)
def test_wrong_input_is_one_line_and_exits_with_2(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--port", "0", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and expected in error


@pytest.mark.parametrize("arguments", [[], ["--run", "a", "--dataset", "b"], ["--run", "a", "--port", "x"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    assert "usage: python -m ray_jobs serve" in capsys.readouterr().err


def test_damaged_index_and_missing_bucket_are_one_line(s3, tmp_path, capsys):
    publish(open_storage(str(tmp_path)), {"train": [pair(0)]})
    (tmp_path / "v1.0.0" / "index" / "train.parquet").write_bytes(b"PAR1 not really PAR1")
    assert main(["serve", "--port", "0", "--dataset", str(tmp_path)]) == 1
    assert "cannot be read as Parquet" in capsys.readouterr().err
    assert main(["serve", "--port", "0", "--dataset", "s3://no-such-bucket-here/x"]) == 2
    error = capsys.readouterr().err
    assert "the bucket does not exist" in error and error.count("\n") == 1


def test_port_that_is_taken_is_one_line(tmp_path, capsys):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--port", port, "--dataset", str(tmp_path)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_importing_gradio_quickly_changes_nothing_for_others():
    before, loaded = inspect.getfile, sys.modules.pop("mcp", None)
    with quick_import():
        import gradio

        with pytest.raises(OSError, match="no stub"):
            inspect.getfile(gradio.Gallery)
        assert inspect.getfile(DatasetCatalogue).endswith("browse.py")
        with pytest.raises(ImportError):
            importlib.import_module("mcp")
    assert inspect.getfile is before and "mcp" not in sys.modules
    if loaded is not None:
        sys.modules["mcp"] = loaded

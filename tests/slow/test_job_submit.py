"""`ray job submit` to a real cluster whose job server asks for a token: as docs/cluster.md says, from end to end."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards.run import Run
from shards.storage import open_storage
from tests.fake_cluster import ROOT
from tests.s3_server import _free_ports

RAY = str(Path(sys.executable).parent / "ray")
GENERATE = f"{sys.executable} -m ray_jobs generate --config configs/tiny.yaml --set routes.blender.units=40"


@dataclass(frozen=True)
class JobServer:
    url: str
    environment: Mapping[str, str]

    def ray(self, *command: str, ok: bool = True) -> str:
        """What the command says. ok: whether it is to succeed."""
        done = subprocess.run(
            [RAY, *command], env=dict(self.environment), cwd=ROOT, capture_output=True, text=True, timeout=400
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, said[-3000:]
        return said

    def submit(self, name: str, command: str, *options: str, ok: bool = True) -> str:
        entry = ["--", *command.split()]
        return self.ray("job", "submit", "--submission-id", name, *options, *entry, ok=ok)


@contextmanager
def started(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def until(said: Callable[[], bool], patience_s: float = 120) -> None:
    end = time.monotonic() + patience_s
    while not said():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[JobServer]:
    """A head that takes no work and a node of two cores, with one token."""
    folder = tmp_path_factory.mktemp("jobs")
    port, dashboard, *agents = _free_ports(4)  # agents': another Ray of this machine may have the usual one
    url = f"http://127.0.0.1:{dashboard}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": url, "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    head = [
        RAY, "start", "--head", "--block", "--num-cpus=0", f"--port={port}", "--node-ip-address=127.0.0.1",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--object-store-memory=100000000",
        f"--dashboard-agent-listen-port={agents[0]}",
    ]  # fmt: skip
    node = [
        RAY, "start", "--block", f"--address=127.0.0.1:{port}", "--num-cpus=2", "--object-store-memory=100000000",
        f"--dashboard-agent-listen-port={agents[1]}",
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(started(head, environment, folder / "head.log"))
        until(lambda: answers(url, environment["RAY_AUTH_TOKEN"]) == 200)
        stack.enter_context(started(node, environment, folder / "node.log"))
        server = JobServer(url, environment)
        until(lambda: ready(server))
        yield server


def ready(server: JobServer) -> bool:
    """Whether jobs can be started: their agent comes up after the server."""
    command = [RAY, "job", "submit", "--", "echo", "ready"]
    done = subprocess.run(command, env=dict(server.environment), capture_output=True, timeout=120)
    return done.returncode == 0


def answers(url: str, token: str | None) -> int:
    """The status of the list of jobs; 0 for no server."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        asked = urllib.request.Request(f"{url}/api/jobs/", headers=headers)  # noqa: S310  a server of ours
        return int(urllib.request.urlopen(asked, timeout=10).status)  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_job_is_submitted_once_cancelled_and_gone_on_with(server, tmp_path):
    out = tmp_path / "run"
    work = f"{GENERATE} --out {out}"
    server.submit("first", work, "--no-wait")
    again = server.submit("first", work, "--no-wait", ok=False)
    assert "already" in again.lower()
    until(lambda: (out / "run.yaml").exists())
    run_folder = Run.open(open_storage(str(out)))
    (pairs,) = [folder for folder in wait_for_folders(out) if folder.startswith("pairs-")]
    until(lambda: len(run_folder.done(pairs)) >= 2)
    server.ray("job", "stop", "first")
    ends = re.compile("was stopped|succeeded|failed")
    until(lambda: ends.search(server.ray("job", "status", "first")) is not None)
    assert "was stopped" in server.ray("job", "status", "first")
    assert "stopped; what is done stays done" in server.ray("job", "logs", "first")
    before = {path: path.stat().st_mtime_ns for path in (out / pairs).glob("*.parquet")}
    assert 2 <= len(before) < 40

    said = server.submit("second", work)
    assert re.search(r"units were done before; going on with the rest", said)
    assert re.search(r"\d+/40 units +[\d.]+ pairs/min +accepted \d+", said)
    assert "40/40 units" in said and "done in" in said
    logs = server.ray("job", "logs", "second")
    assert re.search(r"\d+/40 units .*\bleft\b", logs), "the log says how long it will take"
    assert len(run_folder.done(pairs)) == 40
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert (out / "report.html").exists() and (out / "current.json").exists()


def wait_for_folders(out: Path) -> list[str]:
    until(lambda: any(path.name.startswith("pairs-") for path in out.iterdir()))
    return [path.name for path in out.iterdir()]


@pytest.mark.slow
def test_nobody_without_the_token_is_answered(server):
    assert answers(server.url, None) in (401, 403)
    assert answers(server.url, "0" * 32) in (401, 403)
    assert answers(server.url, server.environment["RAY_AUTH_TOKEN"]) == 200

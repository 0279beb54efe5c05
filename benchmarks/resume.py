"""How soon a long run goes on: listing the names of its shards, and the way to its first new unit.

    python -m benchmarks.resume [--names 1000000] [--units 100000] [--s3]

"one by one": pages of one listing, each after the last; "together": as runs do it (`Run.done_of`). Then a run of
`--units` units of which every other one is there: seconds from the driver's begin to its first new unit, in a Ray that
is started. On this machine's disk; with --s3 on an S3 server of this machine, which has to be fed first, by as many
processes as there are cores. Its answers come from the same cores: a bucket far away has more, and longer ways.
"""

from __future__ import annotations

import argparse
import http.client
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.driver import Nothing
from ray_jobs.cluster import connected
from ray_jobs.config import Limits, Pool
from ray_jobs.driver import Watcher, run
from ray_jobs.worker import Failure, StageSpec
from shards.run import Run
from shards.storage import open_storage
from shards.units import Unit, UnitReport
from tests.s3_server import running_server

FOLDER = "pairs-blender-0000000a"
_AT_ONCE = 5_000


@contextmanager
def place(s3: bool) -> Iterator[str]:
    """A URI to put runs under."""
    with tempfile.TemporaryDirectory() as folder:
        if not s3:
            yield folder
            return
        with running_server(Path(folder)) as server:
            os.environ.update(server.environment)
            yield server.uri("runs")


def put_names(uri: str, keys: Sequence[str]) -> None:
    """Empty objects, by the barest of clients: the project's own would take most of the time that this takes."""
    if not uri.startswith("s3://"):
        for key in keys:
            file = Path(uri) / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    where = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    signed = S3SigV4Auth(
        Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]), "s3", "us-east-1"
    )
    connection = http.client.HTTPConnection(where.hostname or "", where.port)
    for key in keys:
        path = f"/{bucket}/{quote(f'{prefix}/{key}')}"
        request = AWSRequest("PUT", f"{where.scheme}://{where.netloc}{path}", data=b"")
        signed.add_auth(request)
        connection.request("PUT", path, body=b"", headers=dict(request.headers.items()))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {answer.reason}")
    connection.close()


def fill(uri: str, keys: Sequence[str]) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = [keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]
        list(pool.map(partial(put_names, uri), parts))
    return time.monotonic() - began


def listed(uri: str, count: int) -> None:
    run_folder = Run.create_or_open(open_storage(uri), {})
    units = [Unit("blender", n, 1) for n in range(count)]
    filled = fill(uri, [run_folder.shard_key(FOLDER, unit.id) for unit in units])
    began = time.monotonic()
    alone = len(run_folder.done(FOLDER))
    between = time.monotonic()
    together = len(run_folder.done_of([FOLDER], units)[0])
    ended = time.monotonic()
    assert alone == together == count, (alone, together)
    memory = psutil.Process().memory_info().rss / 1e6
    slow, fast = between - began, ended - between
    print(
        f"{count} names: put in {filled:.0f} s; listed one by one {slow:.1f} s, together {fast:.1f} s "
        f"({count / fast:,.0f} a second, {slow / fast:.1f} times as fast); {memory:.0f} MB",
        flush=True,
    )


class Enough(Exception):
    """The first new unit is there."""


class First(Watcher):
    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        assert failure is None
        raise Enough


def resumed(uri: str, count: int) -> None:
    run_folder = Run.create_or_open(open_storage(uri), {})
    units = [Unit("blender", n, 1) for n in range(count)]
    filled = fill(uri, [run_folder.shard_key(FOLDER, unit.id) for unit in units[::2]])
    stage = StageSpec(
        "first", f"{Nothing.__module__}:Nothing", {"name": "first"}, FOLDER, Pool(size=1, num_cpus=0.5)
    )
    with connected(num_cpus=2):
        began = time.monotonic()
        try:
            run(units, [stage], run_folder, Limits(), First())
        except Enough:
            took = time.monotonic() - began
    memory = psutil.Process().memory_info().rss / 1e6
    print(
        f"{count} units, every other one there (put in {filled:.0f} s): first new unit after {took:.1f} s; "
        f"driver {memory:.0f} MB",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--names", type=int, default=1_000_000)
    options.add_argument("--units", type=int, default=100_000)
    options.add_argument("--s3", action="store_true", help="on an S3 server of this machine, not on its disk")
    arguments = options.parse_args()
    with place(arguments.s3) as uri:
        resumed(f"{uri}/resumed", arguments.units)
        listed(f"{uri}/listed", arguments.names)


if __name__ == "__main__":
    main()

"""Nodes, workers and drivers are killed for the whole of a run, storage fails: what comes out is what would have."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from tests.fake_cluster import FakeCluster, fake_cluster, fake_types, shipped
from tests.ray_jobs.ray_job_stages import PAIRS, UNIT_SIZE, VERDICTS, Rows, Verdicts, units
from tests.slow.chaos import FAULTS, Chaos, HoldingProxy, Notes, strikes_of

UNITS = int(os.environ.get("CHAOS_UNITS", "1500"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1").split(",")]
IDLE_S = 120  # nodes without work are gone by then
DEADLINE_S = 60 * float(os.environ.get("CHAOS_MINUTES", "15"))
POISON = UNITS // 3 * UNIT_SIZE + 1  # a row that kills whoever makes it
HANGING = (UNITS // 10, UNITS // 4)  # units that hang when they are begun first
FULL = UNITS >= 1500  # else the run is over before a watchdog has ended what hangs
RESOURCES = {"blender": {"CPU": 2}, "diffusion": {"CPU": 2}}
TWICE = 0.08  # of all units of all stages
RAY = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_memory_monitor_refresh_ms": "0",
}


class Refuses:
    """The guard of a run in which the poison was found out."""

    refusal = "killed_its_worker"

    def may_run(self, row: int) -> bool:
        return row != POISON


def rows_of(run_folder: Run, folder: str) -> tuple[dict[str, str], int]:
    """The hash of each row, by pair, and how many rows failed; a pair that is there twice fails."""
    with ThreadPoolExecutor(16) as pool:
        keys = [run_folder.shard_key(folder, unit) for unit in run_folder.done(folder)]
        tables = pool.map(lambda key: read_table(run_folder.storage, key).to_pylist(), keys)
    rows = [row for table in tables for row in table]
    found = {
        row["pair_id"]: hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest() for row in rows
    }
    assert len(found) == len(rows), "a pair is there twice"
    return found, sum(row["verdict"] == "failed" for row in rows)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Of the same units, made here: no Ray, and nothing dies."""
    folder = str(tmp_path_factory.mktemp("calm"))
    run_folder = Run.create_or_open(open_storage(folder), {"seed": 7})
    pairs = Rows(run_uri=folder, folder=PAIRS, inputs={}, settings={})
    verdicts = Verdicts(run_uri=folder, folder=VERDICTS, inputs={"pairs": PAIRS}, settings={})
    for unit in units(UNITS):
        pairs(unit, Refuses())
        verdicts(unit, Refuses())
    return {name: rows_of(run_folder, name) for name in (PAIRS, VERDICTS)}


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Of the cluster's session; a short path, for the sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def overslept(session: Path) -> set[int]:
    """Processes that their watchdog ended. Ray puts what the dead wrote into a folder of its own."""
    return {
        int(path.stem.rpartition("-")[2])
        for path in session.glob("logs/**/worker-*.err")
        if "took longer than" in path.read_text(errors="replace")
    }


def gone_when_idle(cluster: FakeCluster) -> bool:
    until = time.monotonic() + IDLE_S
    while cluster.raylets() and time.monotonic() < until:
        time.sleep(1)
    return not cluster.raylets()


@pytest.mark.slow
@pytest.mark.timeout(DEADLINE_S + 900)
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_all_the_time_the_run_is_the_one_that_nobody_disturbed(
    undisturbed, s3, tmp_path, ray_folder, seed
):
    all_units, notes = units(UNITS), Notes(tmp_path / "noted")
    hang = {all_units[n].id: str(tmp_path / f"hung-{n}") for n in HANGING}
    settings = {"sleep_s": 0.03, "kill_rows": [POISON], "hang_once": hang, "noted": str(tmp_path / "noted")}
    proxy, uri = HoldingProxy(s3.endpoint), s3.uri(f"chaos-{seed}-{os.getpid()}")
    environment = s3.environment | RAY | {"AWS_ENDPOINT_URL": proxy.endpoint}
    command = [sys.executable, "-m", "tests.slow.chaos", uri, str(UNITS), json.dumps(settings)]
    strikes = strikes_of(UNITS, seed)
    types, more = fake_types(shipped(), RESOURCES, most=1), environment | {"RAY_TMPDIR": str(ray_folder)}
    try:
        with fake_cluster(types, tmp_path, more=more) as cluster:
            chaos = Chaos(
                cluster, proxy, command, environment, tmp_path / "drivers.log", notes, strikes, 2 * UNITS, seed,
                DEADLINE_S, set(hang) if FULL else (),
            )  # fmt: skip
            assert not cluster.raylets(), "nobody has asked for a node yet"
            told = chaos.run()
            by_watchdog = overslept(cluster.session())
            assert gone_when_idle(cluster)
    finally:
        proxy.close()
    excused = {*hang, all_units[POISON // UNIT_SIZE].id}
    twice, met = notes.twice(excused), Counter(kind for kind, _ in proxy.met)
    on_parts = sum("/part-" in request for _, request in proxy.met)
    print(
        f"\nseed {seed}: {UNITS} units, {2 * UNITS} shards in {told.seconds:.0f} s; kills {dict(told.kills)}; "
        f"{told.drivers} drivers, {len(told.nodes)} nodes; faults {dict(met)}, {on_parts} of them on shards; "
        f"{len(by_watchdog)} processes ended by their watchdog; {twice} units of a stage begun twice "
        f"({twice / (2 * UNITS):.1%}), {told.flying} were in work where it struck"
    )
    run_folder = Run.open(open_storage(uri))
    for folder, wanted in undisturbed.items():
        found, failed = rows_of(run_folder, folder)
        assert found.keys() == wanted[0].keys()
        assert found == wanted[0]
        assert failed == wanted[1] == 1
    assert told.kills == Counter(strikes)
    assert len(told.nodes) >= len(RESOURCES) + told.kills["node"], "each that was killed is replaced"
    assert notes.unexplained(told.killed, by_watchdog, excused) == []
    if FULL:
        assert {notes.begun["pairs", unit][0] for unit in hang} <= by_watchdog
    assert twice <= told.flying
    assert twice <= TWICE * 2 * UNITS
    least = 5 if FULL else 1
    assert all(met[kind] >= least for kind in FAULTS)

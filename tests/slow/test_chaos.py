"""Nodes, workers and drivers are killed for the whole of a run, storage fails: what comes out is what would have."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter

import pytest

from ray_jobs.config import Limits, Pool
from ray_jobs.driver import run
from shards.run import Run
from shards.storage import open_storage
from tests.fake_cluster import fake_cluster, fake_types, shipped
from tests.ray_jobs.ray_job_stages import PAIRS, UNIT_SIZE, VERDICTS, rows_of, stages, units
from tests.s3_server import FaultyProxy
from tests.slow.chaos import disturbed

UNITS = int(os.environ.get("CHAOS_UNITS", "1500"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2,3").split(",")]
POISON = UNITS // 3 * UNIT_SIZE + 1  # a row that kills whoever makes it
RESOURCES = {"blender": {"CPU": 2}, "diffusion": {"CPU": 1}}


def hashes(run_folder: Run, folder: str) -> dict[str, str]:
    """Of each row, by pair; a pair that is there twice fails."""
    rows = rows_of(run_folder, folder)
    found = {
        row["pair_id"]: hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest() for row in rows
    }
    assert len(found) == len(rows), "a pair is there twice"
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Of the same units, with the same poison, while nothing else dies."""
    folder = Run.create_or_open(open_storage(str(tmp_path_factory.mktemp("calm"))), {"seed": 7})
    calm = [
        spec.__class__(spec.name, spec.factory, {"kill_rows": [POISON]} if spec.name == "pairs" else {}, spec.folder,
                       Pool(size=1, num_cpus=0.5))
        for spec in stages()
    ]  # fmt: skip
    assert run(units(UNITS), calm, folder, Limits(), num_cpus=2).missing == 0
    return {name: hashes(folder, name) for name in (PAIRS, VERDICTS)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_all_the_time_the_run_is_the_one_that_nobody_disturbed(undisturbed, s3, tmp_path, seed):
    noted = tmp_path / "noted"
    hang = {units(UNITS)[n].id: str(tmp_path / f"hung-{n}") for n in (UNITS // 5, UNITS // 2)}
    settings = {"sleep_s": 0.15, "kill_rows": [POISON], "hang_once": hang, "noted": str(noted)}
    proxy = FaultyProxy(s3.endpoint)
    environment = s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint}
    uri = s3.uri(f"chaos-{seed}-{os.getpid()}")
    try:
        with fake_cluster(fake_types(shipped(), RESOURCES), tmp_path, more=environment) as cluster:
            told = disturbed(
                cluster, proxy, uri, UNITS, settings, tmp_path / "drivers.log", seed, 5.0, environment
            )
            asked = len(told.nodes)
    finally:
        proxy.close()
    run_folder = Run.open(open_storage(uri))
    begun = Counter(noted.read_text().splitlines())
    poisoned = units(UNITS)[POISON // UNIT_SIZE].id
    twice = sum(times - 1 for line, times in begun.items() if poisoned not in line)
    print(
        f"\nseed {seed}: {UNITS} units in {told.seconds:.0f} s; kills {dict(told.kills)}, {told.faults} faults of "
        f"storage, {told.drivers} drivers, {asked} nodes; {twice} units of a stage done twice "
        f"({twice / (2 * UNITS):.1%}), at most {told.flying} were in work where it struck"
    )
    for folder, wanted in undisturbed.items():
        found = hashes(run_folder, folder)
        assert found.keys() == wanted.keys()
        assert found == wanted
    assert sum(row["verdict"] == "failed" for row in rows_of(run_folder, PAIRS)) == 1
    assert twice <= told.flying + len(hang)
    assert twice <= 0.08 * 2 * UNITS
    if UNITS >= 1500:
        assert sum(told.kills.values()) >= 40 and min(
            told.kills.get(kind, 0) for kind in ("worker", "node", "driver")
        )

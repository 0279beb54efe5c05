"""A run on a cluster of which something dies every few seconds: `python -m tests.slow.chaos URI UNITS SETTINGS` is its
driver, `disturbed` what disturbs it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ray_jobs.config import Limits, Pool
from ray_jobs.driver import StageSpec, run
from shards.run import Run
from shards.storage import open_storage
from tests.fake_cluster import ROOT, FakeCluster
from tests.ray_jobs.ray_job_stages import MODULE, PAIRS, VERDICTS, units
from tests.s3_server import FaultyProxy

LIMITS = Limits(unit_floor_s=20, unit_slowdown=10, unit_first_s=60, failures_in_a_row=100)
KINDS = {"worker": 0.6, "node": 0.25, "driver": 0.15}
FAULTS = ("503", "drop", "lose", "slow")


def specs(settings: Mapping[str, Any]) -> list[StageSpec]:
    """Two stages on two kinds of nodes."""
    pairs = Pool(size=4, num_cpus=1, labels={"spatialpix/role": "blender"})
    verdicts = Pool(size=2, num_cpus=1, labels={"spatialpix/role": "diffusion"})
    calm = {key: value for key, value in settings.items() if key in ("sleep_s", "noted")}
    return [
        StageSpec("pairs", f"{MODULE}:Rows", settings, PAIRS, pairs),
        StageSpec("verdicts", f"{MODULE}:Verdicts", calm, VERDICTS, verdicts),
    ]


@dataclass
class Disturbed:
    """kills: by kind. flying: units that at most were in work where they struck. faults: of the storage. drivers: that
    were started. seconds: of all."""

    kills: Counter[str] = field(default_factory=Counter)
    flying: int = 0
    faults: int = 0
    drivers: int = 0
    nodes: set[int] = field(default_factory=set)
    seconds: float = 0.0


def disturbed(
    cluster: FakeCluster, proxy: FaultyProxy, run_uri: str, count: int, settings: Mapping[str, Any],
    log: Path, seed: int, every_s: float, environment: Mapping[str, str],
) -> Disturbed:  # fmt: skip
    """Starts drivers until one says that all is done; kills what the seed says, about every `every_s` seconds."""
    rng, found, began = random.Random(seed), Disturbed(), time.monotonic()
    stop = threading.Event()

    def storage_fails() -> None:
        while not stop.wait(rng.expovariate(1 / 2.0)):
            if not proxy.faults:  # they would wait for the next driver, and meet all its requests
                proxy.faults.append(rng.choice(FAULTS))
                found.faults += 1

    threading.Thread(target=storage_fails, daemon=True).start()
    command = [sys.executable, "-m", __name__, run_uri, str(count), json.dumps(settings)]
    driver = None
    try:
        while driver is None or driver.poll() != 0:
            if driver is None or driver.poll() is not None:
                with log.open("ab") as out:
                    driver = subprocess.Popen(
                        command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True,
                        env={**os.environ, **environment, "RAY_ADDRESS": cluster.address, "RAY_AUTH_MODE": "disabled"},
                    )  # fmt: skip
                found.drivers += 1
            try:
                driver.wait(max(0.5, rng.expovariate(1 / every_s)))
            except subprocess.TimeoutExpired:
                _strike(rng, cluster, driver, found)
            found.nodes |= {process.pid for process in cluster.raylets()}
    finally:
        stop.set()
        if driver is not None and driver.poll() is None:
            driver.kill()
    found.seconds = time.monotonic() - began
    return found


def _strike(
    rng: random.Random, cluster: FakeCluster, driver: subprocess.Popen[bytes], found: Disturbed
) -> None:
    nodes = cluster.raylets()
    workers = {node.pid: _workers(node) for node in nodes}
    busy = [one for some in workers.values() for one in some]
    kind = rng.choices([*KINDS], [*KINDS.values()])[0]
    if kind == "driver" and busy:
        driver.kill()
        driver.wait()
        found.flying += len(busy)
    elif kind == "node" and any(workers.values()):
        node = rng.choice([node for node in nodes if workers[node.pid]])
        for process in [node, *workers[node.pid]]:  # a machine goes with all that is on it
            _kill(process)
        found.flying += len(workers[node.pid])
    elif kind == "worker" and busy:
        _kill(rng.choice(busy))
        found.flying += 1
    else:
        return
    found.kills[kind] += 1


def _workers(node: psutil.Process) -> list[psutil.Process]:
    try:
        return [one for one in node.children() if "UnitWorker" in " ".join(one.cmdline())]
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def main() -> None:
    uri, count, settings = sys.argv[1:]
    run_folder = Run.create_or_open(open_storage(uri), {"seed": 7})
    outcome = run(units(int(count)), specs(json.loads(settings)), run_folder, LIMITS)
    sys.exit(1 if outcome.missing else 0)


if __name__ == "__main__":
    main()

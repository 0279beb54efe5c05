"""How well many workers are used: real scheduling by Ray Data, units that only sleep.

    python -m benchmarks.scaling [--workers 1,4,16,64] [--units 40] [--mean 5] [--wave 5000] [--from URI]

Each worker gets as many units on average (`--units`). How long a unit sleeps is drawn from what units of a real run
took (`unit_seconds.json`, 140 of configs/starter.yaml, or the reports of the run that `--from` names), scaled to a mean
of `--mean` seconds. The floor is a perfect list schedule of the same draws: whoever is free takes the next one, at no
cost. "efficiency" is the floor over what it took, from the moment all workers are there to the last unit's end; "start"
comes before that: processes of workers, which wait for each other. "busy" is the driver's share of a core. A smaller
`--wave` shows what it costs that units go in waves, each with an end at which workers wait.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ray_jobs.cluster import connected
from ray_jobs.config import Limits, Pool
from ray_jobs.driver import Watcher, run
from ray_jobs.worker import Failure, StageSpec
from shards.guard import RowGuard
from shards.run import Run
from shards.storage import open_storage
from shards.units import Unit, UnitReport

MEASURED = Path(__file__).with_name("unit_seconds.json")


class Sleeper:
    """Sleeps as long as its settings say of the unit, and says when it began."""

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._seconds, self._all, self._gate = (
            settings["seconds"],
            settings["workers"],
            Path(settings["gate"]),
        )
        self._through = False

    def _pass(self) -> None:
        """Waits until all workers are there: how long processes take to start is no matter of scheduling."""
        if not self._through:
            (self._gate / str(os.getpid())).touch()
            while len(list(self._gate.iterdir())) < self._all:
                time.sleep(0.05)
            self._through = True

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        self._pass()
        began = time.time()
        time.sleep(self._seconds[unit.index])
        spent = time.time() - began
        return UnitReport(
            unit.id, "sleep", unit.size, {"accepted": unit.size}, spent, details={"began": began}
        )


@dataclass
class Meter(Watcher):
    """spans: (begin, end) of each unit."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    process: psutil.Process = field(default_factory=psutil.Process)
    used: float = 0.0

    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        for report in reports:
            began = report.details["began"]
            self.spans.append((began, began + report.seconds))
        times = self.process.cpu_times()
        self.used = times.user + times.system


def floor(seconds: Sequence[float], workers: int) -> float:
    """The makespan of a list schedule in this order (Graham 1966) at no cost."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def drawn(count: int, mean: float, uri: str | None, seed: int = 0) -> list[float]:
    if uri is None:
        known = json.loads(MEASURED.read_text())
    else:
        reports = Run.open(open_storage(uri)).reports()
        known = [one.seconds for one in reports if one.stage in ("pairs", "p2p") and not one.skipped]
    found = random.Random(seed).choices(known, k=count)
    return [one * mean * count / sum(found) for one in found]


def measured(workers: int, seconds: list[float], wave: int) -> str:
    pool = Pool(size=workers, num_cpus=0.01)
    units = [Unit("sleep", n, 1) for n in range(len(seconds))]
    meter, before = Meter(), psutil.Process().cpu_times()
    asked = time.time()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as gate:
        settings = {"seconds": seconds, "workers": workers, "gate": gate}
        stage = StageSpec("sleep", "benchmarks.scaling:Sleeper", settings, "sleep-x", pool)
        limits = Limits(wave=wave)
        outcome = run(units, [stage], Run.create_or_open(open_storage(folder), {}), limits, meter)
    assert outcome.missing == 0
    first, last = min(begin for begin, _ in meter.spans), max(end for _, end in meter.spans)
    perfect, took = floor(seconds, workers), last - first
    busy = (meter.used - before.user - before.system) / (last - asked)
    return (
        f"{workers:>7} {len(units):>7} {perfect:>10.1f} {took:>10.1f} {perfect / took:>11.1%} "
        f"{first - asked:>8.1f} {busy:>6.2f}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--workers", default="1,4,16,64")
    options.add_argument("--units", type=int, default=40, help="of each worker")
    options.add_argument("--mean", type=float, default=5.0, help="seconds of a unit")
    options.add_argument("--wave", type=int, default=Limits().wave, help="units at once")
    options.add_argument(
        "--from", dest="source", metavar="URI", help="a run whose units' seconds are drawn from"
    )
    arguments = options.parse_args()
    head = "workers   units   floor s    took s  efficiency  start s   busy"
    print(head)
    with connected(num_cpus=2):
        for workers in map(int, arguments.workers.split(",")):
            count = workers * arguments.units
            print(
                measured(workers, drawn(count, arguments.mean, arguments.source), arguments.wave), flush=True
            )


if __name__ == "__main__":
    main()

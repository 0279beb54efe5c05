"""How many units a second the driver schedules, what that costs in memory, and what limits it.

    python -m benchmarks.driver [--units 20000] [--modes one,queued,chunks,floor]

Two stages that do nothing. Modes:

- one: as runs go: one unit a block, one unit in flight per actor;
- queued: one more unit waits inside each busy actor (`queue: 1` of a pool);
- chunks: 50 units a block, which Ray Data could do, but where a unit waits for 49 others and dies with them;
- floor: no Ray Data: two actors, `ray.wait`, one unit in flight each: what Ray's own calls cost.

"busy" is the share of one core that the driver's process uses: at 1.0 its scheduling loop is the limit.
"start" is the time to the first unit out of the last stage; it does not grow with the number of units.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from ray_jobs.cluster import connected
from ray_jobs.config import Limits, Pool
from ray_jobs.driver import Watcher, run
from ray_jobs.worker import Failure, StageSpec, Ticket
from shards.guard import RowGuard
from shards.run import Run
from shards.storage import open_storage
from shards.units import Unit, UnitReport

STAGES = ("first", "second")


class Nothing:
    """A stage that commits nothing: what remains is the driver's own cost."""

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self.name = str(settings["name"])

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        return UnitReport(unit.id, self.name, unit.size, {"accepted": unit.size}, 0.0)


@dataclass
class Meter(Watcher):
    """Times units and the driver's memory (MB) as units come out."""

    total: int
    began: float = field(default_factory=time.monotonic)
    first: float = 0.0
    done: int = 0
    memory: list[float] = field(default_factory=list)
    cpu: float = field(default_factory=lambda: _cpu())
    process: psutil.Process = field(default_factory=psutil.Process)

    def unit(self, unit: Unit, reports: object, failure: Failure | None) -> None:
        if not self.done:
            self.first = time.monotonic()
            self.cpu = _cpu()
        if self.done % max(1, self.total // 10) == 0:
            self.memory.append(self.process.memory_info().rss / 1e6)
        self.done += 1

    def row(self, mode: str) -> str:
        now = time.monotonic()
        self.memory.append(self.process.memory_info().rss / 1e6)
        rate = (self.done - 1) / max(now - self.first, 1e-9)
        busy = (_cpu() - self.cpu) / max(now - self.first, 1e-9)
        start, middle, end = self.memory[0], self.memory[len(self.memory) // 2], self.memory[-1]
        return (
            f"{mode:<8} {self.done:>7} {rate:>9.1f} {self.first - self.began:>8.1f} {busy:>6.2f} "
            f"{start:>9.0f} {middle:>9.0f} {end:>9.0f}"
        )


def _cpu() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def driven(units: list[Unit], queue: int, wave: int) -> Meter:
    """Through `ray_jobs.driver.run`."""
    pool = Pool(size=1, num_cpus=0.5, queue=queue)
    specs = [
        StageSpec(name, "benchmarks.driver:Nothing", {"name": name}, f"{name}-x", pool) for name in STAGES
    ]
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(len(units))
        run(units, specs, Run.create_or_open(open_storage(folder), {}), Limits(wave=wave), meter)
    return meter


def chunked(units: list[Unit], wave: int, chunk: int = 50) -> Meter:
    """Ray Data with many units a block, without any of the driver's care."""
    import ray
    from ray.data import ActorPoolStrategy

    meter = Meter(len(units))
    for start in range(0, len(units), wave):
        rows = [{"ticket": Ticket(unit).dumps()} for unit in units[start : start + wave]]
        dataset = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // chunk))
        for _ in STAGES:
            pool = ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1)
            dataset = dataset.map(Same, compute=pool, num_cpus=0.5)
        for row in dataset.iter_rows():
            meter.unit(Ticket.loads(row["ticket"]).unit, (), None)
    return meter


class Same:
    """Hands rows on."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return row


def floor(units: list[Unit]) -> Meter:
    """Two actors and `ray.wait`: one unit in flight in each."""
    import ray

    actors = [ray.remote(num_cpus=0.5)(Same).remote() for _ in STAGES]
    meter = Meter(len(units))
    for ticket in _pipeline(ray, actors, [Ticket(unit).dumps() for unit in units]):
        meter.unit(Ticket.loads(ticket).unit, (), None)
    return meter


def _pipeline(ray: Any, actors: list[Any], tickets: list[str]) -> Iterator[str]:
    queues: list[list[Any]] = [[{"ticket": ticket} for ticket in reversed(tickets)], []]
    flying: dict[Any, int] = {}
    while queues[0] or queues[1] or flying:
        for stage, actor in enumerate(actors):
            if queues[stage] and stage not in flying.values():
                flying[actor.__call__.remote(queues[stage].pop())] = stage
        ready, _ = ray.wait(list(flying), num_returns=1)
        stage = flying.pop(ready[0])
        row = ray.get(ready[0])
        if stage == 0:
            queues[1].append(row)
        else:
            yield row["ticket"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--units", type=int, default=20_000)
    options.add_argument("--wave", type=int, default=5_000, help="units that Ray Data holds at a time")
    options.add_argument("--modes", default="one,queued,chunks,floor")
    arguments = options.parse_args()
    units = [Unit("nothing", index, 1) for index in range(arguments.units)]
    modes = {
        "one": lambda: driven(units, 0, arguments.wave),
        "queued": lambda: driven(units, 1, arguments.wave),
        "chunks": lambda: chunked(units, arguments.wave),
        "floor": lambda: floor(units),
    }
    print(
        f"{'mode':<8} {'units':>7} {'units/s':>9} {'start s':>8} {'busy':>6} "
        f"{'MB first':>9} {'MB half':>9} {'MB end':>9}"
    )
    with connected(num_cpus=2):
        for mode in arguments.modes.split(","):
            print(modes[mode]().row(mode), flush=True)


if __name__ == "__main__":
    main()

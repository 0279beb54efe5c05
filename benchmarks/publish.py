"""How fast accepted pairs become a dataset, on one core, and in how much memory.

    python -m benchmarks.publish --run runs/demo [--gb 4]

The run's shards are linked again and again under other names until they are as large as asked. The floor is what any
copy has to do: read the bytes, write them, sync, and take their sha256.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ray_jobs.config_publish import Publish
from ray_jobs.publication import open_source, publish
from shards.run import Run
from shards.storage import open_storage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run folder on this machine's disk")
    parser.add_argument("--gb", type=float, default=4.0, help="of input")
    parser.add_argument("--inverse", action="store_true", help="write inverse pairs, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spatialpix-bench-", dir=options.run.parent) as folder:
        size = repeated(options.run, Path(folder) / "run", int(options.gb * 1e9))
        floor = copied(Path(folder) / "run", Path(folder) / "copy", size)
        settings = Publish.model_validate(
            {"inverse": options.inverse, "duplicates": {"exact": False, "near_bits": None}}
        )
        clock = Clock()
        began = now()
        found = publish(
            [open_source(f"{folder}/run")],
            open_storage(f"{folder}/data"),
            "1.0.0",
            settings,
            clock,
            lambda _: None,
        )
        whole = since(began)
        written = sum(file.bytes for file in found.dataset.files("data"))
        rows = sum(file.rows for file in found.dataset.files("data"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"input {size / 1e6:.0f} MB, {rows} rows written, {written / 1e6:.0f} MB, one process")
    print(f"{'step':28}{'seconds':>10}{'of CPU':>10}{'MB/s':>10}{'MB/s of CPU':>14}")
    for name, (seconds, cpu) in (
        ("look at small columns", clock.spent["scan"]),
        ("compact", clock.spent["_write"]),
        ("index", clock.spent["_write_index"]),
        ("all of publish", whole),
        ("floor: copy, sync, sha256", floor),
    ):
        print(f"{name:28}{seconds:>10.1f}{cpu:>10.1f}{size / 1e6 / seconds:>10.0f}{size / 1e6 / cpu:>14.0f}")
    share = floor[1] / clock.spent["_write"][1]
    print(f"compaction is {share:.2f} of the floor's rate by CPU time; peak memory {peak:.0f} MB")


class Clock:
    """One process, and the time of each sort of task."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            began = now()
            done = function(task)
            before, more = self.spent.get(function.__name__, (0.0, 0.0)), since(began)
            self.spent[function.__name__] = (before[0] + more[0], before[1] + more[1])
            yield done


def now() -> tuple[float, float]:
    """Seconds on the wall, and of CPU: other work on the machine stretches the first alone."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = now()
    return wall - began[0], cpu - began[1]


def repeated(source: Path, target: Path, size: int) -> int:
    """A run whose shards are links to another's, until the pairs are so large; their bytes."""
    old = Run.open(open_storage(str(source)))
    new = Run.create_or_open(open_storage(str(target)), dict(old.config))
    routes = {name: f for name, f in old.current().items() if {"pairs", "verdicts"} <= set(f)}
    total, number = 0, 0
    while total < size:
        for route, folders in routes.items():
            for unit in sorted(old.done(folders["pairs"]) & old.done(folders["verdicts"])):
                for folder in folders.values():
                    link = target / new.shard_key(folder, f"{route}-{number:07d}")
                    link.parent.mkdir(exist_ok=True)
                    os.link(source / old.shard_key(folder, unit), link)
                total += (source / old.shard_key(folders["pairs"], unit)).stat().st_size
                number += 1
    new.set_current(routes)
    return total


def copied(source: Path, target: Path, size: int) -> tuple[float, float]:
    """Seconds to copy the pairs with their digest, in files of 500 MB."""
    began = now()
    digest = hashlib.sha256()
    out = None
    for path in sorted(source.glob("pairs-*/part-*")):
        data = path.read_bytes()
        digest.update(data)
        if out is None or out.tell() > 500e6:
            if out is not None:
                os.fsync(out.fileno())
                out.close()
            out = target.open("wb")
        out.write(data)
    assert out is not None and size
    os.fsync(out.fileno())
    out.close()
    target.unlink()
    return since(began)


if __name__ == "__main__":
    main()

"""Small stages for tests of the driver: they commit real shards and misbehave as told by their settings.

Run as a program it is a driver of its own, for tests that kill one: RUN_URI UNITS SETTINGS(JSON).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ray_jobs.config import Limits, Pool
from ray_jobs.driver import StageSpec, Stopped, run
from shards.guard import BrokenEngine, RowGuard
from shards.run import Run
from shards.storage import StorageError, open_storage
from shards.tables import read_table
from shards.units import Unit, UnitReport, seed_for

MODULE = "tests.ray_jobs.ray_job_stages"  # found from the folder that the driver starts in
UNIT_SIZE = 4
PAIRS, VERDICTS = "pairs-test-00000000", "verdicts-test-00000000"


class Rows:
    """Stage "pairs": one line per row. Settings: sleep_s; kill_rows: rows whose worker dies; hang_once,
    kill_once, kill_committed, break_once: {unit id: marker file}; storage_error, disk_full, bug: unit ids; noted: a
    file that gets a line "begin" and a line "end" for each unit, with stage, unit, process and time."""

    name = "pairs"
    version = 1

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self.run = Run(open_storage(run_uri), {}, "test")
        self.folder, self.inputs, self.settings = folder, inputs, settings

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        self._note("begin", unit)
        self._misbehave(unit)
        rows = []
        for row in unit.rows:
            allowed = guard.may_run(row)
            if allowed and row in self.settings.get("kill_rows", ()):
                os.kill(os.getpid(), signal.SIGKILL)
            verdict, reason = ("accepted", None) if allowed else ("failed", guard.refusal)
            pair_id = f"{unit.id}-{seed_for(7, unit.id, row, 'id'):x}"
            rows.append({"pair_id": pair_id, "row": row, "verdict": verdict, "reason": reason})
            time.sleep(self.settings.get("sleep_s", 0))
        return self._commit(unit, rows, began)

    def _commit(self, unit: Unit, rows: list[dict[str, Any]], began: float) -> UnitReport:
        counts = Counter(r["verdict"] + (f":{r['reason']}" if r["reason"] else "") for r in rows)
        first = self.run.commit(self.folder, unit, pa.Table.from_pylist(rows), counts)
        if self._once("kill_committed", unit):
            os.kill(os.getpid(), signal.SIGKILL)
        self._note("end", unit)
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, skipped=not first)

    def _note(self, what: str, unit: Unit) -> None:
        if "noted" in self.settings:
            line = f"{what} {self.name} {unit.id} {os.getpid()} {time.time():.3f}\n"
            with Path(self.settings["noted"]).open("ab", buffering=0) as file:
                file.write(line.encode())  # one write to the end of the file: lines of processes do not mix

    def _misbehave(self, unit: Unit) -> None:
        if self._once("kill_once", unit):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._once("hang_once", unit):
            time.sleep(3600)
        if self._once("break_once", unit):
            raise BrokenEngine("out of memory on the device")
        if unit.id in self.settings.get("storage_error", ()):
            raise StorageError("busy", "the server is too busy, even after retries")
        if unit.id in self.settings.get("disk_full", ()):
            raise StorageError("disk_full", "no space left: free some, or choose another place")
        if unit.id in self.settings.get("bug", ()):
            raise KeyError("no such thing")

    def _once(self, key: str, unit: Unit) -> bool:
        marker = self.settings.get(key, {}).get(unit.id)
        if marker is None or Path(marker).exists():
            return False
        Path(marker).touch()
        return True


class Verdicts(Rows):
    """Stage "verdicts": copies the rows of "pairs"."""

    name = "verdicts"

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        self._note("begin", unit)
        self._misbehave(unit)
        key = self.run.shard_key(self.inputs["pairs"], unit.id)
        return self._commit(unit, read_table(self.run.storage, key).to_pylist(), began)


class DoesNotStart(Rows):
    def __init__(self, **keywords: Any) -> None:
        raise FileNotFoundError("no weights at models/clip.pt: run make models")


class StartsAtTheSecondTry(Rows):
    """Meets a storage error in its constructor until the marker file in its settings is there."""

    def __init__(self, **keywords: Any) -> None:
        marker = Path(keywords["settings"]["marker"])
        if not marker.exists():
            marker.touch()
            raise StorageError("busy", "the server is too busy, even after retries")
        super().__init__(**keywords)


class DiesWhileStarting(Rows):
    def __init__(self, **keywords: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def stages(pairs: Mapping[str, Any] | None = None, verdicts: Mapping[str, Any] | None = None,
           factory: str = "Rows", workers: int = 1) -> list[StageSpec]:  # fmt: skip
    pool = Pool(size=workers, num_cpus=0.5)
    return [
        StageSpec("pairs", f"{MODULE}:{factory}", pairs or {}, PAIRS, pool),
        StageSpec("verdicts", f"{MODULE}:Verdicts", verdicts or {}, VERDICTS, pool),
    ]


def units(count: int) -> list[Unit]:
    return [Unit("test", index, UNIT_SIZE) for index in range(count)]


def rows_of(run_folder: Run, folder: str) -> list[dict[str, Any]]:
    """All rows of a stage, in the order of their numbers."""
    found: list[dict[str, Any]] = []
    for unit_id in run_folder.done(folder):
        found += read_table(run_folder.storage, run_folder.shard_key(folder, unit_id)).to_pylist()
    return sorted(found, key=lambda row: row["row"])


def main() -> None:
    uri, count, settings = sys.argv[1:]
    run_folder = Run.create_or_open(open_storage(uri), {"seed": 7})
    print("driver starts", flush=True)
    try:
        run(units(int(count)), stages(json.loads(settings)), run_folder, Limits(), num_cpus=2)
    except Stopped as stopped:
        sys.exit(f"stopped by {stopped}")


if __name__ == "__main__":
    main()

"""`status`: how far a run is, by listing it. Needs neither Ray nor the machine that the run is on."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ray_jobs.job import DONE, parser, run_job
from shards.run import Run
from shards.storage import Storage, open_storage

# A stage's folder: stage, route, the first digits of its fingerprint.
_SHARD = re.compile(
    r"(?P<folder>(?P<stage>[a-z_]+)-(?:(?P<route>[a-z0-9_-]+)-)?[0-9a-f]{8})/part-[^/]+\.parquet"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A stage's folder. units: shards in it; size: bytes of them."""

    name: str
    stage: str
    route: str | None
    units: int
    size: int


def folders(storage: Storage) -> list[Folder]:
    """The stage folders of a run, by name; one listing."""
    found: dict[str, Folder] = {}
    for entry in storage.list():
        if match := _SHARD.fullmatch(entry.key):
            name = match["folder"]
            before = found.get(name, Folder(name, match["stage"], match["route"], 0, 0))
            found[name] = Folder(name, before.stage, before.route, before.units + 1, before.size + entry.size)
    return sorted(found.values(), key=lambda folder: folder.name)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("status", "Say how far a run is: units per stage, pairs by verdict.")
    options.add_argument("--run", required=True, metavar="URI", help="a run folder")
    return run_job("status", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.run)
    run = Run.open(storage)
    current = {folder for stages in run.current().values() for folder in stages.values()}
    planned = {name: route["units"] for name, route in run.config.get("routes", {}).items() if route}
    print(f"run {run.id} in {storage.uri}")
    for folder in folders(storage):
        total = f"/{planned[folder.route]}" if folder.route in planned else ""
        mark = "current" if folder.name in current else ""
        print(
            f"  {folder.name:<32} {folder.units}{total} units  {folder.size / 1e6:9.1f} MB  {mark}".rstrip()
        )
        for outcome, rows in run.counts(folder.name).items():
            print(f"      {outcome:<40} {rows:>8}")
    return DONE

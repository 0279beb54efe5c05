"""`status`: how far a run is, by listing it. Needs neither Ray nor the machine that the run is on."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_jobs.job import DONE, parser, run_job
from ray_jobs.spending import spent
from shards.run import Run
from shards.storage import Storage, open_storage

# A stage's folder: stage, route, the first digits of its fingerprint.
_SHARD = re.compile(
    r"(?P<folder>(?P<stage>[a-z_]+)-(?:(?P<route>[a-z0-9_-]+)-)?[0-9a-f]{8})/part-(?P<unit>[^/]+)\.parquet"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A stage's folder. unit_ids: of the shards in it; size: bytes of them."""

    name: str
    stage: str
    route: str | None
    unit_ids: frozenset[str]
    size: int

    @property
    def units(self) -> int:
        return len(self.unit_ids)

    @property
    def of(self) -> str:
        """The route that says how many units there are to be: "edits" is a route and a stage."""
        return self.route or self.stage


def folders(storage: Storage) -> list[Folder]:
    """The stage folders of a run, by name; one listing."""
    shards: dict[tuple[str, str, str | None], dict[str, int]] = {}
    for entry in storage.list():
        if match := _SHARD.fullmatch(entry.key):
            sizes = shards.setdefault((match["folder"], match["stage"], match["route"]), {})
            sizes[match["unit"]] = entry.size
    found = [Folder(*names, frozenset(sizes), sum(sizes.values())) for names, sizes in shards.items()]
    return sorted(found, key=lambda folder: folder.name)


def planned_units(run: Run) -> dict[str, int]:
    """How many units each route of the run is to have, by its configuration."""
    routes: Mapping[str, Any] = run.config.get("routes", {})
    found = {name: route["units"] for name, route in routes.items() if route and "units" in route}
    if routes.get("p2p") and "edits" in found:  # its pairs are made of edits, unit by unit
        found["p2p"] = found["edits"]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("status", "Say how far a run is: units per stage, pairs by verdict.")
    options.add_argument("--run", required=True, metavar="URI", help="a run folder")
    return run_job("status", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.run)
    run = Run.open(storage)
    current = {folder for stages in run.current().values() for folder in stages.values()}
    planned = planned_units(run)
    print(f"run {run.id} in {storage.uri}")
    if (cost := spent(run)) is not None:
        print(f"  spent {cost['total']:.2f} {cost['currency']} so far, in {cost['jobs']} jobs")
    for folder in folders(storage):
        total = f"/{planned[folder.of]}" if folder.of in planned else ""
        mark = "current" if folder.name in current else ""
        print(
            f"  {folder.name:<32} {folder.units}{total} units  {folder.size / 1e6:9.1f} MB  {mark}".rstrip()
        )
        for outcome, rows in run.counts(folder.name).items():
            print(f"      {outcome:<40} {rows:>8}")
    return DONE

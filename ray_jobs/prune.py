"""`prune`: deletes what an older configuration or profile left in a run, after asking."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ray_jobs.config import ConfigError
from ray_jobs.job import DONE, FAILED, parser, run_job
from ray_jobs.status import folders
from shards.lease import Lease
from shards.run import Run
from shards.storage import open_storage


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("prune", "Delete a run's stage folders that current.json does not name.")
    options.add_argument("--run", required=True, metavar="URI", help="a run folder")
    options.add_argument("--yes", action="store_true", help="do not ask")
    return run_job("prune", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments.run)
    run = Run.open(storage)
    with Lease(storage).acquire():  # a job at work writes to folders that are not current yet
        current = {folder for stages in run.current().values() for folder in stages.values()}
        if not current:
            raise ConfigError(
                f"{storage.uri}: no route is complete, so nothing is current: run generate first"
            )
        old = [folder for folder in folders(storage) if folder.name not in current]
        for folder in old:
            print(f"  {folder.name:<32} {folder.units} units  {folder.size / 1e6:9.1f} MB")
        if not old:
            print("nothing to delete: every folder is current")
            return DONE
        if not arguments.yes and not _agreed():
            print("nothing was deleted")
            return FAILED
        for folder in old:
            for prefix in (f"{folder.name}/", f"attempts/{folder.name}/"):
                for entry in list(storage.list(prefix)):
                    storage.delete(entry.key)
        print(f"deleted {len(old)} folders, {sum(folder.size for folder in old) / 1e6:.1f} MB")
    return DONE


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("there is nobody to ask: add --yes to delete these folders")
    return input("Delete these folders? [y/N] ").strip().lower() in ("y", "yes")

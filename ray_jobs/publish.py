"""`publish`: accepted pairs of runs become an immutable version of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ray_jobs.job import DONE, parser, run_job


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("publish", "Make an immutable version of a dataset from the accepted pairs of runs.")
    options.add_argument(
        "--run", required=True, action="append", metavar="URI", help="a run folder; may be repeated"
    )
    options.add_argument(
        "--to", required=True, metavar="URI", help="the dataset's folder or s3://bucket/prefix"
    )
    options.add_argument(
        "--version", required=True, metavar="V", help="for example 1.0.0; next: the one after the newest"
    )
    options.add_argument(
        "--config", metavar="C", help="splits, duplicates, balance, card (default: as documented)"
    )
    options.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override a key")
    options.add_argument(
        "--steal", action="store_true", help="take the version from another job without waiting"
    )
    return run_job("publish", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from ray_jobs.cluster import connected
    from ray_jobs.config_publish import load_publish
    from ray_jobs.parallel import RayWorkers
    from ray_jobs.publication import check_version, next_version, open_source, publish
    from shards.lease import Lease
    from shards.storage import open_storage

    settings = load_publish(arguments.config, arguments.set)
    follows = arguments.version == "next"
    version = "" if follows else check_version(arguments.version)
    sources = [open_source(uri) for uri in dict.fromkeys(arguments.run)]
    target = open_storage(arguments.to)
    version = version or next_version(target)
    with (
        Lease(target.sub(f"leases/{version}")).acquire(steal=arguments.steal) as lease,
        connected() as cluster,
    ):
        found = publish(
            sources,
            target,
            version,
            settings,
            RayWorkers(cluster.cpus),
            say=lambda line: print(line, flush=True),
            held=lambda: not lease.lost.is_set(),
            unless_same=follows,
        )
    for reason, rows in found.dropped.items():
        print(f"  dropped {rows:>8}  {reason}")
    for split, counted in found.dataset.manifest.counts.items():
        print(
            f"  {split:<11} {sum(counted.values()):>8}  " + ", ".join(f"{n} {s}" for s, n in counted.items())
        )
    words = "was there already" if found.again else "published"
    print(f"done: version {found.dataset.manifest.version} {words} in {found.dataset.storage.uri}")
    return DONE

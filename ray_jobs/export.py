"""`export`: a published dataset in another form, for readers that want no Parquet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ray_jobs.config import ConfigError
from ray_jobs.job import DONE, parser, run_job

FORMATS = ("webdataset",)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("export", "Write a published dataset in another form.")
    options.add_argument("--dataset", required=True, metavar="URI", help="a dataset, or one version's folder")
    options.add_argument("--to", required=True, metavar="URI", help="a folder of its own for the export")
    options.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="tar files for webdataset")
    options.add_argument(
        "--shard-mb", type=int, default=256, metavar="N", help="megabytes of a tar, about; 256 by default"
    )
    return run_job("export", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from shards.dataset import open_dataset
    from shards.storage import StorageError, open_storage
    from shards.webdataset import export_webdataset

    if not 1 <= arguments.shard_mb <= 4096:
        raise ConfigError(f"--shard-mb is {arguments.shard_mb}: 1 to 4096 are allowed")
    dataset, out = open_dataset(arguments.dataset), open_storage(arguments.to)
    try:
        export = export_webdataset(dataset, out, arguments.shard_mb * 1_000_000)
    except StorageError as error:
        raise ConfigError(str(error)) if error.reason == "other_content" else error from None
    size = sum(tar.bytes for tar in export.tars) / 1e6
    pairs = ", ".join(f"{split} {rows}" for split, rows in export.counts.items())
    print(f"{export.name} {export.version}: {len(export.tars)} tars, {size:.1f} MB, pairs: {pairs}")
    print(f"they are in {out.uri}")
    return DONE

"""`verify`: whether a copy of a dataset, near or far, is what was published."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ray_jobs.job import DONE, FAILED, parser, run_job


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "verify", "Check every file of a dataset against its manifest; name each that is not right."
    )
    options.add_argument("--dataset", required=True, metavar="URI", help="a dataset's folder, or a version's")
    return run_job("verify", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from shards.dataset import MANIFEST_FILE, open_dataset
    from shards.storage import StorageError
    from shards.verify import faults

    try:
        dataset = open_dataset(arguments.dataset)
    except StorageError as error:
        if error.reason != "corrupt":
            raise
        print(f"bad   {error}")
        return FAILED
    bad = 0
    for fault in faults(dataset):
        bad += 1
        print(f"bad   {fault.path}: {fault.problem} {fault.details}".rstrip(), flush=True)
    files = dataset.manifest.files
    if bad:
        print(f"{bad} of {len(files)} files are not as published; fetch them again")
        return FAILED
    size = sum(file.bytes for file in files)
    print(f"done: {len(files)} files, {size / 1e6:.1f} MB, all as {MANIFEST_FILE} says")
    return DONE

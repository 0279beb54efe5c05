"""Datasets of runs made by hand, and what lies in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from ray_jobs.config_publish import Publish
from ray_jobs.parallel import ThisProcess
from ray_jobs.publication import open_source, publish
from shards.storage import open_storage

SETTINGS = Publish.model_validate(
    {"splits": {"train": 0.6, "validation": 0.2, "test": 0.2, "held_out": 0.03}, "file_mb": 0.03}
)


def made(folder: Path, version="1.0.0", settings=SETTINGS, runs=("run",)):
    sources = [open_source(str(folder / run)) for run in runs]
    return publish(
        sources, open_storage(str(folder / "data")), version, settings, ThisProcess(), lambda _: None
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "leases" not in path.parts and not path.name.startswith(".~")
    }


def rows(version: Path, columns=None) -> list[dict]:
    return [
        row | {"split": path.name.split("-")[0]}
        for path in sorted(version.rglob("data/*/*.parquet"))
        for row in pq.read_table(path, columns=columns).to_pylist()
    ]

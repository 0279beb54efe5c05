from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from shards.run import Run
from shards.storage import open_storage


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One Ray for all tests that do not kill their driver."""
    os.environ.pop("RAY_ADDRESS", None)
    from ray_jobs.cluster import connected

    with connected(num_cpus=2):
        yield


@pytest.fixture
def run_folder(tmp_path) -> Run:
    return Run.create_or_open(open_storage(str(tmp_path / "run")), {"seed": 7})

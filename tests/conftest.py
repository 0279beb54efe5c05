"""Fixtures that rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.s3_server import S3Server, running_server

# Threads of torch that wait for each other spin. Where another process has their core, each wait then costs a time
# slice, and small models take ten times as long. Read when torch is loaded, which no test module has done yet.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No example has to be quick: on a busy machine the first may take a second, and nothing is wrong with it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; from its first use on, the environment leads every S3 client to it."""
    with running_server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def cluster(s3: S3Server) -> Iterator[None]:
    """One Ray for all tests that do not kill their driver; its workers find the S3 server, too."""
    os.environ.pop("RAY_ADDRESS", None)
    from ray_jobs.cluster import connected

    with connected(num_cpus=2):
        yield

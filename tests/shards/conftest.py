from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.s3 import S3Storage
from shards.storage import Storage, open_storage
from tests.s3_server import FaultyProxy, S3Server


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind."""
    if request.param == "local":
        return open_storage(str(tmp_path / "storage"))
    server: S3Server = request.getfixturevalue("s3")
    return open_storage(server.uri(uuid.uuid4().hex))


@pytest.fixture
def s3_storage(s3: S3Server) -> S3Storage:
    return S3Storage(s3.bucket, uuid.uuid4().hex)


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Trouble between every S3 client made from now on and the server."""
    proxy = FaultyProxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.close()

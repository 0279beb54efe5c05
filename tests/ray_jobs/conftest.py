from __future__ import annotations

import pytest

from shards.run import Run
from shards.storage import open_storage


@pytest.fixture
def run_folder(tmp_path) -> Run:
    return Run.create_or_open(open_storage(str(tmp_path / "run")), {"seed": 7})

from __future__ import annotations

from pathlib import Path

import pytest

from shards.run import Run
from shards.storage import open_storage
from tests.browser import chromium
from tests.ray_jobs.published import made
from tests.runs_by_hand import hand_made_run


@pytest.fixture
def run_folder(tmp_path) -> Run:
    return Run.create_or_open(open_storage(str(tmp_path / "run")), {"seed": 7})


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """A folder with a run and a dataset of it, which no test changes."""
    folder = tmp_path_factory.mktemp("publish")
    hand_made_run(str(folder / "run"), units=6, size=8)
    made(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, chromium() as opened:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield opened

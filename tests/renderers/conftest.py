"""One Blender process for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from renderers.worker import BlenderWorker, RenderSettings


@pytest.fixture(scope="module")
def blender() -> Iterator[BlenderWorker]:
    with BlenderWorker(RenderSettings(samples=8)) as worker:
        yield worker

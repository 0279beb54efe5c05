"""Views without Blender: the same ray caster, on boxes."""

from __future__ import annotations

import numpy as np
import pytest

from renderers.passes import cast
from spatial import geometry
from spatial.scene import Scene, Shapes
from spatial.view import View
from tests.spatial.conftest import Boxes


@pytest.fixture(scope="session")
def boxes() -> Boxes:
    return Boxes()


def look(scene: Scene, shapes: Shapes, image: np.ndarray | None = None) -> View:
    """The scene as its camera sees it, over an endless floor."""
    things = [
        (geometry.world_vertices(t, shapes).astype(np.float32), shapes.mesh(t.asset).triangles)
        for t in scene.objects
    ]
    floor = np.array([[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], np.float32)
    passes = cast(things, [(floor, np.array([[0, 1, 2], [0, 2, 3]], np.int32))], scene.camera)
    view = passes.view(scene)
    return View(view.scene, view.amodal, view.visible, view.depth, image)

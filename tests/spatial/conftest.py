"""Boxes for shapes: spatial tests need corners, not teapots."""

from __future__ import annotations

import numpy as np
import pytest

from spatial import geometry
from spatial.scene import Mesh, Pose, Scene, SceneObject, SpatialError, Vec3
from spatial.vocabulary import FRONTED, NOUNS, TURNABLE


class Boxes:
    """Every noun is a box of 0.8 x 0.6 x 0.5 metres."""

    def __init__(self) -> None:
        corners = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)]
        faces = [
            [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
            [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
        ]  # fmt: skip
        self._mesh = Mesh(
            np.array(corners, np.float32),
            np.array(faces, np.int32),
            np.zeros(12, np.uint8),
            ("body",),
            np.zeros(12, bool),
        )

    @property
    def nouns(self) -> tuple[str, ...]:
        return NOUNS

    def mesh(self, asset: str) -> Mesh:
        return self._mesh

    def size(self, asset: str) -> Vec3:
        return (0.8, 0.6, 0.5)

    def assets(self, noun: str) -> tuple[str, ...]:
        if noun not in NOUNS:
            raise SpatialError("unknown_asset", noun)
        return (noun,)

    def fronted(self, asset: str) -> bool:
        return asset in FRONTED

    def turnable(self, asset: str) -> bool:
        return asset in TURNABLE


@pytest.fixture(scope="session")
def boxes() -> Boxes:
    return Boxes()


def thing(
    name: str, x: float, y: float, color: str = "red", *, scale: float = 1.0, turn: float = 0.0
) -> SceneObject:
    """A box called `noun-number` at ground position (x, y)."""
    pose = Pose((x, y, 0.0), size=(0.8 * scale, 0.6 * scale, 0.5 * scale))
    return SceneObject(
        id=name,
        asset=name.split("-")[0],
        noun=name.split("-")[0],
        pose=geometry.turned(pose, turn),
        color=color,
        material="matte",
    )


def scene(*things: SceneObject, width: int = 200, height: int = 160) -> Scene:
    """Seen from the south, 5 m away and 4 m up: right is +x, away is +y."""
    camera = geometry.look_at((0.0, -5.0, 4.0), (0.0, 0.0, 0.2), width, height, 210.0)
    return Scene(things, camera)

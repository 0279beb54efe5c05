"""Procedural meshes for every noun of the vocabulary, at toy scale so that all can stand in one scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from renderers.shapes import animals, furniture, kitchen, nature, vehicles
from renderers.shapes.primitives import Solid, join
from spatial.scene import Mesh, SpatialError, Vec3
from spatial.vocabulary import FRONTED, TURNABLE

LICENCE = "Apache-2.0"

BUILDERS: dict[str, Callable[[], list[Solid]]] = {
    "ball": kitchen.ball,
    "cube": kitchen.cube,
    "cone": kitchen.cone,
    "cylinder": kitchen.tall_cylinder,
    "mug": kitchen.mug,
    "bottle": kitchen.bottle,
    "bowl": kitchen.bowl,
    "vase": kitchen.vase,
    "teapot": kitchen.teapot,
    "table": furniture.table,
    "chair": furniture.chair,
    "lamp": furniture.lamp,
    "book": kitchen.book,
    "candle": kitchen.candle,
    "tree": nature.tree,
    "cactus": nature.cactus,
    "mushroom": nature.mushroom,
    "house": nature.house,
    "car": vehicles.car,
    "truck": vehicles.truck,
    "boat": vehicles.boat,
    "rocket": vehicles.rocket,
    "cat": animals.cat,
    "dog": animals.dog,
    "duck": animals.duck,
    "snowman": animals.snowman,
}

# Full extents in metres, x, y, z: the proportions of the meshes.
NOMINAL_SIZE: dict[str, Vec3] = {
    "ball": (0.70, 0.70, 0.70),
    "cube": (0.70, 0.70, 0.70),
    "cone": (0.80, 0.80, 0.90),
    "cylinder": (0.70, 0.70, 0.75),
    "mug": (0.80, 0.57, 0.62),
    "bottle": (0.44, 0.44, 1.30),
    "bowl": (1.00, 1.00, 0.43),
    "vase": (0.66, 0.66, 1.08),
    "teapot": (1.21, 0.71, 0.68),
    "table": (1.30, 0.90, 0.75),
    "chair": (0.58, 0.63, 1.12),
    "lamp": (0.77, 0.77, 1.01),
    "book": (0.70, 0.90, 0.17),
    "candle": (0.70, 0.60, 1.02),
    "tree": (0.98, 0.98, 1.42),
    "cactus": (0.85, 0.58, 1.23),
    "mushroom": (0.90, 0.90, 0.89),
    "house": (1.12, 1.10, 1.20),
    "car": (0.73, 1.46, 0.70),
    "truck": (0.73, 1.62, 1.09),
    "boat": (0.64, 1.46, 1.55),
    "rocket": (0.62, 0.62, 1.45),
    "cat": (0.54, 1.25, 1.09),
    "dog": (0.52, 1.48, 1.00),
    "duck": (0.70, 1.11, 0.82),
    "snowman": (1.21, 0.78, 1.60),
}


@cache
def _built(asset: str) -> Mesh:
    return join(BUILDERS[asset]())


class ProceduralShapes:
    """`Shapes` of the procedural meshes; an asset's name is its noun.

    All methods raise SpatialError("unknown_asset").
    """

    @property
    def nouns(self) -> tuple[str, ...]:
        """Those of the vocabulary, in its order."""
        return tuple(BUILDERS)

    def mesh(self, asset: str) -> Mesh:
        """In the unit box; built once in a process."""
        return _built(self._known(asset))

    def size(self, asset: str) -> Vec3:
        """Ordinary full extents, metres."""
        return NOMINAL_SIZE[self._known(asset)]

    def assets(self, noun: str) -> tuple[str, ...]:
        """The one mesh of the noun."""
        return (self._known(noun),)

    def fronted(self, asset: str) -> bool:
        """As the vocabulary has it."""
        return self._known(asset) in FRONTED

    def turnable(self, asset: str) -> bool:
        """As the vocabulary has it."""
        return self._known(asset) in TURNABLE

    def licence(self, asset: str) -> str:
        """SPDX identifier."""
        self._known(asset)
        return LICENCE

    def _known(self, asset: str) -> str:
        if asset not in BUILDERS:
            raise SpatialError(
                "unknown_asset", f"no procedural shape {asset!r}: there are {', '.join(BUILDERS)}"
            )
        return asset

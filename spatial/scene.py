"""The scene graph: what stands where, seen from where, in what light. Plain frozen data.

Frames and units, for the whole project:

- world: right-handed, z up, metres; the floor is the plane z = 0;
- camera: OpenCV's (x right, y down, z forward), `rotation` and `translation` map world to camera;
- image: pixels, origin at the *corner* of the upper left pixel (its middle is (0.5, 0.5));
- boxes: xyxy, half-open; quaternions: wxyz, unit length;
- an object's own frame: -y is its front, z up, x to the right of who faces it; the origin is its base's middle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

Vec3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Floats = NDArray[np.float64]


class SpatialError(ValueError):
    """What was asked cannot be done or cannot be understood; the message says why.

    `reason` is a short stable word that reports count by.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, or it could not be pickled to another process
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, slots=True)
class Pose:
    """position: metres, the middle of the object's base. quaternion: wxyz. size: full extents, metres."""

    position: Vec3
    quaternion: Quaternion = (1.0, 0.0, 0.0, 0.0)
    size: Vec3 = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One thing in the scene.

    id: unique in its scene, the same before and after an edit.
    asset: key into the `Shapes` in use; noun: key into the lexicon.
    color, material: keys into the lexicon; None where the asset brings its own.
    mirrored: the mesh's own x is negated before size, rotation and position are applied.
    support: id of the object it stands on; None for the floor.
    """

    id: str
    asset: str
    noun: str
    pose: Pose
    color: str | None = None
    material: str | None = None
    mirrored: bool = False
    support: str | None = None


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole. fx, fy, cx, cy, width, height: pixels. X_camera = rotation @ X_world + translation."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: tuple[Vec3, Vec3, Vec3]
    translation: Vec3


@dataclass(frozen=True, slots=True)
class Light:
    """An environment map all around, and a sun.

    environment: key into the lexicon; environment_turn: degrees about world z, counterclockwise from above;
    environment_mirrored: the map's x is negated before the turn. strengths: factors, 1 is ordinary.
    sun_direction: unit vector from the scene *towards* the sun. warmth: -1 (cool) .. 1 (warm).
    """

    environment: str = "studio"
    environment_turn: float = 0.0
    environment_mirrored: bool = False
    environment_strength: float = 1.0
    sun_direction: Vec3 = (0.0, -0.6, 0.8)
    sun_strength: float = 1.0
    warmth: float = 0.0


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The floor, and the wall behind where there is one (else the environment shows).

    floor, wall: keys into the lexicon. half_extent: metres; nothing may stand outside |x|, |y| < half_extent.
    mirrored: surface patterns run along -x.
    """

    floor: str = "plain"
    wall: str | None = None
    half_extent: float = 6.0
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    objects: tuple[SceneObject, ...]
    camera: Camera
    light: Light = Light()
    backdrop: Backdrop = Backdrop()

    def __getitem__(self, object_id: str) -> SceneObject:
        for thing in self.objects:
            if thing.id == object_id:
                return thing
        raise SpatialError("unknown_object", f"no object {object_id!r} in the scene")

    def __contains__(self, object_id: object) -> bool:
        return any(thing.id == object_id for thing in self.objects)

    def with_objects(self, *changed: SceneObject) -> Scene:
        """The same scene with the objects of these ids exchanged."""
        new = {thing.id: thing for thing in changed}
        return replace(self, objects=tuple(new.get(thing.id, thing) for thing in self.objects))

    def to_json(self) -> str:
        return _scenes().dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Scene:
        """Raises pydantic.ValidationError, naming the field, on anything but a scene."""
        return _scenes().validate_json(text)


@cache
def _scenes() -> TypeAdapter[Scene]:
    return TypeAdapter(Scene)


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in the unit box: x and y in [-0.5, 0.5], z in [0, 1], front towards -y.

    vertices: (V, 3) float32. triangles: (F, 3) int32, counterclockwise seen from outside.
    parts: (F,) uint8, index into `roles`. roles: what each part is made of; "body" takes the object's
    colour and material, every other role is a fixed surface (e.g. "rubber", "screen").
    smooth: (F,) bool, shaded round rather than flat.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    parts: NDArray[np.uint8]
    roles: tuple[str, ...]
    smooth: NDArray[np.bool_]

    @property
    def painted(self) -> bool:
        """Whether an object's colour and material show on it; else it brings its own, and has none to name."""
        return "body" in self.roles


class Shapes(Protocol):
    """Where meshes come from: the procedural ones, or a catalogue of files.

    Hashable: outlines are cached by it. An unknown asset or noun raises `SpatialError("unknown_asset", ...)`.
    """

    def __hash__(self) -> int: ...

    @property
    def nouns(self) -> tuple[str, ...]:
        """Every noun with an asset, in an order that stays: random draws go by it."""

    def mesh(self, asset: str) -> Mesh: ...

    def size(self, asset: str) -> Vec3:
        """Ordinary full extents in metres."""

    def assets(self, noun: str) -> tuple[str, ...]:
        """The assets that a noun may stand for."""

    def fronted(self, asset: str) -> bool:
        """Whether it has a front of its own (-y), from which people may tell its left and right."""

    def turnable(self, asset: str) -> bool:
        """Whether it looks different when turned about the vertical; all that is fronted does."""

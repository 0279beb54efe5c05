"""What the camera sees, without light: instance masks, depth and camera matrices, by casting rays.

Embree is what Cycles itself intersects rays with, so one ray through every pixel's centre gives the
silhouettes
that a beauty render will show, in milliseconds: geometry is judged before any light is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatial.scene import Camera, Floats, Scene, Vec3
from spatial.view import View

Vertices = NDArray[np.float32]  # (V, 3), world, metres
Triangles = NDArray[np.int32]  # (F, 3)
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """A pinhole as the renderer has it.

    rotation: (3, 3), translation: (3,), world to camera (OpenCV); pixels.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: Floats
    translation: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """One state of a scene as the camera sees it; n objects in the order of `scene.objects`.

    ids: (h, w) int16, index of the object seen at the pixel, -1 for none.
    amodal: (n, h, w) bool, each object as if it were alone.
    depth: (h, w) float32, metres along the camera's z, inf where nothing is (floor and wall count as
    something). rotation (3, 3), translation (3,), fx, fy, cx, cy: the camera read back from the renderer,
    OpenCV's sense.
    """

    ids: NDArray[np.int16]
    amodal: Bools
    depth: NDArray[np.float32]
    rotation: Floats
    translation: Floats
    fx: float
    fy: float
    cx: float
    cy: float

    def view(self, scene: Scene) -> View:
        """The same by object id; `scene` is the one that was prepared, the camera the one read back."""
        camera = Camera(
            width=self.ids.shape[1],
            height=self.ids.shape[0],
            fx=self.fx,
            fy=self.fy,
            cx=self.cx,
            cy=self.cy,
            rotation=(_vec(self.rotation[0]), _vec(self.rotation[1]), _vec(self.rotation[2])),
            translation=_vec(self.translation),
        )
        names = [thing.id for thing in scene.objects]
        return View(
            scene=replace(scene, camera=camera),
            amodal=dict(zip(names, self.amodal, strict=True)),
            visible={name: self.visible(index) for index, name in enumerate(names)},
            depth=self.depth,
        )

    def visible(self, index: int) -> Bools:
        """(h, w) bool: the pixels where this object is the first thing seen."""
        seen: Bools = self.ids == index
        return seen

    def area(self, index: int) -> int:
        """Visible pixels."""
        return int(np.count_nonzero(self.ids == index))

    def visible_fraction(self, index: int) -> float:
        """Visible pixels over amodal pixels inside the frame, 0..1; 0 for an object outside it."""
        alone = int(np.count_nonzero(self.amodal[index]))
        return self.area(index) / alone if alone else 0.0

    def box(self, index: int) -> tuple[int, int, int, int] | None:
        """The amodal mask's box, pixels, xyxy half-open; None for an object outside the frame."""
        rows = np.flatnonzero(self.amodal[index].any(axis=1))
        columns = np.flatnonzero(self.amodal[index].any(axis=0))
        if not len(rows):
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _vec(row: Floats) -> Vec3:
    return (float(row[0]), float(row[1]), float(row[2]))


def cast(
    objects: Sequence[tuple[Vertices, Triangles]],
    backdrop: Sequence[tuple[Vertices, Triangles]],
    lens: Lens,
) -> Passes:
    """Cast one ray through each pixel's centre at every mesh alone, then keep the nearest.

    objects: the things to be told apart. backdrop: floor and walls; they hide things but have no id.
    """
    shape = (lens.height, lens.width)
    ids = np.full(shape, -1, np.int16)
    depth = np.full(shape, np.inf, np.float32)
    amodal = np.zeros((len(objects), *shape), np.bool_)
    columns = (np.arange(lens.width) + 0.5 - lens.cx) / lens.fx
    rows = (np.arange(lens.height) + 0.5 - lens.cy) / lens.fy
    origin = -lens.rotation.T @ lens.translation
    # Directions have length 1 along the camera's z, so a hit's distance is its depth.
    through = np.stack([*np.meshgrid(columns, rows), np.ones(shape)], axis=-1)
    directions: NDArray[np.float32] = (through @ lens.rotation).astype(np.float32)

    for index, (vertices, triangles) in enumerate([*objects, *backdrop]):
        window = _window(vertices, lens)
        rays = directions[window]
        if not rays.size:
            continue
        hit = _distances(vertices, triangles, origin, rays.reshape(-1, 3)).reshape(rays.shape[:2])
        nearer = hit < depth[window]
        depth[window][nearer] = hit[nearer]
        if index < len(objects):
            amodal[index][window] = np.isfinite(hit)
            ids[window][nearer] = index
        else:
            ids[window][nearer] = -1
    return Passes(ids, amodal, depth, lens.rotation, lens.translation, lens.fx, lens.fy, lens.cx, lens.cy)


def _window(vertices: Vertices, lens: Lens) -> tuple[slice, slice]:
    """The rows and columns that the mesh can touch: rays are cast at no others."""
    camera = vertices @ lens.rotation.T + lens.translation
    z = camera[:, 2]
    if z.min() < 1e-3:  # partly behind the camera: its projection has no box
        return slice(0, lens.height), slice(0, lens.width)
    x = lens.fx * camera[:, 0] / z + lens.cx
    y = lens.fy * camera[:, 1] / z + lens.cy
    left, right = np.clip([np.floor(x.min()), np.ceil(x.max())], 0, lens.width).astype(int)
    top, bottom = np.clip([np.floor(y.min()), np.ceil(y.max())], 0, lens.height).astype(int)
    return slice(top, bottom), slice(left, right)


def _distances(
    vertices: Vertices, triangles: Triangles, origin: Floats, directions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N,) float32: where each ray first meets the mesh, in lengths of its direction; inf where it does
    not."""
    # Here, so that those who only read passes need no Embree.
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(triangles, np.int32))
    origins = np.broadcast_to(origin.astype(np.float32), directions.shape)
    found = scene.run(np.ascontiguousarray(origins), np.ascontiguousarray(directions), output=1)
    distances: NDArray[np.float32] = np.where(found["geomID"] >= 0, found["tfar"], np.float32(np.inf))
    return distances

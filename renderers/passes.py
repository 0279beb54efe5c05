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

from spatial.scene import Camera, Floats, Scene
from spatial.view import View

Vertices = NDArray[np.float32]  # (V, 3), world, metres
Triangles = NDArray[np.int32]  # (F, 3)
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """One state of a scene as the camera sees it; n objects in the order of `scene.objects`.

    ids: (h, w) int16, index of the object seen at the pixel, -1 for none.
    amodal: (n, h, w) bool, each object as if it were alone.
    depth: (h, w) float32, metres along the camera's z, inf where nothing is (floor and wall count as
    something). camera: as read back from the renderer.
    """

    ids: NDArray[np.int16]
    amodal: Bools
    depth: NDArray[np.float32]
    camera: Camera

    def view(self, scene: Scene) -> View:
        """The same by object id; `scene` is the one that was prepared, the camera the one read back."""
        names = [thing.id for thing in scene.objects]
        return View(
            scene=replace(scene, camera=self.camera),
            amodal=dict(zip(names, self.amodal, strict=True)),
            visible={name: self.visible(index) for index, name in enumerate(names)},
            depth=self.depth,
        )

    def visible(self, index: int) -> Bools:
        """(h, w) bool: the pixels where this object is the first thing seen."""
        seen: Bools = self.ids == index
        return seen


def cast(
    objects: Sequence[tuple[Vertices, Triangles]],
    backdrop: Sequence[tuple[Vertices, Triangles]],
    camera: Camera,
) -> Passes:
    """Cast one ray through each pixel's centre at every mesh alone, then keep the nearest.

    objects: the things to be told apart. backdrop: floor and walls; they hide things but have no id.
    """
    shape = (camera.height, camera.width)
    ids = np.full(shape, -1, np.int16)
    depth = np.full(shape, np.inf, np.float32)
    amodal = np.zeros((len(objects), *shape), np.bool_)
    columns = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    rows = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rotation = np.array(camera.rotation)
    origin = -rotation.T @ np.array(camera.translation)
    # Directions have length 1 along the camera's z, so a hit's distance is its depth.
    through = np.stack([*np.meshgrid(columns, rows), np.ones(shape)], axis=-1)
    directions: NDArray[np.float32] = (through @ rotation).astype(np.float32)

    for index, (vertices, triangles) in enumerate([*objects, *backdrop]):
        window = _window(vertices, camera)
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
    return Passes(ids, amodal, depth, camera)


def _window(vertices: Vertices, camera: Camera) -> tuple[slice, slice]:
    """The rows and columns that the mesh can touch: rays are cast at no others."""
    seen = vertices @ np.array(camera.rotation).T + np.array(camera.translation)
    z = seen[:, 2]
    if z.min() < 1e-3:  # partly behind the camera: its projection has no box
        return slice(0, camera.height), slice(0, camera.width)
    x = camera.fx * seen[:, 0] / z + camera.cx
    y = camera.fy * seen[:, 1] / z + camera.cy
    left, right = np.clip([np.floor(x.min()), np.ceil(x.max())], 0, camera.width).astype(int)
    top, bottom = np.clip([np.floor(y.min()), np.ceil(y.max())], 0, camera.height).astype(int)
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

"""Where to put a thing so that its *image* does what was asked: small root finders on projected outlines.

Each returns the object moved along the floor (or its support's top) and raises SpatialError("unreachable")
where no place on the floor does it. "Centre" is the centroid of the object's outline, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spatial import geometry
from spatial.scene import Camera, Floats, SceneObject, Shapes, SpatialError

TOLERANCE = 0.001  # of the width: the grain of a small outline's centroid is not far below
_STEPS = 25


def slide_sideways(thing: SceneObject, target_x: float, camera: Camera, shapes: Shapes) -> SceneObject:
    """Along image x, at constant depth and height, until the centre is at column `target_x`."""

    def figure(moved: SceneObject) -> Floats:
        return geometry.centre(moved, camera, shapes)[:1]

    return _newton(thing, np.array([target_x]), figure, camera, depth=False)


def slide_to(thing: SceneObject, target: tuple[float, float], camera: Camera, shapes: Shapes) -> SceneObject:
    """Over the floor until the centre is at pixel `target` (x, y)."""

    def figure(moved: SceneObject) -> Floats:
        return geometry.centre(moved, camera, shapes)

    return _newton(thing, np.asarray(target, float), figure, camera)


def slide_feet(
    thing: SceneObject, target_x: float, target_bottom: float, camera: Camera, shapes: Shapes
) -> SceneObject:
    """Over the floor until the centre is at column `target_x` and the outline's lowest point at `target_bottom`."""

    def figure(moved: SceneObject) -> Floats:
        outline = geometry.silhouette(moved, camera, shapes)
        return np.array([outline.centre[0], outline.box[3]])

    return _newton(thing, np.array([target_x, target_bottom]), figure, camera)


def _newton(
    thing: SceneObject,
    target: Floats,
    figure: Callable[[SceneObject], Floats],
    camera: Camera,
    depth: bool = True,
) -> SceneObject:
    """Newton's method whose derivative is that of the object's middle point: outlines move almost alike."""
    moved, tolerance = thing, TOLERANCE * camera.width
    axes = np.stack([geometry.right_axis(camera), geometry.away_axis(camera)])[: 2 if depth else 1]
    for _ in range(_STEPS):
        error = target - figure(moved)
        if not np.all(np.isfinite(error)):
            break
        if np.max(np.abs(error)) < tolerance:
            return moved
        x, y, z = moved.pose.position
        middle = np.array([x, y, z + moved.pose.size[2] / 2])
        step = 0.01
        points = np.stack([middle, *(middle + step * np.append(axis, 0.0) for axis in axes)])
        pixels, depths = geometry.project(camera, points)
        jacobian = ((pixels[1:] - pixels[0]) / step).T[: len(target)]
        if depths.min() < 0.1 or abs(np.linalg.det(jacobian)) < 1e-6:
            break
        shift = np.linalg.solve(jacobian, error)
        shift *= min(1.0, 2.0 / max(float(np.linalg.norm(shift)), 1e-9))  # metres: no leap past the horizon
        moved = geometry.at(moved, np.array([x, y]) + shift @ axes)
    raise SpatialError("unreachable", f"{thing.id} cannot get there along the floor")

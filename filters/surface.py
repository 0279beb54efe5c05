"""Following a surface from one view into another: lift pixels by their depth, move them, project them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from spatial import geometry
from spatial.scene import Floats
from spatial.view import View

_KERNEL = np.ones((3, 3), np.uint8)


def lift(name: str, view: View) -> Floats:
    """(N, 3) world points of the object's visible surface, metres."""
    camera = view.scene.camera
    rows, columns = np.nonzero(view.visible[name])
    depth = view.depth[rows, columns].astype(float)
    local = np.stack(
        [
            (columns + 0.5 - camera.cx) / camera.fx * depth,
            (rows + 0.5 - camera.cy) / camera.fy * depth,
            depth,
        ],
        axis=1,
    )
    points: Floats = (local - np.asarray(camera.translation)) @ geometry.camera_rotation(camera)
    return points


def landed(
    name: str, before: View, after: View, move: Callable[[Floats], Floats] = lambda points: points
) -> float:
    """Share of the object's surface points, moved as asked, that fall on its amodal mask after.

    move: world points (N, 3), metres, to where the edit takes them; by default they stay.
    One pixel of slack at the border. 1.0 where the object shows no surface before.
    """
    points = lift(name, before)
    if not len(points):
        return 1.0
    if name not in after.amodal:
        return 0.0
    pixels, _ = geometry.project(after.scene.camera, move(points))
    mask = cv2.dilate(after.amodal[name].astype(np.uint8), _KERNEL).astype(bool)
    columns, rows = np.floor(pixels).astype(int).T
    height, width = mask.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return float(np.count_nonzero(mask[rows[inside], columns[inside]])) / len(points)

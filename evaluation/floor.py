"""Where boxes in a picture stand on the floor, and how they stand to each other there, as the viewer sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial import geometry
from spatial.relations import AXES, MARGIN, NEAR
from spatial.scene import Camera, Floats

Box = tuple[float, float, float, float]
_FAR = 1e3  # metres
_BESIDE = 0.5  # of a box: how much of the way between two things counts as between them, to either side


def related(relation: str, subject: Box, references: Sequence[Box], camera: Camera) -> bool:
    """Whether the relation holds, by the margins that edits are drawn with (`spatial.relations`). boxes: xyxy pixels.
    references: one, or two for "between".
    """
    if relation == "on":
        x, foot = (subject[0] + subject[2]) / 2, subject[3]
        x0, y0, x1, y1 = references[0]
        return x0 <= x <= x1 and foot <= (y0 + y1) / 2 + (y1 - y0) * 0.25 and foot >= y0 - (y1 - y0) * 0.25
    here, *there = (standing(box, camera) for box in (subject, *references))
    if relation == "between" and len(there) == 2:
        way = there[1] - there[0]
        along = float((here - there[0]) @ way / max(1e-9, float(way @ way)))
        beside = float(np.linalg.norm(here - there[0] - along * way))
        return 0 < along < 1 and beside <= _BESIDE * float(np.linalg.norm(way))
    step = here - there[0]
    if relation == "next_to":
        reach = NEAR + (breadth(subject, camera) + breadth(references[0], camera)) / 2
        return float(np.linalg.norm(step)) <= reach
    along = float(step @ AXES[relation])
    return along >= MARGIN and along >= float(abs(step @ AXES[relation][::-1]))


def standing(box: Box, camera: Camera) -> Floats:
    """(right, away) metres of the box's foot on the floor, in the viewer's axes; far away for one above the horizon."""
    foot = geometry.ground_point(camera, (box[0] + box[2]) / 2, box[3])
    if foot is None:
        return np.array([0.0, _FAR])
    return np.array([foot[:2] @ geometry.right_axis(camera), foot[:2] @ geometry.away_axis(camera)])


def breadth(box: Box, camera: Camera) -> float:
    """Metres from the box's left edge to its right one, where it stands."""
    left, right = (standing((x, box[1], x, box[3]), camera) for x in (box[0], box[2]))
    return float(np.linalg.norm(right - left))


def camera_of(row: Mapping[str, Any]) -> Camera:
    """The camera of a row's column `camera_before` or `camera_after`."""
    matrix = np.asarray(row["world_to_camera"], np.float64)
    rotation = tuple(tuple(float(value) for value in line) for line in matrix[:3, :3])
    translation = tuple(float(value) for value in matrix[:3, 3])
    inner = {name: row[name] for name in ("fx", "fy", "cx", "cy", "width", "height")}
    return Camera(rotation=rotation, translation=translation, **inner)  # type: ignore[arg-type]

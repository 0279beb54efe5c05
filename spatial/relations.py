"""Relations between things as the viewer sees them, with margins so that nobody can argue.

All are judged on the floor in the viewer's axes (right, away), in metres. `MARGIN` is how far apart two
middles must be along an axis before "left of" or "behind" is said at all.
"""

from __future__ import annotations

import numpy as np

from spatial import geometry
from spatial.scene import Camera, Floats, Scene, SceneObject, Shapes

MARGIN = 0.25
NEAR = 0.6  # next to: at most this gap between footprints, metres
FRAMES_AGREE_WITHIN = 45.0  # degrees between the viewer's axis and the object's own

# Unit steps in the viewer's (right, away) axes.
AXES = {
    "left_of": np.array([-1.0, 0.0]),
    "right_of": np.array([1.0, 0.0]),
    "in_front_of": np.array([0.0, -1.0]),
    "behind": np.array([0.0, 1.0]),
}


def ground_axis(relation: str, camera: Camera) -> Floats:
    """(2,) unit vector on the ground along which a directional relation points."""
    right, away = AXES[relation]
    return np.asarray(right * geometry.right_axis(camera) + away * geometry.away_axis(camera))


def offset(subject: SceneObject, reference: SceneObject, camera: Camera) -> Floats:
    """(2,) metres (right, away) from the reference's middle to the subject's."""
    step = np.subtract(subject.pose.position[:2], reference.pose.position[:2])
    return np.array([step @ geometry.right_axis(camera), step @ geometry.away_axis(camera)])


def frames_agree(relation: str, reference: SceneObject, camera: Camera, shapes: Shapes) -> bool:
    """Whether the viewer and a thing with a front of its own mean the same by the relation.

    "Behind the car" is clear when the car faces the viewer, "left of the car" when it shows its back.
    """
    if relation not in AXES or not shapes.fronted(reference.asset):
        return True
    ahead = geometry.front(reference)
    own_right = np.array([ahead[1], -ahead[0]])
    own = {"in_front_of": ahead, "behind": -ahead, "right_of": own_right, "left_of": -own_right}[relation]
    cosine = float(own @ ground_axis(relation, camera))
    return bool(cosine >= np.cos(np.radians(FRAMES_AGREE_WITHIN)))


def holds(
    relation: str,
    subject: SceneObject,
    reference: SceneObject,
    scene: Scene,
    shapes: Shapes,
    *,
    reference2: SceneObject | None = None,
    dominant: bool = False,
) -> bool:
    """Whether the relation is true in the scene.

    dominant: directional relations must also be the larger of the two offsets: an object that is mostly
    behind, and a little to the left, is then not "left of".
    """
    if relation in AXES:
        step = offset(subject, reference, scene.camera)
        axis = AXES[relation]
        along = float(step @ axis)
        across = abs(float(step @ axis[::-1]))
        return along >= MARGIN and (not dominant or along >= across)
    if relation == "on":
        return subject.support == reference.id
    if relation == "next_to":
        return (
            reference.id != subject.support
            and subject.id != reference.support
            and geometry.gap(subject, reference, shapes) <= NEAR
        )
    if reference2 is None:
        return False
    line = np.subtract(reference2.pose.position[:2], reference.pose.position[:2])
    length = float(np.linalg.norm(line))
    step = np.subtract(subject.pose.position[:2], reference.pose.position[:2])
    share = float(step @ line) / max(length**2, 1e-9)
    aside = abs(float(step @ (-line[1], line[0]))) / max(length, 1e-9)
    return 0.25 <= share <= 0.75 and aside <= 0.2 * length

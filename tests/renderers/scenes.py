"""Scenes that the renderers' tests look at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from renderers.shapes import NOMINAL_SIZE
from spatial.scene import Backdrop, Camera, Light, Pose, Quaternion, Scene, SceneObject, Vec3

MIRROR = np.diag([-1.0, 1.0, 1.0])


def vec(values: np.ndarray) -> Vec3:
    x, y, z = (float(value) for value in values)
    return x, y, z


def yaw(degrees: float) -> Quaternion:
    return math.cos(math.radians(degrees) / 2), 0.0, 0.0, math.sin(math.radians(degrees) / 2)


def camera(
    width: int = 96, height: int = 96, off: tuple[float, float] = (0.0, 0.0), stretch: float = 1.0
) -> Camera:
    """From (1, -6, 3) towards the origin; off: principal point from the middle, pixels; stretch: fy over fx."""
    eye = np.array([1.0, -6.0, 3.0])
    ahead = np.array([0.0, 0.0, 0.3]) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(ahead, right), ahead])
    rows = (vec(rotation[0]), vec(rotation[1]), vec(rotation[2]))
    focal = 1.5 * width
    centre = width / 2 + off[0], height / 2 + off[1]
    return Camera(width, height, focal, focal * stretch, *centre, rows, vec(-rotation @ eye))


def thing(
    name: str,
    asset: str,
    x: float,
    y: float,
    color: str | None = "red",
    material: str | None = "matte",
    turn: float = 0.0,
) -> SceneObject:
    return SceneObject(name, asset, asset, Pose((x, y, 0.0), yaw(turn), NOMINAL_SIZE[asset]), color, material)


def scene(*things: SceneObject, view: Camera | None = None, light: Light | None = None) -> Scene:
    return Scene(things, view or camera(), light or Light(), Backdrop(half_extent=4.0))


def mirrored(state: Scene) -> Scene:
    """The scene as a mirror at x = 0 shows it, by hand."""
    objects = []
    for one in state.objects:
        w, x, y, z = one.pose.quaternion
        pose = replace(one.pose, position=vec(MIRROR @ one.pose.position), quaternion=(w, x, -y, -z))
        objects.append(replace(one, pose=pose, mirrored=not one.mirrored))
    eye, light = state.camera, state.light
    rotation = MIRROR @ np.array(eye.rotation) @ MIRROR
    return Scene(
        tuple(objects),
        replace(
            eye,
            rotation=(vec(rotation[0]), vec(rotation[1]), vec(rotation[2])),
            translation=vec(MIRROR @ eye.translation),
            cx=eye.width - eye.cx,
        ),
        replace(
            light,
            environment_turn=-light.environment_turn,
            environment_mirrored=not light.environment_mirrored,
            sun_direction=vec(MIRROR @ light.sun_direction),
        ),
        replace(state.backdrop, mirrored=not state.backdrop.mirrored),
    )

"""Operations on the whole picture: the camera, the light, the backdrop, and the mirror.

Mirroring uses M = diag(-1, 1, 1): p' = M p, R' = M R M and the object's `mirrored` toggled, camera
R' = M R M, t' = M t, cx' = W - cx; then render(mirror(scene)) = flip(render(scene)).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from spatial import geometry
from spatial.instruction import Expression, Instruction
from spatial.operation import Change, Operation
from spatial.scene import Camera, Floats, Light, Scene, SceneObject, SpatialError, Vec3
from spatial.vocabulary import ENVIRONMENTS, FLOORS, TIME_LIGHT

# Drawn for vague and open amounts: degrees, degrees, factors.
SLIGHT = {"orbit": (10.0, 20.0), "pan": (2.0, 4.0), "zoom": (1.1, 1.2)}
OPEN = {"orbit": (25.0, 60.0), "pan": (4.0, 8.0), "zoom": (1.25, 1.5)}
STRENGTH_STEP = 1.7  # brighter, dimmer: factor on all lights
WARMTH_STEP = 0.7
SIDE_SUN = 2.5  # strength of a sun that stands to one side
M = np.diag([-1.0, 1.0, 1.0])
_MIRRORED = {
    "left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise",
    "upper-left": "upper-right", "upper-right": "upper-left",
    "lower-left": "lower-right", "lower-right": "lower-left",
    "left_of": "right_of", "right_of": "left_of", "leftmost": "rightmost", "rightmost": "leftmost",
}  # fmt: skip


def _amount(said: Instruction, rng: np.random.Generator) -> float:
    if said.amount is not None:
        return said.amount
    low, high = (SLIGHT if said.vagueness else OPEN)[said.kind]
    return round(float(rng.uniform(low, high)), 2)


def orbit(said: Instruction, scene: Scene, rng: np.random.Generator) -> Operation:
    """The camera travels left or right on a circle around the point of the floor it looks at."""
    amount = _amount(said, rng)
    direction = said.direction or ("left" if rng.random() < 0.5 else "right")
    camera = scene.camera
    pivot = geometry.ground_point(camera, camera.cx, camera.cy)
    if pivot is None:
        raise SpatialError("unreachable", "the camera looks at no point of the floor to go around")
    # Going left around something ahead turns clockwise as seen from above.
    angle = -amount if direction == "left" else amount
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    middle = np.append(pivot, 0.0)
    eye = middle + turn @ (geometry.camera_eye(camera) - middle)
    after = geometry.with_view(camera, geometry.camera_rotation(camera) @ turn.T, eye)
    return _camera("orbit", scene, after, direction=direction, amount=amount, unit="degree")


def pan(said: Instruction, scene: Scene, rng: np.random.Generator) -> Operation:
    """The camera turns where it stands: left and right about world z, up and down about its own x."""
    amount, camera = _amount(said, rng), scene.camera
    rotation = geometry.camera_rotation(camera)
    if said.direction in ("left", "right"):
        angle = amount if said.direction == "left" else -amount
        rotation = rotation @ Rotation.from_euler("z", angle, degrees=True).as_matrix().T
    elif said.direction in ("up", "down"):
        angle = amount if said.direction == "up" else -amount
        rotation = Rotation.from_euler("x", angle, degrees=True).as_matrix().T @ rotation
    else:
        raise SpatialError("incomplete", "pan needs a direction: left, right, up or down")
    after = geometry.with_view(camera, rotation, geometry.camera_eye(camera))
    return _camera("pan", scene, after, direction=said.direction, amount=amount, unit="degree")


def zoom(said: Instruction, scene: Scene, rng: np.random.Generator) -> Operation:
    """The focal length changes; the operation's amount is its factor, below 1 for zooming out."""
    factor, camera = _amount(said, rng), scene.camera
    if said.value == "out":
        factor = round(1 / factor, 4)
    after = replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)
    return _camera("zoom", scene, after, value=said.value, amount=factor, unit="factor")


def _camera(kind: str, scene: Scene, after: Camera, **fields: object) -> Operation:
    return Operation(kind, camera=(scene.camera, after), **fields)  # type: ignore[arg-type]


def lighting(said: Instruction, scene: Scene) -> Operation:
    light, value = scene.light, said.value
    if value in TIME_LIGHT:
        warmth, strength = TIME_LIGHT[value]
        after = replace(light, environment=value, warmth=warmth, sun_strength=strength)
    elif value in ("brighter", "dimmer"):
        factor = STRENGTH_STEP if value == "brighter" else 1 / STRENGTH_STEP
        after = replace(
            light,
            environment_strength=light.environment_strength * factor,
            sun_strength=light.sun_strength * factor,
        )
    elif value in ("warmer", "cooler"):
        step = WARMTH_STEP if value == "warmer" else -WARMTH_STEP
        after = replace(light, warmth=light.warmth + step)
        if abs(after.warmth) > 1:
            raise SpatialError("no_change", f"the light is as {value[:-2]} as it gets")
    elif value == "side" and said.direction in ("left", "right"):
        axis = geometry.right_axis(scene.camera) * (1 if said.direction == "right" else -1)
        sun = np.append(axis * np.cos(np.radians(30)), np.sin(np.radians(30)))
        after = replace(light, sun_direction=_vec(sun), sun_strength=max(SIDE_SUN, light.sun_strength))
    else:
        raise SpatialError("incomplete", f"no such light: {value}")
    if after == light:
        raise SpatialError("no_change", f"the light is {value} already")
    return Operation("lighting", direction=said.direction, value=value, light=(light, after))


def background(said: Instruction, scene: Scene) -> Operation:
    """A place all around (the environment map), or another floor."""
    value = said.value or ""
    floor = value.removeprefix("floor:")
    if value.startswith("floor:") and floor in FLOORS:
        if floor == scene.backdrop.floor:
            raise SpatialError("no_change", f"the floor is {floor} already")
        return Operation(
            "background", value=value, backdrop=(scene.backdrop, replace(scene.backdrop, floor=floor))
        )
    if value not in ENVIRONMENTS:
        raise SpatialError("incomplete", f"no such place: {value}")
    if value == scene.light.environment:
        raise SpatialError("no_change", f"the scene is in the {value} already")
    if scene.backdrop.wall is not None:
        raise SpatialError("hidden", "a wall hides the place around")
    return Operation("background", value=value, light=(scene.light, replace(scene.light, environment=value)))


# --- the mirror -------------------------------------------------------------------------------------------------


def _vec(v: Floats) -> Vec3:
    return (float(v[0]), float(v[1]), float(v[2]))


def mirror_object(thing: SceneObject) -> SceneObject:
    rotation = M @ geometry.rotation_matrix(thing.pose.quaternion) @ M
    x, y, z = thing.pose.position
    pose = replace(thing.pose, position=(-x, y, z), quaternion=geometry.quaternion(rotation))
    return replace(thing, pose=pose, mirrored=not thing.mirrored)


def mirrored_in_place(thing: SceneObject, camera: Camera) -> SceneObject:
    """The object flipped left to right as the viewer sees it, about the vertical plane through its base's middle."""
    right = np.append(geometry.right_axis(camera), 0.0)
    reflection = np.eye(3) - 2 * np.outer(right, right)
    rotation = reflection @ geometry.rotation_matrix(thing.pose.quaternion) @ M
    return replace(
        thing,
        pose=replace(thing.pose, quaternion=geometry.quaternion(rotation)),
        mirrored=not thing.mirrored,
    )


def mirror_camera(camera: Camera) -> Camera:
    rotation = M @ geometry.camera_rotation(camera) @ M
    rows = (_vec(rotation[0]), _vec(rotation[1]), _vec(rotation[2]))
    x, y, z = camera.translation
    return replace(camera, rotation=rows, translation=(-x, y, z), cx=camera.width - camera.cx)


def mirror_light(light: Light) -> Light:
    x, y, z = light.sun_direction
    return replace(
        light,
        environment_turn=-light.environment_turn,
        environment_mirrored=not light.environment_mirrored,
        sun_direction=(-x, y, z),
    )


def mirror_scene(scene: Scene) -> Scene:
    """The scene whose picture is the flipped picture of this one."""
    return Scene(
        objects=tuple(mirror_object(thing) for thing in scene.objects),
        camera=mirror_camera(scene.camera),
        light=mirror_light(scene.light),
        backdrop=replace(scene.backdrop, mirrored=not scene.backdrop.mirrored),
    )


def mirror_whole(scene: Scene) -> Operation:
    flipped = mirror_scene(scene)
    return Operation(
        "mirror",
        changes=tuple(Change(a, b) for a, b in zip(scene.objects, flipped.objects, strict=True)),
        camera=(scene.camera, flipped.camera),
        light=(scene.light, flipped.light),
        backdrop=(scene.backdrop, flipped.backdrop),
    )


def mirror_instruction(said: Instruction) -> Instruction:
    """The instruction that does in the mirrored scene what this one does in the scene; to be *said anew*.

    Words are never substituted. An orbit or pan without a direction stays as it is.
    """
    return replace(
        said,
        subject=_mirror_expression(said.subject),
        reference=_mirror_expression(said.reference),
        reference2=_mirror_expression(said.reference2),
        direction=_MIRRORED.get(said.direction or "", said.direction),
        region=_MIRRORED.get(said.region or "", said.region),
        relation=_MIRRORED.get(said.relation or "", said.relation),
        steps=tuple(mirror_instruction(step) for step in said.steps),
    )


def _mirror_expression(expression: Expression | None) -> Expression | None:
    if expression is None:
        return None
    return replace(
        expression,
        place=_MIRRORED.get(expression.place or "", expression.place),
        relation=_MIRRORED.get(expression.relation or "", expression.relation),
        reference=_mirror_expression(expression.reference),
    )


def mirror_operation(operation: Operation) -> Operation:
    """The same operation in the mirrored scene."""
    return replace(
        operation,
        direction=_MIRRORED.get(operation.direction or "", operation.direction),
        region=_MIRRORED.get(operation.region or "", operation.region),
        relation=_MIRRORED.get(operation.relation or "", operation.relation),
        changes=tuple(
            Change(c.before and mirror_object(c.before), c.after and mirror_object(c.after))
            for c in operation.changes
        ),
        camera=operation.camera and (mirror_camera(operation.camera[0]), mirror_camera(operation.camera[1])),
        light=operation.light and (mirror_light(operation.light[0]), mirror_light(operation.light[1])),
        backdrop=operation.backdrop
        and (
            replace(operation.backdrop[0], mirrored=not operation.backdrop[0].mirrored),
            replace(operation.backdrop[1], mirrored=not operation.backdrop[1].mirrored),
        ),
        steps=tuple(mirror_operation(step) for step in operation.steps),
    )

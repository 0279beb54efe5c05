"""Sampling valid scenes, in CLEVR's manner and stricter: what is said of them cannot be argued with.

Every two objects keep a margin along *both* of the viewer's axes, so that left, right, before and behind are
never borderline; nothing touches; everything is in frame and seen. A layout that does not come together is
thrown away whole: patching it up would favour what is easy to patch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spatial import geometry
from spatial.operation import MIN_GAP
from spatial.scene import Backdrop, Camera, Light, Pose, Scene, SceneObject, Shapes, SpatialError, Vec3
from spatial.vocabulary import (
    COLORS,
    ENVIRONMENTS,
    FLOORS,
    MATERIALS,
    NOUNS,
    SUPPORTS,
    TIME_LIGHT,
    WALLS,
    recognisable,
)

AXIS_MARGIN = 0.32  # metres between middles along right and away: more than relations.MARGIN
VISIBLE = 0.9  # least visible share of every object in a fresh scene
LAYOUT_TRIES = 40
PLACE_TRIES = 30


@dataclass(frozen=True, slots=True)
class View:
    """How a kind of edit wants to look at a scene. pitch: degrees below level. inner: share of the frame used."""

    pitch: tuple[float, float] = (24.0, 40.0)
    distance: tuple[float, float] = (4.8, 6.2)  # metres
    inner: float = 0.84
    wall: float = 0.25  # share of scenes with a wall
    least_area: float = 0.008  # least share of the picture that an object covers: 23 x 23 of 256 x 256 pixels


# Corners need floor up to the top of the picture; places around need a look at them; a camera that moves
# needs room at the edges.
VIEWS = {
    "place": View(pitch=(36.0, 44.0)),
    "orbit": View(inner=0.62, distance=(5.6, 7.0)),
    "pan": View(inner=0.66, distance=(5.2, 6.6)),
    "zoom": View(inner=0.6, distance=(5.2, 6.6)),
    "lighting": View(pitch=(14.0, 26.0), wall=0.0),
    "background": View(pitch=(14.0, 26.0), wall=0.0),
    "resize": View(inner=0.76),
}


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """What to draw from. width, height: pixels. objects: fewest and most.

    left_out: (noun, colour) pairs that are never drawn, kept for tests of what was never seen together.
    same_noun: share of objects that repeat a noun, so that colour and place are needed to refer.
    on_top: share of scenes in which something small stands on something flat.
    view: for every kind of edit the same; None takes `VIEWS`.
    """

    width: int = 256
    height: int = 256
    objects: tuple[int, int] = (2, 5)
    nouns: tuple[str, ...] = NOUNS
    materials: tuple[str, ...] = MATERIALS
    colors: tuple[str, ...] = COLORS
    floors: tuple[str, ...] = FLOORS
    left_out: frozenset[tuple[str, str]] = frozenset()
    same_noun: float = 0.35
    on_top: float = 0.25
    view: View | None = None


def sample_scene(kind: str, settings: SamplerSettings, shapes: Shapes, rng: np.random.Generator) -> Scene:
    """A scene fit for an edit of this kind. Raises SpatialError("no_layout") when none came together."""
    view = settings.view or VIEWS.get(kind, View())
    low, high = settings.objects
    for _ in range(LAYOUT_TRIES):
        camera = _camera(view, settings, rng)
        empty = Scene((), camera, _light(rng), _backdrop(view, settings, rng))
        number = int(rng.integers(max(low, _fewest(kind)), max(high, _fewest(kind)) + 1))
        scene = _layout(empty, number, kind, view, settings, shapes, rng)
        if scene is not None and min(geometry.visible_fractions(scene, shapes).values()) >= VISIBLE:
            return scene
    raise SpatialError("no_layout", f"no layout of {low} to {high} objects came together")


def _fewest(kind: str) -> int:
    return {"relate": 3, "swap": 2, "align": 2, "sequence": 3}.get(kind, 1)


def _camera(view: View, settings: SamplerSettings, rng: np.random.Generator) -> Camera:
    pitch, heading = np.radians(rng.uniform(*view.pitch)), np.radians(rng.uniform(-30, 30))
    distance = rng.uniform(*view.distance)
    level = np.cos(pitch)
    eye = distance * np.array([np.sin(heading) * level, -np.cos(heading) * level, np.sin(pitch)])
    target = (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.3, 0.3)), 0.25)
    focal = 0.5 * settings.width / np.tan(np.radians(rng.uniform(36, 46)) / 2)
    where: Vec3 = (float(eye[0]), float(eye[1]), float(eye[2]))
    return geometry.look_at(where, target, settings.width, settings.height, float(focal))


def _light(rng: np.random.Generator) -> Light:
    azimuth, height = np.radians(rng.uniform(0, 360)), np.radians(rng.uniform(35, 65))
    sun = (np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height))
    environment = ENVIRONMENTS[int(rng.integers(len(ENVIRONMENTS)))]
    warmth, strength = TIME_LIGHT.get(environment, (0.0, 1.0))
    return Light(
        environment=environment,
        environment_turn=round(float(rng.uniform(-180, 180)), 1),
        sun_direction=(float(sun[0]), float(sun[1]), float(sun[2])),
        sun_strength=round(strength * float(rng.uniform(0.8, 1.3)), 2),
        warmth=warmth,
    )


def _backdrop(view: View, settings: SamplerSettings, rng: np.random.Generator) -> Backdrop:
    wall = WALLS[int(rng.integers(len(WALLS)))] if rng.random() < view.wall else None
    return Backdrop(floor=settings.floors[int(rng.integers(len(settings.floors)))], wall=wall)


def _layout(
    scene: Scene,
    number: int,
    kind: str,
    view: View,
    settings: SamplerSettings,
    shapes: Shapes,
    rng: np.random.Generator,
) -> Scene | None:
    nouns = _nouns(number, kind, settings, rng)
    on_top = number > 1 and rng.random() < settings.on_top
    for noun in nouns:
        thing = _thing(noun, scene, settings, shapes, rng)
        if thing is None:
            return None
        for _ in range(PLACE_TRIES):
            placed = _somewhere(thing, view, scene, rng)
            if placed is not None and _fits(placed, view, scene, shapes):
                scene = replace(scene, objects=(*scene.objects, placed))
                break
        else:
            return None
    return _stack(scene, shapes) if on_top else scene


def _nouns(number: int, kind: str, settings: SamplerSettings, rng: np.random.Generator) -> list[str]:
    nouns: list[str] = []
    repeat = 0.8 if kind == "count" else settings.same_noun
    for _ in range(number):
        if nouns and rng.random() < repeat:
            nouns.append(nouns[int(rng.integers(len(nouns)))])
        else:
            nouns.append(settings.nouns[int(rng.integers(len(settings.nouns)))])
    return nouns


def _thing(
    noun: str, scene: Scene, settings: SamplerSettings, shapes: Shapes, rng: np.random.Generator
) -> SceneObject | None:
    """None where things of this noun have taken every colour that it may have."""
    assets = shapes.assets(noun)
    asset = assets[int(rng.integers(len(assets)))]
    alike = [other for other in scene.objects if other.noun == noun]
    colors = [
        color
        for color in settings.colors
        if color not in {other.color for other in alike} and (noun, color) not in settings.left_out
    ]
    if not colors:
        return None
    # Two of a kind differ in colour, or clearly in size, or only in place: each now and then.
    color: str | None = colors[int(rng.integers(len(colors)))]
    if alike and rng.random() < 0.3:
        color = alike[0].color or color
    materials = [m for m in settings.materials if recognisable(noun, color, m)]
    scale = float(rng.choice([0.7, 1.05])) if alike else float(rng.uniform(0.75, 1.05))
    material: str | None = materials[int(rng.integers(len(materials)))]
    if not shapes.mesh(asset).painted:
        color = material = None
    width, depth, height = shapes.size(asset)
    pose = Pose((0.0, 0.0, 0.0), size=(width * scale, depth * scale, height * scale))
    return SceneObject(
        id=f"{noun}-{len(alike) + 1}",
        asset=asset,
        noun=noun,
        pose=geometry.turned(pose, float(rng.uniform(-180, 180))),
        color=color,
        material=material,
    )


def _somewhere(thing: SceneObject, view: View, scene: Scene, rng: np.random.Generator) -> SceneObject | None:
    camera = scene.camera
    x, y = 0.5 + (rng.random(2) - 0.5) * view.inner
    spot = geometry.ground_point(camera, camera.width * x, camera.height * (0.06 + 0.94 * y))
    if spot is None or np.max(np.abs(spot)) > scene.backdrop.half_extent - 1:
        return None
    return geometry.at(thing, spot)


def _fits(thing: SceneObject, view: View, scene: Scene, shapes: Shapes) -> bool:
    camera = scene.camera
    right, away = geometry.right_axis(camera), geometry.away_axis(camera)
    for other in scene.objects:
        step = np.subtract(thing.pose.position[:2], other.pose.position[:2])
        if min(abs(step @ right), abs(step @ away)) < AXIS_MARGIN:
            return False
    # The cheap questions first: most places fail one of them, and an outline takes a millisecond to draw.
    edge = max((1 - view.inner) / 2 * camera.width * 0.6, 3.0)
    box = geometry.outline_box(thing, camera, shapes)
    least = view.least_area * camera.width * camera.height
    if not geometry.in_frame(box, camera, edge) or (box[2] - box[0] + 1) * (box[3] - box[1] + 1) < least:
        return False
    if any(geometry.gap(thing, other, shapes) < MIN_GAP for other in scene.objects):
        return False
    return geometry.silhouette(thing, camera, shapes).area >= least


def _stack(scene: Scene, shapes: Shapes) -> Scene:
    """The smallest object that fits is put on top of the first flat one, if any; else nothing changes."""
    for below in scene.objects:
        if below.noun not in SUPPORTS or below.support is not None:
            continue
        room = geometry.footprint(below, shapes)
        for thing in sorted(scene.objects, key=lambda t: t.pose.size[0]):
            x, y, _ = below.pose.position
            on = replace(geometry.at(thing, (x, y), geometry.top(below)), support=below.id)
            if thing.id != below.id and room.covers(geometry.footprint(on, shapes)):
                return scene.with_objects(on)
    return scene

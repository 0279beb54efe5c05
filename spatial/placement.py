"""Finding room: places for moved and new objects that satisfy what was said and disturb nothing.

Every function tries a bounded number of draws from `rng` and raises SpatialError("no_room") when none stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from spatial import geometry, relations, solve
from spatial.instruction import Expression
from spatial.operation import check
from spatial.scene import Pose, Scene, SceneObject, Shapes, SpatialError
from spatial.vocabulary import COLORS, MATERIALS, SUPPORTS, recognisable

TRIES = 24
INNER = 0.22  # a target keeps this share of a region's cell from its borders
# Metres between footprints. Behind something there is little to see unless one stands well back.
_CLEARANCE = {"behind": (0.2, 1.6), "in_front_of": (0.15, 1.0)}
_CLOSE = (0.12, 0.5)


def into_region(
    thing: SceneObject, region: str, scene: Scene, shapes: Shapes, rng: np.random.Generator
) -> SceneObject:
    """The object on the floor with its centre well inside a cell of the 3 x 3 grid."""
    camera = scene.camera
    x0, y0, x1, y1 = geometry.region_box(region, camera.width, camera.height)

    def candidates() -> Iterator[SceneObject]:
        floor = geometry.at(thing, thing.pose.position[:2], 0.0)
        for _ in range(TRIES):
            x = x0 + (x1 - x0) * rng.uniform(INNER, 1 - INNER)
            y = y0 + (y1 - y0) * rng.uniform(INNER, 1 - INNER)
            try:
                yield solve.slide_to(floor, (x, y), camera, shapes)
            except SpatialError:
                continue

    return _first(candidates(), scene, shapes, f"{thing.id} in the {region}")


def related(
    thing: SceneObject,
    relation: str,
    reference: SceneObject,
    scene: Scene,
    shapes: Shapes,
    rng: np.random.Generator,
    *,
    reference2: SceneObject | None = None,
    distance: float | None = None,
) -> SceneObject:
    """The object where the relation holds. distance: metres between the two middles, for the four directions."""

    def candidates() -> Iterator[SceneObject]:
        for _ in range(TRIES):
            yield _beside(thing, relation, reference, reference2, distance, scene, shapes, rng)

    def fits(moved: SceneObject) -> bool:
        return relations.holds(
            relation, moved, reference, scene.with_objects(moved), shapes,
            reference2=reference2, dominant=True,
        )  # fmt: skip

    return _first(candidates(), scene, shapes, f"{thing.id} {relation} {reference.id}", fits)


def _beside(
    thing: SceneObject,
    relation: str,
    reference: SceneObject,
    reference2: SceneObject | None,
    distance: float | None,
    scene: Scene,
    shapes: Shapes,
    rng: np.random.Generator,
) -> SceneObject:
    origin = np.asarray(reference.pose.position[:2])
    height, support = reference.pose.position[2], reference.support
    if relation == "on":
        if reference.noun not in SUPPORTS:
            raise SpatialError("off_support", f"nothing stands on a {reference.noun}")
        west, south, east, north = geometry.footprint(reference, shapes).bounds
        spread = np.array([east - west, north - south]) * 0.2
        spot = origin + rng.uniform(-spread, spread)
        return replace(geometry.at(thing, spot, geometry.top(reference)), support=reference.id)
    thing = replace(thing, support=support)
    if relation == "between" and reference2 is not None:
        spot = origin + rng.uniform(0.4, 0.6) * (np.asarray(reference2.pose.position[:2]) - origin)
        return replace(geometry.at(thing, spot, 0.0), support=None)
    if relation == "next_to":
        angle = rng.uniform(0, 2 * np.pi)
        axis = np.array([np.cos(angle), np.sin(angle)])
    else:
        axis = relations.ground_axis(relation, scene.camera)
    reach = distance
    if reach is None:
        touching = _reach(thing, axis, shapes) + _reach(reference, -axis, shapes)
        reach = max(touching + rng.uniform(*_CLEARANCE.get(relation, _CLOSE)), relations.MARGIN + 0.1)
    return geometry.at(thing, origin + reach * axis, height)


def _reach(thing: SceneObject, axis: np.ndarray, shapes: Shapes) -> float:
    """Metres that the footprint extends from its middle along either sense of the axis, whichever is more."""
    outline = np.asarray(geometry.footprint(thing, shapes).exterior.coords)
    return float(np.max(np.abs((outline - thing.pose.position[:2]) @ axis)))


def new_things(
    expression: Expression,
    number: int,
    scene: Scene,
    shapes: Shapes,
    rng: np.random.Generator,
    *,
    region: str | None = None,
    relation: str | None = None,
    reference: SceneObject | None = None,
) -> list[SceneObject]:
    """`number` new objects that fit the description, each where it stands free and is seen."""
    noun = expression.noun
    if noun in ("object", "it"):
        raise SpatialError("incomplete", "say what is to be added")
    assets = shapes.assets(noun)
    if expression.color or expression.material:
        assets = tuple(asset for asset in assets if shapes.mesh(asset).painted)
        if not assets:
            raise SpatialError("unpaintable", f"every {noun} here brings its own colour and material")
    things: list[SceneObject] = []
    for _ in range(number):
        asset = assets[int(rng.integers(len(assets)))]
        looks: list[tuple[str | None, str | None]] = [
            (color, material)
            for color in ([expression.color] if expression.color else COLORS)
            for material in ([expression.material] if expression.material else MATERIALS)
            if recognisable(noun, color, material)
        ] or [(expression.color, expression.material)]
        color, material = looks[int(rng.integers(len(looks)))]
        if not shapes.mesh(asset).painted:
            color = material = None
        factor = float(rng.uniform(0.6, 0.85))
        width, depth, height = shapes.size(asset)
        thing = SceneObject(
            id=_fresh_id(noun, scene),
            asset=asset,
            noun=noun,
            pose=Pose((0.0, 0.0, 0.0), size=(width * factor, depth * factor, height * factor)),
            color=color,
            material=material,
        )
        thing = replace(thing, pose=geometry.turned(thing.pose, float(rng.uniform(-180, 180))))
        if relation is not None and reference is not None:
            with_new = replace(scene, objects=(*scene.objects, thing))
            placed = related(thing, relation, reference, with_new, shapes, rng)
        else:
            placed = _somewhere(thing, region, scene, shapes, rng)
        things.append(placed)
        scene = replace(scene, objects=(*scene.objects, placed))
    return things


def copies(
    thing: SceneObject, number: int, scene: Scene, shapes: Shapes, rng: np.random.Generator
) -> list[SceneObject]:
    """`number` copies of an object, alike but for their place, on the floor near it."""
    made: list[SceneObject] = []
    for _ in range(number):
        copy = replace(thing, id=_fresh_id(thing.noun, scene), support=None)
        placed = _somewhere(copy, None, scene, shapes, rng)
        made.append(placed)
        scene = replace(scene, objects=(*scene.objects, placed))
    return made


def _somewhere(
    thing: SceneObject, region: str | None, scene: Scene, shapes: Shapes, rng: np.random.Generator
) -> SceneObject:
    with_new = replace(scene, objects=(*scene.objects, thing))
    if region is not None:
        return into_region(thing, region, with_new, shapes, rng)
    camera = scene.camera

    def candidates() -> Iterator[SceneObject]:
        for _ in range(TRIES * 2):
            spot = geometry.ground_point(
                camera, camera.width * rng.uniform(0.1, 0.9), camera.height * rng.uniform(0.25, 0.92)
            )
            if spot is not None and np.max(np.abs(spot)) < scene.backdrop.half_extent:
                yield geometry.at(thing, spot, 0.0)

    return _first(candidates(), with_new, shapes, f"one more {thing.noun}")


def _fresh_id(noun: str, scene: Scene) -> str:
    number = 1
    while f"{noun}-{number}" in scene:
        number += 1
    return f"{noun}-{number}"


def _first(
    candidates: Iterable[SceneObject],
    scene: Scene,
    shapes: Shapes,
    what: str,
    fits: Callable[[SceneObject], bool] = lambda _: True,
) -> SceneObject:
    reason = "no_room"
    for moved in candidates:
        if not fits(moved):
            continue
        try:
            check(scene.with_objects(moved), shapes, [moved.id])
        except SpatialError as error:
            reason = error.reason
            continue
        return moved
    raise SpatialError("no_room", f"found no place for {what} (last try: {reason})")

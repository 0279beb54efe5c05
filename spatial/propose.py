"""Proposing: a random instruction of a kind that makes sense in a scene, before anyone tries to carry it out.

Metric, vague and open forms are mixed. Proposals may turn out impossible: `resolve` says so, and the caller
draws again. Raises SpatialError("unfit_scene") where the scene has nothing for the kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from spatial import geometry, refer, relations
from spatial.instruction import REGIONS, Expression, Instruction
from spatial.operation import apply
from spatial.resolve import resolve
from spatial.scene import Scene, SceneObject, Shapes, SpatialError
from spatial.vocabulary import (
    BACKGROUNDS,
    COLORS,
    LIGHTINGS,
    MATERIALS,
    SUPPORTS,
    recognisable,
)

T = TypeVar("T")
VAGUE, OPEN = 0.18, 0.12  # shares of vague and open amounts; the rest is metric
# Kinds that may stand in a sequence: each judged on the picture before and after the whole.
STEPS = ("move", "place", "relate", "rotate", "resize", "remove", "recolor", "material", "lighting", "add")


@dataclass(frozen=True, slots=True)
class _Context:
    scene: Scene
    shapes: Shapes
    rng: np.random.Generator

    def pick(self, options: tuple[T, ...] | list[T]) -> T:
        if not options:
            raise SpatialError("unfit_scene", "the scene has nothing for this kind of edit")
        return options[int(self.rng.integers(len(options)))]

    def loose(self) -> list[SceneObject]:
        """Objects that carry nothing."""
        carried = {thing.support for thing in self.scene.objects}
        return [thing for thing in self.scene.objects if thing.id not in carried]

    def turnable(self) -> list[SceneObject]:
        """Objects that carry nothing and look different when turned."""
        return [thing for thing in self.loose() if self.shapes.turnable(thing.asset)]

    def words(self, thing: SceneObject, *avoid: SceneObject) -> Expression:
        ids = [other.id for other in avoid]
        return refer.describe(thing.id, self.scene, self.shapes, self.rng, avoid=ids)

    def two(self, second: Callable[[SceneObject], bool] = lambda _: True) -> tuple[SceneObject, SceneObject]:
        """A loose object, and another that fits `second`."""
        first = self.pick(self.loose())
        others = [t for t in self.scene.objects if t.id != first.id and t.id != first.support and second(t)]
        return first, self.pick(others)

    def extent(self) -> str:
        """ "metric", "vague" or "open"."""
        draw = self.rng.random()
        return "vague" if draw < VAGUE else "open" if draw < VAGUE + OPEN else "metric"

    def round(self, low: float, high: float, step: float) -> float:
        """A round number, as people say them."""
        return round(float(self.rng.integers(round(low / step), round(high / step) + 1)) * step, 4)


def propose(kind: str, scene: Scene, shapes: Shapes, rng: np.random.Generator) -> Instruction:
    """An instruction of this kind about this scene."""
    if kind == "sequence":
        return _sequence(scene, shapes, rng)
    return _KINDS[kind](_Context(scene, shapes, rng))


def _sequence(scene: Scene, shapes: Shapes, rng: np.random.Generator) -> Instruction:
    """Two or three steps about different things, each resolved before the next is thought of."""
    steps: list[Instruction] = []
    used: set[str] = set()
    wanted = 3 if rng.random() < 0.25 else 2
    for _ in range(12):
        kind = STEPS[int(rng.integers(len(STEPS)))]
        if any(step.kind == kind for step in steps):
            continue
        try:
            said = propose(kind, scene, shapes, rng)
            operation = resolve(said, scene, shapes, rng)
        except SpatialError:
            continue
        involved = operation.touched() | {i for i in (operation.reference, operation.reference2) if i}
        if involved & used or (kind == "lighting" and steps):
            continue
        steps.append(said)
        used |= involved
        scene = apply(operation, scene, shapes)
        if len(steps) == wanted:
            return Instruction("sequence", steps=tuple(steps))
    if len(steps) < 2:
        raise SpatialError("unfit_scene", "found no two steps that go together")
    return Instruction("sequence", steps=tuple(steps))


def _extent(c: _Context, said: Instruction, amount: float, unit: str) -> Instruction:
    extent = c.extent()
    if extent == "metric":
        return replace(said, amount=amount, unit=unit)
    return replace(said, vagueness="slightly") if extent == "vague" else said


def _move(c: _Context) -> Instruction:
    draw = c.rng.random()
    if draw < 0.62:
        thing = c.pick(c.loose())
        direction = c.pick(("left", "right", "left", "right", "up", "down"))
        said = Instruction("move", subject=c.words(thing), direction=direction)
        unit = "percent_width" if direction in ("left", "right") else "percent_height"
        return _extent(c, said, c.round(5, 30, 5) if c.rng.random() < 0.8 else c.round(4, 25, 1), unit)
    if draw < 0.84:
        thing = c.pick(c.loose())
        direction = c.pick(("left", "right", "forward", "backward"))
        said = Instruction("move", subject=c.words(thing), direction=direction)
        return replace(said, amount=c.round(0.3, 1.5, 0.1), unit="metre")
    thing, reference = c.two()
    toward = c.rng.random() < 0.6
    said = Instruction(
        "move",
        subject=c.words(thing, reference),
        reference=c.words(reference, thing),
        value="toward" if toward else "away",
    )
    if toward and c.rng.random() < 0.4:
        return replace(said, amount=0.5, unit="factor")
    return _extent(c, said, c.round(0.2, 1.2, 0.1), "metre")


def _place(c: _Context) -> Instruction:
    return Instruction("place", subject=c.words(c.pick(c.loose())), region=c.pick(REGIONS))


def _relate(c: _Context) -> Instruction:
    camera = c.scene.camera
    relation = c.pick(("left_of", "right_of", "in_front_of", "behind", "on", "next_to", "between"))
    if relation == "on":
        thing, reference = c.two(lambda t: t.noun in SUPPORTS and t.support is None)
    else:
        thing, reference = c.two(
            lambda t: t.support is None and relations.frames_agree(relation, t, camera, c.shapes)
        )  # fmt: skip
    said = Instruction(
        "relate", subject=c.words(thing, reference), relation=relation, reference=c.words(reference, thing)
    )
    if relation == "between":
        others = [t for t in c.scene.objects if t.id not in (thing.id, reference.id) and t.support is None]
        return replace(said, reference2=c.words(c.pick(others), thing))
    if relation in relations.AXES and c.rng.random() < 0.25:
        return replace(said, amount=c.round(0.8, 1.8, 0.1), unit="metre")
    return said


def _swap(c: _Context) -> Instruction:
    loose = {t.id for t in c.loose()}
    first, second = c.two(lambda t: t.id in loose)
    return Instruction("swap", subject=c.words(first, second), reference=c.words(second, first))


def _align(c: _Context) -> Instruction:
    thing, reference = c.two(lambda t: t.support is None)
    return Instruction(
        "align",
        subject=c.words(thing, reference),
        reference=c.words(reference, thing),
        value=c.pick(("row", "column")),
    )


def _rotate(c: _Context) -> Instruction:
    said = Instruction("rotate", subject=c.words(c.pick(c.turnable())))
    if c.rng.random() < 0.1:
        return replace(said, amount=180.0, unit="degree")
    said = replace(said, direction=c.pick(("clockwise", "counterclockwise")))
    return _extent(c, said, c.round(30, 150, 15), "degree")


def _orbit(c: _Context) -> Instruction:
    said = Instruction("orbit", direction=c.pick(("left", "right")))
    said = _extent(c, said, c.round(10, 60, 5), "degree")
    if said.amount is not None and c.rng.random() < 0.15:
        return replace(said, direction=None)
    return said


def _zoom(c: _Context) -> Instruction:
    return _extent(
        c, Instruction("zoom", value=c.pick(("in", "out"))), c.round(1.15, 1.6, 0.05), "factor"
    )  # fmt: skip


def _pan(c: _Context) -> Instruction:
    direction = c.pick(("left", "right", "left", "right", "up", "down"))
    return _extent(c, Instruction("pan", direction=direction), c.round(2, 9, 1), "degree")


def _resize(c: _Context) -> Instruction:
    value = c.pick(("larger", "smaller"))
    said = Instruction("resize", subject=c.words(c.pick(c.loose())), value=value)
    return _extent(c, said, c.round(1.2, 1.8, 0.1) if value == "larger" else c.round(0.5, 0.8, 0.1), "factor")


def _new(c: _Context) -> Expression:
    """Words for something to add: not to be taken for what is there already."""
    there = {thing.noun for thing in c.scene.objects}
    fresh = [noun for noun in c.shapes.nouns if noun not in there]
    color = c.pick(COLORS) if c.rng.random() < 0.7 else None
    material = c.pick(MATERIALS) if c.rng.random() < 0.25 else None
    noun = c.pick(fresh)
    if not recognisable(noun, color, material):
        material = None
    if not any(c.shapes.mesh(asset).painted for asset in c.shapes.assets(noun)):
        color = material = None
    return Expression(noun, color=color, material=material)


def _add(c: _Context) -> Instruction:
    number = float(c.pick((1, 1, 1, 2, 2, 3)))
    said = Instruction("add", subject=_new(c), amount=number, unit="count")
    draw = c.rng.random()
    if number <= 2 and draw < 0.35:
        return replace(said, region=c.pick(REGIONS))
    if number == 1 and draw < 0.65:
        camera = c.scene.camera
        relation = c.pick(("left_of", "right_of", "in_front_of", "behind", "next_to"))
        fit = [
            t for t in c.scene.objects
            if t.support is None and relations.frames_agree(relation, t, camera, c.shapes)
        ]  # fmt: skip
        return replace(said, relation=relation, reference=c.words(c.pick(fit)))
    return said


def _duplicate(c: _Context) -> Instruction:
    thing = c.pick(c.loose())
    return Instruction(
        "duplicate", subject=c.words(thing), amount=float(c.pick((1, 1, 2))), unit="count"
    )  # fmt: skip


def _remove(c: _Context) -> Instruction:
    if len(c.scene.objects) < 2:
        raise SpatialError("unfit_scene", "an empty picture teaches nothing")
    return Instruction("remove", subject=c.words(c.pick(c.loose())))


def _count(c: _Context) -> Instruction:
    nouns = [thing.noun for thing in c.scene.objects]
    noun = c.pick([n for n in nouns if nouns.count(n) > 1] or nouns)
    there = [thing for thing in c.scene.objects if thing.noun == noun]
    same = {thing.color for thing in there}
    color = there[0].color if len(same) == 1 and c.rng.random() < 0.3 else None
    number = c.pick([n for n in range(1, 6) if n != len(there) and abs(n - len(there)) <= 2])
    return Instruction("count", subject=Expression(noun, color=color), amount=float(number), unit="count")


def _recolor(c: _Context) -> Instruction:
    thing = c.pick([t for t in c.scene.objects if t.color is not None])
    others = tuple(k for k in COLORS if k != thing.color and recognisable(thing.noun, k, thing.material))
    return Instruction("recolor", subject=c.words(thing), value=c.pick(others))


def _material(c: _Context) -> Instruction:
    thing = c.pick([t for t in c.scene.objects if t.material is not None])
    # Matte and glossy differ too little at this size to be asked for.
    alike = {"matte", "glossy"} if thing.material in ("matte", "glossy") else {thing.material}
    others = tuple(m for m in MATERIALS if m not in alike and recognisable(thing.noun, thing.color, m))
    return Instruction("material", subject=c.words(thing), value=c.pick(others))


def _lighting(c: _Context) -> Instruction:
    value = c.pick([v for v in LIGHTINGS if v != c.scene.light.environment])
    direction = c.pick(("left", "right")) if value == "side" else None
    return Instruction("lighting", value=value, direction=direction)


def _background(c: _Context) -> Instruction:
    there = {c.scene.light.environment, f"floor:{c.scene.backdrop.floor}"}
    options = [v for v in BACKGROUNDS if v not in there]
    if c.scene.backdrop.wall is not None:
        options = [v for v in options if v.startswith("floor:")]
    return Instruction("background", value=c.pick(options))


def _mirror(c: _Context) -> Instruction:
    if c.rng.random() < 0.6:
        return Instruction("mirror")
    camera = c.scene.camera
    # An object seen from straight ahead or behind looks the same mirrored.
    askew = [
        t for t in c.turnable()
        if abs(float(geometry.front(t) @ geometry.right_axis(camera))) > 0.35
    ]  # fmt: skip
    return Instruction("mirror", subject=c.words(c.pick(askew)))


_KINDS: dict[str, Callable[[_Context], Instruction]] = {
    "move": _move, "place": _place, "relate": _relate, "swap": _swap, "align": _align, "rotate": _rotate,
    "orbit": _orbit, "zoom": _zoom, "pan": _pan, "resize": _resize, "add": _add, "duplicate": _duplicate,
    "remove": _remove, "count": _count, "recolor": _recolor, "material": _material, "lighting": _lighting,
    "background": _background, "mirror": _mirror,
}  # fmt: skip
SCENE_KINDS = (*_KINDS, "sequence")

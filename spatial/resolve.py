"""From what is said to what is done: `resolve(instruction, scene, shapes, rng) -> Operation`.

Words are grounded to ids, vague amounts drawn, poses solved so that the image does what was asked. What
cannot be done raises SpatialError with a reason that reports count by; nothing is clamped or guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spatial import geometry, placement, refer, relations, solve, viewpoint
from spatial.instruction import Expression, Instruction
from spatial.operation import Change, Operation, apply
from spatial.scene import Scene, SceneObject, Shapes, SpatialError

# What open and vague amounts are drawn from, uniformly. Percent of the image, metres, degrees, factors.
SLIGHT = {"percent": (3.0, 7.0), "turn": (15.0, 30.0), "scale": (1.15, 1.25)}
OPEN = {"percent": (7.0, 15.0), "turn": (40.0, 120.0), "scale": (1.3, 1.5)}


@dataclass(frozen=True, slots=True)
class Context:
    """What resolving one instruction may look at. antecedent: what "it" means, from an earlier step."""

    said: Instruction
    scene: Scene
    shapes: Shapes
    rng: np.random.Generator
    antecedent: str | None = None

    def find(self, expression: Expression | None) -> SceneObject:
        if expression is None:
            raise SpatialError("incomplete", f"a {self.said.kind} instruction needs to say what it is about")
        found = refer.ground(expression, self.scene, self.shapes, antecedent=self.antecedent)
        return self.scene[found]

    def loose(self, expression: Expression | None) -> SceneObject:
        """An object that may change its place or size: nothing stands on it."""
        thing = self.find(expression)
        riders = [other.id for other in self.scene.objects if other.support == thing.id]
        if riders:
            raise SpatialError("carries_others", f"{thing.id} carries {', '.join(riders)}")
        return thing

    def draw(self, what: str) -> float:
        low, high = (SLIGHT if self.said.vagueness else OPEN)[what]
        return round(float(self.rng.uniform(low, high)), 2)


def resolve(
    instruction: Instruction,
    scene: Scene,
    shapes: Shapes,
    rng: np.random.Generator,
    *,
    antecedent: str | None = None,
) -> Operation:
    """The operation that carries out the instruction in this scene; checked by applying it.

    Raises SpatialError; its reason is one of those of `ground` and `apply`, or "incomplete", "no_change",
    "carries_others", "unreachable", "no_room", "unsupported_kind".
    """
    if instruction.kind == "sequence":
        return _sequence(instruction, scene, shapes, rng)
    if instruction.kind not in _KINDS:
        raise SpatialError("unsupported_kind", f"{instruction.kind} edits pictures, not scenes")
    context = Context(instruction, scene, shapes, rng, antecedent)
    operation = _KINDS[instruction.kind](context)
    apply(operation, scene, shapes)
    return operation


def _sequence(instruction: Instruction, scene: Scene, shapes: Shapes, rng: np.random.Generator) -> Operation:
    steps = []
    antecedent = None
    for said in instruction.steps:
        step = resolve(said, scene, shapes, rng, antecedent=antecedent)
        scene = apply(step, scene, shapes)
        antecedent = step.subject or antecedent
        steps.append(step)
    return Operation("sequence", steps=tuple(steps))


def _changed(kind: str, before: SceneObject, after: SceneObject, **fields: object) -> Operation:
    return Operation(kind, subject=before.id, changes=(Change(before, after),), **fields)  # type: ignore[arg-type]


# --- places ---------------------------------------------------------------------------------------------------


def _move(context: Context) -> Operation:
    said, camera, shapes = context.said, context.scene.camera, context.shapes
    thing = context.loose(said.subject)
    if said.reference is not None:
        return _move_along(context, thing)
    if said.unit == "metre" and said.amount is not None:
        axis = {
            "left": -geometry.right_axis(camera), "right": geometry.right_axis(camera),
            "forward": -geometry.away_axis(camera), "backward": geometry.away_axis(camera),
        }.get(said.direction or "")  # fmt: skip
        if axis is None:
            raise SpatialError("incomplete", "metres go left, right, forward or backward")
        moved = geometry.at(thing, np.asarray(thing.pose.position[:2]) + said.amount * axis)
        return _changed("move", thing, moved, direction=said.direction, amount=said.amount, unit="metre")
    amount = said.amount if said.amount is not None else context.draw("percent")
    x, y = geometry.centre(thing, camera, shapes)
    if said.direction in ("left", "right"):
        sign = 1 if said.direction == "right" else -1
        moved = solve.slide_sideways(thing, x + sign * amount / 100 * camera.width, camera, shapes)
        unit = "percent_width"
    elif said.direction in ("up", "down"):
        sign = 1 if said.direction == "down" else -1
        moved = solve.slide_to(thing, (x, y + sign * amount / 100 * camera.height), camera, shapes)
        unit = "percent_height"
    else:
        # "Closer to the viewer" without a number: half a metre or so.
        sign = 1 if said.direction == "backward" else -1
        amount = round(amount / 10, 2)
        step = sign * amount * geometry.away_axis(camera)
        moved = geometry.at(thing, np.asarray(thing.pose.position[:2]) + step)
        unit = "metre"
    return _changed("move", thing, moved, direction=said.direction, amount=amount, unit=unit)


def _move_along(context: Context, thing: SceneObject) -> Operation:
    """Towards or away from the reference, along the floor."""
    said = context.said
    reference = context.find(said.reference)
    step = np.subtract(reference.pose.position[:2], thing.pose.position[:2])
    distance = float(np.linalg.norm(step))
    if distance < 1e-3 or thing.support == reference.id:
        raise SpatialError("unreachable", f"{thing.id} is already there")
    if said.unit == "factor" and said.amount is not None:
        amount, unit = said.amount, "factor"
        shift = said.amount * step
    else:
        amount = said.amount if said.amount is not None else context.draw("percent") / 20
        amount, unit = round(amount, 2), "metre"
        if amount >= distance and said.value == "toward":
            raise SpatialError("unreachable", f"{reference.id} is only {distance:.2f} m away")
        shift = (amount if said.value == "toward" else -amount) * step / distance
    moved = geometry.at(thing, np.asarray(thing.pose.position[:2]) + shift)
    return _changed("move", thing, moved, reference=reference.id, value=said.value, amount=amount, unit=unit)


def _place(context: Context) -> Operation:
    said = context.said
    thing = context.loose(said.subject)
    if said.region is None:
        raise SpatialError("incomplete", "place needs a region")
    camera = context.scene.camera
    here = geometry.region_of(geometry.centre(thing, camera, context.shapes), camera.width, camera.height)
    if here == said.region:
        raise SpatialError("no_change", f"{thing.id} is in the {said.region} already")
    moved = placement.into_region(
        replace(thing, support=None), said.region, context.scene, context.shapes, context.rng
    )
    return _changed("place", thing, moved, region=said.region)


def _relate(context: Context) -> Operation:
    said, scene, shapes = context.said, context.scene, context.shapes
    thing, reference = context.loose(said.subject), context.find(said.reference)
    reference2 = context.find(said.reference2) if said.relation == "between" else None
    if said.relation is None or thing.id in (reference.id, reference2 and reference2.id):
        raise SpatialError("incomplete", "relate needs a relation to something else")
    if not relations.frames_agree(said.relation, reference, scene.camera, shapes):
        raise SpatialError(
            "ambiguous_frame", f"{said.relation} {reference.id}: the viewer and the {reference.noun} disagree"
        )
    if said.amount is None and relations.holds(
        said.relation, thing, reference, scene, shapes, reference2=reference2, dominant=True
    ):
        raise SpatialError("no_change", f"{thing.id} is {said.relation} {reference.id} already")
    moved = placement.related(
        thing, said.relation, reference, scene, shapes, context.rng,
        reference2=reference2, distance=said.amount,
    )  # fmt: skip
    return _changed(
        "relate", thing, moved, reference=reference.id, reference2=reference2 and reference2.id,
        relation=said.relation, amount=said.amount, unit=said.unit,
    )  # fmt: skip


def _swap(context: Context) -> Operation:
    camera, shapes = context.scene.camera, context.shapes
    first, second = context.loose(context.said.subject), context.loose(context.said.reference)
    if first.id == second.id:
        raise SpatialError("incomplete", "swap needs two different things")
    moved = []
    for thing, other in ((first, second), (second, first)):
        there = replace(
            geometry.at(thing, other.pose.position[:2], other.pose.position[2]), support=other.support
        )
        # A handle or spout shifts the outline; the image column is what the viewer compares.
        target = float(geometry.centre(other, camera, shapes)[0])
        moved.append(solve.slide_sideways(there, target, camera, shapes))
    changes = (Change(first, moved[0]), Change(second, moved[1]))
    return Operation("swap", subject=first.id, reference=second.id, changes=changes)


def _align(context: Context) -> Operation:
    camera, shapes = context.scene.camera, context.shapes
    thing, reference = context.loose(context.said.subject), context.find(context.said.reference)
    if thing.id == reference.id or thing.support is not None or reference.support is not None:
        raise SpatialError("incomplete", "align needs two things on the floor")
    own = geometry.silhouette(thing, camera, shapes)
    other = geometry.silhouette(reference, camera, shapes)
    if context.said.value == "column":
        if abs(own.centre[0] - other.centre[0]) < 0.03 * camera.width:
            raise SpatialError("no_change", f"{thing.id} and {reference.id} are in one column already")
        moved = solve.slide_sideways(thing, float(other.centre[0]), camera, shapes)
    else:
        if abs(own.box[3] - other.box[3]) < 0.03 * camera.height:
            raise SpatialError("no_change", f"{thing.id} and {reference.id} are in one row already")
        moved = solve.slide_feet(thing, float(own.centre[0]), other.box[3], camera, shapes)
    return _changed("align", thing, moved, reference=reference.id, value=context.said.value)


# --- shape and number -------------------------------------------------------------------------------------------


def _rotate(context: Context) -> Operation:
    said = context.said
    thing = context.loose(said.subject)
    amount = said.amount if said.amount is not None else context.draw("turn")
    direction = said.direction or ("clockwise" if context.rng.random() < 0.5 else "counterclockwise")
    pose = geometry.turned(thing.pose, amount if direction == "counterclockwise" else -amount)
    return _changed(
        "rotate", thing, replace(thing, pose=pose), direction=direction, amount=amount, unit="degree"
    )


def _resize(context: Context) -> Operation:
    said = context.said
    thing = context.loose(said.subject)
    amount = said.amount
    if amount is None:
        amount = context.draw("scale")
        amount = amount if said.value == "larger" else round(1 / amount, 4)
    width, depth, height = (round(extent * amount, 6) for extent in thing.pose.size)
    after = replace(thing, pose=replace(thing.pose, size=(width, depth, height)))
    return _changed("resize", thing, after, value=said.value, amount=amount, unit="factor")


def _mirror(context: Context) -> Operation:
    if context.said.subject is None:
        return viewpoint.mirror_whole(context.scene)
    thing = context.find(context.said.subject)
    return _changed("mirror", thing, viewpoint.mirrored_in_place(thing, context.scene.camera))


def _added(context: Context, things: list[SceneObject], **fields: object) -> Operation:
    changes = tuple(Change(None, thing) for thing in things)
    names = tuple(thing.id for thing in things)
    return Operation(
        context.said.kind,
        objects=names,
        changes=changes,
        unit="count",
        **fields,  # type: ignore[arg-type]
    )


def _add(context: Context) -> Operation:
    said = context.said
    if said.subject is None or said.amount is None:
        raise SpatialError("incomplete", "add needs what and how many")
    reference = context.find(said.reference) if said.reference is not None else None
    if (
        reference
        and said.relation
        and not relations.frames_agree(said.relation, reference, context.scene.camera, context.shapes)
    ):
        raise SpatialError("ambiguous_frame", f"{said.relation} {reference.id}: two frames disagree")
    things = placement.new_things(
        said.subject, int(said.amount), context.scene, context.shapes, context.rng,
        region=said.region, relation=said.relation, reference=reference,
    )  # fmt: skip
    return _added(
        context, things, amount=float(said.amount), region=said.region, relation=said.relation,
        reference=reference and reference.id, subject=things[0].id if len(things) == 1 else None,
    )  # fmt: skip


def _duplicate(context: Context) -> Operation:
    thing = context.find(context.said.subject)
    number = int(context.said.amount or 1)
    copies = placement.copies(thing, number, context.scene, context.shapes, context.rng)
    return _added(context, copies, subject=thing.id, amount=float(number))


def _remove(context: Context) -> Operation:
    thing = context.loose(context.said.subject)
    return Operation("remove", subject=thing.id, objects=(thing.id,), changes=(Change(thing, None),))


def _count(context: Context) -> Operation:
    said, scene = context.said, context.scene
    if said.subject is None or said.amount is None:
        raise SpatialError("incomplete", "count needs what and how many")
    found = refer.matching(said.subject, scene, context.shapes)
    wanted = int(said.amount)
    if wanted == len(found):
        raise SpatialError("no_change", f"there are {wanted} already")
    if not found:
        raise SpatialError("no_such_object", f"there is no {said.subject.noun} to begin with")
    if wanted > len(found):
        things = placement.new_things(said.subject, wanted - len(found), scene, context.shapes, context.rng)
        return _added(context, things, amount=float(wanted))
    carried = {thing.support for thing in scene.objects}
    free = [thing for thing in found if thing.id not in carried]
    if len(free) < len(found) - wanted:
        raise SpatialError("carries_others", "too many of them carry other things")
    chosen = context.rng.choice(len(free), len(found) - wanted, replace=False)
    gone = tuple(free[i] for i in sorted(chosen))
    return Operation(
        "count", objects=tuple(thing.id for thing in gone), amount=float(wanted), unit="count",
        changes=tuple(Change(thing, None) for thing in gone),
    )  # fmt: skip


# --- looks ------------------------------------------------------------------------------------------------------


def _recolor(context: Context) -> Operation:
    return _relook(context, "color", lambda thing, value: replace(thing, color=value))


def _material(context: Context) -> Operation:
    return _relook(context, "material", lambda thing, value: replace(thing, material=value))


def _relook(context: Context, attribute: str, change: Callable[[SceneObject, str], SceneObject]) -> Operation:
    thing, value = context.find(context.said.subject), context.said.value
    old = getattr(thing, attribute)
    if value is None or old is None:
        raise SpatialError("incomplete", f"{thing.id} has no {attribute} to change, or no new one was said")
    if value == old:
        raise SpatialError("no_change", f"{thing.id} is {value} already")
    return _changed(context.said.kind, thing, change(thing, value), value=value)


_KINDS: dict[str, Callable[[Context], Operation]] = {
    "move": _move, "place": _place, "relate": _relate, "swap": _swap, "align": _align, "rotate": _rotate,
    "resize": _resize, "mirror": _mirror, "add": _add, "duplicate": _duplicate, "remove": _remove,
    "count": _count, "recolor": _recolor, "material": _material,
    "orbit": lambda c: viewpoint.orbit(c.said, c.scene, c.rng),
    "zoom": lambda c: viewpoint.zoom(c.said, c.scene, c.rng),
    "pan": lambda c: viewpoint.pan(c.said, c.scene, c.rng),
    "lighting": lambda c: viewpoint.lighting(c.said, c.scene),
    "background": lambda c: viewpoint.background(c.said, c.scene),
}  # fmt: skip

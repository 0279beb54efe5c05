"""What is done: an operation on one scene, with ids, numbers and poses filled in.

An operation holds the state before and after of everything it touches, so that applying needs no solver,
undoing is exact, and nothing is ever clamped: `apply` refuses a scene it was not made for and a result
that would leave the frame, the floor or its support.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from spatial import geometry
from spatial.scene import Backdrop, Camera, Light, Scene, SceneObject, Shapes, SpatialError

SUBJECT_VISIBLE = 0.95  # least share of a changed object that is seen
OTHERS_VISIBLE = 0.35  # least share of any other
MIN_GAP = 0.06  # metres between footprints
_OPPOSITE = {
    "left": "right", "right": "left", "up": "down", "down": "up", "forward": "backward",
    "backward": "forward", "clockwise": "counterclockwise", "counterclockwise": "clockwise",
}  # fmt: skip
_OPPOSITE_VALUE = {
    "in": "out", "out": "in", "larger": "smaller", "smaller": "larger", "toward": "away", "away": "toward",
}  # fmt: skip
_OPPOSITE_KIND = {"add": "remove", "duplicate": "remove", "remove": "add"}


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None where it does not exist."""

    before: SceneObject | None
    after: SceneObject | None


@dataclass(frozen=True, slots=True)
class Operation:
    """The first group of fields is what a dataset row tells; the second is what `apply` needs.

    subject, reference, reference2, objects (added or removed): object ids. amount is in `unit`, never
    vague. `inverse` marks an operation made by `invert`; where the undoing of a kind is not of that kind
    (a ball put in a corner, put back), its fields keep the forward description.
    """

    kind: str
    subject: str | None = None
    reference: str | None = None
    reference2: str | None = None
    direction: str | None = None
    amount: float | None = None
    unit: str | None = None
    region: str | None = None
    relation: str | None = None
    value: str | None = None
    objects: tuple[str, ...] = ()

    changes: tuple[Change, ...] = ()
    camera: tuple[Camera, Camera] | None = None
    light: tuple[Light, Light] | None = None
    backdrop: tuple[Backdrop, Backdrop] | None = None
    steps: tuple[Operation, ...] = ()
    inverse: bool = False

    def parts(self) -> tuple[Operation, ...]:
        """The steps of a sequence, or the operation itself."""
        return self.steps or (self,)

    def touched(self) -> frozenset[str]:
        """Ids of all objects that exist differently afterwards."""
        own = {t.id for change in self.changes for t in (change.before, change.after) if t is not None}
        return frozenset(own).union(*(step.touched() for step in self.steps))


def apply(operation: Operation, scene: Scene, shapes: Shapes) -> Scene:
    """The scene afterwards.

    Raises SpatialError: "stale_operation" where the scene is not the one it was made for; "out_of_frame",
    "off_floor", "off_support", "collision" or "hidden" where the result would not stand.
    """
    for step in operation.steps:
        scene = apply(step, scene, shapes)
    if operation.steps:
        return scene
    result = exchange(operation, scene)
    after = [change.after.id for change in operation.changes if change.after is not None]
    check(result, shapes, after)
    return result


def exchange(operation: Operation, scene: Scene) -> Scene:
    """The scene with the operation's before-states exchanged for its after-states, unchecked as a place to be."""
    objects = list(scene.objects)
    for change in operation.changes:
        if change.before is None:
            assert change.after is not None
            if change.after.id in scene:
                raise SpatialError("stale_operation", f"{change.after.id} is already in the scene")
            objects.append(change.after)
            continue
        if change.before not in objects:
            raise SpatialError("stale_operation", f"{change.before.id} is not as the operation found it")
        index = objects.index(change.before)
        objects[index : index + 1] = [change.after] if change.after else []
    result = replace(scene, objects=tuple(objects))
    for field in ("camera", "light", "backdrop"):
        states = getattr(operation, field)
        if states is not None:
            if getattr(scene, field) != states[0]:
                raise SpatialError("stale_operation", f"the {field} is not as the operation found it")
            result = replace(result, **{field: states[1]})
    return result


def invert(operation: Operation) -> Operation:
    """The operation that undoes this one: apply(invert(op), apply(op, scene)) shows the same picture as scene."""
    inverted = replace(
        operation,
        kind=_OPPOSITE_KIND.get(operation.kind, operation.kind),
        direction=_OPPOSITE.get(operation.direction or "", operation.direction),
        amount=1 / operation.amount if operation.unit == "factor" and operation.amount else operation.amount,
        value=_old_value(operation),
        changes=tuple(Change(change.after, change.before) for change in reversed(operation.changes)),
        camera=operation.camera and operation.camera[::-1],
        light=operation.light and operation.light[::-1],
        backdrop=operation.backdrop and operation.backdrop[::-1],
        steps=tuple(invert(step) for step in reversed(operation.steps)),
        inverse=not operation.inverse,
    )
    if operation.kind == "move" and operation.unit == "factor" and operation.amount:
        # Half of the way there is the whole of the remaining way back, and the other way round.
        left = 1 - operation.amount if operation.value == "toward" else 1 + operation.amount
        inverted = replace(inverted, amount=operation.amount / left)
    if operation.kind == "duplicate":  # it is the copies that go
        inverted = replace(inverted, subject=operation.objects[0] if len(operation.objects) == 1 else None)
    if operation.kind == "remove":
        inverted = replace(inverted, amount=float(len(operation.objects)), unit="count")
    if operation.kind == "count":
        before = sum(c.before is not None for c in operation.changes)
        after = sum(c.after is not None for c in operation.changes)
        inverted = replace(inverted, amount=(operation.amount or 0) + before - after)
    return inverted


def _old_value(operation: Operation) -> str | None:
    first = operation.changes[0].before if operation.changes else None
    if operation.kind == "recolor" and first is not None:
        return first.color
    if operation.kind == "material" and first is not None:
        return first.material
    if operation.kind in ("lighting", "background") and operation.light is not None:
        before, after = operation.light
        return before.environment if before.environment != after.environment else _OPPOSITE_LIGHT.get(
            operation.value or "", operation.value
        )  # fmt: skip
    if operation.kind == "background" and operation.backdrop is not None:
        return f"floor:{operation.backdrop[0].floor}"
    return _OPPOSITE_VALUE.get(operation.value or "", operation.value)


_OPPOSITE_LIGHT = {"brighter": "dimmer", "dimmer": "brighter", "warmer": "cooler", "cooler": "warmer"}


def check(scene: Scene, shapes: Shapes, subjects: Iterable[str] = ()) -> None:
    """Raises SpatialError unless every object stands free, on something, in frame and visible.

    `subjects` must be visible to `SUBJECT_VISIBLE`, all others to `OTHERS_VISIBLE`.
    """
    for index, thing in enumerate(scene.objects):
        stands(thing, scene, shapes)
        for other in scene.objects[:index]:
            touching = thing.support == other.id or other.support == thing.id
            if not touching and geometry.gap(thing, other, shapes) < MIN_GAP:
                raise SpatialError("collision", f"{thing.id} and {other.id} would touch")
        box = geometry.silhouette(thing, scene.camera, shapes).box
        if not geometry.in_frame(box, scene.camera, 1.0):
            raise SpatialError("out_of_frame", f"{thing.id} would leave the frame")
    fractions = geometry.visible_fractions(scene, shapes)
    chosen = frozenset(subjects)
    for name, fraction in fractions.items():
        if fraction < (SUBJECT_VISIBLE if name in chosen else OTHERS_VISIBLE):
            raise SpatialError("hidden", f"only {fraction:.0%} of {name} would be seen")


def stands(thing: SceneObject, scene: Scene, shapes: Shapes) -> None:
    """Raises SpatialError unless the object is on the floor, or wholly on the top of its support."""
    outline = geometry.footprint(thing, shapes)
    if thing.support is None:
        west, south, east, north = outline.bounds
        limit = scene.backdrop.half_extent
        if max(abs(west), abs(south), abs(east), abs(north)) > limit:
            raise SpatialError("off_floor", f"{thing.id} would leave the floor")
        return
    below = scene[thing.support]
    if abs(thing.pose.position[2] - geometry.top(below)) > 1e-6:
        raise SpatialError("off_support", f"{thing.id} would float above {below.id}")
    if not geometry.footprint(below, shapes).buffer(1e-6).covers(outline):
        raise SpatialError("off_support", f"{thing.id} would hang over the edge of {below.id}")

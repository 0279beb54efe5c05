"""What masks, depth and pixels say about one kind of edit: the figures behind the geometric judge.

Each check gets the instruction, the operation and the two views and returns the figures that apply to its
kind. Places are measured on masks; what masks cannot show (depth, turn) on poses, depth and cameras.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from filters.surface import landed
from spatial import geometry
from spatial.instruction import CAMERA_KINDS, Instruction
from spatial.operation import Operation
from spatial.relations import AXES, offset
from spatial.scene import Floats, Scene, SceneObject, SpatialError, Vec3
from spatial.view import Mask, View
from spatial.vocabulary import REFLECTIVE

HALO = 0.16  # of the width: how far shadows and bounced light of a changed object are let reach
SIDE_MARGIN = 0.02  # of the width: least difference of centres for "left of"
NEXT_TO = 0.12  # of the width: largest gap of masks for "next to"
LIGHT_STEP = 0.05  # least change of the log of brightness, or of red over blue, that counts as one
_WORST_IS_LOW = frozenset({"holds", "visible_before", "visible_after", "visible_others", "change_inside"})
_SIGNS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class Figures(dict[str, float]):
    """Figures by name; merging keeps the worse of two, and the first measured amount."""

    def merge(self, other: dict[str, float]) -> None:
        for name, value in other.items():
            if name not in self or name == "amount_measured":
                self.setdefault(name, value)
            elif name == "count_error":
                self[name] = max(self[name], value, key=abs)
            else:
                self[name] = min(self[name], value) if name in _WORST_IS_LOW else max(self[name], value)


Check = Callable[[Instruction, Operation, View, View], dict[str, float]]


def _subject(step: Operation) -> str:
    if step.subject is None:
        raise SpatialError("incomplete", f"a {step.kind} operation without a subject")
    return step.subject


def _apart(a: Floats, b: Floats, view: View) -> float:
    return float(np.max(np.abs(a - b))) / view.scene.camera.width


def _same(a: SceneObject, b: SceneObject) -> float:
    """Metres between the two poses' bases."""
    return float(np.linalg.norm(np.subtract(a.pose.position, b.pose.position)))


# --- places -----------------------------------------------------------------------------------------------------


def _move(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name, camera = _subject(step), before.scene.camera
    amount = step.amount or 0.0
    was, now = before.centre(name), after.centre(name)
    if step.unit in ("percent_width", "percent_height"):
        sign = np.array(_SIGNS[step.direction or ""])
        extent = camera.width if step.unit == "percent_width" else camera.height
        measured = float((now - was) @ sign) / extent * 100
        return {
            "centre_error": _apart(now, was + sign * amount / 100 * extent, before),
            "amount_measured": measured,
            "percent_error": abs(measured - amount),
        }
    step_taken = np.subtract(after.scene[name].pose.position, before.scene[name].pose.position)
    if step.reference is None:
        right, away = offset(after.scene[name], before.scene[name], camera)
        measured = {"left": -right, "right": right, "forward": -away, "backward": away}[step.direction or ""]
        seen = {
            "left": now[0] < was[0], "right": now[0] > was[0],
            "forward": after.box(name)[3] > before.box(name)[3],
            "backward": after.box(name)[3] < before.box(name)[3],
        }[step.direction or ""]  # fmt: skip
    else:
        to_reference = np.subtract(
            before.scene[step.reference].pose.position[:2], before.scene[name].pose.position[:2]
        )
        distance = float(np.linalg.norm(to_reference))
        along = float(step_taken[:2] @ to_reference) / distance
        measured = along / distance if step.unit == "factor" else along
        measured = -measured if step.value == "away" else measured
        gap_was = float(np.linalg.norm(was - before.centre(step.reference)))
        gap_now = float(np.linalg.norm(now - after.centre(step.reference)))
        seen = gap_now > gap_was if step.value == "away" else gap_now < gap_was
    return {
        "amount_measured": float(measured),
        "factor_error" if step.unit == "factor" else "metre_error": abs(float(measured) - amount),
        "holds": min(float(seen), landed(name, before, after, lambda points: points + step_taken)),
    }


def _place(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    return {"holds": _in_region(_subject(step), step.region or "", after)}


def _in_region(name: str, region: str, view: View) -> float:
    camera = view.scene.camera
    x, y = view.centre(name)
    x0, y0, x1, y1 = geometry.region_box(region, camera.width, camera.height)
    return float(x0 <= x < x1 and y0 <= y < y1)


def _relate(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name, reference = _subject(step), step.reference or ""
    figures = {"holds": _related(step.relation or "", name, reference, step.reference2, after)}
    if step.amount is not None and step.relation in AXES:
        step_taken = offset(after.scene[name], after.scene[reference], after.scene.camera)
        figures["amount_measured"] = float(step_taken @ AXES[step.relation])
        figures["metre_error"] = abs(figures["amount_measured"] - step.amount)
    return figures


def _related(relation: str, name: str, reference: str, reference2: str | None, view: View) -> float:
    """1 where masks and depth show the relation, else 0."""
    camera = view.scene.camera
    thing, other = view.centre(name), view.centre(reference)
    margin = SIDE_MARGIN * camera.width
    right, away = offset(view.scene[name], view.scene[reference], camera)
    if relation in ("left_of", "right_of"):
        sign = 1 if relation == "right_of" else -1
        return float(sign * (thing[0] - other[0]) >= margin and abs(right) >= abs(away))
    if relation in ("in_front_of", "behind"):
        sign = 1 if relation == "behind" else -1
        # Along the floor, farther is higher: the feet's row must agree with the depth pass.
        feet = view.box(reference)[3] - view.box(name)[3]
        nearer = _depth(name, view) - _depth(reference, view)
        return float(sign * nearer > 0 and sign * feet > 0 and abs(away) >= abs(right))
    if relation == "on":
        x0, y0, x1, y1 = view.box(reference)
        left, _, far, bottom = view.box(name)
        return float(x0 <= left and far <= x1 and y0 < bottom < y1)
    if relation == "next_to":
        return float(_mask_gap(view.amodal[name], view.amodal[reference]) <= NEXT_TO * camera.width)
    if reference2 is None:
        return 0.0
    line = view.centre(reference2) - other
    share = float((thing - other) @ line) / float(line @ line)
    aside = abs(float(np.cross(np.append(line, 0), np.append(thing - other, 0))[2])) / float(line @ line)
    return float(0.2 <= share <= 0.8 and aside <= 0.3)


def _depth(name: str, view: View) -> float:
    """Median metres to the object's visible surface."""
    seen = view.depth[view.visible[name]]
    return float(np.median(seen)) if seen.size else float("nan")


def _mask_gap(a: Mask, b: Mask) -> float:
    """Least distance between two masks, pixels; infinite where one is empty."""
    if not a.any() or not b.any():
        return float("inf")
    distance = cv2.distanceTransform((~a).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(distance[b].min())


def _swap(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    first, second = _subject(step), step.reference or ""
    columns = max(
        abs(after.centre(first)[0] - before.centre(second)[0]),
        abs(after.centre(second)[0] - before.centre(first)[0]),
    )
    camera = before.scene.camera
    depths = max(
        abs(geometry.depth_of(after.scene[a], camera) - geometry.depth_of(before.scene[b], camera))
        for a, b in ((first, second), (second, first))
    )
    return {"centre_error": float(columns) / camera.width, "holds": float(depths < 0.02)}


def _align(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name, reference = _subject(step), step.reference or ""
    width = before.scene.camera.width
    if step.value == "column":
        error = abs(after.centre(name)[0] - after.centre(reference)[0])
    else:
        error = abs(after.box(name)[3] - after.box(reference)[3])
        # Feet are whole rows: the masks' own grain is not an error.
        error = max(0.0, error - 1.0)
    return {"centre_error": float(error) / width}


# --- shape, number, looks ---------------------------------------------------------------------------------------


def _rotate(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name = _subject(step)
    old, new = before.scene[name].pose, after.scene[name].pose
    turned = (geometry.yaw(new) - geometry.yaw(old)) % 360  # counterclockwise from above, 0..360
    measured = turned if step.direction == "counterclockwise" else (360 - turned) % 360
    error = abs(measured - (step.amount or 0.0) % 360)
    measured_sign = 1.0 if step.direction == "counterclockwise" else -1.0
    return {
        "amount_measured": measured,
        "degree_error": min(error, 360 - error),
        "metre_error": _same(before.scene[name], after.scene[name]),
        "holds": landed(name, before, after, _turn_about(old.position, measured_sign * (step.amount or 0.0))),
    }


def _resize(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name, factor = _subject(step), step.amount or 1.0
    measured = float(np.sqrt(after.amodal[name].sum() / max(before.amodal[name].sum(), 1)))
    # The base stays and the front comes nearer, so a large object grows a little more than it was asked to.
    nearer = geometry.depth_of(before.scene[name], before.scene.camera)
    lean = 1 + 0.5 * (factor - 1) * max(before.scene[name].pose.size) / nearer
    return {
        "amount_measured": measured,
        "factor_error": abs(measured / lean / factor - 1),
        "holds": float((measured > 1) == (factor > 1)),
    }


def _turn_about(base: Vec3, degrees: float) -> Callable[[Floats], Floats]:
    """World points (N, 3) turned about the vertical through `base`, counterclockwise from above."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return lambda points: (points - base) @ turn.T + base


def _flip_about(scene: Scene, name: str) -> Callable[[Floats], Floats]:
    """World points (N, 3) flipped left to right as the viewer sees them, about the object's own middle."""
    right = np.append(geometry.right_axis(scene.camera), 0.0)
    base = np.asarray(scene[name].pose.position)
    return lambda points: points - 2 * ((points - base) @ right)[:, None] * right


def _mirror(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    if step.subject is not None:
        toggled = before.scene[step.subject].mirrored != after.scene[step.subject].mirrored
        seen = landed(step.subject, before, after, _flip_about(before.scene, step.subject))
        moved = _same(before.scene[step.subject], after.scene[step.subject])
        return {"holds": min(float(toggled), seen), "metre_error": moved}
    worst = max((_unlike(before.amodal[n][:, ::-1], after.amodal[n]) for n in before.amodal), default=0.0)
    return {"holds": 1.0 - worst}


def _add(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    seen = [name for name in step.objects if name in after.amodal and after.visible[name].any()]
    figures = {"count_error": float(len(seen) - (step.amount or 0.0))}
    if step.region is not None:
        figures["holds"] = min((_in_region(name, step.region, after) for name in seen), default=0.0)
    elif step.relation is not None and step.reference is not None:
        figures["holds"] = min(
            (_related(step.relation, name, step.reference, None, after) for name in seen), default=0.0
        )
    return figures


def _remove(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    left = sum(name in after.amodal for name in step.objects)
    return {"count_error": float(left)}


def _count(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    wanted = said.subject
    if wanted is None:
        raise SpatialError("incomplete", "count without what is counted")
    number = sum(
        wanted.noun == thing.noun
        and wanted.color in (None, thing.color)
        and wanted.material in (None, thing.material)
        and bool(after.visible[thing.id].any())
        for thing in after.scene.objects
    )
    return {"count_error": float(number - (step.amount or 0.0))}


def _look(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    name = _subject(step)
    return {"unnamed_mask": _unlike(before.amodal[name], after.amodal[name])}


def _lighting(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    if before.image is None or after.image is None:
        return {}
    if step.value == "side":
        sign = 1 if step.direction == "right" else -1
        return {"holds": float(sign * (_lean(after) - _lean(before)) > 0)}
    old, new = _light(before.image), _light(after.image)
    change = {
        "brighter": new[0] - old[0], "dimmer": old[0] - new[0],
        "warmer": new[1] - old[1], "cooler": old[1] - new[1],
        "sunset": new[1] - old[1], "night": old[0] - new[0],
    }.get(step.value or "")  # fmt: skip
    return {} if change is None else {"holds": float(change >= LIGHT_STEP)}


def _lean(view: View) -> float:
    """How much brighter the right halves of the objects are than the left ones: difference of logs."""
    if view.image is None:
        return 0.0
    grey = view.image.astype(float).mean(axis=2) + 1.0
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for name, mask in view.visible.items():
        rows, columns = np.nonzero(mask)
        right = columns + 0.5 > view.centre(name)[0]
        halves[0].append(grey[rows[~right], columns[~right]])
        halves[1].append(grey[rows[right], columns[right]])
    left, other = (float(np.log(np.concatenate(half)).mean()) for half in halves)
    return other - left


def _light(image: np.ndarray) -> tuple[float, float]:
    """(log of mean brightness, log of red over blue)."""
    red, green, blue = image.reshape(-1, 3).mean(axis=0) + 1.0
    return float(np.log((red + green + blue) / 3)), float(np.log(red / blue))


# --- the camera -------------------------------------------------------------------------------------------------


def _orbit(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    return _turn(step, before, after, -1.0)


def _pan(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    return _turn(step, before, after, 1.0)


def _turn(step: Operation, before: View, after: View, sense: float) -> dict[str, float]:
    """sense: +1 where "left" turns the camera counterclockwise as seen from above, -1 where clockwise."""
    old, new = (geometry.camera_rotation(view.scene.camera) for view in (before, after))
    if step.direction in ("left", "right"):
        headings = [np.degrees(np.arctan2(rotation[2, 1], rotation[2, 0])) for rotation in (old, new)]
        turned = sense * ((headings[1] - headings[0] + 180) % 360 - 180)
        measured = turned if step.direction == "left" else -turned
    else:
        pitches = [np.degrees(np.arcsin(np.clip(rotation[2, 2], -1, 1))) for rotation in (old, new)]
        measured = pitches[1] - pitches[0] if step.direction == "up" else pitches[0] - pitches[1]
    return {
        "amount_measured": float(measured),
        "degree_error": abs(float(measured) - (step.amount or 0.0)),
        "holds": _reappear(before, after),
    }


def _zoom(said: Instruction, step: Operation, before: View, after: View) -> dict[str, float]:
    areas = [sum(int(mask.sum()) for mask in view.amodal.values()) for view in (before, after)]
    measured = float(np.sqrt(areas[1] / max(areas[0], 1)))
    return {
        "amount_measured": measured,
        "factor_error": abs(measured / (step.amount or 1.0) - 1),
        "holds": _reappear(before, after),
    }


def _reappear(before: View, after: View) -> float:
    return min((landed(name, before, after) for name in before.amodal), default=1.0)


# --- what must not change, and what must be seen ----------------------------------------------------------------


def bystanders(operation: Operation, before: View, after: View) -> dict[str, float]:
    """Unnamed objects are still there, alone, in their pose; and in their outline, unless the camera moves."""
    kinds = {step.kind for step in operation.parts()}
    if _is_whole_mirror(operation):
        return {}
    changes = [change for step in operation.parts() for change in step.changes]
    expected = sum(c.before is None for c in changes) - sum(c.after is None for c in changes)
    extra = len(after.amodal) - len(before.amodal) - expected
    names = [t.id for t in before.scene.objects if t.id in after.scene and t.id not in operation.touched()]
    figures = {
        "unnamed_shift": max((_same(before.scene[n], after.scene[n]) for n in names), default=0.0),
        "count_error": float(extra),
    }
    if not kinds & CAMERA_KINDS:
        figures["unnamed_mask"] = max(
            (_unlike(before.amodal[n], after.amodal[n]) for n in names), default=0.0
        )
    return figures


def visibility(operation: Operation, before: View, after: View) -> dict[str, float]:
    """Least visible shares. An object cut by the frame counts as not seen: its mask says nothing of the rest."""
    touched = frozenset[str]() if _is_whole_mirror(operation) else operation.touched()
    figures = Figures()
    for key, view in (("visible_before", before), ("visible_after", after)):
        for thing in view.scene.objects:
            share = 0.0 if _cut(view.amodal[thing.id]) else view.visible_fraction(thing.id)
            figures.merge({key if thing.id in touched else "visible_others": share})
    return figures


def _cut(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def pixels(operation: Operation, before: View, after: View) -> dict[str, float]:
    if before.image is None or after.image is None:
        return {}
    kinds = {step.kind for step in operation.parts()}
    difference = np.abs(after.image.astype(np.int16) - before.image).mean(axis=2) / 255
    if kinds & (CAMERA_KINDS | {"lighting", "background"}) or _is_whole_mirror(operation):
        return {"change_inside": float(difference.mean())}
    touched = np.zeros(difference.shape, bool)
    reflective = np.zeros(difference.shape, bool)
    for view in (before, after):
        for thing in view.scene.objects:
            if thing.id in operation.touched():
                touched |= view.amodal[thing.id]
            elif thing.material in REFLECTIVE:
                reflective |= view.amodal[thing.id]
    if not touched.any():
        return {"change_inside": float("nan")}
    radius = HALO * before.scene.camera.width
    distance = cv2.distanceTransform((~touched).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    outside = (distance > radius) & ~reflective
    figures = {"change_inside": float(difference[touched].mean())}
    if outside.any():
        figures["change_outside"] = float(difference[outside].mean())
    return figures


def _is_whole_mirror(operation: Operation) -> bool:
    return any(step.kind == "mirror" and step.subject is None for step in operation.parts())


def _unlike(a: Mask, b: Mask) -> float:
    """1 - IoU; 0 for two empty masks."""
    union = int(np.count_nonzero(a | b))
    return 1 - int(np.count_nonzero(a & b)) / union if union else 0.0


CHECKS: dict[str, Check] = {
    "move": _move, "place": _place, "relate": _relate, "swap": _swap, "align": _align, "rotate": _rotate,
    "resize": _resize, "mirror": _mirror, "add": _add, "duplicate": _add, "remove": _remove, "count": _count,
    "recolor": _look, "material": _look, "lighting": _lighting, "orbit": _orbit, "zoom": _zoom, "pan": _pan,
    "background": lambda said, step, before, after: {},
}  # fmt: skip

"""Whether an edit succeeded in space, defined once, for every editor alike.

What is read in the edited picture is held against the scene as it should be: the same things, the named ones where the
instruction puts them, all others where they were. Nothing is asked of the editor but its picture.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from evaluation.floor import camera_of, related
from evaluation.left_open import any_colour, any_of
from filters.reader import Sighting
from spatial.geometry import region_of
from spatial.instruction import CAMERA_KINDS

NAMED = 0.05  # of the width: how far a named thing may be off
UNNAMED = 0.03  # of the width: and one that the instruction does not name
AREA = 0.15  # of the square root of a box's area
YAW = 22.5  # degrees
VAGUE = (0.02, 0.15)  # of the width: how far "a little to the left" goes
ASIDE = 1.0  # of the way ahead, or `NAMED` where that is more: how far such a thing may go to a side
NOT_SPATIAL = frozenset({"lighting", "background", "style", "replace"})
"""Kinds of which a reader of things and places cannot say whether they happened; only what stays is judged."""

_AXES = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "forward": (0, 1),
    "backward": (0, -1),
}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """reason: None for success, else the first thing that is wrong: `other_things`, `named_off`, `unnamed_moved`,
    `wrong_size`, `wrong_way`, `wrong_extent`, `wrong_region`, `wrong_relation`, `wrong_turn`,
    `wrong_material`. off: the largest distance
    of a named thing from where it should be, shares of the width; None where it was not found."""

    reason: str | None
    off: float | None = None

    @property
    def success(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Thing:
    """kind, color, material: lexicon keys. box: xyxy pixels of what is seen. yaw: degrees, None where unknown."""

    id: str
    kind: str
    color: str
    box: tuple[float, float, float, float]
    material: str = ""
    yaw: float | None = None

    @property
    def centre(self) -> NDArray[np.float64]:
        x0, y0, x1, y1 = self.box
        return np.array([(x0 + x1) / 2, (y0 + y1) / 2])

    @property
    def size(self) -> float:
        """Square root of the box's area, pixels."""
        x0, y0, x1, y1 = self.box
        return float(np.sqrt(max(0.0, (x1 - x0) * (y1 - y0))))


def things_of(objects: Sequence[Row] | None) -> tuple[Thing, ...]:
    """A row's objects that are seen at all."""
    return tuple(
        Thing(str(o["id"]), str(o["name"]), str(o["color"] or ""), tuple(o["box"]), str(o["material"] or ""))
        for o in objects or ()
        if o["box"] is not None and (o["area"] is None or o["area"] > 0)
    )


def seen(sightings: Sequence[Sighting], scale: tuple[float, float] = (1.0, 1.0)) -> tuple[Thing, ...]:
    """What a reader sees, as `judge` wants it. scale: (x, y), what a pixel of its picture is in the row's."""
    x, y = scale
    return tuple(
        Thing(
            f"seen-{n}",
            one.kind,
            one.color,
            (one.box[0] * x, one.box[1] * y, one.box[2] * x, one.box[3] * y),
            one.material,
            one.yaw,
        )
        for n, one in enumerate(sightings)
    )


def judge(
    row: Row, found: Sequence[Thing], yaws: Mapping[str, float] | None = None, tolerance: float = NAMED
) -> Outcome:
    """row: of a pair, with instructions, operations, objects, cameras. found: in the edited picture, whose size is the
    row's. yaws: how named things should be turned, by id, degrees as the reader says them. tolerance: how far a named
    thing may be off, of the width; another one than `NAMED` is for curves of success against it."""
    before = {thing.id: thing for thing in things_of(row["objects_before"])}
    free = any_colour(row)
    wanted = _remaining(row, before, things_of(row["objects_after"]), found)
    matched = match(wanted, found, free)
    if len(matched) != len(wanted) or len(wanted) != len(found):
        return Outcome("other_things")
    width, height = int(row["width"]), int(row["height"])
    steps: list[Row] = list(row["operations"] or ())
    named = ({name for step in steps for name in _named(step)} & matched.keys()) - any_of(row)
    everything = bool({step["kind"] for step in steps} & (CAMERA_KINDS | {"mirror"})) and not named
    for thing in wanted:
        if not everything and thing.id not in named and _off(thing, matched[thing.id], width) > UNNAMED:
            return Outcome("unnamed_moved")
    shown = set(matched) if everything else named
    off = max((_off(thing, matched[thing.id], width) for thing in wanted if thing.id in shown), default=0.0)
    if everything and any(
        _off(thing, matched[thing.id], width) > _turned(thing, before.get(thing.id), width, tolerance)
        for thing in wanted
    ):
        return Outcome("named_off", off)
    by_id = {thing.id: thing for thing in wanted}
    said: list[Row] = list(row["instructions"] or ())
    final = len(steps) == 1
    for number, step in enumerate(steps):
        words = said[number] if number < len(said) else {}
        reason = _step(
            step, words, final, before, by_id, matched, row, (width, height), yaws or {}, tolerance
        )
        if reason is not None:
            return Outcome(reason, off)
    return Outcome(None, off)


def match(wanted: Sequence[Thing], found: Sequence[Thing], free: Collection[str] = ()) -> dict[str, Thing]:
    """What is found for each wanted thing, of the same kind and colour, so that as many as can be are found, and the
    distances are least in all. free: ids of things that may have any colour."""
    matched: dict[str, Thing] = {}
    for kind in {thing.kind for thing in wanted}:
        ours = [thing for thing in wanted if thing.kind == kind]
        theirs = [thing for thing in found if thing.kind == kind]
        if not theirs:
            continue
        far = np.array([[float(np.linalg.norm(a.centre - b.centre)) for b in theirs] for a in ours])
        other = np.array([[a.id not in free and a.color != b.color for b in theirs] for a in ours])
        never = 1 + far.sum()  # more than all distances together
        for row, column in zip(*linear_sum_assignment(np.where(other, never, far)), strict=True):
            if not other[row, column]:
                matched[ours[row].id] = theirs[column]
    return matched


def _remaining(
    row: Row, before: Mapping[str, Thing], after: tuple[Thing, ...], found: Sequence[Thing]
) -> tuple[Thing, ...]:
    """What is to be there. Where fewer of some are to remain, whichever: those that are found, where they were."""
    some = any_of(row)
    pool = [thing for thing in before.values() if thing.id in some]
    if not pool:
        return after
    left = match(pool, found)
    if len(left) != sum(thing.id in some for thing in after):
        return after
    return (*(thing for thing in after if thing.id not in some), *(before[name] for name in left))


def _named(step: Row) -> set[str]:
    """Ids of what the step changes. A thing that others are placed by stays where it is."""
    changed = {step["subject"], *(step["objects"] or ())}
    if step["kind"] == "swap":
        changed.add(step["reference"])
    return {str(name) for name in changed if name}


def _off(thing: Thing, found: Thing, width: int) -> float:
    return float(np.linalg.norm(thing.centre - found.centre)) / width


def _turned(thing: Thing, start: Thing | None, width: int, tolerance: float) -> float:
    """How far a thing may be off when the camera moves: half of its own way, so that an untouched picture is no small
    turn, but no less than what stands still may."""
    if start is None:
        return tolerance
    return min(tolerance, max(UNNAMED, _off(thing, start, width) / 2))


def _step(
    step: Row, words: Row, final: bool, before: Mapping[str, Thing], wanted: Mapping[str, Thing],
    matched: Mapping[str, Thing], row: Row, size: tuple[int, int], yaws: Mapping[str, float], tolerance: float,
) -> str | None:  # fmt: skip
    """final: the picture after this step is the picture. Of several steps only where things end up can be judged."""
    kind, name, (width, height) = step["kind"], str(step["subject"] or ""), size
    if kind in NOT_SPATIAL or kind in CAMERA_KINDS:
        return _sized(wanted, matched, before) if kind == "zoom" else None
    if kind == "add":
        return _added(step, final, matched, row, size)
    if name not in matched or name not in wanted:
        return None  # gone, as it should be: the things that are there were counted
    found, target, start = matched[name], wanted[name], before.get(name)
    if kind == "move" and final and start is not None and words.get("amount") is None:
        return _vague(found, target, start, words, width)
    if kind == "place" and final:
        return None if region_of(found.centre, width, height) == step["region"] else "wrong_region"
    if kind == "relate" and final and words.get("amount") is None and step["reference"] in matched:
        return None if _related(step, found, matched, row) else "wrong_relation"
    if kind == "material":
        return None if found.material == target.material else "wrong_material"
    if kind in ("remove", "duplicate", "count", "recolor"):
        return None
    asked = float("inf") if start is None else float(np.linalg.norm(target.centre - start.centre)) / width
    allowed = min(tolerance, asked / 2) if kind in ("move", "relate", "align") else tolerance
    names = [name, str(step["reference"])] if kind == "swap" else [name]
    if any(
        _off(wanted[one], matched[one], width) > allowed for one in names if one in matched and one in wanted
    ):
        return "named_off"
    if kind == "resize":
        return _sized({name: target}, matched, before)
    if kind == "rotate" and name in yaws and found.yaw is not None:
        turn = abs((found.yaw - yaws[name] + 180) % 360 - 180)
        return None if turn <= YAW else "wrong_turn"
    return None


def _added(
    step: Row, final: bool, matched: Mapping[str, Thing], row: Row, size: tuple[int, int]
) -> str | None:
    """All that were added, one or several, are where the words put them."""
    for name in map(str, step["objects"] or ()):
        if name not in matched or not final:
            continue
        if step["region"] and region_of(matched[name].centre, *size) != step["region"]:
            return "wrong_region"
        if (
            step["relation"]
            and step["reference"] in matched
            and not _related(step, matched[name], matched, row)
        ):
            return "wrong_relation"
    return None


def _related(step: Row, found: Thing, matched: Mapping[str, Thing], row: Row) -> bool:
    others = [matched[str(step[key])] for key in ("reference", "reference2") if step[key] in matched]
    return related(
        step["relation"], found.box, [other.box for other in others], camera_of(row["camera_after"])
    )


def _vague(found: Thing, target: Thing, start: Thing, words: Row, width: int) -> str | None:
    """ "A little to the left": that way, and neither nothing nor across the room. Where words name no side, as towards
    another thing, the way is the target's."""
    went = (found.centre - start.centre) / width
    way = _AXES.get(str(words.get("direction")))
    ahead = np.array(way, np.float64) if way is not None else target.centre - start.centre
    along = float(went @ ahead / max(1e-6, float(np.linalg.norm(ahead))))
    if along <= 0 or float(np.linalg.norm(went)) > float(np.hypot(along, max(ASIDE * along, NAMED))):
        return "wrong_way"
    if words.get("vagueness") is None:  # "move it left": how far is left open
        return None if along >= VAGUE[0] else "wrong_extent"
    return None if VAGUE[0] <= along <= VAGUE[1] else "wrong_extent"


def _sized(
    wanted: Mapping[str, Thing], matched: Mapping[str, Thing], before: Mapping[str, Thing]
) -> str | None:
    """Within `AREA`, and within half of what was asked for: a picture that nobody touched is no small zoom."""
    for name, thing in wanted.items():
        if name not in matched or not thing.size:
            continue
        allowed = AREA
        if name in before:
            allowed = min(AREA, abs(before[name].size / thing.size - 1) / 2)
        if abs(matched[name].size / thing.size - 1) > allowed:
            return "wrong_size"
    return None

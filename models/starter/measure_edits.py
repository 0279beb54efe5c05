"""Whether a pair shows its edit, by the reader: the named change happened, and what it does not name stayed.

For edits that `generators.composed` made, whose things are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filters.reader import Sighting
from generators.composed import ComposedEdit
from models.starter.world import IMAGE_SIZE
from spatial.instruction import Expression

NEAR = 0.1  # of the width: how far the middle of a thing that stays may be off
JUDGED = ("recolor", "replace", "material", "add", "remove")  # the reader sees things, not times and places


@dataclass(frozen=True, slots=True)
class Verdict:
    """changed: the named change happened; None for kinds that the reader cannot judge. stayed: every other thing that
    the caption names and the picture before shows is in the picture after, of its kind and in its place; None where
    there is none. asked: the picture before shows what its caption says."""

    changed: bool | None
    stayed: bool | None
    asked: bool


def judged(edit: ComposedEdit, before: Sequence[Sighting], after: Sequence[Sighting]) -> Verdict:
    """before, after: what the reader sees in the two pictures."""
    others = [
        thing
        for place, thing in enumerate(edit.things_before)
        if place != edit.place or edit.kind in ("time", "background", "add")
    ]
    there = [found for thing in others if (found := _first(thing, before)) is not None]
    stayed = all(any(_same_place(one, other) for other in after) for one in there) if there else None
    asked = all(_first(thing, before) is not None for thing in edit.things_before)
    return Verdict(_changed(edit, before, after), stayed, asked)


def _changed(edit: ComposedEdit, before: Sequence[Sighting], after: Sequence[Sighting]) -> bool | None:
    if edit.kind not in JUDGED or edit.place is None:
        return None
    if edit.kind == "remove":
        gone = edit.things_before[edit.place]
        return 0 < _count(gone, before) > _count(gone, after)
    new = edit.things_after[edit.place]
    if edit.kind == "add":
        return _count(new, after) > _count(new, before)
    old = edit.things_before[edit.place]
    if edit.kind == "material":
        return _count(new, after, material=True) > _count(new, before, material=True)
    return _count(new, after) > _count(new, before) and _count(old, after) <= max(0, _count(old, before) - 1)


def _matches(thing: Expression, one: Sighting, material: bool = False) -> bool:
    alike = (one.kind, one.color) == (thing.noun, thing.color)
    return alike and (not material or one.material == thing.material)


def _first(thing: Expression, seen: Sequence[Sighting]) -> Sighting | None:
    return next((one for one in seen if _matches(thing, one)), None)


def _count(thing: Expression, seen: Sequence[Sighting], *, material: bool = False) -> int:
    return sum(_matches(thing, one, material) for one in seen)


def _same_place(one: Sighting, other: Sighting) -> bool:
    apart = max(abs(a - b) for a, b in zip(one.centre, other.centre, strict=True))
    return one.kind == other.kind and apart <= NEAR * IMAGE_SIZE

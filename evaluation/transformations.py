"""Which edits DiffusionCLIP can be asked for: those of a *transformation* that it is tuned for, and some of those that
ask for a number, which no transformation tells.

All follows from the words and names of a frozen set, so that every worker is told the same, and the plan is known
before anything is tuned.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spatial.instruction import Expression, Instruction
from spatial.language import parse_any, say_expression
from spatial.scene import SpatialError

COLUMNS = ("pair_id", "edit_prompt", "original_prompt", "edited_prompt")
ENOUGH = 12
"""Edits that each transformation is to be applied to: of fewer its success is hardly known."""
_LOOKS = ("recolor", "material")


@dataclass(frozen=True, slots=True)
class Transformation:
    """name: such as "recolor:red". before, after: what pictures show, in words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a set has for a tuned editor. edits: of the set. uses: of the named transformations in how many edits each
    comes up. others: those that are not named and come up `ENOUGH` times. numbers: how many edits ask for a number;
    told: of how many of these the captions before and after differ; numeric: the pair ids of those that are tried."""

    edits: int
    uses: Mapping[str, int]
    others: Mapping[str, int]
    numbers: int
    told: int
    numeric: tuple[str, ...]

    @property
    def not_expressible(self) -> int:
        return self.edits - sum(self.uses.values()) - len(self.numeric)


def transformation_of(text: str) -> Transformation | None:
    """What an instruction asks for, if it is one thing that texts before and after tell: a colour, a material, the
    light, a place, a side."""
    said = _understood(text)
    return None if said is None else _transformation(said)


def chosen(rows: Iterable[Mapping[str, Any]], names: Sequence[str], numeric: int) -> Chosen:
    """rows: of a set, with `COLUMNS`, worded as editors are told. names: of the transformations. numeric: how many
    edits that ask for a number are tried: those whose names have the smallest sha256, so that of more these are a
    part."""
    found, numbers, uses, candidates = 0, 0, Counter[str](), list[str]()
    for row in rows:
        found += 1
        said = _understood(str(row["edit_prompt"]))
        if said is None:
            continue
        if (one := _transformation(said)) is not None:
            uses[one.name] += 1
        elif _numeric(said):
            numbers += 1
            if _told(row["original_prompt"], row["edited_prompt"]):
                candidates.append(str(row["pair_id"]))
    candidates.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    others = {name: count for name, count in uses.most_common() if name not in names and count >= ENOUGH}
    tried = tuple(candidates[:numeric])
    named = {name: uses[name] for name in names}
    return Chosen(found, named, others, numbers, len(candidates), tried)


def _understood(text: str) -> Instruction | None:
    try:
        return parse_any(text)[1]
    except SpatialError:
        return None


def _transformation(said: Instruction) -> Transformation | None:
    if said.kind == "place" and said.region in ("left", "right"):
        other = "right" if said.region == "left" else "left"
        return Transformation(
            f"side:{said.region}", f"an object on the {other}", f"an object on the {said.region}"
        )
    if said.kind not in (*_LOOKS, "lighting", "background") or said.value is None:
        return None
    if said.kind in _LOOKS:
        bare = Expression("object")
        coloured = said.kind == "recolor"
        thing = replace(bare, color=said.value) if coloured else replace(bare, material=said.value)
        after = say_expression(thing, "en", article="a")
        return Transformation(f"{said.kind}:{said.value}", "an object", after)
    value = said.value if said.direction is None else f"{said.value}_{said.direction}"
    what, _, of = said.value.replace("_", " ").partition(":")  # "floor:tiles"
    if said.kind == "background":
        after = f"objects on a floor of {of}" if of else f"objects, {what}"
    else:
        after = (
            f"objects in light from the {said.direction}" if said.direction else f"objects in {what} light"
        )
    return Transformation(f"{said.kind}:{value}", "objects", after)


def _numeric(said: Instruction) -> bool:
    """Whether it says how far, by what angle or by what factor; how many is no such number."""
    return said.amount is not None and said.unit != "count"


def _told(before: str | None, after: str | None) -> bool:
    """Captions differ: else there is no direction from one to the other."""
    return bool(before and after) and before != after

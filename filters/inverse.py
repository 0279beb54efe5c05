"""The pair the other way round: pictures swapped, words said anew.

What moved left moves right, what was added is removed. Words are never mended: the inverse instruction is made as
meaning, its things are named by what they look like in the picture that is now the first, and it is said from
`spatial`'s own phrasings. Where no short name means the thing alone, or where the way back cannot be said (a thing put
in a corner comes from anywhere), there is no inverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shards.units import seed_for
from spatial.instruction import Expression, Instruction
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.rows import said_row
from spatial.scene import SpatialError

Row = Mapping[str, Any]
VERSION = 1

_TURNED = {
    "left": "right", "right": "left", "up": "down", "down": "up", "forward": "backward", "backward": "forward",
    "clockwise": "counterclockwise", "counterclockwise": "clockwise",
}  # fmt: skip
_OPPOSITE = {
    "in": "out", "out": "in", "larger": "smaller", "smaller": "larger",
    "brighter": "dimmer", "dimmer": "brighter", "warmer": "cooler", "cooler": "warmer",
}  # fmt: skip
_COLUMNS = (
    "pair_id",
    "edit_kind",
    "language",
    "instructions",
    "operations",
    "objects_before",
    "objects_after",
)


@dataclass(frozen=True, slots=True)
class Inverse:
    """The columns of the inverse pair that are not its original's, swapped. instructions, operations: as rows."""

    edit_kind: str
    edit_prompt: str
    instructions: list[dict[str, Any]]
    operations: list[dict[str, Any]]


def inverse(row: Row) -> Inverse | None:
    """The inverse of a row of the pairs table (of which the columns `columns()` are read); None where it has none.

    The same row gives the same words.
    """
    said, done, before, after = (_list(row[name]) for name in _COLUMNS[3:])
    if len(said) != 1 or len(done) != 1 or row["language"] is None:
        return None
    try:
        turned = _turned(said[0], done[0], before, after)
        if turned is None:
            return None
        meaning, operation = turned
        rng = np.random.default_rng(seed_for(0, row["pair_id"], 0, "inverse"))
        text = say(meaning, row["language"], rng)
        if parse(text, row["language"]) != meaning:
            return None
        words = said_row(meaning, row["language"], Lexicon.default())
    except SpatialError:  # a thing or a wording beyond the vocabulary
        return None
    return Inverse(meaning.kind, text, [words], [operation])


def _list(value: Sequence[Row] | None) -> Sequence[Row]:
    return value or ()


def columns() -> tuple[str, ...]:
    """The columns that `inverse` reads."""
    return _COLUMNS


def _turned(
    said: Row, done: Row, before: Sequence[Row], after: Sequence[Row]
) -> tuple[Instruction, dict[str, Any]] | None:
    """What the way back means, and what it does. before, after: of the original pair."""
    kind = done["kind"]
    back = {**done, "direction": _TURNED.get(done["direction"] or "", done["direction"])}
    extent: dict[str, Any] = {name: said[name] for name in ("amount", "unit", "vagueness")}
    subject = _named(done["subject"], after)
    match kind:
        case "move" if done["reference"] is None and done["direction"] and said["direction"] and subject:
            return Instruction("move", subject=subject, direction=back["direction"], **extent), back
        case "rotate" if subject:
            turn = _TURNED.get(said["direction"] or "")
            return Instruction("rotate", subject=subject, direction=turn, **extent), back
        case "orbit" | "pan" if done["direction"]:
            return Instruction(kind, direction=back["direction"], **extent), back
        case "zoom" | "resize" if said["value"] in _OPPOSITE and (kind == "zoom" or subject):
            back |= {"value": _OPPOSITE.get(done["value"] or "", done["value"])}
            back |= {"amount": 1 / done["amount"] if done["amount"] else done["amount"]}
            if kind == "resize" and said["amount"] is not None:
                extent["amount"] = round(1 / said["amount"], 2)
                if abs(extent["amount"] * said["amount"] - 1) > 1e-6:
                    return None  # "33.3% smaller" is not how anybody asks
            return Instruction(kind, subject=subject, value=_OPPOSITE[said["value"]], **extent), back
        case "swap" if subject and (other := _named(done["reference"], after)):
            return Instruction("swap", subject=subject, reference=other), back
        case "lighting" if said["value"] in _OPPOSITE:
            value = _OPPOSITE[said["value"]]
            return Instruction("lighting", value=value, vagueness=said["vagueness"]), {**back, "value": value}
        case "recolor" | "material" if subject:
            old: str | None = next((t[_LOOK[kind]] for t in before if t["id"] == done["subject"]), None)
            if old is None:
                return None
            return Instruction(kind, subject=subject, value=old), {**back, "value": old}
        case "add" if len(done["objects"] or ()) == 1 and (gone := _named(done["objects"][0], after)):
            cleared = dict.fromkeys(("reference", "reference2", "region", "relation", "amount", "unit"))
            removal = {**back, **cleared, "kind": "remove", "subject": done["objects"][0]}
            return Instruction("remove", subject=gone), {**removal, "amount": 1.0, "unit": "count"}
        case "remove" if len(done["objects"] or (done["subject"],)) == 1:
            thing = next((t for t in before if t["id"] == (done["objects"] or (done["subject"],))[0]), None)
            if thing is None or any(_same_look(thing, other) for other in after):
                return None
            new = Expression(thing["name"], color=thing["color"])
            addition = {**back, "kind": "add", "subject": None, "amount": 1.0, "unit": "count"}
            return Instruction("add", subject=new, amount=1.0, unit="count"), addition
    return None


_LOOK = {"recolor": "color", "material": "material"}


def _same_look(a: Row, b: Row) -> bool:
    return bool(a["name"] == b["name"] and a["color"] == b["color"])


def _named(object_id: str | None, things: Sequence[Row]) -> Expression | None:
    """The fewest words of name, colour and material that mean this thing alone; None where all are too few."""
    thing = next((t for t in things if t["id"] == object_id), None)
    if thing is None:
        return None
    for fields in (("name",), ("name", "color"), ("name", "material"), ("name", "color", "material")):
        if any(thing[field] is None for field in fields):
            continue
        if sum(all(t[f] == thing[f] for f in fields) for t in things) == 1:
            look = {field: thing[field] for field in fields[1:]}
            return Expression(thing["name"], **look)
    return None

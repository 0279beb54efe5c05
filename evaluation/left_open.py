"""What words leave open: "add a cat" names no colour, "there should be one cup" not which of three.

The true picture is one answer; others are as right, and no editor can know which was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spatial.expressions import parse_expression
from spatial.scene import SpatialError

Row = Mapping[str, Any]


def any_colour(row: Row) -> frozenset[str]:
    """Ids of things that are new in the edited picture, and of which the words say no colour."""
    before = {str(one["id"]) for one in row["objects_before"] or ()}
    found: set[str] = set()
    for step, words in _steps(row):
        if step["kind"] in ("add", "count") and _colour(row, words) is None:
            found |= {str(name) for name in step["objects"] or ()} - before
    return frozenset(found)


def any_of(row: Row) -> frozenset[str]:
    """Ids of things before, of which fewer are to remain, whichever. Empty where nothing is left open, and for several
    steps, which may have named one of them."""
    steps = list(_steps(row))
    if len(steps) != 1 or steps[0][0]["kind"] != "count":
        return frozenset()
    step, words = steps[0]
    before = {str(one["id"]): one for one in row["objects_before"] or ()}
    after = {str(one["id"]) for one in row["objects_after"] or ()}
    gone = [before[name] for name in map(str, step["objects"] or ()) if name in before and name not in after]
    if not gone:
        return frozenset()
    colour = _colour(row, words)
    return frozenset(
        name
        for name, one in before.items()
        if one["name"] == gone[0]["name"] and (colour is None or one["color"] == colour)
    )


def _steps(row: Row) -> list[tuple[Row, Row]]:
    steps, said = list(row["operations"] or ()), list(row["instructions"] or ())
    return [(step, said[number] if number < len(said) else {}) for number, step in enumerate(steps)]


def _colour(row: Row, words: Row) -> str | None:
    """The colour that is said. What cannot be read is taken to say one: nothing is left open by that."""
    try:
        return parse_expression(str(words["subject"]), str(row["language"])).color
    except (SpatialError, KeyError):
        return ""

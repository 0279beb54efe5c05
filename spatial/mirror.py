"""The same instruction for the picture seen in a mirror."""

from __future__ import annotations

from dataclasses import replace
from typing import overload

from spatial.instruction import Expression, Instruction

_OTHER = {
    "left": "right", "right": "left",
    "upper-left": "upper-right", "upper-right": "upper-left",
    "lower-left": "lower-right", "lower-right": "lower-left",
    "left_of": "right_of", "right_of": "left_of",
    "leftmost": "rightmost", "rightmost": "leftmost",
    "clockwise": "counterclockwise", "counterclockwise": "clockwise",
}  # fmt: skip


@overload
def mirrored(said: Instruction) -> Instruction: ...
@overload
def mirrored(said: Expression) -> Expression: ...
def mirrored(said: Instruction | Expression) -> Instruction | Expression:
    """Left for right: directions, turns, regions, relations, and what things are called by their places.

    What leads from picture A to picture B leads, mirrored, from A's mirror image to B's. Twice is the same again.
    """
    if isinstance(said, Expression):
        reference = None if said.reference is None else mirrored(said.reference)
        return replace(
            said, place=other_side(said.place), relation=other_side(said.relation), reference=reference
        )
    return replace(
        said,
        subject=said.subject and mirrored(said.subject),
        reference=said.reference and mirrored(said.reference),
        reference2=said.reference2 and mirrored(said.reference2),
        direction=other_side(said.direction),
        region=other_side(said.region),
        relation=other_side(said.relation),
        steps=tuple(mirrored(step) for step in said.steps),
    )


def other_side(word: str | None) -> str | None:
    """A direction, region, relation or place with left and right exchanged."""
    return word if word is None else _OTHER.get(word, word)

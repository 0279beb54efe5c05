"""The first lesson, before any edit: where is it? The encoder alone learns to find what is named, in both pictures of a
pair.

A pair's own words name one thing or two; its masks tell of all. So beside them, by which "the largest box" is learned,
and where things will be, steps are made up that name some things of one of the pictures, by kind, by kind and colour,
by kind and material: what is learned of a pair is several times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import rle_to_mask
from spatial.expressions import say_expression
from spatial.instruction import Expression
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from trainer.words import FIELD_SIZES, MAX_STEPS, NUMBERS, Step, Words

COLUMNS = tuple(
    f"objects_{when}.list.element.{field}"
    for when in ("before", "after")
    for field in ("name", "color", "material", "mask")
)
Masks = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """after: look in the edited picture. words: steps that name things, and say nothing to be done. masks: as of an
    `Example`, of what they name."""

    after: bool
    words: Words
    masks: Masks


def sought(row: Mapping[str, Any], places: int, rng: np.random.Generator) -> Sought | None:
    """Things of one of the row's pictures, named; None where no thing of it has a name and a mask. row: with `COLUMNS`.
    places: of the masks' side."""
    after = bool(rng.random() < 0.5)
    things = [
        thing
        for thing in row["objects_after" if after else "objects_before"] or ()
        if thing["mask"] is not None
    ]
    named = {phrase: one for one in _descriptions(things) if (phrase := _phrase(one)) is not None}
    if not named:
        return None
    phrases = [list(named)[place] for place in rng.permutation(len(named))[: 2 * MAX_STEPS]]
    steps, masks = [], np.zeros((MAX_STEPS, 2, places, places), np.float32)
    shapes = [_covering(thing, places) for thing in things]
    for place in range(min(int(rng.integers(1, MAX_STEPS + 1)), len(phrases))):
        pair: list[str | None] = []
        for role in range(2):
            if not phrases:
                pair.append(None)
                continue
            pair.append(phrases.pop())
            for thing, shape in zip(things, shapes, strict=True):
                if _is(thing, named[pair[-1] or ""]):
                    masks[place, role] = np.maximum(masks[place, role], shape)
        steps.append(_naming(pair[0], pair[1]))
    return Sought(after, Words("", tuple(steps)), masks)


_Description = tuple[str, str | None, str | None]  # kind, colour, material


def _descriptions(things: Sequence[Mapping[str, Any]]) -> list[_Description]:
    found: dict[_Description, None] = {}
    for thing in things:
        name, color, material = thing["name"], thing["color"], thing["material"]
        found |= dict.fromkeys([(name, None, None), (name, color, None), (name, None, material)])
    return list(found)


def _is(thing: Mapping[str, Any], said: _Description) -> bool:
    return all(
        wanted is None or thing[field] == wanted
        for field, wanted in zip(("name", "color", "material"), said, strict=True)
    )


def _phrase(said: _Description) -> str | None:
    name, color, material = said
    try:
        words = Expression(name, color=color, material=material)
        return say_expression(words, "en", article="the", lexicon=Lexicon.default())
    except (SpatialError, KeyError):  # a thing of a photo, which the vocabulary does not have
        return None


def _naming(subject: str | None, reference: str | None) -> Step:
    return Step(
        (0,) * len(FIELD_SIZES),
        (0.0,) * len(NUMBERS),
        (subject, reference, None, None),
        0,
        (1.0, 1.0),
        False,
        False,
    )


def _covering(thing: Mapping[str, Any], places: int) -> Masks:
    try:
        mask = rle_to_mask(thing["mask"]).astype(np.float32)
    except Exception as error:  # whatever its decoder says
        raise SpatialError("broken_mask", f"the mask of a {thing['name']} is broken: {error}") from None
    return np.asarray(cv2.resize(mask, (places, places), interpolation=cv2.INTER_AREA), np.float32)

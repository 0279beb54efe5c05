"""Prompts with known answers, from the captions of scenes that no generative model has seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filters.reader import Sighting
from models.starter.data import Scenes
from models.starter.world import SEED
from renderers.shapes import ProceduralShapes
from shards.units import seed_for
from spatial.captioning import Facts, facts_of, mirrored, say_caption

_SIDE = re.compile(r"\b(left|right)\b")
_TRIES = 400

Kind = tuple[str, str]  # noun and colour


@dataclass(frozen=True, slots=True)
class Prompt:
    """text: English. things: noun and colour of each, from left to right where `sided`. sided: the text says which
    of two is on which side. picture: position of its scene among the scenes it was made from."""

    text: str
    things: tuple[Kind, ...]
    sided: bool
    picture: int


def prompts(scenes: Scenes, number: int, kinds: Sequence[str] = ("one", "two", "sides")) -> list[Prompt]:
    """`number` prompts, in equal parts: of one thing, of two, and of two with sides; the same for the same scenes.

    Scenes are taken in their order and again with other words, mirrored half of the time. Raises ValueError
    where they hold none of a part.
    """
    shapes = ProceduralShapes()
    facts = [facts_of(scene, shapes) for scene in scenes.scenes]
    found: list[Prompt] = []
    for place, kind in enumerate(kinds):
        wanted = number * (place + 1) // len(kinds) - number * place // len(kinds)
        some = _of_kind(kind, facts, wanted)
        if len(some) < wanted:
            raise ValueError(
                f"{len(scenes)} scenes give {len(some)} prompts of {kind!r}, not {wanted}: use more"
            )
        found += some
    return found


def names_a_side(text: str) -> bool:
    """Whether an English caption says left or right."""
    return _SIDE.search(text) is not None


def _of_kind(kind: str, facts: Sequence[Facts], wanted: int) -> list[Prompt]:
    found: list[Prompt] = []
    for attempt in range(_TRIES):
        for picture, one in enumerate(facts):
            if len(found) == wanted:
                return found
            rng = np.random.default_rng(seed_for(SEED, kind, picture, f"prompt-{attempt}"))
            said = mirrored(one) if rng.random() < 0.5 else one
            if len(said.things) != (1 if kind == "one" else 2):
                continue
            text = say_caption(said, "en", rng)
            things = tuple((thing.noun, thing.color or "") for thing in said.things)
            apart = len(set(things)) == 2 and "left_of" in said.relations.get((0, 1), ())
            sided = apart and names_a_side(text)
            # Every colour is to be said, and a prompt of "two" is to leave sides open.
            if all(color in text for _, color in things) and sided == (kind == "sides"):
                found.append(Prompt(text, things, sided, picture))
    return found


def shown(things: Sequence[Kind], sightings: Sequence[Sighting]) -> list[Sighting] | None:
    """A sighting for each thing, each used once, the surest first; None where one is missing."""
    left = list(sightings)
    matched = []
    for noun, color in things:
        fit = next((one for one in left if (one.kind, one.color) == (noun, color)), None)
        if fit is None:
            return None
        left.remove(fit)
        matched.append(fit)
    return matched


def sides_right(matched: Sequence[Sighting]) -> bool:
    """Whether two things named from left to right stand so."""
    return matched[0].centre[0] < matched[1].centre[0]

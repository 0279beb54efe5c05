"""Edits of a world of few things, composed from a grammar: what is asked, what changes and what stays are known.

A small language model learns from them which word belongs to which thing; and Prompt-to-Prompt is measured on them,
because a detector can say whether the named change happened. English captions; a caption after differs from the one
before by what the instruction names, word for word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from filters.edits import EditChecks, TextEdit
from shards.units import seed_for
from spatial.captioning import AROUND, Facts, imagined, say_caption
from spatial.expressions import say_expression
from spatial.instruction import Expression, Instruction
from spatial.language import say
from spatial.lexicon import Lexicon
from spatial.vocabulary import TIMES

KINDS = ("recolor", "replace", "material", "add", "remove", "time", "background")
_TRIES = 200  # draws for an edit of a kind
_JOINTS = (" and ", " and ", " with ", " next to ", " beside ", " to the left of ", " to the right of ")
_REPLACE = (
    "replace {old} with {new}", "swap {old} for {new}", "turn {old} into {new}", "change {old} to {new}",
    "change {old} into {new}", "make {old} {new}", "{new} instead of {old}", "exchange {old} for {new}",
    "have {new} in place of {old}", "transform {old} into {new}", "let {old} become {new}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComposedEdit:
    """before, after: captions. edit: the instruction. kind: of `KINDS`, which are also kinds of seed edits.

    things_before, things_after: what the two captions name, in one order; where `kind` is add or remove one of them has
    a thing more, at `place`. For recolor, replace and material `place` is of the thing that changes; None for the rest.
    environment: (before, after), keys of the vocabulary, None where unsaid.
    """

    before: str
    edit: str
    after: str
    kind: str
    things_before: tuple[Expression, ...]
    things_after: tuple[Expression, ...]
    place: int | None
    environment: tuple[str | None, str | None] = (None, None)


class Composer:
    """Draws edits. stock: nouns, colors, materials, floors, never ("mug red"), keys of the vocabulary. checked: only
    edits that pass `filters.edits` are given."""

    def __init__(self, stock: Mapping[str, Any], *, checked: bool = True) -> None:
        self._words = {key: tuple(stock[key]) for key in ("nouns", "colors", "materials", "floors")}
        self._never = frozenset(
            (noun, color) for noun, color in (pair.split(" ") for pair in stock.get("never") or ())
        )
        self._lexicon = Lexicon.default()
        self._checks = EditChecks() if checked else None
        self._kinds: dict[str, Callable[[Facts, np.random.Generator], ComposedEdit | None]] = {
            "recolor": self._recolor, "replace": self._replace, "material": self._material, "add": self._add,
            "remove": self._remove, "time": self._time, "background": self._background,
        }  # fmt: skip

    def draw(self, kind: str, rng: np.random.Generator) -> ComposedEdit | None:
        """One edit of `kind`; None where this draw does not work out, which is no rarity."""
        facts = imagined(rng, **self._words, never=self._never)
        made = self._kinds[kind](facts, rng)
        if made is None or made.before == made.after or made.before.lower() == made.edit.lower():
            return None
        if self._checks and self._checks.reason(TextEdit(made.before, made.edit, made.after)) is not None:
            return None
        return made

    def edits(self, seed: int, kinds: tuple[str, ...] = KINDS) -> Iterator[ComposedEdit]:
        """Without end, the kinds by turns, no two alike; the same for the same seed. A kind that a small stock has no
        more of is passed over. Raises ValueError once it has no more of any."""
        seen: set[tuple[str, str]] = set()
        in_vain = 0
        for number in count():
            made = self._new(seed, number, kinds[number % len(kinds)], seen)
            in_vain = 0 if made is not None else in_vain + 1
            if in_vain == len(kinds):
                raise ValueError(f"the stock gives {len(seen)} different edits and no more: name more words")
            if made is not None:
                seen.add((made.before, made.edit))
                yield made

    def _new(self, seed: int, number: int, kind: str, seen: set[tuple[str, str]]) -> ComposedEdit | None:
        for attempt in range(_TRIES):
            made = self.draw(kind, np.random.default_rng(seed_for(seed, "composed", number, str(attempt))))
            if made is not None and (made.before, made.edit) not in seen:
                return made
        return None

    # --- kinds ----------------------------------------------------------------------------------------------

    def _recolor(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        place = int(rng.integers(len(facts.things)))
        thing = facts.things[place]
        new = _pick(
            [color for color in self._words["colors"] if self._may(thing.noun, color)], rng, thing.color
        )
        before = say_caption(facts, "en", rng)
        after = _exchanged(before, thing.color or "", new or "")
        if new is None or after is None:
            return None
        text = self._say(Instruction("recolor", subject=self._naming(facts, place, rng), value=new), rng)
        return self._made(before, text, after, "recolor", facts, place, replace(thing, color=new))

    def _material(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        place = int(rng.integers(len(facts.things)))
        thing = facts.things[place]
        new = _pick(
            [material for material in self._words["materials"] if material != "matte"], rng, thing.material
        )
        before = say_caption(facts, "en", rng)
        if new is None:
            return None
        word = self._lexicon.forms("materials", new, "en").said[0]
        said = self._lexicon.forms("materials", thing.material or "", "en").said[0]
        after = _exchanged(before, said, word)
        if after is None and thing.color is not None and not re.search(rf"\b{said}\b", before):
            after = _exchanged(before, thing.color, f"{thing.color} {word}")
        if after is None:
            return None
        text = self._say(Instruction("material", subject=self._naming(facts, place, rng), value=new), rng)
        return self._made(before, text, after, "material", facts, place, replace(thing, material=new))

    def _replace(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        place = int(rng.integers(len(facts.things)))
        thing = facts.things[place]
        there = {one.noun for one in facts.things}
        noun = _pick([noun for noun in self._words["nouns"] if noun not in there], rng, None)
        if noun is None or not self._may(noun, thing.color or ""):
            return None
        before = say_caption(facts, "en", rng)
        old = next(
            (w for w in self._lexicon.noun(thing.noun, "en").one if re.search(rf"\b{w}\b", before, re.I)), ""
        )
        new = self._lexicon.noun(noun, "en").one.said[0]
        after = _exchanged(before, old, new)
        if after is None:
            return None
        described = rng.random() < 0.4
        naming = self._naming(facts, place, rng)
        was = say_expression(naming, "en", article="the", rng=rng)
        now = say_expression(
            Expression(noun, color=naming.color if described else None), "en", article="a", rng=rng
        )
        text = _REPLACE[int(rng.integers(len(_REPLACE)))].format(old=was, new=now)
        return self._made(before, text, after, "replace", facts, place, replace(thing, noun=noun))

    def _add(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        if len(facts.things) != 2:
            return None
        one, two = facts.things
        parts = self._joined(facts, rng)
        if parts is None:
            return None
        alone, both, joint = parts
        new = replace(two, material=None) if two.material == "matte" else two
        said = Instruction("add", subject=new, amount=1.0, unit="count")
        relation = {
            " to the left of ": "right_of",
            " to the right of ": "left_of",
            " next to ": "next_to",
        }.get(joint)
        if relation is not None:
            said = replace(said, relation=relation, reference=Expression(one.noun))
        return ComposedEdit(alone, self._say(said, rng), both, "add", (one,), (one, two), 1)

    def _remove(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        if len(facts.things) != 2:
            return None
        one, two = facts.things
        parts = self._joined(facts, rng)
        if parts is None:
            return None
        alone, both, _ = parts
        text = self._say(Instruction("remove", subject=self._naming(facts, 1, rng)), rng)
        return ComposedEdit(both, text, alone, "remove", (one, two), (one,), 1)

    def _of_place(self, kind: str, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        """A time of day, or surroundings; where the caption says nothing of it the new one is said at its end."""
        was = facts.environment or ""
        if (was in TIMES) != (kind == "time") and rng.random() < 0.5:
            facts = replace(facts, environment=None)
        keys = [key for key in AROUND["en"] if (key in TIMES) == (kind == "time")]
        new = _pick(keys, rng, was)
        if new is None:
            return None
        before = say_caption(facts, "en", rng)
        said = [
            words for forms in AROUND["en"].values() for words in forms if before.rstrip(".").endswith(words)
        ]
        phrase = _pick(list(AROUND["en"][new]), rng, None)
        stem, stop = before.rstrip("."), "." if before.endswith(".") else ""
        if said:
            stem = stem.removesuffix(max(said, key=len)).rstrip()
        after = f"{stem} {phrase}{stop}"
        field = "lighting" if kind == "time" else "background"
        text = self._say(Instruction(field, value=new), rng)
        things = facts.things
        return ComposedEdit(before, text, after, kind, things, things, None, (was if said else None, new))

    def _time(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        return self._of_place("time", facts, rng)

    def _background(self, facts: Facts, rng: np.random.Generator) -> ComposedEdit | None:
        return self._of_place("background", facts, rng)

    # --- words ----------------------------------------------------------------------------------------------

    def _joined(self, facts: Facts, rng: np.random.Generator) -> tuple[str, str, str] | None:
        """A caption of the first thing alone, one of both, and what joins them."""
        one, two = (replace(t, material=None) if t.material == "matte" else t for t in facts.things)
        a, b = (say_expression(thing, "en", article="a", rng=rng) for thing in (one, two))
        caption = say_caption(replace(facts, things=(facts.things[0],), relations={}), "en", rng)
        at = caption.lower().find(a)
        if at < 0 or re.match(
            r"[ ,]*(on|in) the (left|right|upper|lower|cent|top|bottom|middle)", caption[at + len(a) :]
        ):
            return None
        joint = _JOINTS[int(rng.integers(len(_JOINTS)))]
        end = at + len(a)
        return caption, caption[:end] + joint + b + caption[end:], joint

    def _naming(self, facts: Facts, place: int, rng: np.random.Generator) -> Expression:
        """Words that tell the thing from the others: the noun, mostly with its colour."""
        thing = facts.things[place]
        alike = sum(other.noun == thing.noun for other in facts.things) > 1
        color = thing.color if alike or rng.random() < 0.6 else None
        return Expression(thing.noun, color=color)

    def _may(self, noun: str, color: str) -> bool:
        return (noun, color) not in self._never

    def _say(self, said: Instruction, rng: np.random.Generator) -> str:
        return say(said, "en", rng, lexicon=self._lexicon)

    def _made(
        self, before: str, edit: str, after: str, kind: str, facts: Facts, place: int, new: Expression
    ) -> ComposedEdit:
        after_things = tuple(new if i == place else thing for i, thing in enumerate(facts.things))
        return ComposedEdit(before, edit, after, kind, facts.things, after_things, place)


def _pick(words: list[str], rng: np.random.Generator, but: str | None) -> str | None:
    left = [word for word in words if word != but]
    return left[int(rng.integers(len(left)))] if left else None


def _exchanged(caption: str, old: str, new: str) -> str | None:
    """The caption with one word for another, "a" and "an" as they must be; None unless the old one is there once."""
    if not old or not new or len(re.findall(rf"\b{re.escape(old)}\b", caption, re.I)) != 1:
        return None
    changed = re.sub(rf"\b{re.escape(old)}\b", new, caption, flags=re.I)
    fixed = re.sub(
        rf"\b(an?)(?= {re.escape(new)}\b)", "an" if new[0] in "aeiou" else "a", changed, flags=re.I
    )
    return fixed[0].upper() + fixed[1:] if caption[0].isupper() else fixed

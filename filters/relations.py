"""Where captions and instructions say that things are: "a mug to the left of a bottle", and whether two texts agree.

Read from the words alone, in English; a caption's relation holds as well when it is said the other way about ("a bottle
to the right of a mug").
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

from filters.wording import ORDERS, content, words

# Longest first: "on top of" is not "on". Dictionary forms, as `words` gives them ("left" is a word of its own).
_PHRASES = {
    "to the left of": "left_of", "on the left of": "left_of", "on the left side of": "left_of", "left of": "left_of",
    "to the right of": "right_of", "on the right of": "right_of", "on the right side of": "right_of",
    "right of": "right_of", "in front of": "in_front_of",
    "behind": "behind", "in back of": "behind",
    "on top of": "on", "atop": "on", "onto": "on", "on": "on",
    "underneath": "under", "beneath": "under", "below": "under", "under": "under",
    "above": "above", "over": "above",
    "next to": "next_to", "beside": "next_to", "alongside": "next_to", "by": "next_to", "near": "next_to",
    "between": "between", "inside": "inside", "into": "inside", "in": "inside",
}  # fmt: skip
_INVERSE = {
    "left_of": "right_of", "right_of": "left_of", "in_front_of": "behind", "behind": "in_front_of",
    "on": "under", "under": "on", "above": "under", "next_to": "next_to",
}  # fmt: skip
# Weak ones are said of much else too ("on Monday", "a man in a hat"): no instruction is held to them alone.
_STRONG = frozenset({"left_of", "right_of", "in_front_of", "behind", "under", "next_to", "between"})
_PLACING = re.compile(
    r"^(please )?(could you |can you )?(put|place|move|set|shift|bring|have|let|stand|lay|hang|slide|the|a|an|position|"
    r"make|relocate|send|get|push|drag|drop)\b"
)
_REACH = 5  # words on either side in which the two things are looked for


@dataclass(frozen=True, slots=True)
class SaidRelation:
    """subject, reference: words that carry meaning beside the phrase, nearest to it first."""

    relation: str
    subject: tuple[str, ...]
    reference: tuple[str, ...]


def said_relations(text: str) -> list[SaidRelation]:
    """Every phrase of place with what stands on either side, in order."""
    found: list[SaidRelation] = []
    all_words = words(text)
    place = 0
    while place < len(all_words):
        for phrase, relation in _BY_LENGTH:
            if all_words[place : place + len(phrase)] == phrase:
                before = content(all_words[max(0, place - _REACH) : place])[::-1]
                after = content(all_words[place + len(phrase) : place + len(phrase) + _REACH])
                if before and after:
                    found.append(SaidRelation(relation, tuple(before), tuple(after)))
                place += len(phrase) - 1
                break
        place += 1
    return found


def wrong_relation(before: str, edit: str, after: str) -> bool:
    """Whether the instruction puts one thing of the caption in relation to another of it, and the edited caption says
    otherwise or nothing.

    False for an instruction without such a relation.
    """
    if not _PLACING.match(edit.casefold().strip()):
        return False
    known, shown = set(words(before)), set(words(after))
    asked = [
        said
        for said in said_relations(edit)
        if said.relation in _STRONG and known & set(said.subject) and (known | shown) & set(said.reference)
    ]
    if not asked:
        return False
    there = said_relations(after)
    return not all(any(_agree(one, other) for other in there) for one in asked[:1])


def _agree(asked: SaidRelation, said: SaidRelation) -> bool:
    subject = {word for word in asked.subject if word not in ORDERS}
    reference = set(asked.reference)
    as_asked = said.relation == asked.relation
    the_other_way = _INVERSE.get(said.relation) == asked.relation
    return (as_asked and _meet(subject, said.subject) and _meet(reference, said.reference)) or (
        the_other_way and _meet(subject, said.reference) and _meet(reference, said.subject)
    )


def _meet(wanted: set[str], there: tuple[str, ...]) -> bool:
    return not wanted or bool(wanted & set(there))  # an "it" stands for anything


_SWAP = re.compile(
    r"\b(?:swap|exchange|switch|trade|interchange|reverse)\b(?: the)?"
    r"(?: place| places| position| positions| spot| spots)?"
    r"(?: of)? (?P<one>.+?) (?:and|with|for) (?P<other>.+)"
)
_PLACES = re.compile(r"(?P<one>.+?) and (?P<other>.+?) (?:swap|exchange|switch|trade|change|have swapped)\b")


def not_swapped(before: str, edit: str, after: str) -> bool | None:
    """Whether two things were to change places and did not; None where the instruction is no such one.

    They have changed places when both captions have the same words, and the two in the other order.
    """
    said = " ".join(words(edit))
    match = _SWAP.search(said) or _PLACES.search(said)
    if match is None:
        return None
    was, now = words(before), words(after)
    known = Counter(was)
    one, other = (_last(match[name], known) for name in ("one", "other"))
    if one is None or other is None or one == other:
        return None  # "swap the mug for a bottle": a replacement
    if Counter(content(was)) != Counter(content(now)):
        return True
    return (was.index(one) < was.index(other)) == (now.index(one) < now.index(other))


def _last(phrase: str, known: Counter[str]) -> str | None:
    """The head of a noun phrase, where the caption has it."""
    found = phrase.split()
    start = next((at for at, word in enumerate(found) if content([word])), 0)
    thing = [*takewhile(lambda word: content([word]), found[start:])]
    return thing[-1] if thing and known[thing[-1]] else None


_BY_LENGTH = sorted(
    ((words(phrase), relation) for phrase, relation in _PHRASES.items()), key=lambda item: -len(item[0])
)

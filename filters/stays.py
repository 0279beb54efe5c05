"""Whether what the instruction does not speak of stays where it was: `unasked_moved`.

A thing is followed from caption to caption by its phrase: what joins it to what is before ("on a tray"), and what
stands beside it in the phrase ("farm gate").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise, zip_longest

from filters.phrases import Phrase, phrases, tokens
from filters.wording import JOINTS, PLACES, REORDER, content, words

_JOINTS = JOINTS | {"left", "right", "with", "to"}
_ALIKE = {
    "inside": "in", "into": "in", "within": "in", "at": "in", "onto": "on", "atop": "on", "near": "by",
    "beside": "by", "next": "by", "underneath": "under", "beneath": "under", "below": "under", "above": "over",
    "left": "side", "right": "side",
}  # fmt: skip
_TURNS = re.compile(
    r"\b(?:replace|swap|exchange|substitute|trade|turn|transform|change|convert|become|make|into|instead|place of)\b"
)


def moved_unasked(before: str, edit: str, after: str) -> bool:
    was, now, said = words(before), words(after), words(edit)
    if REORDER.search(" ".join(said)):
        return False
    once = {word for word in was if was.count(word) == 1 == now.count(word)}
    earlier, later = phrases(tokens(before)), phrases(tokens(after))
    return (
        _joined_otherwise(earlier, later, once, said, set(now))
        or _exchanged(earlier, later, once, said)
        or _torn(earlier, later, once, set(said))
        or _out_of_place(earlier, later, was, now, said)
    )


def _joined_otherwise(
    earlier: Sequence[Phrase], later: Sequence[Phrase], once: set[str], said: Sequence[str], shown: set[str]
) -> bool:
    """ "On a tray" became "from a tray"."""
    there = {phrase.head: phrase for phrase in later}
    for phrase, follows in zip_longest(earlier, earlier[1:]):
        if phrase.head in there and phrase.head in once:
            had, has = _joint(phrase), _joint(there[phrase.head])
            belongs = follows.words if follows is not None and follows.lead[:1] == ("of",) else ()
            if had and has and not had & has and not _says(said, has, {*phrase.words, *belongs}, shown):
                return True
    return False


def _exchanged(
    earlier: Sequence[Phrase], later: Sequence[Phrase], once: set[str], said: Sequence[str]
) -> bool:
    """ "A bottle on a carpet" became "a carpet on a bottle"."""
    had, has = (
        {phrase.head: _joint(phrase) for phrase in found if phrase.head in once and not phrase.verb}
        for found in (earlier, later)
    )
    both = had.keys() & has.keys()
    down = [thing for thing in both if not had[thing] and has[thing]]
    up = [thing for thing in both if had[thing] and not has[thing]]
    return any(has[one] & had[other] and not {one, other} <= set(said) for one in down for other in up)


def _torn(earlier: Sequence[Phrase], later: Sequence[Phrase], known: set[str], said: set[str]) -> bool:
    """ "A rooster on a farm gate" became "a gate on a farm rooster"."""
    at = {word: place for place, phrase in enumerate(later) for word in phrase.words if word in known}
    for phrase in earlier:
        for one, other in pairwise(phrase.words):
            if one in at and other in at and not {one, other} <= said:
                between = later[at[one] + 1 : at[other] + 1]
                if at[one] > at[other] or any(later_one.lead for later_one in between):
                    return True
    return False


def _out_of_place(
    earlier: Sequence[Phrase],
    later: Sequence[Phrase],
    was: Sequence[str],
    now: Sequence[str],
    said: Sequence[str],
) -> bool:
    """What came for another thing is not where that was: "behind a cat" became "under a bottle"."""
    if not _TURNS.search(" ".join(said)) or set(said) & PLACES:
        return False
    gone = [one for one in earlier if not one.verb and one.head not in now]
    come = [one for one in later if not one.verb and one.head not in was]
    if len(gone) != 1 or len(come) != 1:
        return False
    had, has = _joint(gone[0]), _joint(come[0])
    return bool(had and has and not had & has and not has & {_ALIKE.get(word, word) for word in said})


def _joint(phrase: Phrase) -> set[str]:
    return {_ALIKE.get(word, word) for word in phrase.lead if word in _JOINTS}


def _says(said: Sequence[str], joints: set[str], things: set[str], shown: set[str]) -> bool:
    """Whether the instruction joins this thing, or none of the caption that it names, by one of these words."""
    for at, word in enumerate(said):
        if _ALIKE.get(word, word) in joints:
            named = next((other for other in said[at + 1 :] if other in shown and content([other])), None)
            if named is None or named in things or things & set(said):
                return True
    return False

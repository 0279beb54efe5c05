"""Whether an edited caption is what its instruction makes of the caption: no more, no less.

Judged on words alone, so that it costs nothing and can be explained. What differs between the captions must be named
or entailed by the instruction; what the instruction names must have come about; what it takes away must be gone; the
rest must stand, where it stood. A model of entailment may be asked before a word is called unasked (`Entails`): a table
of word families stands in for it here. The rules are in rooms of their own: `filters.sentence` has what a caption never
says, `filters.asked` what came and went, `filters.stays` what moved, `filters.described` and `filters.said_of` which
thing a word is said of, `filters.relations` where things are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import dropwhile, takewhile
from typing import Protocol

from filters.asked import COUNTS, unasked_added, unasked_removed
from filters.described import undescribed
from filters.relations import not_swapped, wrong_relation
from filters.sentence import faulty, repeated
from filters.stays import moved_unasked
from filters.wording import FUNCTION, ORDERS, PLACES, REORDER, WHOLE, content, known_as, supported, words

KEPT = 0.5  # share of the caption's other words that must survive


class Entails(Protocol):
    """An NLI model, for example. Whether who reads `premise` may take `hypothesis` for true."""

    def __call__(self, premise: str, hypothesis: str) -> bool: ...


def disagreement(before: str, edit: str, after: str, entails: Entails | None = None) -> str | None:
    """The first rule that an edit breaks, None where it agrees. English captions; the instruction in English.

    "unchanged": the captions say the same, in whatever order. "unknown_thing": it is about what the caption does not
    show. "not_kept": too little of what is not spoken of is left. "not_done": nothing of what is named came about.
    "not_removed": what is to go is still there. "not_replaced": the old thing is still there. The others are said where
    the rules are.
    """
    was, now = words(before), words(after)
    said = " , ".join(" ".join(words(clause)) for clause in re.split(r"[,;.!?]", edit)).split()
    if was == now:
        return "unchanged"
    named = set(content(said)) | {word for word in said if word.isdigit()}
    if (swapped := not_swapped(before, edit, after)) is not None:
        return "not_swapped" if swapped else None
    if Counter(was) == Counter(now):  # told in another order
        if re.search(r"\b(?:swap|exchange|reverse|flip|turn .* over)\b", " ".join(said)):
            return None  # "swap the two fruits"
        if not (_MOVES.search(" ".join(said)) or set(said) & PLACES):
            return "unchanged"
    if (reason := faulty(before, edit, after) or _known(was, now, said, named)) is not None:
        return reason
    if _unknown_part(edit, was, now):
        return "unknown_thing"
    if unasked_added(before, edit, after):
        reason = "unasked_added"
    elif unasked_removed(before, edit, after):
        reason = "unasked_removed"
    if reason is not None and not (entails is not None and entails(f"{before} {edit}", after)):
        return reason
    for rule in (_kept, _done, _gone):
        if (reason := rule(was, now, said, named)) is not None:
            return reason
    if wrong_relation(before, edit, after):
        return "wrong_relation"
    if moved_unasked(before, edit, after):
        return "unasked_moved"
    reason = undescribed(before, edit, after) or ("repeated" if repeated(before, edit, after) else None)
    if reason is not None and entails is not None and entails(f"{before} {edit}", after):
        return None
    return reason


def changes(was: Sequence[str], now: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """What went and what came in its place, word for word, block by block."""
    matcher = SequenceMatcher(None, was, now, autojunk=False)
    return [
        (list(was[a0:a1]), list(now[b0:b1]))
        for tag, a0, a1, b0, b1 in matcher.get_opcodes()
        if tag != "equal"
    ]


_MOVES = re.compile(rf"{REORDER.pattern}|\b(?:put|move|place)\b")
# What is done to a thing that must be there; "make" and the like may be said of the whole picture too.
_TO_A_THING = re.compile(
    r"\b(?:make|turn|recolor|paint|change|replace|swap|transform|convert|remove|move|dye|colou?r|repaint|delete|erase|"
    r"take|get rid of|switch|give|light|put|place|set)\b(?: away| out| off)? (?:the|its|their|these|those) "
    r"(?P<thing>[^,;.]+)"
)


_THE_THING_IS = re.compile(r"the (?P<thing>[^,;.]+?) (?:now )?(?:should|could|must|need to|be|become|turn)\b")
_OF_A_THING = re.compile(r"\b(?!(?:it|let|there|what|he|she|that|who)\b)\w+['’]s (?P<part>(?:\w+ ?){1,2})")


def _unknown_part(edit: str, was: list[str], now: list[str]) -> bool:
    """Whether it is about a part of a thing, "the keeper's cap", that neither caption shows."""
    shown = {*was, *now}
    return any(
        part and not any(supported(word, shown) or word in ORDERS or word in WHOLE for word in part)
        for match in _OF_A_THING.finditer(edit.casefold())
        if (part := _until_preposition(words(match["part"]))) is not None
    )


def _known(was: list[str], now: list[str], said: list[str], named: set[str]) -> str | None:
    """What the instruction is about must be in the caption."""
    match = _TO_A_THING.search(" ".join(said)) or _THE_THING_IS.match(" ".join(said))
    if match is None:
        return None
    subject = _until_preposition(match["thing"].split())
    if match.re is _THE_THING_IS and subject and any(word.endswith(subject[-1]) for word in was):
        return None  # the house is a farmhouse
    there = set(was)
    if not subject or any(supported(word, there) or word in ORDERS or word in WHOLE for word in subject):
        return None
    return "unknown_thing"


def _kept(was: list[str], now: list[str], said: list[str], named: set[str]) -> str | None:
    """Words beside those that the instruction speaks of."""
    displaced = {
        word
        for removed, added in changes(was, now)
        if any(supported(new, named) for new in added)
        for word in removed
    }
    rest = Counter(word for word in content(was) if not supported(word, named) and word not in displaced)
    total = sum(rest.values())
    left = sum((rest & Counter(now)).values())
    return "not_kept" if total and left < KEPT * total else None


def _done(was: list[str], now: list[str], said: list[str], named: set[str]) -> str | None:
    """What the instruction names and the caption did not have must show in the edited one."""
    old, new = set(was), set(now)
    if COUNTS.search(" ".join(said)) and any(word.isdigit() for word in new - old):
        return None
    lost = Counter(content(was)) - Counter(now)
    if any(supported(word, named) for word in lost) and not Counter(content(now)) - Counter(was):
        return None  # it took something away, and that is gone
    come = {word for _, added in changes(was, now) for word in added}
    if come & PLACES & set(said) or (come - PLACES <= old and REORDER.search(" ".join(said))):
        things = [word for word in content(said) if word not in ORDERS and word not in PLACES]
        known = (
            not things
            or bool(set(content(sorted(come))) - old)
            or any(supported(word, old) for word in things)
        )
        return None if known else "unknown_thing"  # things stand elsewhere, as named
    wanted = [word for word in content(said) if word not in old and word not in ORDERS]
    if not wanted:
        return None
    fresh = {word for word in new if word not in old} or new
    return None if any(supported(word, fresh) for word in wanted) else "not_done"


_REMOVE = re.compile(
    r"\b(?:remove|delete|erase|take away|take out|get rid of|cut out|crop out|no more|without|there is no|lose|drop)\b"
)
_REPLACE = re.compile(
    r"\b(?:replace|swap out|swap|exchange|substitute|trade|switch)\b(?P<old>.+?)\b(?:with|for|by|to)\b"
)
_INSTEAD = re.compile(r"\binstead of\b(?P<old>.+)$")


def _gone(was: list[str], now: list[str], said: list[str], named: set[str]) -> str | None:
    before, after = Counter(was), Counter(now)
    text = " ".join(said)
    for pattern in (_REPLACE, _INSTEAD):
        if (match := pattern.search(text)) and (head := _head(match["old"].split(), before)):
            new = text[match.end() :].split(",")[0] if pattern is _REPLACE else text[: match.start()]
            if {head, "1", "one"} & set(new.split()):  # another of its kind; `words` has made "one" 1
                gone = _another(head, content(match["old"].split()), content(new.split()), before, now)
            else:
                gone = after[head] < before[head]
            return None if gone else "not_replaced"
    if match := _REMOVE.search(text):
        rest = list(dropwhile(FUNCTION.__contains__, re.split(r"[,;.]", text[match.end() :])[0].split()))
        head = _head(_until_preposition(rest), before)
        if head is not None and after[head] >= before[head]:
            return "not_removed"
    return None


def _another(head: str, old: Sequence[str], new: Sequence[str], before: Counter[str], now: list[str]) -> bool:
    """Whether one of a kind gave way to another of it: how the old was described is gone, or the new is described."""
    described = [word for word in old if word != head and before[word]]
    if described:
        return any(now.count(word) < before[word] for word in described)
    beside = {
        word for place, found in enumerate(now) if found == head for word in now[max(0, place - 3) : place]
    }
    return any(word in beside for word in new if word not in (head, "1", "one"))


def _until_preposition(found: list[str]) -> list[str]:
    return list(takewhile(lambda word: word not in FUNCTION and word not in ("so", "like"), found))


def _head(phrase: list[str], known: Counter[str]) -> str | None:
    """The last word of a noun phrase that the caption has too."""
    thing = content(phrase)
    if thing and (last := known_as(thing[-1], list(known))) is not None:
        return last
    there = [word for word in thing if known[word]]
    return there[-1] if there else None


def normalised(text: str) -> str:
    """Case, punctuation and spaces aside."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))

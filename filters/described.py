"""Whether what an instruction says of a thing shows on that thing, and the things that it does not speak of stay.

`filters.agreement` compares bags of words; what small models get wrong is mostly which thing a word is said of: the
ball turns purple in place of the car, a mug makes way for a cat that was to stand beside it. Here words have places:
what describes a thing stands at most `BEFORE` words before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from filters.wording import FUNCTION, ORDERS, WHOLE, WORD, content, lemma, supported, words
from spatial.lexicon import Lexicon

BEFORE, AFTER = 3, 3  # words before and after a named word that may go with it
_MANNER = re.compile(r"\b(?:too|also|another|one more|extra)\b")
_TAKES = re.compile(
    r"\b(?:remove|delete|erase|take|get rid|rid|cut|crop|no|not|without|lose|drop|leave|just|only|empty|hide|clear|"
    r"gone|away|out|off|replace|swap|exchange|substitute|trade|switch|turn|transform|change|convert|make|become|becomes|"
    r"go|skip|hold|clean|want|un[a-z]+|instead|now|should be|could be|was|were|be|for|into|with)\b"
)
_ADDS = re.compile(
    r"^(?:please )?(?:could you |can you )?(?:(?:add|insert|include)\b|the \w+ need (?!no\b)|"
    r"(?:put|place|give)\b.*\b(?:next to|beside|left of|right of|in front of|behind)\b)"
)
_INTO = re.compile(
    r"\b(?:turn|transform|change|convert|make) the (?P<old>[^,;.]+?) (?:into(?: an?)?|to an?) (?P<new>[^,;.]+)"
    r"|\bthe (?P<old2>[a-z]+) (?:should be|could be|be now|be|become|becomes) an? (?P<new2>[^,;.]+)"
    r"|^(?:could|would) the (?P<old3>[a-z]+) be an? (?P<new3>[^,;.]+)"
)
_NO = re.compile(r"\b(?:no|without)(?: the| any)? (?P<gone>[^,;.]+)")
_NEW = re.compile(r"\b(?:a|an)\b(?P<rest>(?: [^\W_][\w'’-]*)+)")


@cache
def _looks() -> tuple[frozenset[str], frozenset[str]]:
    """Words for colours, and for materials, as dictionary forms."""
    tables = Lexicon.default().tables["en"]
    return tuple(  # type: ignore[return-value]
        frozenset(lemma(word) for forms in tables[name].values() for word in forms if " " not in word)
        for name in ("colors", "materials")
    )


def undescribed(before: str, edit: str, after: str) -> str | None:
    """The first rule that an edit breaks: "repeated", "not_removed", "not_replaced", "not_done", "wrong_thing",
    "unasked_removed". None where it agrees."""
    was, now, said = words(before), words(after), words(edit)
    text = " ".join(said)
    if _stutters(was, now, set(said)):
        return "repeated"
    if _stays(text, was, now):
        return "not_removed"
    if _not_turned(text, was, now):
        return "not_replaced"
    return (
        _look(edit, said, was, now) or _missing(text, was, now) or _lost(edit, text, said, before, was, now)
    )


def _stutters(was: Sequence[str], now: Sequence[str], named: set[str]) -> bool:
    """Two words of meaning in a row that are said twice, were not before, and are not what it is about."""

    def pairs(found: Sequence[str]) -> Counter[tuple[str, str]]:
        return Counter(
            (one, other)
            for one, other in pairwise(found)
            if not {one, other} & (FUNCTION | named) and one != other
        )

    before = pairs(was)
    return any(times > max(1, before[pair]) for pair, times in pairs(now).items())


def _stays(text: str, was: Sequence[str], now: Sequence[str]) -> bool:
    match = _NO.search(text)
    if match is None:
        return False
    head = _last([word for word in match["gone"].split()[:3] if word not in ("there", "more")], was)
    return head is not None and now.count(head) >= was.count(head)


def _not_turned(text: str, was: Sequence[str], now: Sequence[str]) -> bool:
    """What was to become something else is still there."""
    for match in _INTO.finditer(text):
        old = next(match[name] for name in ("old", "old2", "old3") if match[name])
        new = next(match[name] for name in ("new", "new2", "new3") if match[name]).split()
        head = _last(old.split(), was)
        colors, materials = _looks()
        noun = next((word for word in reversed(_phrase(new)) if word not in FUNCTION), None)
        if (
            head is None
            or noun is None
            or head in WHOLE | ORDERS
            or noun in colors | materials | {"1", "one", head}
        ):
            continue
        if now.count(head) >= was.count(head):
            return True
    return False


def _look(edit: str, said: Sequence[str], was: Sequence[str], now: Sequence[str]) -> str | None:
    """Colours and materials that are named must show, each on its thing."""
    if not Counter(content(list(now))) - Counter(was):
        return None  # it only took something away
    plain = re.split(r"\b(?:instead of|rather than|not|no|without)\b", edit, maxsplit=1, flags=re.I)[0]
    if match := re.search(
        r"\b(?:swap|replace|exchange|change|trade|switch)\b(?P<old>.+?)\b(?:for|with|by|to)\b", plain, re.I
    ):
        plain = plain[: match.start()] + plain[match.end("old") :]
    asked = words(plain)
    for kind in _looks():
        new = [(place, word) for place, word in enumerate(asked) if word in kind]
        fresh = [(place, word) for place, word in new if word not in was] or new
        for place, word in fresh:
            shown = [at for at, found in enumerate(now) if supported(found, {word})]
            if not shown:
                return "not_done"
            hosts = _hosts(place, asked, said, was, now)
            near = [now[max(0, at - 3) : at + BEFORE + 1] for at in shown]
            others = sum(other in kind for other in was)
            if hosts and others > 1 and not any(supported(one, hosts) for some in near for one in some):
                return "wrong_thing"
            if word not in was and _old_look_stays(word, kind, hosts, was, now):
                return "not_replaced"
    return None


def _hosts(
    place: int, asked: Sequence[str], said: Sequence[str], was: Sequence[str], now: Sequence[str]
) -> set[str]:
    """What a colour or material is said of: the noun right after it, else what the instruction names of the caption."""
    colors, materials = _looks()
    for word in asked[place + 1 : place + 3]:
        if word in FUNCTION or word in ("1", "one"):
            break
        if word not in colors | materials | ORDERS and (word in was or word in now):
            return {word}
    return {
        word
        for word in content(list(said))
        if word in was and word not in colors | materials | ORDERS | WHOLE
    }


def _old_look_stays(
    word: str, kind: frozenset[str], hosts: set[str], was: Sequence[str], now: Sequence[str]
) -> bool:
    """Whether a thing that got a new colour or material has its old one beside it."""

    def looks(found: Sequence[str]) -> Counter[str]:
        return Counter(
            one
            for at, name in enumerate(found)
            if name in hosts
            for one in found[max(0, at - 2) : at]
            if one in kind
        )

    if any(now.count(host) > was.count(host) for host in hosts):
        return False  # there is another of it
    before, after = looks(was), looks(now)
    return word in after and bool(before) and not before - after


def _missing(text: str, was: Sequence[str], now: Sequence[str]) -> str | None:
    """What is new, said with "a" or "an", must be there; of what there is to be another of, more."""
    for match in _NEW.finditer(text):
        phrase = [word for word in _phrase(match["rest"].split()) if word not in FUNCTION]
        nouns = [word for word in phrase if word not in ORDERS and word not in WHOLE]
        if nouns and not any(supported(word, set(now)) for word in nouns[-2:]):
            return "not_done"
        if (
            nouns
            and _MANNER.search(text)
            and nouns[-1] in was
            and now.count(nouns[-1]) <= was.count(nouns[-1])
        ):
            return "not_done"
    return None


def _lost(
    edit: str, text: str, said: Sequence[str], before: str, was: Sequence[str], now: Sequence[str]
) -> str | None:
    """What went must be named, or describe what is named; and nothing goes where something is only added."""
    named = {word for word in content(list(said)) if word not in ORDERS}
    gone = Counter(content(list(was))) - Counter(now)
    come = Counter(content(list(now))) - Counter(was)
    gerunds = {lemma(word) for word in WORD.findall(before) if word.casefold().endswith("ing")}
    colors, materials = _looks()
    things = {word for word in named if word not in colors | materials}
    touched = [
        at for at, word in enumerate(was) if supported(word, things) or (word in gerunds and gone[word])
    ]
    if touched or _ADDS.match(text):  # else it is about the whole picture, and what makes way is not told
        for word in gone:
            if supported(word, named) or word in gerunds or any(supported(word, {new}) for new in come):
                continue
            places = [at for at, found in enumerate(was) if found == word]
            if not any(-AFTER <= by - at <= BEFORE for at in places for by in touched):
                return "unasked_removed"
    heads = {word for word in gone if word in named}
    if heads and _ADDS.match(text) and not re.search(r"\b(?:instead|in place|replac)", edit, re.I):
        return "unasked_removed"
    if heads and not come and not _TAKES.search(text):
        return "unasked_removed"
    return None


def _phrase(found: Sequence[str]) -> list[str]:
    """The words up to the first that joins or relates: of "red ball to the cone" the first two."""
    phrase: list[str] = []
    for word in found:
        if word in FUNCTION:
            break
        phrase.append(word)
    return phrase


def _last(found: Sequence[str], there: Sequence[str]) -> str | None:
    known = [word for word in content(list(found)) if word in there]
    return known[-1] if known else None

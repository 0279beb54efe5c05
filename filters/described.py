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

from filters.asked import takes
from filters.phrases import phrases, tokens
from filters.said_of import elsewhere
from filters.wording import (
    ALL,
    FUNCTION,
    KINDS,
    LOOKS,
    ORDERS,
    WHOLE,
    content,
    known_as,
    lemma,
    supported,
    words,
)
from spatial.lexicon import Lexicon

BEFORE = 3  # words before a thing that may describe it
_MANNER = re.compile(r"\b(?:too|also|another|one more|extra)\b")
_THE = r"(?:the|this|that|these|those|its|his|her|their)"
_INTO = re.compile(
    rf"\b(?:turn|transform|change|convert|make|shift) {_THE} (?P<old>[^,;.]+?) "
    r"(?:into(?: an?)?|to an?|an?) (?P<new>[^,;.]+)"
    rf"|\b{_THE} (?P<old2>[a-z]+) (?:should be|could be|be now|be|become|becomes) an? (?P<new2>[^,;.]+)"
    r"|^(?:could|would) the (?P<old3>[a-z]+) be an? (?P<new3>[^,;.]+)"
)
_MADE_OVER = re.compile(
    r"\b(?:swap|replace|exchange|change|trade|switch|turn|transform|convert)\b(?P<old>.+?)\b(?:for|with|by|to|into)\b|"
    r"\b(?:have|let|make)?(?P<old2> the [^,]+?) (?:become|becomes|an? )",
    re.I,
)
_ASIDE = re.compile(
    r"\b(?:instead of|rather than|in place of|not|no|without|as though|as if|like in|than)\b[^,]*"
)
_NO = re.compile(r"\b(?:no|without|not)(?: the| any| an?| in| at| on| so| just)* (?P<gone>[^,;.]+)")
_SPOTS = frozenset({"left", "right", "top", "bottom", "middle", "centre", "center"})
_MORE = frozenset({"more", "another", "add", "extra", "too", "also", "other", "beside", "next"})
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
    if _stays(text, was, now):
        return "not_removed"
    if _not_turned(text, was, now) or _both_stand(before, said, was, now):
        return "not_replaced"
    if elsewhere(before, edit, after) or _apart(before, edit, after) or _other_looks(before, said, after):
        return "wrong_thing"
    return _look(edit, said, was, now) or _missing(text, was, now) or _lost(edit, said, was, now)


def _stays(text: str, was: Sequence[str], now: Sequence[str]) -> bool:
    match = _NO.search(text)
    if match is None:
        return False
    gone = _phrase([word for word in match["gone"].split()[:3] if word not in ("there", "more")])
    there = [word for word in gone if word in was]
    return bool(there) and all(now.count(word) >= was.count(word) for word in there)


def _both_stand(before: str, said: Sequence[str], was: Sequence[str], now: Sequence[str]) -> bool:
    """Whether the new time, season or place stands beside the old; or the new number of a thing beside the thing."""
    come, earlier = Counter(now) - Counter(was), phrases(tokens(before))
    for name in ("time", "season", "place"):
        kind = KINDS[name]
        if any(word in kind for word in come) and any(
            one.head in kind and one.head in now and one.head not in said for one in earlier
        ):
            return True
    spots, new_spots = ({word for word in row if word in _SPOTS} for row in (was, now))
    if not content(list(come)) and spots and spots < new_spots and not spots & set(said):
        return True
    if _MORE & set(said):
        return False
    return any(
        number.isdigit() and number != "1" and thing in was and now.count(thing) > was.count(thing)
        for at, number in enumerate(said)
        for thing in content(list(said[at + 1 : at + 3]))
    )


def _not_turned(text: str, was: Sequence[str], now: Sequence[str]) -> bool:
    """What was to become something else is still there."""
    colors, materials = _looks()
    if "turn into" in " ".join(now):
        return False  # "a beard turned into a wind turbine"
    for match in _INTO.finditer(text):
        old = (
            next(match[name] for name in ("old", "old2", "old3") if match[name]).split(" of ")[0].split()[-1]
        )
        new = next(match[name] for name in ("new", "new2", "new3") if match[name]).split()
        head = known_as(old, was) if old not in FUNCTION else None  # none in "make the cat lick a paw"
        noun = next((word for word in reversed(_phrase(new)) if word not in FUNCTION), None)
        if head is None or noun is None or head in WHOLE | ORDERS:
            continue
        if noun not in colors | materials | KINDS["size"] | {"1", "one", head} and now.count(
            head
        ) >= was.count(head):
            return True
    return False


def _look(edit: str, said: Sequence[str], was: Sequence[str], now: Sequence[str]) -> str | None:
    """Colours and materials that are named must show, each on its thing."""
    if takes(edit) and not Counter(content(list(now))) - Counter(was):
        return None  # it only took something away
    plain = re.split(
        r"\b(?:instead of|in place of|rather than|not|no|without)\b", edit, maxsplit=1, flags=re.I
    )[0]
    if match := _MADE_OVER.search(plain):
        plain = plain[: match.start()] + plain[match.end("old" if match["old"] else "old2") :]
    asked = words(plain)
    for kind in _looks():
        new = [(place, word) for place, word in enumerate(asked) if word in kind]
        fresh = [(place, word) for place, word in new if word not in was] or [
            (place, word) for place, word in new if not _names(place, asked)
        ]
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


def _names(place: int, asked: Sequence[str]) -> bool:
    """Whether it is there to tell which thing is meant: "the white car"."""
    return "the" in asked[max(0, place - 2) : place]


def _hosts(
    place: int, asked: Sequence[str], said: Sequence[str], was: Sequence[str], now: Sequence[str]
) -> set[str]:
    """What a colour or material is said of: the noun right after it, else what the instruction names of the caption."""
    colors, materials = _looks()
    for word in asked[place + 1 : place + 3]:
        if word in FUNCTION or word in ("1", "one"):
            break
        if word not in colors | materials | ORDERS and (word in was or (word := known_as(word, now) or "")):
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

    if any(now.count(host) > was.count(host) or was.count(host) > 1 for host in hosts):
        return False  # there is another of it
    before, after = looks(was), looks(now)
    return word in after and bool(before) and not before - after


def _missing(text: str, was: Sequence[str], now: Sequence[str]) -> str | None:
    """What is new, said with "a" or "an", must be there; of what there is to be another of, more."""
    for match in _NEW.finditer(_ASIDE.sub("", text)):
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


def _lost(edit: str, said: Sequence[str], was: Sequence[str], now: Sequence[str]) -> str | None:
    """A thing that is named is not gone, but where the instruction takes something."""
    gone = Counter(content(list(was))) - Counter(now)
    heads = {word for word in gone if word in said and word not in ORDERS}
    if heads and not takes(edit) and not Counter(content(list(now))) - Counter(was):
        return "unasked_removed"
    return None


def _other_looks(before: str, said: Sequence[str], after: str) -> bool:
    """Whether a thing that the instruction does not name has another colour or material than it had."""
    if ALL & set(said):
        return False
    kinds, named = LOOKS, set(said)
    had, has = (
        {
            one.head: one.words
            for one in phrases(tokens(text))
            if not one.verb and words(text).count(one.head) == 1
        }
        for text in (before, after)
    )
    for thing, described in had.items():
        if thing in has and not any(supported(word, named) for word in described):
            looks = {word for word in described if word in kinds}
            if looks and {word for word in has[thing] if word in kinds} - looks:
                return True
    return False


def _apart(before: str, edit: str, after: str) -> bool:
    """Whether what describes a thing in the instruction describes another in the caption: "a tiny bridge"."""
    was, now = words(before), words(after)
    come = Counter(content(now)) - Counter(content(was))
    found = phrases(tokens(after))
    for phrase in phrases(tokens(edit)):
        thing = phrase.head
        if thing not in was or thing not in now or thing in ORDERS | WHOLE or phrase.verb:
            continue
        for word in phrase.words[:-1]:
            if word not in come or word in ORDERS:
                continue
            with_word = [one for one in found if word in one.words]
            if not any(thing in one.words or come.keys() >= set(one.words) for one in with_word):
                return True
    return False


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

"""Whether what is said of a thing is shown on that thing: "the pot is made of teak", and not the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from filters.phrases import Phrase, phrases, tokens
from filters.wording import FORMS, FUNCTION, ORDERS, WHOLE, content, lemma, supported, words

_THE = r"(?:the|its|his|her|their|this|that|these|those|both)"
# Dictionary forms. What follows is no place: that is a relation, and judged as one.
_IS = re.compile(
    rf"\b{_THE} (?P<thing>[^,]+?)(?: (?:should|could|would|must|may|can|need to|have to|ought to))?"
    r"(?: (?:now|just|all|also|too|please))* (?:be|become|turn|look|appear|get|go|seem|change to|come)\b"
    r"(?! (?:in|on|at|to the|by|near|next|behind|under|above|over|inside|from|out|off|away|up|down|gone|there)\b)"
    r"(?P<what>[^,]+)"
)
_MAKE = re.compile(
    rf"\b(?:make|turn|paint|dye|colou?r|recolou?r|render|repaint|tint|stain) {_THE} (?P<what>[^,]+)"
)


def elsewhere(before: str, edit: str, after: str) -> bool:
    """Whether a word that was asked for of one thing of the caption came to another. What things do is not judged."""
    was, now = words(before), words(after)
    thing, said = _said(" ".join(words(edit)), was)
    if thing is None or thing in WHOLE or now.count(thing) != was.count(thing):
        return False
    what = {word for word in said if word not in ORDERS and word not in FUNCTION}
    doing = {lemma(word) for word in re.findall(r"[^\W_]+ing\b", edit.casefold())}
    if doing & what:
        return False
    come = Counter(content(now)) - Counter(content(was))
    marked = tokens(after)
    row, found = [token.word for token in marked], phrases(marked)
    hosts = [at for at, word in enumerate(row) if word == thing]
    return any(
        supported(word, what)
        and word not in FORMS
        and not any(_together(at, host, row, found, come) for at in _places(word, row) for host in hosts)
        for word in come
    )


def _places(word: str, row: Sequence[str]) -> list[int]:
    return [at for at, one in enumerate(row) if one == word]


def _said(text: str, was: Sequence[str]) -> tuple[str | None, list[str]]:
    """The thing of the caption, and the words that are said of it."""
    if match := _IS.search(text):
        thing = [word for word in match["thing"].split() if word not in FUNCTION]
        if thing and thing[-1] in was and len(thing) <= 3:
            return thing[-1], match["what"].split()
    if match := _MAKE.search(text):
        found = match["what"].split()
        for at, word in enumerate(found):
            if word in FUNCTION or word not in was:
                break
            if word not in ORDERS and (at + 1 == len(found) or found[at + 1] not in was):
                return word, found[at + 1 :]
    return None, []


def _together(at: int, host: int, row: Sequence[str], found: Sequence[Phrase], come: Counter[str]) -> bool:
    """Side by side, in one phrase, in the one after it, or with nothing between that was there before."""
    first, last = sorted((at, host))
    between = row[first + 1 : last]
    if last - first <= 2 or all(
        word in FUNCTION or word in come or word in FORMS or word == "," for word in between
    ):
        return True
    if at < host and not any(word in FUNCTION or word == "," for word in between):
        return True
    mine, its = (
        next((i for i, one in enumerate(found) if one.start <= place < one.end), -2) for place in (at, host)
    )
    if mine >= 0 and found[mine].lead[:1] == (",",) and come.keys() >= set(found[mine].words):
        return True  # "maple leaf on asphalt, gold"
    return mine - its in (0, 1) or (mine - its == -1 and set(found[its].lead) <= {",", "and"})

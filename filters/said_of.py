"""Whether what is said of a thing is shown on that thing: "the pot is made of teak", and not the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from filters.phrases import Phrase, phrases, tokens
from filters.wording import FORMS, FUNCTION, KINDS, ORDERS, WHOLE, content, lemma, supported, words

_THE = r"(?:the|its|his|her|their|this|that|these|those|both)"
# Dictionary forms. What follows is no place: that is a relation, and judged as one.
_IS = re.compile(
    rf"\b{_THE} (?P<thing>[^,]+?)(?: (?:should|could|would|must|may|can|need to|have to|ought to))?"
    r"(?: (?:now|just|all|also|too|please))* (?:be|become|turn|look|appear|get|go|seem|change to|come)\b"
    r"(?! (?:in|on|at|to the|by|near|next|behind|under|above|over|inside|from|out|off|away|up|down|gone|there)\b)"
    r"(?P<what>[^,]+)"
)
_HAS = re.compile(
    rf"\b{_THE} (?P<thing>[^,]+?)(?: (?:should|could|would|must|need to))? have an? (?P<what>[^,]+) "
    r"(?:look|surface|pattern|finish|colou?r|coat|tone|shade)\b"
)
_MAKE = re.compile(
    rf"\b(?:make|turn|paint|dye|colou?r|recolou?r|render|repaint|tint|stain) {_THE} (?P<what>[^,]+)"
)

_OF_IT = re.compile(
    r"\b(?:it|them|they|these|this) (?:should |could |be |now )*(?:make |out )?of (?P<what>[^,]+)"
)


def elsewhere(before: str, edit: str, after: str) -> bool:
    """Whether a word that was asked for of one thing of the caption came to another. What things do is not judged."""
    was, now = words(before), words(after)
    text = " ".join(words(edit))
    thing, said = _said(text, was)
    if thing is None and (match := _OF_IT.search(text)):
        thing, said = _subject(before), match["what"].split()
    if thing is None or thing in WHOLE or now.count(thing) != was.count(thing):
        return False
    what = {word for word in said if word not in ORDERS and word not in FUNCTION}
    doing = {lemma(word) for word in re.findall(r"[^\W_]+ing\b", edit.casefold())} - KINDS["time"]
    come = Counter(content(now)) - Counter(content(was))
    marked = tokens(after)
    row, found = [token.word for token in marked], phrases(marked)
    hosts = [at for at, word in enumerate(row) if word == thing]
    if doing & what:  # but that it describes another
        return any(
            word in doing and word in one.words[:-1] and one.head in was and one.head != thing
            for word in come
            for one in found
        )
    return any(
        supported(word, what)
        and word not in FORMS
        and not any(_together(at, host, row, found, come) for at in _places(word, row) for host in hosts)
        for word in come
    )


def _subject(caption: str) -> str | None:
    """What "it" and "them" stand for: the first thing, a photo aside."""
    return next(
        (
            one.head
            for one in phrases(tokens(caption))
            if not one.verb and one.head not in KINDS["medium"] | {"image", "picture"}
        ),
        None,
    )


def _places(word: str, row: Sequence[str]) -> list[int]:
    return [at for at, one in enumerate(row) if one == word]


def _said(text: str, was: Sequence[str]) -> tuple[str | None, list[str]]:
    """The thing of the caption, and the words that are said of it."""
    if match := _HAS.search(text) or _IS.search(text):
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
    mine, its = (
        next((i for i, one in enumerate(found) if one.start <= place < one.end), -1) for place in (at, host)
    )
    if mine < 0 or its < 0:
        return False
    phrase = found[mine]
    if mine > its and phrase.head not in come and not phrase.verb and phrase.lead[:1] != ("of",):
        return False  # it describes what was there: "a raccoon in a furry tree"
    first, last = sorted((at, host))
    between = row[first + 1 : last]
    if last - first <= 2 or all(word in FUNCTION or word in come or word == "," for word in between):
        return True
    if at < host and not any(word in FUNCTION or word == "," for word in between):
        return True
    if phrase.lead[:1] == (",",):
        return phrase.head in come  # "maple leaf on asphalt, gold"
    if mine < its:
        return set(found[its].lead) <= {",", "and"} and its - mine == 1
    # After it, but for what belongs to it: "bowl of ramen looking shiny".
    beside = [one for one in found[its + 1 : mine] if not one.verb and one.lead[:1] != ("of",)]
    return not beside and (phrase.verb or phrase.lead[:1] == ("of",) or come.keys() >= set(phrase.words))

"""Words as the text checks see them: dictionary forms, what carries meaning, what stands for what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import simplemma
import yaml

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NUMBERS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "twelve": "12",
}  # fmt: skip
# Nouns of captions, which a dictionary of all words takes for verbs; and what it has wrong.
_FORMS = {
    "leaves": "leaf", "left": "left", "saw": "saw", "wound": "wound", "rose": "rose", "found": "found",
    "gone": "gone", "playing": "play", "sepia": "sepia", "spade": "spade", "bare": "bare", "bigger": "big",
    "closer": "close", "woods": "woods",
}  # fmt: skip
_ISM = re.compile(r"(?:ism|ist|istic)$")
_LISTS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "wording.yaml").read_text(encoding="utf-8"))
FUNCTION = frozenset(_LISTS["function"].split())
ORDERS = frozenset(_LISTS["orders"].split())
PLACES = frozenset(_LISTS["places"].split())
WHOLE = frozenset(_LISTS["whole"].split())
FORMS = frozenset(_LISTS["forms"].split())
KNOWN = frozenset(_LISTS["known"].split())
JOINTS = frozenset(_LISTS["joints"].split())
ARTICLES = frozenset(_LISTS["articles"].split())
ALL = frozenset(_LISTS["all"].split())
# Of things that change places.
REORDER = re.compile(
    r"\b(?:swap|switch|exchange|interchange|flip|reverse|trade|mirror|turn .* over|around|other way|first|last|second|"
    r"lead|order|change place)\b"
)


@lru_cache(65536)
def lemma(word: str) -> str:
    """The dictionary form of one English word in lower case, numbers as digits: "Knives" gives "knife"."""
    plain = word.casefold().replace("’", "'").removesuffix("'s").rstrip("'")
    if (known := _NUMBERS.get(plain) or _FORMS.get(plain)) is not None:
        return known
    return str(simplemma.lemmatize(plain, lang="en")).casefold()


KINDS = {
    name: frozenset(form for word in line.split() for form in (word, lemma(word)))
    for name, line in _LISTS["kinds"].items()
}
LOOKS = KINDS["color"] | KINDS["material"]


def words(text: str) -> list[str]:
    """All words as dictionary forms, in order."""
    return [lemma(word) for word in WORD.findall(text)]


def content(found: list[str]) -> list[str]:
    """Those that carry meaning."""
    return [word for word in found if word not in FUNCTION and word != ","]


def supported(word: str, by: set[str]) -> bool:
    """Whether one of these words names this one, or entails it: the same, of one stem, or of one family."""
    if word in by:
        return True
    family = _families().get(word, frozenset())
    return bool(family & by) or any(_related(word, other) for other in by)


def known_as(word: str, there: Sequence[str]) -> str | None:
    """What a caption calls the thing: the word itself, or the only one of its family, "mug" for "cup"."""
    if word in there:
        return word
    family = [other for other in there if other in _families().get(word, ())]
    return family[0] if len(family) == 1 else None


def _related(one: str, other: str) -> bool:
    """Forms of one word: "metal" and "metallic", "paint" and "painting"; also parts: "snow-covered"."""
    if "-" in one or "-" in other:
        parts = {part for part in one.split("-") if len(part) > 2}
        others = {part for part in other.split("-") if len(part) > 2}
        if (parts | {one}) & (others | {other}):
            return True
    short, long = sorted((one, other), key=len)
    if _ISM.sub("", one) == _ISM.sub("", other) and len(short) > 5:
        return True
    if len(short) < 4:
        return len(short) == 3 and long in (short + "y", short + short[-1] + "y", short + "ny")
    return (
        long.startswith(short[:-1] if short.endswith(("e", "y")) else short) and len(long) - len(short) <= 4
    )


@cache
def _families() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for line in _LISTS["families"]:
        family = {lemma(word) for word in str(line).split()} | set(str(line).split())
        for word in family:
            found.setdefault(word, set()).update(family)
    return {word: frozenset(family) for word, family in found.items()}

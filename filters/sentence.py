"""Whether the caption after an edit reads as a caption: words that exist, said once, and none of the order's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import simplemma

from filters.asked import without_references
from filters.phrases import Token, phrases, tokens
from filters.wording import FUNCTION, JOINTS, KNOWN, LOOKS, ORDERS, WORD, content, lemma, supported, words

# What an order says and a caption does not.
_ORDER = re.compile(
    r"\b(?:please|instead|should|could|would|must|let|let's|i'd|i want|make it|show it|add|added|replace|replaced|swap|"
    r"in place of|rather than|no longer|any ?more|becoming|becomes|turning into|why not|what if|now|of them|"
    r"(?:set|changed|switched) to|(?:in|to) the (?:scene|image|picture))\b",
    re.I,
)
_IMPERATIVE = re.compile(
    r"(?:please |could you |can you |let's |just )*(?P<verb>[a-z]+)(?: (?:up|down|in|out|on|off|back))? "
    r"(?:the|its|his|her|their|an?) (?P<object>\w+)"
)
_AGAIN = re.compile(
    r"\b(?:another|too|also|as well|more|second|twin|double|twice|both|each|every|all|pair|\d+|of them)\b"
)
_ENDS = frozenset({"of", "with", "and", "or", "to", "at", "from", "for", "into"})  # what nothing ends with
_JOINS = _ENDS | {"a", "an", "the", "in", "on", "by", "near", "behind", "beside", "under"}
_CAPITALS = 0.4  # of a caption's words; in one with more a capital says nothing


def faulty(before: str, edit: str, after: str) -> str | None:
    """The first of: "no_word", where a word is in no dictionary and not in the caption. "order_told": the caption after
    says what belongs into an order. "malformed": its words do not fit each other."""
    if _invented(before, edit, after):
        return "no_word"
    if (
        _orders(before, after)
        or _word_for_word(edit, after)
        or _stands_for(before, after)
        or _does_it_itself(before, edit, after)
    ):
        return "order_told"
    return "malformed" if _malformed(before, edit, after) else None


@lru_cache(65536)
def exists(word: str) -> bool:
    """Whether a dictionary has this English word, or it is made of such: "snow-covered", "starfield"."""
    plain = word.casefold().replace("’", "'")
    plain = re.sub(r"(?:'s|s'|n't|'ll|'d|'re|'ve|'m)$", "", plain)
    if not plain.isalpha():
        return all(exists(part) for part in re.split(r"[\W\d_]+", plain) if len(part) > 2)
    if len(plain) < 4 or plain in KNOWN or _known(plain):
        return True
    return any(_known(plain[:at]) and _known(plain[at:]) for at in range(4, len(plain) - 3))


def _known(word: str) -> bool:
    return bool(simplemma.is_known(word, lang="en"))


def _invented(before: str, edit: str, after: str) -> bool:
    """Names, which have a capital, are never invented."""
    there = {word.casefold() for word in WORD.findall(before)}
    return any(
        not exists(word)
        for text in (edit, after)
        for word in WORD.findall(text)
        if word.islower()
        and word not in there
        and not any(word.removesuffix(end) in there for end in ("s", "es", "ed", "ing"))
    )


def _orders(before: str, after: str) -> bool:
    had = {match.group().casefold() for match in _ORDER.finditer(before)}
    return any(match.group().casefold() not in had for match in _ORDER.finditer(after))


def _word_for_word(edit: str, after: str) -> bool:
    """Whether an order about "the" thing stands in the caption as it was given."""
    said = words(edit)
    if len(said) < 3 or said[1] != "the" or said[0] in FUNCTION:
        return False
    return f" {' '.join(said)} " in f" {' '.join(words(after))} "


def _stands_for(before: str, after: str) -> bool:
    """Whether "one" stands for a thing: "sunflowers in a vase, a pink one"."""
    texts = [token.text.casefold() if token.word != "," else "," for token in tokens(after)]
    return "one" not in before.casefold() and any(
        one == "one" and before_it not in FUNCTION | {","} and after_it in FUNCTION | {","}
        for before_it, one, after_it in zip(texts, texts[1:], [*texts[2:], ","], strict=False)
    )


def _does_it_itself(before: str, edit: str, after: str) -> bool:
    """Whether a thing does what was to be done with it: "pull the deer down", and a deer pulling down."""
    match = _IMPERATIVE.match(edit.casefold())
    if match is None or (verb := lemma(match["verb"])) in ORDERS or verb in words(before):
        return False
    if match["object"] in ("view", "camera", "shot", "scene", "picture", "image") and verb in words(after):
        return True  # "stretch the view", and a vase stretched
    return any(token.word == verb and token.text.casefold().endswith("ing") for token in tokens(after))


def _malformed(before: str, edit: str, after: str) -> bool:
    old, new = tokens(before), tokens(after)
    if _capitals(old, edit, new) or _says_twice([token.word for token in old], [token.word for token in new]):
        return True
    had = {(one.text.casefold(), other.text.casefold()) for one, other in pairwise(old)}
    return new[-1].text.casefold() in _ENDS | {"a", "an", "the"} or any(
        (one.text.casefold(), other.text.casefold()) not in had and _misfit(one, other)
        for one, other in pairwise(new)
    )


def _misfit(one: Token, other: Token) -> bool:
    """Two words, or a word and a mark, that never follow each other."""
    if one.word == other.word:
        return one.word != ","
    first, second = (token.text.casefold() if token.word != "," else "," for token in (one, other))
    if first in ("a", "an", "the") and (second in _JOINS or second == ","):
        return True
    if first in _ENDS and second in (",", "and", "or"):
        return True
    if (
        first == "dozen" or (one.word.isdigit() and not first.isdigit() and first != "one")
    ) and second in JOINTS | {","}:
        return True  # a number of nothing
    if first == "a":  # silent and spoken "h" and "u" are not told
        return re.match(r"(?!one|once|eu)[aeio]", second) is not None
    return first == "an" and re.match(r"[bcdfgjklmnpqrstvwyz]", second) is not None


def _says_twice(was: Sequence[str], now: Sequence[str]) -> bool:
    """The same words, two or more, twice in a row."""

    def found(row: Sequence[str]) -> bool:
        return any(
            row[at : at + size] == row[at + size : at + 2 * size]
            for size in range(2, len(row) // 2 + 1)
            for at in range(len(row) - 2 * size + 1)
        )

    return found(now) and not found(was)


def _capitals(old: Sequence[Token], edit: str, new: Sequence[Token]) -> bool:
    """Words of the instruction that got a capital in a caption that has few."""
    capital = [one.text[0].isupper() for one in old[1:] if one.word not in FUNCTION and one.text.isalpha()]
    if not capital or sum(capital) > _CAPITALS * len(capital):
        return False
    said, had = set(WORD.findall(edit)), {token.text for token in old}
    return any(
        token.text[0].isupper() and token.text not in had | said and token.text.casefold() in said
        for token in new[1:]
        if token.word not in FUNCTION
    )


def repeated(before: str, edit: str, after: str) -> bool:
    """Whether a word comes more often than it did and than it was said, or two in a row come twice."""
    said = words(edit)
    if _AGAIN.search(" ".join(said)):
        return False
    was, now = words(before), without_references(before, after)
    had, has = Counter(content(was)), Counter(content(now))
    # "His" and the like speak of a thing that is there, as "the" does.
    known = ["the" if word in ("his", "her", "its", "their") else word for word in said]
    pairs, new = _pairs(was), _pairs(known)
    for pair, times in _pairs(now).items():
        thing = pair[1]
        if times > max(1, pairs[pair]) and has[thing] > had[thing] and thing not in LOOKS and not new[pair]:
            return True
    marked, earlier = (
        phrases(tokens(after)),
        Counter((one.lead, one.words) for one in phrases(tokens(before))),
    )
    for phrase, times in Counter((one.lead, one.words) for one in marked).items():
        if times > max(1, earlier[phrase]) and len(phrase[0]) > 1:
            return True  # "on a bench with a bear on a bench"
    things = Counter(phrase.head for phrase in marked if not phrase.verb)
    deeds = {phrase.head for phrase in marked if phrase.verb}
    for word, times in has.items():
        asked = sum(supported(word, {one}) for one in said)
        if had[word] and (word in deeds or _only_known(word, known)):
            asked = 0
        if times > 1 and (times > had[word] + asked if had[word] else things[word] > max(1, asked)):
            return True
    return False


def _only_known(word: str, said: Sequence[str]) -> bool:
    """Whether the instruction speaks of it as of a thing that is there, and of no other: "in the oven"."""
    places = [at for at, one in enumerate(said) if one == word]
    return bool(places) and all(said[at - 1 : at] == ["the"] for at in places)


def _pairs(found: Sequence[str]) -> Counter[tuple[str, str]]:
    """Words of meaning in a row. Those after "the" speak of what was named already."""
    return Counter(
        (one, other)
        for joint, one, other in zip(["", *found], found, found[1:], strict=False)
        if not {one, other} & FUNCTION and one != other and joint != "the"
    )

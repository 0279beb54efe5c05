"""Text into tokens: one spelling for what people write in several ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")
Tokens = tuple[str, ...]
# What may stand between two steps or at the end of a sentence, and carries no meaning inside one.
PUNCTUATION = frozenset(",;.?!:")

_TOKEN = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*|\S")
_HYPHEN = re.compile(r"(?<=\w)-(?=[^\W\d_])")
# Vietnamese open syllables in oa, oe, uy carry their tone on either vowel ("xoá", "xóa"); "qu" is a consonant.
_TONE = re.compile(r"o[àáảãạèéẻẽẹ](?!\w)|(?<!q)u[ỳýỷỹỵ](?!\w)")


def _tone_on_first(match: re.Match[str]) -> str:
    vowels = match.group()
    toned = unicodedata.normalize("NFD", vowels[1])
    return unicodedata.normalize("NFC", vowels[0] + toned[1]) + toned[0]


def tokenize(text: str) -> Tokens:
    """Case folded, NFC, hyphens between words opened, one placement of Vietnamese tones, "10%" as two."""
    text = unicodedata.normalize("NFC", text).casefold().replace("’", "'").replace("º", "°")
    return tuple(_TOKEN.findall(_TONE.sub(_tone_on_first, _HYPHEN.sub(" ", text))))


@cache
def words(text: str) -> Tokens:
    """The tokens of `text` without punctuation."""
    return without_punctuation(tokenize(text))


def without_punctuation(tokens: Iterable[str]) -> Tokens:
    return tuple(token for token in tokens if token not in PUNCTUATION)


class Phrases(Generic[T]):
    """Phrases of several tokens, each with a value, found at a place in a sentence."""

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._by_first: dict[str, list[tuple[Tokens, T]]] = {}
        for text, value in phrases:
            tokens = words(text)
            entries = self._by_first.setdefault(tokens[0], [])
            if (tokens, value) not in entries:
                entries.append((tokens, value))
        for entries in self._by_first.values():
            entries.sort(key=lambda entry: -len(entry[0]))

    def at(self, tokens: Tokens, start: int) -> list[tuple[T, int]]:
        """Every phrase that begins at `start`, longest first, each as (value, end)."""
        if start >= len(tokens):
            return []
        return [
            (value, start + len(phrase))
            for phrase, value in self._by_first.get(tokens[start], ())
            if tokens[start : start + len(phrase)] == phrase
        ]

    def removed_from(self, tokens: Tokens) -> Tokens:
        """`tokens` without any of the phrases."""
        kept: list[str] = []
        i = 0
        while i < len(tokens):
            found = self.at(tokens, i)
            if found:
                i = found[0][1]
            else:
                kept.append(tokens[i])
                i += 1
        return tuple(kept)

"""Captions and edits made fairer: genders exchanged by chance, quotas, the most skewed left out.

Exchanging every gendered word of a row, in caption, instruction and edited caption alike, is counterfactual data
augmentation (Lu et al. 2020, "Gender Bias in Neural Natural Language Processing") with substitution in place of copies
(Hall Maudslay et al. 2019, "It's All in the Name"): the number of rows stays, and whether a nurse is a woman or a man
becomes a coin's toss. It asks for no list of occupations, so it mends those too that nobody thought of.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

from filters.bias import Lexicon, learned_pairs

Texts = tuple[str, ...]
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Exchange:
    """Words that go with one gender, and what each becomes. pairs: (masculine, feminine), lower case.

    "her" is "his" before a noun and "him" elsewhere; a word of several pairs takes the first.
    """

    pairs: tuple[tuple[str, str], ...]

    @staticmethod
    @cache
    def default() -> Exchange:
        """The words of the lexicon "mend" and those that were learned from them (`filters.gender_words`)."""
        return Exchange(Lexicon.named("mend").pairs + learned_pairs())

    @cached_property
    def _other(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for masculine, feminine in self.pairs:
            found.setdefault(masculine, feminine)
            found.setdefault(feminine, masculine)
        return found

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = sorted(self._other, key=len, reverse=True)
        return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.I)

    def touches(self, texts: Iterable[str]) -> bool:
        """Whether a gendered word stands in any of them."""
        return any(self._pattern.search(text) for text in texts)

    def applied(self, text: str) -> str:
        """The text with genders exchanged, case kept."""

        def other(match: re.Match[str]) -> str:
            word = match[0]
            found = self._other[word.casefold()]
            if word.casefold() == "her":
                follows = re.match(r"\s+[a-z]", text[match.end() :], re.I)
                found = "his" if follows and not _AFTER_OBJECT.match(text[match.end() :]) else "him"
            return _in_case_of(word, found)

        return self._pattern.sub(other, text)


# After "her" as an object: "gives her to ...", "beside her and ...".
_AFTER_OBJECT = re.compile(
    r"\s+(?:and|or|to|from|in|on|at|by|with|as|while|for|is|was|who|but|under|near|into|through|across)\b"
)


def _in_case_of(word: str, other: str) -> str:
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def exchanged(rows: Sequence[Texts], exchange: Exchange, seed: int = 0) -> list[Texts]:
    """Each row with any gendered word is turned, whole, with probability one half, by its texts and the seed alone."""
    return [
        tuple(exchange.applied(text) for text in row)
        if exchange.touches(row) and _coin(row, seed) % 2
        else row
        for row in rows
    ]


def quota(
    rows: Sequence[T], category: Callable[[T], K], target: Mapping[K, float], keep: float = 0.9, seed: int = 0
) -> list[T | None]:
    """Drops rows of what is too frequent, until shares are as near to the target as `keep` allows.

    target: share of each category among those that it names; rows of others stay. keep: share of all rows that stay
    at least. None in place of what was dropped, so that rows keep their places.
    """
    if not 0 < keep <= 1 or any(share <= 0 for share in target.values()):
        raise ValueError("keep must be above 0 and at most 1, and every target share above 0")
    members: defaultdict[K, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if (name := category(row)) in target:
            members[name].append(place)
    budget = int(len(rows) * (1 - keep))
    counts = Counter({name: len(places) for name, places in members.items()})
    dropped: set[int] = set()
    for places in members.values():
        places.sort(key=lambda place: _coin((repr(rows[place]), str(place)), seed))
    while budget > len(dropped) and counts:
        total = sum(counts.values())
        name = max(counts, key=lambda one: counts[one] / total / target[one])
        if counts[name] / total <= target[name] * 1.001 or counts[name] <= 1:
            break
        dropped.add(members[name].pop())
        counts[name] -= 1
    return [None if place in dropped else row for place, row in enumerate(rows)]


def _coin(parts: Sequence[str], seed: int) -> int:
    text = "\n".join([str(seed), *parts])
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")

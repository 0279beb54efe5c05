"""How captions and edits speak of people, and how evenly they spread over what pictures can show.

The association of gender with occupation is measured on words alone. A handful of mentions is skewed by chance, and a
plain mean of |log odds| would call that bias; so what chance alone gives, the mean under permutation of the genders, is
taken off. (The permutation test as in Caliskan et al. 2017, "Semantics derived automatically from language corpora
contain human-like biases"; corrected association after Bordia & Bowman 2019, "Identifying and Reducing Gender Bias in
Word-Level Language Models".)

Two lexicons that share no word come with it, "mend" and "judge": what was mended by one is judged by the other. To
"mend" belong the words that `filters.gender_words` learned from it, which know nothing of "judge".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from spatial.lexicon import Lexicon as SpatialLexicon

Role = Literal["mend", "judge"]
PERMUTATIONS, DRAWS = 100, 400
_WORD = re.compile(r"[^\W_]+")


@cache
def _values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "bias.yaml").read_text(encoding="utf-8"))
    return values


def _pairs(role: str) -> tuple[tuple[str, str], ...]:
    return tuple((pair.split()[0], pair.split()[1]) for pair in _values()["gender"][role])


def learned_pairs() -> tuple[tuple[str, str], ...]:
    """Masculine and feminine words that a language model's embeddings added to the lexicon "mend"."""
    return _pairs("learned")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """pairs: masculine and feminine, each the other's counterpart. occupations: nouns, singular."""

    pairs: tuple[tuple[str, str], ...]
    occupations: tuple[str, ...]

    @staticmethod
    @cache
    def named(role: Role) -> Lexicon:
        """The lexicon of that name in bias.yaml."""
        return Lexicon(_pairs(role), tuple(_values()["occupations"][role].split()))

    def gender(self, text: str) -> int | None:
        """0 where only masculine words stand in a text, 1 where only feminine, None for neither or both."""
        found = set(_WORD.findall(text.casefold()))
        sides = [bool(found & {pair[side] for pair in self.pairs}) for side in (0, 1)]
        return None if sides[0] == sides[1] else int(sides[1])

    def mentioned(self, text: str) -> tuple[int, ...]:
        """Positions of the occupations that a text names, one or many of each."""
        found = set(_WORD.findall(text.casefold()))
        return tuple(
            place for place, name in enumerate(self.occupations) if found & {name, name + "s", name + "es"}
        )


@dataclass(frozen=True, slots=True, eq=False)
class Mentions:
    """Of m mentions of an occupation beside a gender: row (m,), occupation (m,), gender (m,) int64."""

    row: NDArray[np.int64]
    occupation: NDArray[np.int64]
    gender: NDArray[np.int64]
    occupations: int

    @classmethod
    def of(cls, texts: Sequence[str], lexicon: Lexicon) -> Mentions:
        """One for each occupation in each text that speaks of one gender."""
        found = [
            (row, occupation, gender)
            for row, text in enumerate(texts)
            if (gender := lexicon.gender(text)) is not None
            for occupation in lexicon.mentioned(text)
        ]
        values = np.array(found, np.int64).reshape(-1, 3)
        return cls(values[:, 0], values[:, 1], values[:, 2], len(lexicon.occupations))

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Skew:
    """value: count-weighted |log odds| of gender by occupation, against its odds over all, minus the mean under
    permutation: 0 where occupations tell nothing of gender. low, high: 95% bootstrap interval over rows. mentions:
    how many it rests on. raw, chance: the two that are subtracted."""

    value: float
    low: float
    high: float
    mentions: int
    raw: float
    chance: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """after over before, of the same rows; low, high: 95% paired-bootstrap interval."""

    value: float
    low: float
    high: float


def skew(texts: Sequence[str], lexicon: Lexicon, seed: int = 0) -> Skew:
    """How far gender goes with occupation in texts. Raises ValueError where no text names both."""
    found = Mentions.of(texts, lexicon)
    if not len(found):
        raise ValueError("no text names an occupation of the lexicon beside a gender: nothing to measure")
    rng = np.random.default_rng([seed, 1])
    raw, chance = _raw(found.occupation, found.gender, found.occupations), _chance(found, PERMUTATIONS, rng)
    drawn = [_corrected(_resampled(found, len(texts), rng), rng) for _ in range(DRAWS)]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Skew(raw - chance, float(low), float(high), len(found), raw, chance)


def ratio(before: Sequence[str], after: Sequence[str | None], lexicon: Lexicon, seed: int = 0) -> Ratio:
    """The skew after mending over that before. after: row for row, None for a row that was dropped.

    Raises ValueError where there is no skew before to be compared with.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} rows before and {len(after)} after: give None for what was dropped")
    was, now = Mentions.of(before, lexicon), Mentions.of([text or "" for text in after], lexicon)
    rng = np.random.default_rng([seed, 2])
    first = _corrected(was, rng, PERMUTATIONS)
    if not first > 0:
        raise ValueError("there is no skew before to be compared with")
    value = _corrected(now, rng, PERMUTATIONS) / first
    drawn = []
    for _ in range(DRAWS):
        rows = rng.integers(len(before), size=len(before))
        drawn.append(_corrected(_taken(now, rows), rng) / max(_corrected(_taken(was, rows), rng), 1e-3))
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Ratio(float(value), float(low), float(high))


def _raw(occupation: NDArray[np.int64], gender: NDArray[np.int64], occupations: int) -> float:
    counts = np.zeros((occupations, 2))
    np.add.at(counts, (occupation, gender), 1)
    return float(_weighted(counts[None])[0])


def _weighted(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, occupations, 2) counts to (n,): |log odds| of each occupation against all, weighted by its count."""
    total = counts.sum(axis=1, keepdims=True)
    odds = np.log((counts[..., 0] + 0.5) / (counts[..., 1] + 0.5))
    overall = np.log((total[..., 0] + 0.5) / (total[..., 1] + 0.5))
    weight = counts.sum(axis=2)
    sums: NDArray[np.float64] = (np.abs(odds - overall) * weight).sum(axis=1) / np.maximum(
        weight.sum(axis=1), 1
    )
    return sums


def _chance(found: Mentions, times: int, rng: np.random.Generator) -> float:
    """The same with genders dealt out anew among the mentions."""
    shuffled = rng.permuted(np.tile(found.gender, (times, 1)), axis=1)
    counts = np.zeros((times, found.occupations, 2))
    rounds = np.broadcast_to(np.arange(times)[:, None], shuffled.shape)
    np.add.at(counts, (rounds, np.broadcast_to(found.occupation, shuffled.shape), shuffled), 1)
    return float(_weighted(counts).mean())


def _corrected(found: Mentions, rng: np.random.Generator, times: int = 20) -> float:
    if not len(found):
        return float("nan")
    return _raw(found.occupation, found.gender, found.occupations) - _chance(found, times, rng)


def _resampled(found: Mentions, rows: int, rng: np.random.Generator) -> Mentions:
    return _taken(found, rng.integers(rows, size=rows))


def _taken(found: Mentions, rows: NDArray[np.int64]) -> Mentions:
    """The mentions in these rows, as often as each was drawn."""
    size = max(int(rows.max()), int(found.row.max()) if len(found) else 0) + 1
    times = np.bincount(rows, minlength=size)[found.row]
    return Mentions(
        np.repeat(found.row, times),
        np.repeat(found.occupation, times),
        np.repeat(found.gender, times),
        found.occupations,
    )


def spread(counts: Mapping[Any, int], categories: int) -> float:
    """Normalised entropy: 1 where all categories are equally frequent, 0 where there is one. NaN for nothing."""
    total = sum(counts.values())
    if total == 0 or categories < 2:
        return float("nan")
    shares = [count / total for count in counts.values() if count]
    return sum(share * math.log(1 / share) for share in shares) / math.log(categories)


Words = Mapping[str, Mapping[str, str]]
"""Lists by name; of each list the words, and what each counts as: "mugs" and "cup" are one with "mug"."""


def words_of_space() -> Words:
    """English words for objects, colours, contexts, directions and regions, all forms that are understood."""
    lexicon = SpatialLexicon.default()
    sections = {
        "colours": ("colors",),
        "contexts": ("times", "environments", "floors"),
        "directions": ("directions",),
        "regions": ("regions",),
    }
    found = {
        name: {
            word: key
            for section in some
            for key, forms in lexicon.tables["en"][section].items()
            for word in forms
        }
        for name, some in sections.items()
    }
    nouns = lexicon.nouns["en"].items()
    return {"objects": {word: key for key, noun in nouns for word in (*noun.one, *noun.many)}} | found


def spreads(texts: Iterable[str], words: Words) -> dict[str, float]:
    """`spread` of each list over the texts."""
    counts = counted(texts, words)
    return {name: spread(counts[name], len(set(some.values()))) for name, some in words.items()}


def counted(texts: Iterable[str], words: Words) -> dict[str, Counter[str]]:
    """How often each list's words stand in the texts; of "top" and "top left" the longer one alone."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in words}
    patterns = {name: _any_of(tuple(some)) for name, some in words.items()}
    for text in texts:
        plain = text.casefold()
        for name, pattern in patterns.items():
            counts[name].update(words[name][word] for word in pattern.findall(plain))
    return counts


@lru_cache(maxsize=64)
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")

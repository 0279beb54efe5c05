"""Noun phrases: "the larger red ball that is behind the cube", "hai con mèo".

Definite phrases name a thing of the scene and may carry every field. Indefinite and counted ones describe
new things, or what is counted, and carry noun, colour and material only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from spatial.instruction import Expression
from spatial.lexicon import Forms, Lexicon
from spatial.numbers import in_words, number_at
from spatial.scene import SpatialError
from spatial.tokens import Phrases, Tokens, tokenize, without_punctuation

_Fields = dict[str, Any]
Article = Literal["the", "a", "plural"]

# Field, section of the lexicon, words that may stand before it; in the order in which they are said.
_MODIFIERS = {
    "en": (
        ("comparison", "comparisons"),
        ("place", "places"),
        ("color", "colors"),
        ("material", "materials"),
    ),
    "vi": (
        ("material", "materials"),
        ("color", "colors"),
        ("comparison", "comparisons"),
        ("place", "places"),
    ),
}
_ADJECTIVES = frozenset({"color", "material"})
_BEFORE_MODIFIER: dict[tuple[str, str], tuple[Tokens, ...]] = {
    ("vi", "color"): (("màu",),),
    ("vi", "material"): (("bằng",), ("làm", "bằng")),
}
# What opens a nested relation: said first, the rest understood ("the ball behind the cube").
_RELATIVE: dict[str, tuple[Tokens, ...]] = {
    "en": (("that", "is"), ("which", "is"), ("that's",), ("that", "stands"), ("standing",), ("sitting",), ()),
    "vi": (("nằm",), ("nằm", "ở"), ("đang", "ở"), ("mà", "ở"), ("mà", "nằm", "ở"), ("đứng",), ("ở",), ()),
}
_DETERMINERS = {"en": ("the", "that", "this", "my"), "vi": ()}
_DEMONSTRATIVES = {"en": (), "vi": ("đó", "này", "kia", "ấy")}
# "the ball on the left" is the leftmost one, where nothing else can be meant.
_AFTER_NOUN: dict[str, Phrases[str]] = {
    "en": Phrases((("on the left", "leftmost"), ("on the right", "rightmost"))),
    "vi": Phrases((("ở bên trái", "leftmost"), ("ở bên phải", "rightmost"))),
}
_ARTICLES = Phrases(
    (("a", 1), ("an", 1), ("another", 1), ("one more", 1), ("a couple of", 2), ("a pair of", 2))
)
_SAID_ARTICLES = Phrases((("a", 1), ("an", 1)))
_OF_THEM = {"en": ("of", "them"), "vi": ("cái", "như", "vậy")}


def pick(forms: Forms, rng: np.random.Generator | None) -> str:
    """One of the said forms; the first without `rng`."""
    return forms.said[0 if rng is None or len(forms.said) == 1 else int(rng.integers(len(forms.said)))]


def say_expression(
    expression: Expression,
    language: str,
    *,
    article: Article = "the",
    count: int | None = None,
    rng: np.random.Generator | None = None,
    lexicon: Lexicon | None = None,
) -> str:
    """The noun phrase in words; `count` makes it a counted one ("two red balls", "hai quả bóng đỏ").

    article: "the", "a", or "plural" for the bare noun ("red balls"). Vietnamese has no articles. With `rng`
    synonyms vary. Raises SpatialError for an expression without words, such as a coloured pronoun.
    """
    lexicon = lexicon or Lexicon.default()
    _check(expression, definite=article == "the" and count is None)
    if expression.noun == "it":
        return _say_pronoun(language, article, count, lexicon)
    noun = lexicon.noun(expression.noun, language)
    modifiers = [
        _say_modifier(field, section, expression, language, rng, lexicon)
        for field, section in _MODIFIERS[language]
        if getattr(expression, field) is not None
    ]
    if language == "en":
        many = article == "plural" if count is None else count != 1
        parts = [*modifiers, pick(noun.many if many else noun.one, rng)]
        if count is not None and count != 1:
            parts.insert(0, in_words(count, "en"))
        elif count == 1 or article == "a":
            parts.insert(0, "an" if parts[0][0] in "aeiou" else "a")
        elif article == "the":
            parts.insert(0, "the")
    else:
        parts = [noun.classifier.said[0], pick(noun.one, rng), *modifiers]
        if count is not None or article == "a":
            parts.insert(0, in_words(count or 1, "vi"))
    if expression.reference is not None:
        relation = pick(lexicon.forms("relative_relations", str(expression.relation), language), rng)
        reference = say_expression(expression.reference, language, rng=rng, lexicon=lexicon)
        parts += [*_RELATIVE[language][0], relation, reference]
    return " ".join(part for part in parts if part)


def _say_pronoun(language: str, article: Article, count: int | None, lexicon: Lexicon) -> str:
    if count is not None:
        return " ".join((in_words(count, language), *_OF_THEM[language]))
    noun = lexicon.noun("it", language)
    return (noun.many if article == "plural" else noun.one).said[0]


def _say_modifier(
    field: str,
    section: str,
    expression: Expression,
    language: str,
    rng: np.random.Generator | None,
    lexicon: Lexicon,
) -> str:
    word = pick(lexicon.forms(section, getattr(expression, field), language), rng)
    if language == "vi" and field == "color":
        # "cái cốc kim loại màu đỏ"; alone, "quả bóng đỏ" is as good, but "cam" is also a fruit.
        named = expression.material is not None or expression.color == "orange"
        if named or (rng is not None and rng.random() < 0.4):
            return f"màu {word}"
    if language == "vi" and field == "material" and expression.material in lexicon.tables["vi"]["substances"]:
        return f"bằng {word}" if rng is not None and rng.random() < 0.4 else word
    return word


def _check(expression: Expression, *, definite: bool) -> None:
    details = [
        name for name in ("color", "material", "comparison", "place", "relation") if getattr(expression, name)
    ]
    if expression.noun == "it" and details:
        raise SpatialError("bad_expression", f"the pronoun 'it' takes no {', '.join(details)}")
    extra = [name for name in details if name not in _ADJECTIVES]
    if not definite and extra:
        raise SpatialError("bad_expression", f"new or counted things take no {', '.join(extra)}")
    if expression.relation == "between":
        raise SpatialError("bad_expression", "'between' needs two references, an expression has one")


class PhraseReader:
    """Finds noun phrases in one sentence; remembers what it found where."""

    def __init__(self, tokens: Tokens, language: str, lexicon: Lexicon, *, loose: bool) -> None:
        self.tokens, self.language, self.lexicon, self.loose = tokens, language, lexicon, loose
        self._definite: dict[int, list[tuple[Expression, int]]] = {}

    def definite(self, start: int) -> list[tuple[Expression, int]]:
        """Definite noun phrases beginning at `start`, each as (expression, end)."""
        found = self._definite.get(start)
        if found is None:
            self._definite[start] = []  # a phrase does not begin with itself
            found = self._definite[start] = list(dict.fromkeys(self._definite_at(start)))
        return found

    def _definite_at(self, start: int) -> Iterator[tuple[Expression, int]]:
        nouns = self._nouns("one")
        starts = [start] if self.language == "vi" or self.loose else []
        for noun, end in nouns.at(self.tokens, start):
            if noun == "it":
                yield Expression("it"), end
        determiners = _DETERMINERS[self.language] if self.loose else _DETERMINERS[self.language][:1]
        if self._token(start) in determiners:
            starts = [start + 1]
        for begin in starts:
            for fields, end in self._phrases(begin, "one", _MODIFIERS[self.language]):
                yield from self._with_relation(fields, end)

    def _with_relation(self, fields: _Fields, end: int) -> Iterator[tuple[Expression, int]]:
        if self.loose:
            if self._token(end) in _DEMONSTRATIVES[self.language]:
                end += 1
            if "place" not in fields:
                for place, after in _AFTER_NOUN[self.language].at(self.tokens, end):
                    yield Expression(**fields, place=place), after
        yield Expression(**fields), end
        openings = _RELATIVE[self.language] if self.loose else _RELATIVE[self.language][:1]
        relations = self.lexicon.phrases("relative_relations", self.language, loose=self.loose)
        for opening in openings:
            after = end + len(opening)
            if self.tokens[end:after] != opening:
                continue
            for relation, begin in relations.at(self.tokens, after):
                for reference, stop in self.definite(begin):
                    yield Expression(**fields, relation=relation, reference=reference), stop

    def counted(self, start: int, *, explicit: bool = False) -> list[tuple[tuple[Expression, int], int]]:
        """Counted and indefinite phrases beginning at `start`, each as ((expression, count), end).

        Free Vietnamese leaves a count of one out; not where it must be `explicit`.
        """
        found: list[tuple[tuple[Expression, int], int]] = []
        for number, begin in self._counts(start, explicit):
            of_them = _OF_THEM[self.language]
            if self.tokens[begin : begin + len(of_them)] == of_them:
                found.append(((Expression("it"), number), begin + len(of_them)))
            numbers = ("one", "many") if self.loose else ("one",) if number == 1 else ("many",)
            for grammatical in numbers:
                found += [((thing, number), end) for thing, end in self.plain(begin, grammatical)]
        return list(dict.fromkeys(found))

    def plain(self, start: int, number: str = "many") -> list[tuple[Expression, int]]:
        """Noun phrases without article or count ("red balls"): noun, colour and material only."""
        found = [
            (Expression(noun), end)
            for noun, end in self._nouns(number).at(self.tokens, start)
            if noun == "it"
        ]
        modifiers = tuple(entry for entry in _MODIFIERS[self.language] if entry[0] in _ADJECTIVES)
        found += [(Expression(**fields), end) for fields, end in self._phrases(start, number, modifiers)]
        return found

    def _counts(self, start: int, explicit: bool) -> list[tuple[int, int]]:
        found = [
            (int(number), end)
            for number, end in number_at(self.tokens, start, self.language)
            if number == int(number) and number > 0
        ]
        if self.language == "en":
            return found + (_ARTICLES if self.loose else _SAID_ARTICLES).at(self.tokens, start)
        return [(1, start)] if self.loose and not found and not explicit else found

    def _phrases(
        self, start: int, number: str, modifiers: tuple[tuple[str, str], ...]
    ) -> Iterator[tuple[_Fields, int]]:
        """Noun and modifiers, in the order of the language."""
        nouns = self._nouns(number)
        if self.language == "en":
            for fields, begin in self._modified(start, {}, modifiers):
                for noun, end in nouns.at(self.tokens, begin):
                    if noun != "it":
                        yield {"noun": noun, **fields}, end
        else:
            for noun, begin in nouns.at(self.tokens, start):
                if noun != "it":
                    yield from self._modified(begin, {"noun": noun}, modifiers)

    def _modified(
        self, start: int, fields: _Fields, modifiers: tuple[tuple[str, str], ...]
    ) -> Iterator[tuple[_Fields, int]]:
        yield fields, start
        for i, (field, section) in enumerate(modifiers):
            # In free wording modifiers come in any order, each once.
            rest = modifiers[:i] + modifiers[i + 1 :] if self.loose else modifiers[i + 1 :]
            words = self.lexicon.phrases(section, self.language, loose=self.loose)
            for opening in ((), *_BEFORE_MODIFIER.get((self.language, field), ())):
                begin = start + len(opening)
                if self.tokens[start:begin] != opening:
                    continue
                for value, end in words.at(self.tokens, begin):
                    yield from self._modified(end, {**fields, field: value}, rest)

    def _nouns(self, number: str) -> Phrases[str]:
        return self.lexicon.noun_phrases(self.language, number, loose=self.loose)

    def _token(self, i: int) -> str:
        return self.tokens[i] if i < len(self.tokens) else ""


def parse_expression(text: str, language: str, *, lexicon: Lexicon | None = None) -> Expression:
    """The expression that a noun phrase words; counts and articles are read over.

    Raises SpatialError "unparsed" for other text, "ambiguous_words" where two readings fit.
    """
    tokens = without_punctuation(tokenize(text))
    for loose in (False, True):
        reader = PhraseReader(tokens, language, lexicon or Lexicon.default(), loose=loose)
        found = [
            *reader.definite(0),
            *((thing, end) for (thing, _), end in reader.counted(0)),
            *reader.plain(0),
        ]
        whole = list(dict.fromkeys(thing for thing, end in found if end == len(tokens)))
        if len(whole) == 1:
            return whole[0]
        if whole:
            raise SpatialError("ambiguous_words", f"{text!r} names different things: {whole}")
    raise SpatialError("unparsed", f"{text!r} is not a noun phrase that is understood in {language!r}")

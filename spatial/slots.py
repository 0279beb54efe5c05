"""The slots of templates: how each field is worded and how its words are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from spatial.expressions import PhraseReader, pick, say_expression
from spatial.instruction import Instruction
from spatial.lexicon import Lexicon
from spatial.numbers import exact, figures, in_words, number_at
from spatial.tokens import Tokens

Fields = tuple[tuple[str, Any], ...]
# The unit of a percentage is known only with the direction: of the width, or of the height.
PERCENT = "percent"


class Slot(Protocol):
    """fields: what it fills."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        """The wordings to choose from; none where the slot cannot word this instruction."""
        ...

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        """What the words at `start` may mean, each as (fields, end)."""
        ...


@dataclass(frozen=True, slots=True)
class Words:
    language: str
    lexicon: Lexicon
    rng: np.random.Generator


class Sentence:
    """The tokens being read. loose: words and word orders that are understood but never said count too."""

    def __init__(self, tokens: Tokens, language: str, lexicon: Lexicon, *, loose: bool) -> None:
        self.tokens, self.language, self.lexicon, self.loose = tokens, language, lexicon, loose
        self.phrases = PhraseReader(tokens, language, lexicon, loose=loose)
        self._read: dict[tuple[str, int], list[tuple[Fields, int]]] = {}

    def slot(self, name: str, start: int) -> list[tuple[Fields, int]]:
        found = self._read.get((name, start))
        if found is None:
            found = self._read[name, start] = list(dict.fromkeys(SLOTS[name].read(self, start)))
        return found


@dataclass(frozen=True, slots=True)
class Named:
    """A thing of the scene: "the red ball"."""

    field: str

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        expression = getattr(instruction, self.field)
        return [say_expression(expression, words.language, rng=words.rng, lexicon=words.lexicon)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [(((self.field, thing),), end) for thing, end in sentence.phrases.definite(start)]


@dataclass(frozen=True, slots=True)
class Counted:
    """Things with their number: "two red balls". explicit: the number is never understood silently."""

    explicit: bool = False
    fields: tuple[str, ...] = ("subject", "amount", "unit")

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        count = _whole(instruction.amount)
        if instruction.subject is None or count is None or instruction.unit != "count":
            return []
        language, lexicon = words.language, words.lexicon
        return [say_expression(instruction.subject, language, count=count, rng=words.rng, lexicon=lexicon)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [
            ((("subject", thing), ("amount", float(count)), ("unit", "count")), end)
            for (thing, count), end in sentence.phrases.counted(start, explicit=self.explicit)
        ]


@dataclass(frozen=True, slots=True)
class AreCounted:
    """English counted things with their verb: "is a tree", "are two trees"."""

    things: Counted = Counted()

    @property
    def fields(self) -> tuple[str, ...]:
        return self.things.fields

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        verb = "is" if instruction.amount == 1 else "are"
        return [f"{verb} {text}" for text in self.things.say(instruction, words)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        if start >= len(sentence.tokens) or sentence.tokens[start] not in ("is", "are"):
            return []
        return self.things.read(sentence, start + 1)


@dataclass(frozen=True, slots=True)
class MoreCounted:
    """English counted things beside those that there are, only understood: "two more trees"."""

    fields: tuple[str, ...] = ("subject", "amount", "unit")

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        return []

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [
            ((("subject", thing), ("amount", float(number)), ("unit", "count")), end)
            for number, middle in number_at(sentence.tokens, start, sentence.language)
            if number == int(number) and number > 0
            if sentence.tokens[middle : middle + 1] in (("more",), ("extra",), ("additional",))
            for thing, end in sentence.phrases.plain(middle + 1, "one" if number == 1 else "many")
        ]


@dataclass(frozen=True, slots=True)
class Plural:
    """Things without their number: "red balls"."""

    fields: tuple[str, ...] = ("subject",)

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        subject = instruction.subject
        if subject is None or subject.noun == "it":
            return []
        language, lexicon = words.language, words.lexicon
        return [say_expression(subject, language, article="plural", rng=words.rng, lexicon=lexicon)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        found = sentence.phrases.plain(start)
        return [((("subject", thing),), end) for thing, end in found if thing.noun != "it" or sentence.loose]


@dataclass(frozen=True, slots=True)
class Number:
    """A bare count, at least `least`."""

    least: int = 1
    fields: tuple[str, ...] = ("amount", "unit")

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        count = _whole(instruction.amount)
        if count is None or count < self.least or instruction.unit != "count":
            return []
        return [in_words(count, words.language), str(count)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [
            ((("amount", float(number)), ("unit", "count")), end)
            for number, end in number_at(sentence.tokens, start, sentence.language)
            if number == int(number) and number >= self.least
        ]


@dataclass(frozen=True, slots=True)
class Word:
    """One word or phrase of a section of the lexicon."""

    field: str
    section: str

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        forms = words.lexicon.tables[words.language][self.section].get(getattr(instruction, self.field))
        return [pick(forms, words.rng)] if forms else []

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        phrases = sentence.lexicon.phrases(self.section, sentence.language, loose=sentence.loose)
        return [(((self.field, key),), end) for key, end in phrases.at(sentence.tokens, start)]


@dataclass(frozen=True, slots=True)
class Factor:
    """A bare factor of lengths, after "by a factor of"."""

    fields: tuple[str, ...] = ("amount", "unit")

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        if instruction.amount is None or instruction.unit != "factor":
            return []
        return [figures(Decimal(repr(float(instruction.amount))), words.language)]

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [
            ((("amount", float(number)), ("unit", "factor")), end)
            for number, end in number_at(sentence.tokens, start, sentence.language)
            if number > 0
        ]


_Convert = Callable[[Decimal], Decimal]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit of measure.

    units: section "units" of the lexicon -> (amount from the number as written, the number from the amount).
    decimals: of the number as written. idioms: section "idioms". allowed: of the amount.
    """

    unit: str
    units: dict[str, tuple[_Convert, _Convert]]
    decimals: int
    idioms: str = ""
    allowed: Callable[[Decimal], bool] = bool
    fields: tuple[str, ...] = ("amount", "unit")

    def say(self, instruction: Instruction, words: Words) -> list[str]:
        if instruction.amount is None or instruction.unit is None or not self._words(instruction.unit):
            return []
        amount = Decimal(repr(float(instruction.amount)))
        if not self.allowed(amount):
            return []
        wordings = []
        for name in self._words(instruction.unit):
            number = self.units[name][1](amount)
            if name == "centimetre" and number >= 100:
                continue
            if number != round(number, 0 if name == "centimetre" else self.decimals):
                continue
            wordings += self._say_number(number, name, words)
        idioms = words.lexicon.idioms[words.language].get(self.idioms, {})
        forms = [pick(forms, words.rng) for number, forms in idioms.items() if Decimal(number) == amount]
        return wordings + forms

    def _words(self, unit: str) -> list[str]:
        """The unit's names that fit: plain percent, and percent of the side that is meant."""
        if self.unit == PERCENT:
            return ["percent", unit] if unit in ("percent_width", "percent_height") else []
        return list(self.units) if unit == self.unit else []

    def _say_number(self, number: Decimal, name: str, words: Words) -> list[str]:
        one = f"{name}_one"
        units = words.lexicon.tables[words.language]["units"]
        unit = pick(units[one] if number == 1 and one in units else units[name], words.rng)
        first = unit.split()[0]
        if not first[0].isalpha() or first == "x":
            return [figures(number, words.language) + unit]
        wordings = [f"{figures(number, words.language)} {unit}"]
        if number == int(number) and 0 < number <= 100 and first not in ("m", "cm"):
            wordings.append(f"{in_words(int(number), words.language)} {unit}")
        return wordings

    def read(self, sentence: Sentence, start: int) -> list[tuple[Fields, int]]:
        return [
            ((("amount", float(amount)), ("unit", unit)), end)
            for amount, unit, end in self._amounts(sentence, start)
            if self.allowed(amount)
        ]

    def _amounts(self, sentence: Sentence, start: int) -> Iterator[tuple[Decimal, str, int]]:
        lexicon, language, loose = sentence.lexicon, sentence.language, sentence.loose
        unit_words = lexicon.phrases("units", language, loose=loose)
        for number, middle in number_at(sentence.tokens, start, language):
            for name, end in unit_words.at(sentence.tokens, middle):
                conversion = self.units.get(name.removesuffix("_one"))
                if conversion:
                    yield conversion[0](number), name if name.startswith("percent_") else self.unit, end
        for text, end in lexicon.idiom_phrases(self.idioms, language, loose=loose).at(sentence.tokens, start):
            yield Decimal(text), self.unit, end


def _same(number: Decimal) -> Decimal:
    return number


def _hundredth(number: Decimal) -> Decimal:
    return number / 100


def _hundredfold(number: Decimal) -> Decimal:
    return number * 100


def _grown(percent: Decimal) -> Decimal:
    return 1 + percent / 100


def _growth(factor: Decimal) -> Decimal:
    return (factor - 1) * 100


def _shrunk(percent: Decimal) -> Decimal:
    return 1 - percent / 100


def _shrinkage(factor: Decimal) -> Decimal:
    return (1 - factor) * 100


def _above_one(factor: Decimal) -> bool:
    return factor > 1


def _below_one(factor: Decimal) -> bool:
    return 0 < factor < 1


def _positive(amount: Decimal) -> bool:
    return amount > 0


_PLAIN = (_same, _same)
_PERCENT = (_hundredth, _hundredfold)

SLOTS: dict[str, Slot] = {
    "subject": Named("subject"),
    "reference": Named("reference"),
    "reference2": Named("reference2"),
    "counted": Counted(),
    "are_counted": AreCounted(),
    "more_counted": MoreCounted(),
    "numbered": Counted(explicit=True),
    "things": Plural(),
    "number": Number(),
    "several": Number(least=2),
    "direction": Word("direction", "directions"),
    "camera_direction": Word("direction", "camera_directions"),
    "side": Word("direction", "sides"),
    "turn": Word("direction", "turns"),
    "vague": Word("vagueness", "vagueness"),
    "region": Word("region", "regions"),
    "at_region": Word("region", "region_places"),
    "relation": Word("relation", "relations"),
    "color": Word("value", "colors"),
    "material": Word("value", "materials"),
    "substance": Word("value", "substances"),
    "time": Word("value", "times"),
    "brightness": Word("value", "brightness"),
    "environment": Word("value", "environments"),
    "floor": Word("value", "floors"),
    "ground": Word("value", "grounds"),
    "percent": Quantity(
        PERCENT,
        {"percent": _PLAIN, "percent_width": _PLAIN, "percent_height": _PLAIN},
        1,
        allowed=_positive,
    ),
    "metre": Quantity(
        "metre", {"metre": _PLAIN, "centimetre": _PERCENT}, 2, idioms="metre", allowed=_positive
    ),
    "degree": Quantity("degree", {"degree": _PLAIN}, 1, idioms="degree", allowed=_positive),
    "percent_larger": Quantity("factor", {"percent": (_grown, _growth)}, 1, allowed=_above_one),
    "percent_smaller": Quantity("factor", {"percent": (_shrunk, _shrinkage)}, 1, allowed=_below_one),
    "percent_size": Quantity("factor", {"percent": _PERCENT}, 1, allowed=_positive),
    "share": Quantity("factor", {"percent": _PERCENT}, 1, idioms="share", allowed=_positive),
    "times": Quantity("factor", {"times": _PLAIN}, 3, idioms="times", allowed=_positive),
    "factor": Factor(),
    "as_large": Quantity("factor", {"as_large": _PLAIN}, 3, idioms="as_large", allowed=_positive),
    "copies": Quantity("count", {"copies": _PLAIN}, 0, idioms="copies", allowed=_above_one),
}


def _whole(amount: float | None) -> int | None:
    return int(amount) if amount is not None and amount == int(amount) and amount > 0 else None


def check_amount(instruction: Instruction) -> None:
    """Raises SpatialError where an amount has more decimals than are ever said."""
    decimals = {"metre": 2, "count": 0, "factor": 3}
    if instruction.amount is not None and instruction.unit is not None:
        allowed = decimals.get(instruction.unit, 1)
        exact(instruction.amount, allowed, f"{instruction.kind}: amount in {instruction.unit}")

"""Instructions in words: `say` and `parse`, which round-trip, in English and Vietnamese.

Two strengths of reading. What `say` can say is read strictly, and only if that finds nothing are free
wordings tried: other verbs and synonyms, missing articles, "the ball behind the cube" for "the ball that is
behind the cube". So free wordings never take away the meaning of a plain sentence. Of one strength all
readings are found, and two different meanings are an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from spatial.expressions import parse_expression, say_expression
from spatial.instruction import LANGUAGES, Instruction
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from spatial.slots import PERCENT, SLOTS, Fields, Sentence, Words, check_amount
from spatial.templates import (
    Choice,
    Chosen,
    Grammar,
    Node,
    Sequence,
    Text,
    grammar,
    is_chosen,
    is_held_out,
    phrasings,
)
from spatial.tokens import PUNCTUATION, Tokens, tokenize, without_punctuation

__all__ = [
    "is_held_out", "parse", "parse_any", "parse_expression", "phrasings", "say", "say_expression",
]  # fmt: skip

_SIDE_UNITS = {
    "left": "percent_width",
    "right": "percent_width",
    "up": "percent_height",
    "down": "percent_height",
}
_METRIC_RELATIONS = ("left_of", "right_of", "in_front_of", "behind")
_MAX_STEPS = 3
# Bounds on text from outside; three steps with nested noun phrases stay far below.
_MAX_TOKENS = 400
_MAX_JOINTS = 16
T = TypeVar("T")


def say(
    instruction: Instruction,
    language: str,
    rng: np.random.Generator,
    *,
    templates: Chosen = "all",
    lexicon: Lexicon | None = None,
) -> str:
    """One wording of the instruction, chosen by `rng`; `parse` reads it back to the same instruction.

    templates: "train" leaves out the quarter of phrasings that `is_held_out`, "held_out" uses only those.
    Raises SpatialError "unsayable" where an amount has too many decimals or the fields do not go together,
    "bad_expression" or "unknown_word" where a noun phrase has no words.
    """
    words = Words(language, lexicon or Lexicon.default(), rng)
    if instruction.kind != "sequence":
        return _say_one(instruction, words, templates)
    joined = grammar(language).sequences.get(len(instruction.steps), ())
    joined = tuple(text for text in joined if is_chosen(is_held_out(text), templates))
    if not joined:
        raise SpatialError("unsayable", f"a sequence has two or three steps, not {len(instruction.steps)}")
    steps = [_say_one(step, words, templates, inside=True) for step in instruction.steps]
    return joined[int(rng.integers(len(joined)))].format(*steps)


def _say_one(instruction: Instruction, words: Words, templates: Chosen, *, inside: bool = False) -> str:
    check_amount(instruction)
    values = {field: value for field in _FIELDS if (value := getattr(instruction, field)) is not None}
    filled = frozenset(values)
    sayable = _Sayable(instruction, words)
    fitting = [
        template
        for template in grammar(words.language).templates.get(instruction.kind, ())
        if template.spoken
        and template.fields == filled
        and all(getattr(instruction, field) == value for field, value in template.fixed)
        and sayable(template.tree)
    ]
    usable = [template for template in fitting if is_chosen(template.held_out, templates)]
    if inside:
        usable = [template for template in usable if template.simple] or usable
    if not usable or not _consistent(instruction.kind, values):
        raise SpatialError("unsayable", f"no {words.language} wording for {_brief(instruction)}")
    text = " ".join(sayable.render(usable[int(words.rng.integers(len(usable)))].tree))
    return text.replace(" ,", ",").replace(" ?", "?")


_FIELDS = tuple(field.name for field in fields(Instruction) if field.name not in ("kind", "steps"))


class _Sayable:
    """Words the parts of templates for one instruction; each slot is worded once."""

    def __init__(self, instruction: Instruction, words: Words) -> None:
        self._instruction, self._words = instruction, words
        self._wordings: dict[str, list[str]] = {}

    def __call__(self, tree: Sequence) -> bool:
        return all(
            isinstance(part, Text)
            or (
                any(map(self, part.options[: part.said]))
                if isinstance(part, Choice)
                else bool(self._of(part.name))
            )
            for part in tree.parts
        )

    def render(self, tree: Sequence) -> Iterator[str]:
        for part in tree.parts:
            if isinstance(part, Text):
                yield part.text
            elif isinstance(part, Choice):
                yield from self.render(self._one([o for o in part.options[: part.said] if self(o)]))
            else:
                yield self._one(self._of(part.name))

    def _of(self, slot: str) -> list[str]:
        if slot not in self._wordings:
            self._wordings[slot] = SLOTS[slot].say(self._instruction, self._words)
        return self._wordings[slot]

    def _one(self, options: list[T]) -> T:
        return options[int(self._words.rng.integers(len(options)))]


def parse(text: str, language: str, *, lexicon: Lexicon | None = None) -> Instruction:
    """The instruction that a sentence means; needs no scene.

    Case, final punctuation, extra spaces and words of politeness do not matter. Raises SpatialError
    "unparsed" for text that is not understood, "ambiguous_words" where two different meanings fit.
    """
    rules = grammar(language)
    reader = _Reader(rules, lexicon or Lexicon.default())
    tokens = rules.fillers.removed_from(tokenize(text))
    found = reader.instructions(tokens) if len(tokens) <= _MAX_TOKENS else []
    if not found:
        raise SpatialError("unparsed", f"not understood as an instruction in {language!r}: {text!r}")
    if len(found) > 1:
        meanings = "; or ".join(map(_brief, found))
        raise SpatialError("ambiguous_words", f"{text!r} can mean different things: {meanings}")
    return found[0]


def parse_any(text: str, *, lexicon: Lexicon | None = None) -> tuple[str, Instruction]:
    """The language of a sentence and what it means; the first of `LANGUAGES` where several say the same by it ("zoom
    out"). Raises SpatialError as `parse` does."""
    found: list[tuple[str, Instruction]] = []
    errors: list[SpatialError] = []
    for language in LANGUAGES:
        try:
            found.append((language, parse(text, language, lexicon=lexicon)))
        except SpatialError as error:
            errors.append(error)
    if len({meaning for _, meaning in found}) == 1:
        return found[0]
    if found:
        raise SpatialError("ambiguous_words", f"{text!r} can be read in {' and '.join(LANGUAGES)}")
    ambiguous = next((error for error in errors if error.reason == "ambiguous_words"), None)
    if ambiguous is not None:
        raise ambiguous
    raise SpatialError("unparsed", f"not understood as an instruction in {' or '.join(LANGUAGES)}: {text!r}")


class _Reader:
    def __init__(self, rules: Grammar, lexicon: Lexicon) -> None:
        self._rules, self._lexicon = rules, lexicon
        self._known: dict[Tokens, list[Instruction]] = {}

    def instructions(self, tokens: Tokens) -> list[Instruction]:
        """All meanings of a sentence, of one step or of several."""
        splits = list(self._joints(tokens))
        certain = [joint for joint in splits if joint[2]]
        possible = [joint for joint in splits if not joint[2]]
        if len(splits) > _MAX_JOINTS:
            return []
        # Fewest joints first: "and" joins steps only where the sentence makes no sense otherwise.
        for extra in range(_MAX_STEPS - len(certain)):
            found: dict[Instruction, None] = {}
            for chosen in combinations(possible, extra):
                for meaning in self._joined(tokens, sorted([*certain, *chosen])):
                    found[meaning] = None
            if found:
                return list(found)
        return []

    def _joints(self, tokens: Tokens) -> Iterator[tuple[int, int, bool]]:
        """Where steps may be joined: (start, end, for certain), punctuation around the words included."""
        i = 0
        while i < len(tokens):
            start = i
            while i < len(tokens) and tokens[i] in PUNCTUATION:
                i += 1
            found = self._rules.connectives.at(tokens, i)
            certain = any(sure for sure, _ in found)
            if found:
                i = found[0][1]
                while i < len(tokens) and tokens[i] in PUNCTUATION:
                    i += 1
            if i > start:
                if start > 0 and i < len(tokens):
                    yield start, i, certain
            else:
                i += 1

    def _joined(self, tokens: Tokens, joints: list[tuple[int, int, bool]]) -> Iterator[Instruction]:
        starts = [0, *(end for _, end, _ in joints)]
        ends = [*(start for start, _, _ in joints), len(tokens)]
        steps = [self._one(without_punctuation(tokens[a:b])) for a, b in zip(starts, ends)]
        if len(steps) == 1:
            yield from steps[0]
            return
        meanings: list[tuple[Instruction, ...]] = [()]
        for step in steps:
            meanings = [(*before, meaning) for before in meanings for meaning in step]
        for parts in meanings:
            yield Instruction("sequence", steps=parts)

    def _one(self, tokens: Tokens) -> list[Instruction]:
        """All meanings of one step: those of plain sentences, else those of free ones."""
        tokens = self._rules.fillers.removed_from(tokens)
        if tokens not in self._known:
            found = self._readings(tokens, loose=False) or self._readings(tokens, loose=True)
            shorter = tokens[:-1]
            if not found and shorter and tokens[-1] in self._rules.endings:
                found = self._one(shorter)
            self._known[tokens] = found
        return self._known[tokens]

    def _readings(self, tokens: Tokens, *, loose: bool) -> list[Instruction]:
        walker = _Walker(Sentence(tokens, self._rules.language, self._lexicon, loose=loose))
        found: dict[Instruction, None] = {}
        for end, captured, stop in walker.walk(self._rules.root, 0):
            meaning = _instruction(end[0], (*end[1], *captured)) if end and stop == len(tokens) else None
            if meaning is not None:
                found[meaning] = None
        for motion in list(found):
            for rest in _at_rest(motion):
                found.pop(rest, None)
        return list(found)


def _at_rest(motion: Instruction) -> Iterator[Instruction]:
    """What the words of a motion are not meant to say: "to the left" is no place, "closer to it" no relation."""
    if motion.kind == "move" and motion.direction in ("left", "right"):
        yield Instruction("place", motion.subject, region=motion.direction)
    if motion.kind == "move" and motion.value == "toward":
        yield Instruction("relate", motion.subject, motion.reference, relation="next_to")


_Passed = tuple[tuple[str, Fields] | None, Fields, int]


class _Walker:
    """Follows every path of the graph that the words of a sentence allow."""

    def __init__(self, sentence: Sentence) -> None:
        self._sentence = sentence
        self._choices: dict[tuple[Node, int], list[_Passed]] = {}

    def walk(self, node: Node, i: int, captured: Fields = ()) -> Iterator[_Passed]:
        """What may end on the way from `node` at token `i`: (what, the fields read, where it ends)."""
        for what, spoken in node.ends.items():
            if spoken or self._sentence.loose:
                yield what, captured, i
        for root, after in node.choices.items():
            for _, values, end in self._choice(root, i):
                yield from self.walk(after, end, captured + values)
        if i == len(self._sentence.tokens):
            return
        next_node = node.words.get(self._sentence.tokens[i])
        if next_node is not None:
            yield from self.walk(next_node, i + 1, captured)
        for name, after in node.slots.items():
            for values, end in self._sentence.slot(name, i):
                yield from self.walk(after, end, captured + values)

    def _choice(self, root: Node, i: int) -> list[_Passed]:
        found = self._choices.get((root, i))
        if found is None:
            found = self._choices[root, i] = list(dict.fromkeys(self.walk(root, i)))
        return found


def _instruction(kind: str, captured: Fields) -> Instruction | None:
    """The instruction with these fields, or None where they contradict each other."""
    filled: dict[str, Any] = {}
    for name, value in captured:
        if filled.setdefault(name, value) != value:
            return None
    if filled.get("unit") == PERCENT:
        filled["unit"] = _SIDE_UNITS.get(filled.get("direction", ""))
    return Instruction(kind, **filled) if _consistent(kind, filled) else None


def _consistent(kind: str, filled: dict[str, Any]) -> bool:
    """Whether amount, unit, direction, relation and value go together."""
    amount, unit = filled.get("amount"), filled.get("unit")
    if amount is not None and unit is None:
        return False
    if kind == "move" and unit in ("percent_width", "percent_height"):
        return bool(unit == _SIDE_UNITS.get(filled.get("direction", "")))
    if kind == "relate" and amount is not None:
        return filled["relation"] in _METRIC_RELATIONS
    if kind == "rotate" and "direction" not in filled:
        return amount == 180
    if kind == "resize" and amount is not None:
        return bool(amount > 1 if filled["value"] == "larger" else amount < 1)
    if kind == "zoom" and amount is not None:
        return bool(amount > 1)
    return True


def _brief(instruction: Instruction) -> str:
    filled = {name: getattr(instruction, name) for name in _FIELDS if getattr(instruction, name) is not None}
    return f"{instruction.kind}({', '.join(f'{name}={value}' for name, value in filled.items())})"

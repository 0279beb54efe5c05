"""An instruction as columns: what is said, in words, for those who read tables."""

from __future__ import annotations

from typing import Any

from spatial.expressions import say_expression
from spatial.instruction import Expression, Instruction
from spatial.language import parse
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError


def said_rows(text: str, language: str, lexicon: Lexicon) -> list[dict[str, Any]]:
    """`said_row` of each step of a text; none where it is beyond the vocabulary of space."""
    try:
        said = parse(text, language)
    except SpatialError:
        return []
    return [said_row(step, language, lexicon) for step in said.parts()]


def said_row(said: Instruction, language: str, lexicon: Lexicon) -> dict[str, Any]:
    """One step of an instruction, field by field, its expressions in words of the language: "the red ball"."""

    def words(expression: Expression | None, *, new: bool = False) -> str | None:
        if expression is None:
            return None
        return say_expression(expression, language, article="plural" if new else "the", lexicon=lexicon)

    return {
        "kind": said.kind,
        "subject": words(said.subject, new=said.kind in ("add", "count")),
        "reference": words(said.reference),
        "reference2": words(said.reference2),
        **{
            field: getattr(said, field)
            for field in ("direction", "amount", "unit", "vagueness", "region", "relation", "value")
        },
    }

"""An instruction as columns: what is said, in words, for those who read tables."""

from __future__ import annotations

from typing import Any

from spatial.expressions import say_expression
from spatial.instruction import Expression, Instruction
from spatial.lexicon import Lexicon


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

"""Seed edits as what a language model is taught, and how often it writes good ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from filters.edits import EditChecks, TextEdit
from generators.seeds import SeedEdit
from generators.writing import Request, completion, messages, read_answer

Conversation = tuple[dict[str, str], ...]


def taught(seeds: Sequence[SeedEdit], kind: str = "replace") -> list[tuple[Conversation, str]]:
    """(prompt, answer) of each seed, asked for in the words of `generators.writing`. kind: of seeds that have none."""
    return [
        (
            tuple(messages(Request(seed.before, seed.kind or kind, seed.language, 0))),
            completion(seed.edit, seed.after),
        )
        for seed in seeds
    ]


@dataclass(frozen=True, slots=True)
class Validity:
    """good: share of the answers that are good edits by the checks. reasons: of the others, how many. of: answers."""

    good: float
    of: int
    reasons: dict[str, int] = field(default_factory=dict)


def validity(requests: Sequence[Request], said: Sequence[str | None]) -> Validity:
    """Judges one answer for each request, doubles aside. Raises ValueError where there is none."""
    if not requests:
        raise ValueError("no answers to judge")
    checks, reasons = EditChecks(), Counter[str]()
    for request, text in zip(requests, said, strict=True):
        found = read_answer(text or "")
        if found is None:
            reasons["no_json"] += 1
            continue
        reason = checks.reason(TextEdit(request.caption, *found, request.language))
        reasons[reason or "good"] += 1
    good = reasons.pop("good", 0)
    return Validity(good / len(requests), len(requests), dict(reasons.most_common()))

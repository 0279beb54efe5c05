"""What a language model is asked for an edit, and how its answer is read.

The same words in training and in use: a model that was fine-tuned on `SeedEdit`s is asked exactly as it was taught, and
one that was not is told all that it needs to know. Answers are JSON of two texts, so that grammar-constrained decoding
can hold the model to it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from generators.seeds import KINDS

# What an edit of each kind does, for a model that has seen no examples.
MEANINGS: Mapping[str, str] = {
    "replace": "replace one thing by another", "add": "add one thing", "remove": "remove one thing",
    "recolor": "change the colour of one thing", "material": "change what one thing is made of",
    "pattern": "give one thing a pattern", "style": "change the artistic style", "medium": "change the medium",
    "weather": "change the weather", "season": "change the season", "time": "change the time of day",
    "lighting": "change the light", "background": "change the place or background", "era": "change the era",
    "mood": "change the mood", "action": "change what somebody does", "clothing": "change the clothes",
    "event": "make it a celebration", "count": "change how many there are", "resize": "change the size of one thing",
    "relate": "change where one thing is in relation to another", "place": "change where in the picture a thing is",
    "swap": "have two things change places", "move": "change the direction", "viewpoint": "change the view",
    "condition": "change the condition of one thing", "transform": "turn one thing into something fantastic",
}  # fmt: skip
LANGUAGES = {"en": "English", "vi": "Vietnamese"}
MAX_EDIT, MAX_CAPTION = 160, 320  # characters of an answer's texts

SYSTEM = (
    "You write edits for pictures. Given a caption, write an instruction of the asked kind and the caption after it. "
    "Change only what the instruction says; keep every other word. Answer in JSON: "
    '{"edit": instruction, "output": edited caption}.'
)
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "edit": {"type": "string", "minLength": 3, "maxLength": MAX_EDIT},
        "output": {"type": "string", "minLength": 3, "maxLength": MAX_CAPTION},
    },
    "required": ["edit", "output"],
    "additionalProperties": False,
}
"""JSON schema of an answer, for constrained decoding."""


_SEVERAL = re.compile(
    r"\b(?:and|with|without|beside|next to|near|behind|in front of|under|above|between|holding|wearing|carrying|"
    r"playing|surrounded|full of)\b|,",
    re.I,
)
_NEEDS_SEVERAL = frozenset({"remove", "swap", "relate"})


def fits(kind: str, caption: str) -> bool:
    """Whether an edit of this kind can be asked for: what removes, swaps or relates needs a caption of several things,
    as far as its joining words tell."""
    return kind not in _NEEDS_SEVERAL or _SEVERAL.search(caption) is not None


def drawn_kind(weights: Mapping[str, float], caption: str, rng: np.random.Generator) -> str:
    """One of the kinds that fit the caption, by its weight; of all where none fits."""
    names = [name for name in sorted(weights) if fits(name, caption)] or sorted(weights)
    shares = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


@dataclass(frozen=True, slots=True)
class Request:
    """One edit to be written. kind: of `generators.seeds.KINDS`. language: of the instruction. seed: of its sampling,
    at least 0."""

    caption: str
    kind: str
    language: str
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.language not in LANGUAGES:
            raise ValueError(f"there is no kind {self.kind!r} or language {self.language!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. text: None where nothing did; then `error` is a short stable word. tokens: that the model
    wrote."""

    text: str | None
    tokens: int = 0
    error: str | None = None


def messages(request: Request) -> list[dict[str, str]]:
    """A conversation of a system's and a user's turn; the caption is quoted as JSON, so that it stays a caption."""
    said = json.dumps(request.caption, ensure_ascii=False)
    asked = f"{request.kind} ({MEANINGS[request.kind]})"
    user = f"Kind: {asked}\nLanguage: {LANGUAGES[request.language]}\nCaption: {said}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def completion(edit: str, after: str) -> str:
    """The answer that a model is taught to give."""
    return json.dumps({"edit": edit, "output": after}, ensure_ascii=False)


def read_answer(text: str) -> tuple[str, str] | None:
    """Instruction and edited caption, NFC, on one line each; None for anything else, cut-off JSON too."""
    try:
        values = json.loads(text.strip().removeprefix("```json").removesuffix("```"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    edit, after = (values.get(key) for key in ("edit", "output"))
    if not isinstance(edit, str) or not isinstance(after, str):
        return None
    return _one_line(edit), _one_line(after)


def _one_line(text: str) -> str:
    plain = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )
    return " ".join(unicodedata.normalize("NFC", plain).split())

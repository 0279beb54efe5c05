"""Free sentences for edits of the test set, written by a hand that had not seen the phrasings of `spatial`: how much of
what people say is understood."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spatial.language import parse, parse_any
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from trainer.words import steps_of

FILE = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """pair_id: of the test set. text: in `language`, "en" or "vi". meant: the pair's own words, in `meant_language`."""

    pair_id: str
    language: str
    text: str
    meant: str
    meant_language: str


@dataclass(frozen=True, slots=True)
class Understood:
    """Of `total` sentences `read` have typed steps, `right` of them the steps that are meant."""

    total: int
    read: int
    right: int


def paraphrases(path: Path = FILE) -> list[Paraphrase]:
    return [Paraphrase(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def understood(some: Sequence[Paraphrase]) -> Understood:
    lexicon = Lexicon.default()
    read = right = 0
    for one in some:
        try:
            _, said = parse_any(one.text, lexicon=lexicon)
        except SpatialError:
            continue
        read += 1
        meant = parse(one.meant, one.meant_language, lexicon=lexicon)
        right += steps_of(said, lexicon) == steps_of(meant, lexicon)
    return Understood(len(some), read, right)

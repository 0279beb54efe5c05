"""Seed edits: triplets written by people, which teach a language model to write more.

One JSON object a line: `input`, `edit`, `output`, as in the file that InstructPix2Pix published, and here also `kind`
and `language`. That file is read by the same function, its kinds unknown.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SEED_EDITS = Path(__file__).parent / "seed_edits.jsonl"

# What seed edits are about -> the kind of edit that a pair of pictures carries (`spatial.instruction.KINDS`).
KINDS = {
    "replace": "replace", "add": "add", "remove": "remove", "recolor": "recolor", "material": "material",
    "pattern": "material", "style": "style", "medium": "style", "weather": "background", "season": "background",
    "time": "lighting", "lighting": "lighting", "background": "background", "era": "style", "mood": "style",
    "action": "replace", "clothing": "replace", "event": "background", "count": "count", "resize": "resize",
    "relate": "relate", "place": "place", "swap": "swap", "move": "move", "viewpoint": "zoom",
    "condition": "material", "transform": "replace",
}  # fmt: skip


class SeedError(ValueError):
    """A seed file cannot be read; the message names the line and says what it needs."""


@dataclass(frozen=True, slots=True)
class SeedEdit:
    """before, after: captions. edit: the instruction. kind: of `KINDS`, None where the file does not say.
    language: of the instruction."""

    before: str
    edit: str
    after: str
    kind: str | None = None
    language: str = "en"


def read_seeds(path: Path = SEED_EDITS) -> list[SeedEdit]:
    """All triplets of a file, in order. Raises SeedError, FileNotFoundError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            before, edit, after = (
                unicodedata.normalize("NFC", row[key].strip()) for key in ("input", "edit", "output")
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SeedError(
                f"{path}:{number}: is no JSON object with the texts input, edit and output"
            ) from None
        kind, language = row.get("kind"), row.get("language", "en")
        if (
            not (before and edit and after)
            or (kind is not None and kind not in KINDS)
            or language not in ("en", "vi")
        ):
            raise SeedError(
                f"{path}:{number}: needs three texts, a kind of {', '.join(KINDS)}, a language of en, vi"
            )
        found.append(SeedEdit(before, edit, after, kind, language))
    return found


def held_out(seeds: Iterable[SeedEdit], share: float = 0.1) -> tuple[list[SeedEdit], list[SeedEdit]]:
    """Seeds to learn from, and seeds to measure on: by the caption, so that no caption is in both."""
    learn: list[SeedEdit] = []
    measure: list[SeedEdit] = []
    for seed in seeds:
        digest = hashlib.blake2b(seed.before.casefold().encode(), digest_size=8).digest()
        (measure if int.from_bytes(digest, "big") < share * 2**64 else learn).append(seed)
    return learn, measure

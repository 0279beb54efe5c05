"""The reader against people: 100 generated pictures that were labelled by eye, without seeing what it says.

Renders have known contents; what a diffusion model makes has not, and is what the reader is for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from filters.reader import Reader, Sighting
from models.starter.measure import generate

LABELS = Path(__file__).parent / "eye_labels.json"
_SECTION = "## By eye"

Kind = tuple[str, str]  # noun and colour


@dataclass(frozen=True, slots=True)
class Labels:
    """weights: sha256 of the UNet that made the pictures; others make others. guidance, seeds: how each was made.
    asked: noun and colour of what each prompt names. seen: of what a person saw in each, by the starter world's
    words; what nobody could name is left out, and its picture is in `unclear`."""

    weights: str
    guidance: float
    texts: tuple[str, ...]
    seeds: tuple[int, ...]
    asked: tuple[tuple[Kind, ...], ...]
    seen: tuple[tuple[Kind, ...], ...]
    unclear: frozenset[int]

    @classmethod
    def read(cls, path: Path = LABELS) -> Labels:
        raw = json.loads(path.read_text(encoding="utf-8"))
        rows = raw["pictures"]
        return cls(
            raw["weights"],
            raw["guidance"],
            tuple(row["prompt"] for row in rows),
            tuple(row["seed"] for row in rows),
            tuple(tuple(_kind(text) for text in row["asked"]) for row in rows),
            tuple(tuple(_kind(text) for text in row["seen"]) for row in rows),
            frozenset(place for place, row in enumerate(rows) if row.get("unclear")),
        )


def _kind(text: str) -> Kind:
    color, _, noun = text.partition(" ")
    return noun, color


def measure_by_eye(pipeline: StableDiffusionPipeline, reader: Reader, labels: Labels) -> dict[str, Any]:
    """The pictures are made again from their seeds, and read; figures as in `agreement`."""
    pictures = [
        generate(pipeline, [text], labels.guidance, seed)[0] for text, seed in zip(labels.texts, labels.seeds)
    ]
    return agreement([reader.read(picture[None])[0] for picture in pictures], labels)


def agreement(read: Sequence[Sequence[Sighting]], labels: Labels) -> dict[str, Any]:
    """read: what the reader saw in each picture.

    verdicts: share of pictures in which eye and reader agree whether all that was asked is there; right_by_eye,
    right_by_reader: share that each calls right. things_found: of the things seen by eye, those that the reader
    names alike in kind and colour; things_confirmed: of those that the reader names, those seen by eye.
    """
    by_eye = [Counter(seen) for seen in labels.seen]
    by_reader = [Counter((one.kind, one.color) for one in row) for row in read]
    asked = [Counter(things) for things in labels.asked]
    verdicts = [[want <= found for want, found in zip(asked, some)] for some in (by_eye, by_reader)]
    clear = [place for place in range(len(by_eye)) if place not in labels.unclear]
    shared = sum((by_eye[place] & by_reader[place]).total() for place in clear)
    return {
        "pictures": len(by_eye),
        "verdicts": sum(one == other for one, other in zip(*verdicts)) / len(by_eye),
        "right_by_eye": sum(verdicts[0]) / len(by_eye),
        "right_by_reader": sum(verdicts[1]) / len(by_eye),
        "things_found": shared / max(1, sum(by_eye[place].total() for place in clear)),
        "things_confirmed": shared / max(1, sum(by_reader[place].total() for place in clear)),
        "unclear": len(labels.unclear),
    }


def add_to_card(card: Path, figures: dict[str, Any]) -> None:
    """Puts the figures at the end of the reader's card, in place of older ones."""
    text = card.read_text(encoding="utf-8").partition(_SECTION)[0].rstrip()
    section = f"""{_SECTION}

{figures["pictures"]} pictures by the starter diffusion model (`models/starter/eye_labels.json`) were labelled by eye
before the reader was asked.

| | |
|---|---:|
| eye and reader agree whether all that was asked for is there | {figures["verdicts"]:.0%} |
| pictures that are right by eye | {figures["right_by_eye"]:.0%} |
| pictures that are right by the reader | {figures["right_by_reader"]:.0%} |
| things seen by eye that the reader names alike in kind and colour | {figures["things_found"]:.0%} |
| things that the reader names that were seen by eye | {figures["things_confirmed"]:.0%} |

{figures["unclear"]} pictures hold something that nobody could name; the last two lines leave them out. Again by
`python -m models.starter reader-eye`.
"""
    card.write_text(f"{text}\n\n{section}", encoding="utf-8")

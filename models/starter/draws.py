"""Draws of the pair engine on edits whose truth is known, judged by CLIP and by the reader, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from filters.reader import Reader
from generators.budget import Budget
from generators.composed import ComposedEdit, Composer
from generators.diffusion import Diffusion
from generators.pairs import Judge, Outcome, PairEngine, PairSettings, Prompt
from generators.seeds import KINDS as KINDS_OF_PAIRS
from models.starter.measure_edits import Verdict, judged
from models.starter.world import COLORS, FLOORS, HELD_OUT, KINDS, MATERIAL_DRAWS

# Seeds of edits. Thresholds and settings are chosen on the first three, nothing on the last.
VALIDATION = (201, 401, 501)
TEST = 301
# How validation draws are made: wider than a run would, so that thresholds hold for more.
SETTINGS = PairSettings(guidance=(3.0, 6.0), share=(0.1, 0.6), cross=(0.3, 0.9))


@dataclass(frozen=True, slots=True)
class Row:
    """A draw. forwards: of the UNet. similarities: by name, None for a pair that was dropped. changed, stayed, asked:
    see `models.starter.measure_edits.Verdict`."""

    edit: int
    kind: str
    number: int
    forwards: int
    verdict: str
    reason: str
    scores: dict[str, float | None]
    rank: float
    changed: bool | None
    stayed: bool | None
    asked: bool | None


def edits(number: int, seed: int = TEST) -> list[ComposedEdit]:
    """Composed edits of the starter world, the kinds by turns."""
    stock = {
        "nouns": KINDS,
        "colors": COLORS,
        "materials": MATERIAL_DRAWS,
        "floors": FLOORS,
        "never": [" ".join(pair) for pair in sorted(HELD_OUT)],
    }
    return list(islice(Composer(stock).edits(seed), number))


def prompts(some: Iterable[ComposedEdit], seed: int = TEST) -> list[Prompt]:
    """As a run would ask for them: the kind is that of the pair, and the id says which edit it is."""
    return [
        Prompt(str(place), edit.before, edit.after, KINDS_OF_PAIRS[edit.kind], seed * 1000 + place)
        for place, edit in enumerate(some)
    ]


def rows_of(outcome: Outcome, edit: ComposedEdit, reader: Reader) -> Iterator[Row]:
    """A row for each draw. The engine must have kept the pictures of those that are to be read."""
    kept = [made for made in outcome.draws if made.pictures is not None]
    seen = (
        reader.read(np.stack([picture for made in kept for picture in made.pictures or ()])) if kept else []
    )
    read_as = {
        made.draw.number: judged(edit, seen[2 * place], seen[2 * place + 1])
        for place, made in enumerate(kept)
    }
    for made in outcome.draws:
        found = read_as.get(made.draw.number, Verdict(None, None, False))
        yield Row(
            int(outcome.prompt.id),
            edit.kind,
            made.draw.number,
            made.forwards,
            made.judged.verdict,
            made.judged.reason,
            made.judged.scores,
            made.judged.rank,
            found.changed,
            found.stayed,
            found.asked if made.pictures is not None else None,
        )


def draw(
    model: Diffusion, judge: Judge, reader: Reader, *, number: int, draws: int, seed: int, first: int = 0
) -> Iterator[Row]:
    """`draws` of each of `number` edits of a validation seed, all of them read; edits are numbered from `first` on."""
    asked = edits(number, seed)
    engine = PairEngine(
        model, SETTINGS, judge, budget=Budget(want=None, most=draws), keep=lambda _: True
    )  # fmt: skip
    for outcome in engine.run(prompts(asked, seed)):
        for row in rows_of(outcome, asked[int(outcome.prompt.id)], reader):
            yield replace(row, edit=row.edit + first)


def write(path: Path, rows: Iterable[Row], about: dict[str, Any]) -> None:
    """As JSON lines, the first `about`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(
        "".join(json.dumps(line) + "\n" for line in [about, *map(asdict, rows)]), encoding="utf-8"
    )
    part.replace(path)


def load(path: Path) -> tuple[dict[str, Any], list[Row]]:
    about, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return about, [Row(**row) for row in rows]

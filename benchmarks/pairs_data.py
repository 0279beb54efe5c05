"""What the benchmarks of the pair engine share: edits whose truth is known, draws judged by CLIP and by the reader."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from filters.clip import ClipJudge
from filters.profiles import ClipProfile, read
from filters.reader import Reader
from filters.weights import ClipWeights
from generators.composed import ComposedEdit, Composer
from generators.diffusion import Diffusion, ModelSettings
from generators.judging import ByClip
from generators.pairs import Outcome, Prompt
from generators.seeds import KINDS
from models.starter.measure_edits import Verdict, judged
from ray_jobs.config_stock import Words

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "models" / "starter" / "weights"
TEST = 301  # the seed of the edits that are measured on; nothing was chosen on them


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
    stock = yaml.safe_load((ROOT / "configs" / "edits.yaml").read_text())["routes"]["edits"]["captions"][
        "stock"
    ]
    return list(islice(Composer(Words.model_validate(stock).filled()).edits(seed), number))


def prompts(some: Iterable[ComposedEdit], seed: int = TEST) -> list[Prompt]:
    """As a run would ask for them: the kind is that of the pair, and the id says which edit it is."""
    return [
        Prompt(str(place), edit.before, edit.after, KINDS[edit.kind], seed * 1000 + place)
        for place, edit in enumerate(some)
    ]


def starter_model() -> Diffusion:
    return Diffusion(ModelSettings(str(WEIGHTS / "diffusion")))


def starter_judge(slack: float = 0.15) -> ByClip:
    """The starter CLIP with its thresholds for pairs made from words."""
    weights = ClipWeights(f"local-dir:{WEIGHTS / 'clip'}")
    return ByClip(ClipJudge(weights), starter_profile(), slack)


def starter_profile() -> ClipProfile:
    return read(WEIGHTS / "clip" / "thresholds-starter-p2p.json")


def starter_reader() -> Reader:
    return Reader.load(WEIGHTS / "reader")


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

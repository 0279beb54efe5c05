"""Makes the picture of what each attention control does: fixed captions, fixed seeds, nothing chosen.

python -m scripts.controls_picture --out docs/controls.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from generators.batch import Draw
from generators.diffusion import Diffusion, ModelSettings, Pixels, rounded
from generators.pairs import PairSettings, Prompt
from generators.remake import remade
from models.starter.recipes import WEIGHTS
from ray_jobs.gallery import sheet_font

EDITS = (
    ("a red mug to the left of a yellow ball", "a blue mug to the left of a yellow ball"),
    ("a white cat on grass", "a white car on grass"),
    ("a green tree and an orange cone on white tiles", "a green tree on white tiles"),
    ("a purple chair on a wooden floor", "a purple metal chair on a wooden floor"),
    ("a red car", "a red car and a yellow cube"),
    ("a blue house on grass", "a blue house on grass at sunset"),
)
SEEDS = (1, 2)
GUIDANCE = 4.0
GAP, LINE, LEFT = 6, 24, 430  # pixels


@dataclass(frozen=True, slots=True)
class Column:
    """name: above the pictures. share, cross: of the steps; blend: threshold."""

    name: str
    share: float = 0.0
    cross: float = 0.0
    blend: float | None = None


COLUMNS = (
    Column("none"),
    Column("self", share=0.6),
    Column("cross", cross=0.8),
    Column("both", share=0.4, cross=0.8),
    Column("both, blend", share=0.4, cross=0.8, blend=0.3),
)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--out", default="docs/controls.png", metavar="FILE", type=Path)
    out: Path = options.parse_args().out
    model = Diffusion(ModelSettings(str(WEIGHTS / "diffusion")))
    rows = [(Prompt(str(seed), *edit, "replace", 0), seed) for edit in EDITS for seed in SEEDS]
    columns = [pictures(model, rows, column) for column in COLUMNS]
    sheet(columns).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def pictures(
    model: Diffusion, rows: Sequence[tuple[Prompt, int]], column: Column
) -> list[tuple[Pixels, Pixels]]:
    """Before and after of each row, by this control."""
    settings = replace(PairSettings(), blend=column.blend)
    draws = [(prompt, Draw(0, seed, GUIDANCE, column.share, column.cross)) for prompt, seed in rows]
    found = [rounded(two) for two in remade(model, settings, draws, slots=len(rows))]
    return [(before, after) for before, after in found]


def sheet(columns: Sequence[Sequence[tuple[Pixels, Pixels]]]) -> Image.Image:
    """A line for each edit and seed: captions, the picture before, and the one after by each control."""
    side = columns[0][0][0].shape[0]
    count = len(columns[0])
    width = LEFT + (len(columns) + 1) * (side + GAP)
    whole = Image.new("RGB", (width, LINE + count * (side + GAP)), "white")
    pen, letters = ImageDraw.Draw(whole), sheet_font(17)
    for place, name in enumerate(["before", *(column.name for column in COLUMNS)]):
        pen.text((LEFT + place * (side + GAP), 2), name, fill="black", font=letters)
    for row in range(count):
        y = LINE + row * (side + GAP)
        if row % len(SEEDS) == 0:
            for line, text in enumerate(EDITS[row // len(SEEDS)]):
                pen.text((6, y + 12 + 24 * line), ("", "→ ")[line] + text, fill="black", font=sheet_font(15))
        shown = [columns[0][row][0], *(column[row][1] for column in columns)]
        for place, picture in enumerate(shown):
            whole.paste(Image.fromarray(picture), (LEFT + place * (side + GAP), y))
    return whole


if __name__ == "__main__":
    main()

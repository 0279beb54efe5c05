"""Makes the README's picture of the starter model: fixed prompts, fixed seeds, nothing chosen.

python -m scripts.starter_picture --out docs/starter.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.starter.measure import generate, load_pipeline
from models.starter.recipes import WEIGHTS
from ray_jobs.gallery import sheet_font

PROMPTS = (
    "a red ball",
    "a blue car on grass",
    "a yellow metal cone on a wooden floor",
    "a purple checkered cat on white tiles",
    "a green tree at sunset",
    "a red ball to the left of a blue cube",
    "a pink chair behind an orange mug",
    "a white cat on the left and a yellow car on the right",
    "two green bottles",
    "from left to right: a red cone, a blue ball and a yellow tree",
)
PER_PROMPT, ACROSS, GAP, LINE = 4, 2, 12, 26  # pictures of a prompt; prompts side by side; pixels


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--out", default="docs/starter.png", metavar="FILE", type=Path)
    out: Path = options.parse_args().out
    guidance = json.loads((WEIGHTS / "diffusion" / "figures.json").read_text())["guidance"]
    texts = [text for text in PROMPTS for _ in range(PER_PROMPT)]
    pictures = generate(load_pipeline(WEIGHTS / "diffusion"), texts, guidance, 0)
    sheet(pictures.reshape(len(PROMPTS), PER_PROMPT, *pictures.shape[1:]), sheet_font(17)).save(
        out, optimize=True
    )
    print(f"{out}: {len(texts)} pictures, {out.stat().st_size / 1e6:.1f} MB")


def sheet(pictures: NDArray[np.uint8], letters: ImageFont.FreeTypeFont) -> Image.Image:
    """pictures: (prompts, per prompt, h, w, 3) uint8."""
    height, width = pictures.shape[2], pictures.shape[1] * pictures.shape[3]
    rows = -(-len(pictures) // ACROSS)
    size = (ACROSS * (width + GAP) + GAP, rows * (height + LINE + GAP) + GAP)
    whole = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(whole)
    for place, (text, some) in enumerate(zip(PROMPTS, pictures, strict=True)):
        x = GAP + place % ACROSS * (width + GAP)
        y = GAP + place // ACROSS * (height + LINE + GAP)
        pen.text((x, y), text, fill="black", font=letters)
        whole.paste(Image.fromarray(np.concatenate(list(some), axis=1)), (x, y + LINE))
    return whole


if __name__ == "__main__":
    main()

"""What the starter models can do: figures on scenes that they have never seen, judged by the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from filters.reader import Reader
from models.starter.data import Scenes
from models.starter.prompts import Prompt, prompts, shown, sides_right
from models.starter.vae import psnr, round_trip

STEPS = 20
GUIDANCE = (2.5, 4.0, 6.0, 8.0)  # tried on validation
PROMPTS, VALIDATION_PROMPTS = 500, 120
FIRST_SEED = 5_000  # of the pictures measured; validation takes those from 0 on

Pixels = NDArray[np.uint8]
Figures = dict[str, Any]


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The exported pipeline in single precision, as anybody would load it."""
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(
    pipeline: StableDiffusionPipeline, texts: Sequence[str], guidance: float, first_seed: int, batch: int = 50
) -> Pixels:
    """(n, 128, 128, 3) uint8. Picture i starts from the noise of seed first_seed + i, whatever the batch."""
    found = []
    for start in range(0, len(texts), batch):
        some = list(texts[start : start + batch])
        seeds = [torch.Generator().manual_seed(first_seed + start + i) for i in range(len(some))]
        images = pipeline(
            some, num_inference_steps=STEPS, guidance_scale=guidance, generator=seeds, output_type="np"
        ).images
        found.append(np.rint(images * 255).astype(np.uint8))
    return np.concatenate(found)


def judged(reader: Reader, asked: Sequence[Prompt], pictures: Pixels) -> Figures:
    """one, two: share of the prompts whose things are all there, in kind and colour. sides: share of those with
    both things there that have them on the right sides; sides_of_all: of all that ask for sides. prompts: how
    many there are of one thing, two things, sides."""
    rows = [
        shown(prompt.things, sightings)
        for prompt, sightings in zip(asked, reader.read(pictures), strict=True)
    ]
    by_number = {
        number: [row is not None for prompt, row in zip(asked, rows) if len(prompt.things) == number]
        for number in (1, 2)
    }
    sided = [row for prompt, row in zip(asked, rows) if prompt.sided]
    right = [sides_right(row) for row in sided if row is not None]
    return {
        "one": _share(by_number[1]),
        "two": _share(by_number[2]),
        "sides": _share(right),
        "sides_of_all": _share([*right, *[False] * (len(sided) - len(right))]),
        "prompts": [len(by_number[1]), len(by_number[2]), len(sided)],
    }


def measure_vae(pipeline: StableDiffusionPipeline, held_out: Scenes) -> Figures:
    """psnr: dB of pictures that went through the latents; mean and tenth percentile."""
    found = psnr(held_out.images, round_trip(pipeline.vae, held_out.images))
    return {
        "psnr": float(found.mean()),
        "psnr_10": float(np.percentile(found, 10)),
        "pictures": len(held_out),
    }


def measure_diffusion(
    pipeline: StableDiffusionPipeline, reader: Reader, splits: Mapping[str, Scenes]
) -> tuple[Figures, list[Prompt], Pixels]:
    """Figures, and the test prompts with their pictures. splits: validation, test and combinations.

    guidance is chosen once, on validation, for the mean of one, two and sides_of_all. The reader's own figures on the
    renders that the prompts were taken from say what a perfect model would be given.
    """
    chosen, table = choose_guidance(pipeline, reader, splits["validation"])
    test = prompts(splits["test"], PROMPTS)
    pictures = generate(pipeline, [prompt.text for prompt in test], chosen, FIRST_SEED)
    new = prompts(splits["combinations"], VALIDATION_PROMPTS)
    unseen = generate(pipeline, [prompt.text for prompt in new], chosen, 2 * FIRST_SEED)
    figures = {
        "guidance": chosen,
        "steps": STEPS,
        "validation": table,
        "test": judged(reader, test, pictures),
        "combinations": judged(reader, new, unseen),
        "reader_on_renders": reader_ceiling(reader, test, splits["test"]),
    }
    return figures, test, pictures


def choose_guidance(
    pipeline: StableDiffusionPipeline, reader: Reader, validation: Scenes
) -> tuple[float, dict[str, Figures]]:
    asked = prompts(validation, VALIDATION_PROMPTS)
    texts = [prompt.text for prompt in asked]
    table = {str(scale): judged(reader, asked, generate(pipeline, texts, scale, 0)) for scale in GUIDANCE}
    # Not "sides": of few pictures with both things, it is chance, and highest where hardly any has them.
    best = max(table, key=lambda scale: sum(table[scale][name] for name in ("one", "two", "sides_of_all")))
    return float(best), table


def reader_ceiling(reader: Reader, asked: Sequence[Prompt], scenes: Scenes) -> Figures:
    """As `judged`, of the renders themselves: the reader's error, and nothing else, is what is missing to 1.

    A prompt of a mirrored scene is read in the mirrored picture.
    """
    plain = scenes.images[[prompt.picture for prompt in asked]]
    upright, flipped = judged_rows(reader, asked, plain), judged_rows(reader, asked, plain[:, :, ::-1])
    there = {
        number: [
            a or b for prompt, (a, _), (b, _) in zip(asked, upright, flipped) if len(prompt.things) == number
        ]
        for number in (1, 2)
    }
    sided = [s or t for prompt, (a, s), (b, t) in zip(asked, upright, flipped) if prompt.sided and (a or b)]
    return {"one": _share(there[1]), "two": _share(there[2]), "sides": _share(sided)}


def judged_rows(reader: Reader, asked: Sequence[Prompt], pictures: Pixels) -> list[tuple[bool, bool]]:
    """For each prompt: its things are all there; and stand as named."""
    rows = [
        shown(prompt.things, seen) for prompt, seen in zip(asked, reader.read(np.ascontiguousarray(pictures)))
    ]
    return [(row is not None, row is not None and len(row) == 2 and sides_right(row)) for row in rows]


def _share(answers: Sequence[bool]) -> float:
    return float(np.mean(answers)) if len(answers) else float("nan")

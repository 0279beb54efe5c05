"""Captions of the starter world's pictures as token ids, many for each, mirrored copies too; kept in the cache."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.starter.data import Scenes
from models.starter.tokenizer import LENGTH
from models.starter.world import COLORS, IMAGE_SIZE, KINDS, MATERIALS, SEED
from renderers.shapes import ProceduralShapes
from shards.units import seed_for
from spatial.captioning import Facts, facts_of, mirrored, say_caption

FORMS = 8  # captions drawn for each picture and each mirrored picture
GRID = 4  # cells a side of the coarse layout

Tokens = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Captions:
    """Of n pictures; axis 1 is 0 for the picture, 1 for its mirrored copy.

    tokens: (n, 2, FORMS, LENGTH) int16. wrong: the same, each with one attribute of one thing changed.
    layout: (n, 2, targets) uint8, what `layout_of` says. number: (n,) int, objects in each picture.
    """

    tokens: Tokens
    wrong: Tokens
    layout: NDArray[np.uint8]
    number: NDArray[np.int64]


def layout_of(objects: list[dict[str, object]], flip: bool) -> NDArray[np.uint8]:
    """Which kind, and which colour, has its middle in which cell; and which kind has which colour.

    (KINDS * GRID**2 + COLORS * GRID**2 + KINDS * COLORS,) of 0 and 1.
    """
    kinds = np.zeros((len(KINDS), GRID, GRID), np.uint8)
    colors = np.zeros((len(COLORS), GRID, GRID), np.uint8)
    bound = np.zeros((len(KINDS), len(COLORS)), np.uint8)
    for thing in objects:
        x0, y0, x1, y1 = np.asarray(thing["box"], float) * GRID / IMAGE_SIZE
        column, row = min(int((x0 + x1) / 2), GRID - 1), min(int((y0 + y1) / 2), GRID - 1)
        column = GRID - 1 - column if flip else column
        kind, color = KINDS.index(str(thing["name"])), COLORS.index(str(thing["color"]))
        kinds[kind, row, column] = colors[color, row, column] = bound[kind, color] = 1
    return np.concatenate([kinds.ravel(), colors.ravel(), bound.ravel()])


def captions_of(scenes: Scenes, tokenizer: Path, cache: Path, language: str = "en") -> Captions:
    """Drawn once for these pictures and this tokenizer, then read from the cache."""
    what = hashlib.sha256("\n".join([*scenes.ids, language, str(FORMS)]).encode())
    what.update((tokenizer / "tokenizer.json").read_bytes())
    path = cache / f"captions-{what.hexdigest()[:16]}.npz"
    if not path.exists():
        found = _draw(scenes, tokenizer, language)
        cache.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, tokens=found.tokens, wrong=found.wrong, layout=found.layout, number=found.number
        )
        part = path.with_suffix(".part")
        part.write_bytes(buffer.getvalue())
        part.replace(path)
    with np.load(path) as saved:
        return Captions(saved["tokens"], saved["wrong"], saved["layout"], saved["number"])


def say_both(facts: Facts, language: str, rng: np.random.Generator) -> tuple[str, str]:
    """A true caption, and one that is wrong in one attribute of one thing, in the same words as far as they go."""
    seed = int(rng.integers(2**63))
    right = say_caption(facts, language, np.random.default_rng(seed))
    for _ in range(20):
        wrong = say_caption(one_wrong(facts, rng), language, np.random.default_rng(seed))
        # What was changed may be left unsaid, or a scene may have both: then it is no other caption.
        if sorted(wrong.lower().split()) != sorted(right.lower().split()):
            return right, wrong
    return right, wrong


def one_wrong(facts: Facts, rng: np.random.Generator) -> Facts:
    """The same facts with one attribute of one thing changed: its kind, its colour or its material."""
    which = int(rng.integers(len(facts.things)))
    thing = facts.things[which]
    field = int(rng.choice(3, p=(0.35, 0.45, 0.2)))
    if field == 0:
        wrong = replace(thing, noun=_another(KINDS, thing.noun, rng))
    elif field == 1:
        wrong = replace(thing, color=_another(COLORS, thing.color, rng))
    else:  # never to matte: that goes without saying, and what is left unsaid is not wrong
        wrong = replace(thing, material=_another(MATERIALS[1:], thing.material, rng))
    return replace(facts, things=(*facts.things[:which], wrong, *facts.things[which + 1 :]))


def _another(words: tuple[str, ...], word: str | None, rng: np.random.Generator) -> str:
    others = [other for other in words if other != word]
    return others[int(rng.integers(len(others)))]


def _draw(scenes: Scenes, tokenizer: Path, language: str) -> Captions:
    from transformers import CLIPTokenizer

    shapes = ProceduralShapes()
    words = CLIPTokenizer.from_pretrained(tokenizer)
    right: list[str] = []
    wrong: list[str] = []
    for name, scene in zip(scenes.ids, scenes.scenes):
        seed = seed_for(SEED, name, 0, f"caption-{language}")
        facts = facts_of(scene, shapes)
        for side, version in enumerate((facts, mirrored(facts))):
            for form in range(FORMS):
                one, other = say_both(version, language, np.random.default_rng([seed, side, form]))
                right.append(one)
                wrong.append(other)

    def ids(texts: list[str]) -> Tokens:
        found = words(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np")
        return np.asarray(found.input_ids, np.int16).reshape(len(scenes), 2, FORMS, LENGTH)

    return Captions(
        tokens=ids(right),
        wrong=ids(wrong),
        layout=np.stack([[layout_of(things, flip) for flip in (False, True)] for things in scenes.objects]),
        number=np.array([len(things) for things in scenes.objects]),
    )

"""Captions of the starter world's pictures as token ids, many for each, mirrored copies too; kept in the cache."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.starter.data import Scenes
from models.starter.tokenizer import LENGTH
from models.starter.world import COLORS, FLOORS, IMAGE_SIZE, KINDS, MATERIALS, SEED
from renderers.shapes import ProceduralShapes
from shards.units import seed_for
from spatial.captioning import CLEAR_SIDE, Facts, facts_of, mirrored, say_caption
from spatial.captions import AROUND_WORDS, FLOOR_WORDS
from spatial.captions import caption as plain_caption
from spatial.scene import Scene
from spatial.viewpoint import mirror_scene
from spatial.vocabulary import ENVIRONMENTS

FORMS = 9  # captions of each picture and each mirrored picture: drawn, but for the last, which pairs have
GRID = 4  # cells a side of the coarse layout
PLACED = len(KINDS) + len(COLORS) + len(MATERIALS)  # what may stand in a cell
SIDES = len(KINDS) ** 2 + len(COLORS) ** 2

Tokens = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Captions:
    """Of n pictures; axis 1 is 0 for the picture, 1 for its mirrored copy.

    tokens: (n, 2, FORMS, LENGTH) int16. wrong: the same, each with one attribute of one thing changed.
    layout: (n, 2, targets) uint8, what `layout_of` says. sides: (n, 2, SIDES) int8, what `sides_of` says.
    says_side: (n, 2, FORMS) bool, whether left or right is in the caption. number: (n,) int, objects in each
    picture.
    """

    tokens: Tokens
    wrong: Tokens
    layout: NDArray[np.uint8]
    sides: NDArray[np.int8]
    says_side: NDArray[np.bool_]
    number: NDArray[np.int64]

    @property
    def tells_side(self) -> NDArray[np.bool_]:
        """(n, 2, FORMS): captions of pictures with a left and a right that say so."""
        return np.asarray(self.says_side & np.any(self.sides >= 0, axis=-1)[:, :, None])


def layout_of(
    objects: list[dict[str, object]], flip: bool, floor: str = "", environment: str = ""
) -> NDArray[np.uint8]:
    """Which kind, which colour and which material has its middle in which cell, which kind has which colour,
    what the floor is and where it all stands.

    ((KINDS + COLORS + MATERIALS) * GRID**2 + KINDS * COLORS + FLOORS + ENVIRONMENTS,) of 0 and 1.
    """
    kinds = np.zeros((len(KINDS), GRID, GRID), np.uint8)
    colors = np.zeros((len(COLORS), GRID, GRID), np.uint8)
    materials = np.zeros((len(MATERIALS), GRID, GRID), np.uint8)
    bound = np.zeros((len(KINDS), len(COLORS)), np.uint8)
    for thing in objects:
        x0, y0, x1, y1 = np.asarray(thing["box"], float) * GRID / IMAGE_SIZE
        column, row = min(int((x0 + x1) / 2), GRID - 1), min(int((y0 + y1) / 2), GRID - 1)
        column = GRID - 1 - column if flip else column
        kind, color = KINDS.index(str(thing["name"])), COLORS.index(str(thing["color"]))
        kinds[kind, row, column] = colors[color, row, column] = bound[kind, color] = 1
        if (material := thing.get("material")) is not None:
            materials[MATERIALS.index(str(material)), row, column] = 1
    around = np.array([floor == name for name in FLOORS] + [environment == name for name in ENVIRONMENTS])
    return np.concatenate(
        [kinds.ravel(), colors.ravel(), materials.ravel(), bound.ravel(), around.astype(np.uint8)]
    )


def placed(layout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of `layout_of`, (..., targets), the part of cells: (..., PLACED, GRID, GRID), rows from the top."""
    return layout[..., : PLACED * GRID**2].reshape(*layout.shape[:-1], PLACED, GRID, GRID)


def sides_of(objects: list[dict[str, Any]], flip: bool) -> NDArray[np.int8]:
    """(SIDES,): 1 where the first kind, or colour, stands left of the second, 0 where right of it, -1 where one is
    not there, where it is too close to say, and where two pairs say both."""
    found = np.full(SIDES, -1, np.int8)
    settled = np.zeros(SIDES, bool)
    for one, other in permutations(objects, 2):
        apart = sum(other["box"][::2]) / 2 - sum(one["box"][::2]) / 2
        left = int((apart < 0) == flip) if abs(apart) >= CLEAR_SIDE * IMAGE_SIZE else -1
        places = (
            len(KINDS) * KINDS.index(one["name"]) + KINDS.index(other["name"]),
            len(KINDS) ** 2 + len(COLORS) * COLORS.index(one["color"]) + COLORS.index(other["color"]),
        )
        for place in places:
            found[place] = left if not settled[place] or found[place] == left else -1
            settled[place] = True
    return found


def captions_of(scenes: Scenes, tokenizer: Path, cache: Path, language: str = "en") -> Captions:
    """Drawn once for these pictures and this tokenizer, then read from the cache."""
    what = hashlib.sha256("\n".join([*scenes.ids, language, str(FORMS), "sides"]).encode())
    what.update((tokenizer / "tokenizer.json").read_bytes())
    path = cache / f"captions-{what.hexdigest()[:16]}.npz"
    if not path.exists():
        found = _draw(scenes, tokenizer, language)
        cache.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **asdict(found))
        part = path.with_suffix(".part")
        part.write_bytes(buffer.getvalue())
        part.replace(path)
    with np.load(path) as saved:
        return Captions(**saved)


def plain_both(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """The caption that pairs of this scene would have, and one that is wrong in one word."""
    right = plain_caption(scene)
    return right, wrong_attribute(right, rng)


def wrong_attribute(caption: str, rng: np.random.Generator, other: str = "") -> str:
    """An English caption of `spatial.captions` with one thing's kind, colour or material, the floor or the
    surroundings changed. other: another caption; what the two do not share is changed first, where there is any.

    Raises ValueError for a caption that names nothing of the starter world.
    """
    known = list(_WORDS.finditer(caption))
    if not known:
        raise ValueError(f"no word of the starter world in {caption!r}")
    changed = [match for match in known if match[0] not in _WORDS.findall(other)] if other else []
    match = (changed or known)[int(rng.integers(len(changed or known)))]
    family = next(words for words in _FAMILIES if match[0] in words)
    word = _another(family, match[0], rng)
    text = caption[: match.start()] + word + caption[match.end() :]
    # "An orange mug" with another colour is "a red mug".
    text = re.sub(r"\b([Aa])n? (?=[aeiou])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[^aeiou])", r"\1 ", text)


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


ATTRIBUTES = ("kind", "color", "material")


def one_wrong(facts: Facts, rng: np.random.Generator, attribute: str | None = None) -> Facts:
    """The same facts with one attribute of one thing changed. attribute: which of `ATTRIBUTES`; None draws one."""
    which = int(rng.integers(len(facts.things)))
    thing = facts.things[which]
    attribute = attribute or str(rng.choice(ATTRIBUTES, p=(0.35, 0.45, 0.2)))
    if attribute == "kind":
        wrong = replace(thing, noun=_another(KINDS, thing.noun, rng))
    elif attribute == "color":
        wrong = replace(thing, color=_another(COLORS, thing.color, rng))
    else:  # never to matte: that goes without saying, and what is left unsaid is not wrong
        wrong = replace(thing, material=_another(MATERIALS[1:], thing.material, rng))
    return replace(facts, things=(*facts.things[:which], wrong, *facts.things[which + 1 :]))


_FAMILIES: tuple[tuple[str, ...], ...] = (
    KINDS,
    COLORS,
    ("matte", "metal", "checkered", "wooden"),
    tuple(f"on {words}" for floor, words in FLOOR_WORDS.items() if floor in FLOORS),
    tuple(AROUND_WORDS.values()),
)
_SIDE = re.compile(r"\b(?:left|right|trái|phải)\b", re.IGNORECASE)
_WORDS = re.compile(
    r"\b(?:" + "|".join(sorted((w for words in _FAMILIES for w in words), key=len, reverse=True)) + r")\b"
)


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
        for side, (version, shown) in enumerate(((facts, scene), (mirrored(facts), mirror_scene(scene)))):
            for form in range(FORMS):
                rng = np.random.default_rng([seed, side, form])
                plain = form == FORMS - 1 and language == "en"
                one, other = plain_both(shown, rng) if plain else say_both(version, language, rng)
                right.append(one)
                wrong.append(other)

    def ids(texts: list[str]) -> Tokens:
        found = words(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np")
        return np.asarray(found.input_ids, np.int16).reshape(len(scenes), 2, FORMS, LENGTH)

    return Captions(
        tokens=ids(right),
        wrong=ids(wrong),
        layout=np.stack(
            [
                [
                    layout_of(things, flip, scene.backdrop.floor, scene.light.environment)
                    for flip in (False, True)
                ]
                for things, scene in zip(scenes.objects, scenes.scenes)
            ]
        ),
        sides=np.array([[sides_of(things, flip) for flip in (False, True)] for things in scenes.objects]),
        says_side=np.array([bool(_SIDE.search(text)) for text in right]).reshape(len(scenes), 2, FORMS),
        number=np.array([len(things) for things in scenes.objects]),
    )

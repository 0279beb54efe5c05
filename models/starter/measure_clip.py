"""What the starter CLIP can tell apart, asked of open_clip as anybody would load it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from models.starter.captions import ATTRIBUTES, one_wrong
from models.starter.data import Scenes
from models.starter.prompts import names_a_side
from models.starter.world import SEED
from renderers.shapes import ProceduralShapes
from shards.units import seed_for
from spatial.captioning import Facts, facts_of, mirrored, say_caption

GALLERY = 100  # scenes among which a caption is to be found

Pixels = NDArray[np.uint8]


class Embedder:
    """Pictures and captions to rows of length 1, by plain open_clip from a local folder."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self._model, _, self._prepare = open_clip.create_model_and_transforms(name)
        self._tokenize: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(name)
        self._model.eval()

    @torch.inference_mode()
    def images(self, images: Pixels, batch: int = 64) -> torch.Tensor:
        """(n, width) float32. images: (n, h, w, 3) uint8."""
        parts = [
            self._model.encode_image(torch.stack([self._prepare(Image.fromarray(one)) for one in some]))
            for some in np.split(images, range(batch, len(images), batch))
        ]
        return functional.normalize(torch.cat(parts).float(), dim=1)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, width) float32."""
        return functional.normalize(self._model.encode_text(self._tokenize(list(texts))).float(), dim=1)


def measure_clip(folder: Path, held_out: Scenes) -> dict[str, Any]:
    """Figures on scenes that the model has never seen.

    recall_to_text, recall_to_image: share of `GALLERY` scenes, whose full captions exclude each other, for which
    the nearest caption (picture) is their own. told: share of scenes nearer to their full caption than to the same
    with one attribute of one thing changed, over all and by attribute. relations: share of scenes nearer to a
    caption with a left or a right in it than to what the mirrored scene's says: a half is chance.
    """
    shapes, embedder = ProceduralShapes(), Embedder(folder)
    facts = [facts_of(scene, shapes) for scene in held_out.scenes]
    seen = embedder.images(held_out.images)
    said = embedder.texts([full(one, place) for place, one in enumerate(facts)])
    some = exclusive(facts)[:GALLERY]
    table = seen[some] @ said[some].T
    truth = torch.arange(len(some))
    told = {name: _told(seen, said, facts, name, embedder) for name in ATTRIBUTES}
    sided, right, wrong = _sides(facts)
    nearer = (seen[sided] * embedder.texts(right)).sum(1) > (seen[sided] * embedder.texts(wrong)).sum(1)
    return {
        "gallery": len(some),
        "recall_to_text": float((table.argmax(dim=1) == truth).float().mean()),
        "recall_to_image": float((table.argmax(dim=0) == truth).float().mean()),
        "told": float(np.mean(np.concatenate(list(told.values())))),
        "told_by_attribute": {name: float(values.mean()) for name, values in told.items()},
        "relations": float(nearer.float().mean()),
        "scenes": len(held_out),
        "scenes_with_sides": len(sided),
    }


def exclusive(facts: Sequence[Facts]) -> list[int]:
    """Positions of scenes, in order, none of whose full captions is true of another one's picture.

    A caption is true of a picture that shows all its things on its floor in its surroundings, and maybe more.
    """
    kept: list[int] = []
    for place, one in enumerate(facts):
        if all(not _covers(one, facts[other]) and not _covers(facts[other], one) for other in kept):
            kept.append(place)
    return kept


def _covers(one: Facts, other: Facts) -> bool:
    """Whether what is said of `other` is true of `one`."""
    if (one.floor, one.environment) != (other.floor, other.environment):
        return False
    left = list(one.things)
    for thing in other.things:
        if thing not in left:
            return False
        left.remove(thing)
    return True


def _told(
    seen: torch.Tensor, said: torch.Tensor, facts: Sequence[Facts], attribute: str, embedder: Embedder
) -> NDArray[np.bool_]:
    wrong = embedder.texts([full_but_wrong(one, place, attribute) for place, one in enumerate(facts)])
    return np.asarray(((seen * said).sum(1) > (seen * wrong).sum(1)).numpy())


def full_but_wrong(facts: Facts, place: int, attribute: str) -> str:
    """`full` with one attribute of one thing changed, in words that otherwise differ as little as can be: a noun
    with several names ("mug", "cup") draws one, and what is drawn after it may come out otherwise."""
    right = full(facts, place).split()
    changed = (one_wrong(facts, np.random.default_rng([SEED, place, n]), attribute) for n in range(12))
    return min((full(one, place) for one in changed), key=lambda text: _differing(right, text.split()))


def _differing(one: list[str], other: list[str]) -> int:
    return sum((Counter(one) - Counter(other)).values()) + sum((Counter(other) - Counter(one)).values())


def full(facts: Facts, place: int) -> str:
    """All that can be said. Which of many words is drawn by the place alone."""
    return say_caption(
        facts, "en", np.random.default_rng(seed_for(SEED, "full", place, "caption")), full=True
    )


def _sides(facts: Sequence[Facts]) -> tuple[list[int], list[str], list[str]]:
    """Positions of scenes of several things, a caption of each with a side in it, and the mirrored scene's."""
    places, right, wrong = [], [], []
    for place, one in enumerate(facts):
        for attempt in range(30 if len(one.things) > 1 else 0):
            seed = [SEED, place, attempt]
            text = say_caption(one, "en", np.random.default_rng(seed))
            if names_a_side(text):
                places.append(place)
                right.append(text)
                wrong.append(say_caption(mirrored(one), "en", np.random.default_rng(seed)))
                break
    return places, right, wrong

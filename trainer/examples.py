"""A row of a dataset as an editor learns from it: two pictures, words, and masks of what the words name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import Pixels, decode, rle_to_mask
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.mirror import mirrored
from spatial.scene import SpatialError
from trainer.words import MAX_STEPS, Words, read

COLUMNS = (
    "pair_id", "original_image", "edited_image", "edit_prompt", "edit_kind", "language", "operations",
    "objects_before.list.element.id", "objects_before.list.element.mask",
)  # fmt: skip
CELL = 8  # pixels of a latent's side
Masks = NDArray[np.float32]


class RowError(Exception):
    """A row that cannot be learned from; the message is one line that names the pair and says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """before, after: (s, s, 3) uint8. masks: (steps, 2, s / 8, s / 8), the shares of each cell that the step's subject
    and reference cover in `before`; zeros where that is not known."""

    pair_id: str
    kind: str
    before: Pixels
    after: Pixels
    words: Words
    masks: Masks


def example(row: Mapping[str, Any], side: int, rng: np.random.Generator, mirror: float = 0.0) -> Example:
    """row: with `COLUMNS`. side: pixels, a multiple of 8. mirror: the odds of seeing the pair in a mirror, with words
    said anew; only where they are understood.

    Pictures that are not square are squeezed: shares of the width and height, which instructions speak of, stay.
    Raises RowError.
    """
    before, after = (_picture(row, name, side) for name in ("original_image", "edited_image"))
    text, masks = str(row["edit_prompt"] or ""), _masks(row, side // CELL)
    turned = _turned(text, str(row["language"] or "en"), rng) if rng.random() < mirror else None
    if turned is not None:
        text, before, after, masks = turned, before[:, ::-1], after[:, ::-1], masks[..., ::-1]
    return Example(
        str(row["pair_id"]), str(row["edit_kind"] or ""), np.ascontiguousarray(before), np.ascontiguousarray(after),
        read(text), np.ascontiguousarray(masks),
    )  # fmt: skip


def _picture(row: Mapping[str, Any], name: str, side: int) -> Pixels:
    try:
        rgb = decode(row[name])
    except Exception as error:  # whatever a decoder says of bytes from outside
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RowError(f"pair {row['pair_id']}: {name} cannot be decoded: {said}") from None
    if rgb.shape[:2] == (side, side):
        return rgb
    smaller = side < min(rgb.shape[:2])
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=how), np.uint8)


def _masks(row: Mapping[str, Any], cells: int) -> Masks:
    found = np.zeros((MAX_STEPS, 2, cells, cells), np.float32)
    things = {
        thing["id"]: thing["mask"] for thing in row["objects_before"] or () if thing["mask"] is not None
    }
    for place, step in enumerate((row["operations"] or ())[:MAX_STEPS]):
        for role, name in enumerate((step["subject"], step["reference"])):
            if name in things:
                try:
                    mask = rle_to_mask(things[name]).astype(np.float32)
                except Exception as error:  # whatever its decoder says
                    raise RowError(f"pair {row['pair_id']}: the mask of {name} is broken: {error}") from None
                found[place, role] = cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA)
    return found


def _turned(text: str, language: str, rng: np.random.Generator) -> str | None:
    """What to say of the mirror image; None where that is not known."""
    try:
        return say(mirrored(parse(text, language)), language, rng, lexicon=Lexicon.default())
    except SpatialError:
        return None

"""Words for the things in a photo: a category, a colour that is measured, a size, a place; of one thing alone.

What `spatial.refer` does on scenes, from masks: there is no depth here, so "larger" is what covers more of the picture
and nothing is nearer or farther.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import Mask, Pixels
from spatial.instruction import Expression
from spatial.scene import SpatialError

SIZE_RATIO = 1.6  # of areas, for "larger" and "smaller"
PLACE_MARGIN = 0.1  # of the width, for "leftmost" and "rightmost"
CLEAR_SHARE = 0.6  # of a thing's pixels that have its colour
# Hues in degrees, each up to the next: Berlin and Kay's basic terms, as far as the vocabulary has them.
_HUES = (
    (12, "red"), (42, "orange"), (68, "yellow"), (168, "green"), (256, "blue"), (292, "purple"), (345, "pink"),
    (360, "red"),
)  # fmt: skip
_BROWN = {"orange", "red", "yellow"}


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A thing in a photo as words need it. noun: a key of the lexicon. color: measured, None where none is clear.
    mask: (h, w) bool."""

    id: str
    noun: str
    color: str | None
    mask: Mask

    @property
    def area(self) -> int:
        return int(self.mask.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) pixels: the centroid of the mask."""
        rows, columns = np.nonzero(self.mask)
        return float(columns.mean() + 0.5), float(rows.mean() + 0.5)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """xyxy, half-open, pixels."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def colour_of(rgb: Pixels, mask: Mask) -> str | None:
    """The vocabulary's colour of most of the pixels under the mask; None where no colour has `CLEAR_SHARE` of them."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    pixels = rgb[inner if inner.sum() >= 50 else mask]
    if not len(pixels):
        return None
    names, counts = np.unique(_named(pixels), return_counts=True)
    best = int(np.argmax(counts))
    return str(names[best]) if counts[best] >= CLEAR_SHARE * len(pixels) else None


def _named(pixels: NDArray[np.uint8]) -> NDArray[np.str_]:
    hsv = cv2.cvtColor(pixels.reshape(-1, 1, 3), cv2.COLOR_RGB2HSV_FULL).reshape(-1, 3).astype(np.float32)
    hue, saturation, value = hsv[:, 0] * (360 / 256), hsv[:, 1] / 255, hsv[:, 2] / 255
    limits = np.array([limit for limit, _ in _HUES])
    names = np.array([name for _, name in _HUES])[
        np.searchsorted(limits, hue, side="right").clip(0, len(_HUES) - 1)
    ]
    warm = np.isin(names, list(_BROWN))
    names = np.where(warm & (value < 0.6) & (saturation > 0.25) & (names != "red"), "brown", names)
    names = np.where((names == "red") & (value < 0.45), "brown", names)
    names = np.where((names == "red") & (saturation < 0.5) & (value > 0.75), "pink", names)
    grey = saturation < 0.18
    names = np.where(grey, np.where(value > 0.75, "white", "gray"), names)
    return np.where(value < 0.2, "black", names)


def describe(thing: Thing, things: Sequence[Thing], rng: np.random.Generator) -> Expression:
    """The fewest words that mean this thing and no other of its kind; of equally short ones, one drawn by `rng`.

    things: all of the photo, those too that are never moved. Raises SpatialError("indescribable").
    """
    alike = [other for other in things if other.noun == thing.noun]
    for group in _ways(thing, alike):
        options = list(group)
        if options:
            return options[int(rng.integers(len(options)))]
    raise SpatialError("indescribable", f"no short expression means {thing.id} alone")


def _ways(thing: Thing, alike: Sequence[Thing]) -> Iterator[list[Expression]]:
    others = [other for other in alike if other.id != thing.id]
    yield [] if others else [Expression(thing.noun)]
    # A thing whose colour is not clear may look like any.
    unlike = all(other.color not in (None, thing.color) for other in others)
    yield [Expression(thing.noun, color=thing.color)] if thing.color and unlike else []
    two = len(alike) == 2
    size = _extreme(thing, others, lambda t: t.area, SIZE_RATIO)
    place = _outermost(thing, alike)
    yield [
        *([Expression(thing.noun, comparison={1: "larger", -1: "smaller"}[size])] if two and size else []),
        *(
            [Expression(thing.noun, comparison={1: "largest", -1: "smallest"}[size])]
            if not two and size
            else []
        ),
        *([Expression(thing.noun, place=place)] if place else []),
    ]


def _extreme(thing: Thing, others: Sequence[Thing], of: Callable[[Thing], int], ratio: float) -> int:
    """1 where it is larger than all others by this ratio, -1 where smaller, else 0."""
    own = of(thing)
    if others and all(own >= ratio * of(other) for other in others):
        return 1
    return -1 if others and all(of(other) >= ratio * own for other in others) else 0


def _outermost(thing: Thing, alike: Sequence[Thing]) -> str | None:
    """ "leftmost", "rightmost", or None."""
    width = thing.mask.shape[1]
    ordered = sorted(alike, key=lambda other: other.centre[0])
    gaps = [b.centre[0] - a.centre[0] for a, b in pairwise(ordered)]
    if gaps and ordered[0].id == thing.id and gaps[0] >= PLACE_MARGIN * width:
        return "leftmost"
    return "rightmost" if gaps and ordered[-1].id == thing.id and gaps[-1] >= PLACE_MARGIN * width else None

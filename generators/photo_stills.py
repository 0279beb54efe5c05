"""A photo made ready for edits: resized once, its things named, and which of them may be touched, by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from generators.cutout import Cutout, cut, dilated, hole_of
from generators.inpainting import Inpainter
from generators.photo_nouns import PhotoNoun
from generators.photo_sources import Photo, PhotoObject
from generators.photo_words import Thing, colour_of
from shards.images import Mask, Pixels

LEAST_AREA = 0.004  # of the picture: smaller things are a few pixels
MOST_HOLE = 0.16  # of the picture: larger holes are not filled well
TOUCHING = 0.02  # of a thing's rim that another thing may cover


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A photo at its working size.

    rgb: (h, w, 3) uint8, the longer side as asked. native: the photo as it came, for crops. things: all that have a
    mask and a noun. excluded: why a thing is not to be touched, by id. unknown: objects without mask or noun, by
    reason: their number.
    """

    rgb: Pixels
    native: Pixels
    things: tuple[Thing, ...]
    excluded: Mapping[str, str]
    unknown: Mapping[str, int]
    inpainter: Inpainter
    seed: int
    _without: dict[frozenset[str], Pixels] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def free(self) -> list[Thing]:
        """The things that may be touched."""
        return [thing for thing in self.things if thing.id not in self.excluded]

    def without(self, *things: Thing) -> Pixels:
        """The photo with these things gone; kept, since several edits of one photo ask for it."""
        key = frozenset(thing.id for thing in things)
        if key not in self._without:
            self._without[key] = self.inpainter(self.rgb, self.hole(*things), self.seed)
        return self._without[key]

    def hole(self, *things: Thing) -> Mask:
        """(h, w) bool: what `without` fills. Nothing of another thing is part of it."""
        gone = {thing.id for thing in things}
        hole = np.zeros(self.shape, np.bool_)
        for thing in things:
            hole |= hole_of(self.rgb, thing.mask)
        for other in self.things:
            if other.id not in gone:
                hole &= ~other.mask
        return hole

    def cutout(self, thing: Thing) -> Cutout:
        return cut(self.rgb, self.without(thing), thing.mask)

    def others(self, *things: Thing) -> Mask:
        """(h, w) bool: all things but these, with a rim."""
        gone = {thing.id for thing in things}
        masks = [thing.mask for thing in self.things if thing.id not in gone]
        return dilated(np.any(masks, axis=0), 3) if masks else np.zeros(self.shape, np.bool_)


def prepare(
    photo: Photo,
    objects: Sequence[PhotoObject],
    noun_of: Callable[[str], PhotoNoun | None],
    side: int,
    inpainter: Inpainter,
    seed: int,
) -> Still:
    """noun_of: what a category is called, None for one without a word. side: pixels of the longer side; photos that are
    smaller stay as they are."""
    height, width = photo.rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgb = photo.rgb if scale == 1 else cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA)
    things: list[Thing] = []
    excluded: dict[str, str] = {}
    unknown: dict[str, int] = {}
    flags: dict[str, tuple[PhotoObject, PhotoNoun]] = {}
    for found in objects:
        noun = noun_of(found.name)
        mask = None if found.mask is None else _resized(found.mask, size)
        if noun is not None and mask is not None and mask.any():
            things.append(Thing(found.id, noun.key, found.color or colour_of(rgb, mask), mask))
            flags[found.id] = found, noun
        else:
            reason = "no_mask" if noun is not None else "unknown_noun"
            unknown[reason] = unknown.get(reason, 0) + 1
    for thing in things:
        if (why := _excluded(rgb, thing, *flags[thing.id], things)) is not None:
            excluded[thing.id] = why
    return Still(rgb, photo.rgb, tuple(things), excluded, unknown, inpainter, seed)


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """size: (width, height)."""
    if mask.shape[::-1] == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0)


def _excluded(
    rgb: Pixels, thing: Thing, flags: PhotoObject, noun: PhotoNoun, things: Sequence[Thing]
) -> str | None:
    height, width = thing.mask.shape
    if noun.excluded is not None:
        return noun.excluded
    if flags.crowd or flags.group:
        return "crowd"
    if flags.depiction or flags.inside:
        return "depiction"
    x0, y0, x1, y1 = thing.box
    if flags.truncated or x0 <= 1 or y0 <= 1 or x1 >= width - 1 or y1 >= height - 1:
        return "truncated"
    if thing.area < LEAST_AREA * height * width:
        return "tiny"
    if hole_of(rgb, thing.mask).mean() > MOST_HOLE:
        return "too_large"
    if flags.occluded:
        return "occluded"
    rim = dilated(thing.mask, 4) & ~thing.mask
    for other in things:
        if other.id != thing.id and (rim & other.mask).sum() > TOUCHING * rim.sum():
            return "occluded"  # or occluding: which of the two, a mask does not say
    parts, _, stats, _ = cv2.connectedComponentsWithStats(thing.mask.astype(np.uint8))
    if parts > 2 and int(np.sort(stats[1:, cv2.CC_STAT_AREA])[:-1].sum()) > 0.05 * thing.area:
        return "in_parts"
    return None

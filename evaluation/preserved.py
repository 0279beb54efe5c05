"""What an edit left alone: how far the picture is from the source where nothing was to change.

Nothing is to change outside of the things that the edit is about, before and after, and a margin around them, in which
their shadows and reflections lie. Many an instruction leaves open where a thing goes: where the reader found the things
that the edit is about is theirs, too, and the true picture's is but one answer. Edits of the whole picture, by the
camera, the light, the backdrop, keep nothing, and have no such figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from evaluation.left_open import any_colour, any_of
from evaluation.spatial import Thing, match, things_of
from shards.images import Pixels, rle_to_mask
from spatial.instruction import CAMERA_KINDS

HALO = 0.08  # of the width
WHOLE = CAMERA_KINDS | {"lighting", "background", "style"}
"""Kinds that change the whole picture; "mirror" does where it has no subject."""
_LEAST = 0.05  # of the picture: less of it says nothing
_MOST_PSNR = 99.0  # of pictures that do not differ
Unlike = Callable[[Pixels, Pixels, NDArray[np.bool_]], float]
"""How unlike two pictures are where the third says, as `evaluation.lpips.Lpips`."""


@dataclass(frozen=True, slots=True)
class Preserved:
    """psnr: decibels, at most 99. ssim: up to 1, Wang et al. 2004, "Image quality assessment: from error visibility to
    structural similarity", of the grey pictures. lpips: `evaluation.lpips`, 0 for pictures that do not differ; None
    where nobody was there to say. share: of the picture, that was looked at."""

    psnr: float
    ssim: float
    lpips: float | None
    share: float


def preserved(
    row: Mapping[str, Any],
    before: Pixels,
    edited: Pixels,
    found: Sequence[Thing] = (),
    lpips: Unlike | None = None,
) -> Preserved | None:
    """row: of a pair, with operations and objects with masks. found: in the edited picture. None where nothing is to be
    kept, or it is not known what."""
    keep = kept(row, found)
    if keep is None:
        return None
    squares = (before.astype(np.float64) - edited.astype(np.float64)) ** 2
    mean = float(squares[keep].mean())
    psnr = _MOST_PSNR if mean == 0 else min(_MOST_PSNR, 10 * float(np.log10(255**2 / mean)))
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, edited)]
    _, similar = structural_similarity(  # type: ignore[no-untyped-call]
        *grey, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    unlike = None if lpips is None else lpips(before, edited, keep)
    return Preserved(psnr, float(similar[keep].mean()), unlike, float(keep.mean()))


def kept(row: Mapping[str, Any], found: Sequence[Thing] = ()) -> NDArray[np.bool_] | None:
    """(h, w) bool: where nothing is to change. found: in the edited picture; more of a look than there should be are
    nobody's, and damage."""
    steps = list(row["operations"] or ())
    if not steps or any(step["kind"] in WHOLE for step in steps):
        return None
    named = {str(name) for step in steps for name in _named(step) if name}
    if not named:  # the whole picture in a mirror
        return None
    named |= _alike(row, steps) | any_of(row)
    shape = (int(row["height"]), int(row["width"]))
    changed = np.zeros(shape, np.uint8)
    for when in ("objects_before", "objects_after"):
        for thing in row[when] or ():
            if thing["id"] in named:
                if thing["mask"] is None:
                    return None
                changed |= rle_to_mask(thing["mask"]).astype(np.uint8)
    for name, thing in match(things_of(row["objects_after"]), found, any_colour(row)).items():
        if name in named:
            x0, y0, x1, y1 = np.clip(thing.box, 0, [*shape[::-1], *shape[::-1]])
            changed[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 1
    reach = max(1, round(HALO * shape[1]))
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    keep = cv2.dilate(changed, around) == 0
    return keep if keep.mean() >= _LEAST else None


def subject_of(row: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """(h, w) bool: the things that the edit is about, as they are before it. None where it is about none that are
    there, or their masks are not known."""
    named = {str(name) for step in row["operations"] or () for name in _named(step) if name}
    masks = [thing["mask"] for thing in row["objects_before"] or () if thing["id"] in named]
    if not masks or any(mask is None for mask in masks):
        return None
    return np.asarray(np.logical_or.reduce([rle_to_mask(mask).astype(bool) for mask in masks]))


def _alike(row: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of things that look like one that goes for there to be fewer: "make it two" leaves open which."""
    counted = {str(name) for step in steps if step["kind"] == "count" for name in step["objects"] or ()}
    before = things_of(row["objects_before"])
    looks = {(thing.kind, thing.color) for thing in before if thing.id in counted}
    return {thing.id for thing in before if (thing.kind, thing.color) in looks}


def _named(step: Mapping[str, Any]) -> tuple[Any, ...]:
    also = (step["reference"],) if step["kind"] == "swap" else ()
    return step["subject"], *also, *(step["objects"] or ())

"""Masks and boxes of annotations, held against the picture that they are of.

Annotations are made on a picture as it is stored or as it is looked at: tools differ in whether they apply EXIF's
orientation (torchvision's COCO reader does not, detectron2's does). So the size that the annotation names decides:
where it is that of the stored picture only, masks are turned with the picture; where both fit (upside down, mirrored,
or square), the source's own rule, and without one the photo is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from generators.photo_decode import decode_mask, oriented, oriented_box
from generators.photo_sources import Box, Mask, Photo, PhotoError

_MARGIN = 0.02  # of a side: annotators' strokes go a little beyond the frame
_MIN_MARGIN = 3.0  # pixels
_ASPECT = 0.02  # masks of another size have the picture's aspect, but for rounding


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels that an annotation counts. size: width and height. photo: what it is brought to."""

    size: tuple[int, int]
    photo: Photo
    turned: bool

    def mask(self, mask: Mask) -> Mask:
        """(h, w) on these pixels, to the picture's."""
        return np.ascontiguousarray(oriented(mask, self.photo.orientation)) if self.turned else mask

    def box(self, box: Box, what: str) -> Box | None:
        """xyxy, clipped to the picture; None where nothing of it is inside. Raises PhotoError("box_outside")."""
        _check_inside(np.asarray(box).reshape(2, 2), self.size, "box_outside", what)
        if self.turned:
            box = oriented_box(box, self.photo.orientation, self.size)
        height, width = self.photo.rgb.shape[:2]
        left, right = (float(min(max(x, 0.0), width)) for x in (box[0], box[2]))
        top, bottom = (float(min(max(y, 0.0), height)) for y in (box[1], box[3]))
        return (left, top, right, bottom) if left < right and top < bottom else None


def frame_of(
    photo: Photo, width: int | None, height: int | None, unsaid: Literal["stored", "shown"] | None
) -> Frame:
    """The frame of an annotation that names this size, or none. unsaid: which is meant where the size tells nothing.

    Raises PhotoError: `size_differs`, `orientation_unclear`.
    """
    shown = (photo.rgb.shape[1], photo.rgb.shape[0])
    sizes = {"stored": photo.stored, "shown": shown}
    if width is not None and height is not None:
        sizes = {name: size for name, size in sizes.items() if size == (width, height)}
    if not sizes:
        raise PhotoError(
            "size_differs",
            f"is annotated as {width} x {height} pixels, but has {shown[0]} x {shown[1]}: give the pictures that were "
            "annotated",
        )
    if photo.orientation == 1:
        return Frame(shown, photo, turned=False)
    found = unsaid if len(sizes) == 2 else next(iter(sizes))
    if found is None:
        raise PhotoError(
            "orientation_unclear",
            f"has EXIF orientation {photo.orientation}, and its annotation fits it turned and unturned",
        )
    return Frame(sizes[found], photo, turned=found == "stored")


def polygons_mask(parts: Sequence[NDArray[np.float64]], size: tuple[int, int], what: str) -> Mask:
    """(h, w) bool of the union of polygons, each (2 n,) x, y, x, y, ...; with COCO's own rasteriser.

    Parts of fewer than three points are lines, and left out. Raises PhotoError: `mask_broken`, `mask_too_large`.
    """
    kept = []
    for part in parts:
        if len(part) % 2 or not np.isfinite(part).all():
            raise PhotoError("mask_broken", f"{what}: a polygon is x, y, x, y, ... of numbers")
        _check_inside(part.reshape(-1, 2), size, "mask_too_large", what)
        if len(part) >= 6:
            kept.append(part.tolist())
    width, height = size
    if not kept:
        raise PhotoError("mask_broken", f"{what}: no part of its polygon has three points")
    merged = coco.merge(coco.frPyObjects(kept, height, width))
    return np.ascontiguousarray(coco.decode(merged)).astype(np.bool_)


def rle_mask(
    counts: Sequence[int] | NDArray[np.int64] | str,
    rle_size: tuple[int, int],
    size: tuple[int, int],
    what: str,
) -> Mask:
    """(h, w) bool of COCO's run lengths, as numbers or compressed. rle_size: (height, width), as COCO has it.

    Checked here, since COCO's own decoder leaves what the runs do not cover as memory happens to be.
    Raises PhotoError: `mask_wrong_size`, `mask_too_large`, `mask_broken`.
    """
    width, height = size
    if rle_size != (height, width):
        raise PhotoError(
            "mask_wrong_size",
            f"{what}: its mask has {rle_size[1]} x {rle_size[0]} pixels, the picture {width} x {height}",
        )
    try:
        runs = np.asarray(_decompressed(counts, what) if isinstance(counts, str) else counts, dtype=np.int64)
    except (OverflowError, ValueError, TypeError):
        runs = np.asarray([-1])
    if runs.ndim != 1 or (runs < 0).any():
        raise PhotoError("mask_broken", f"{what}: its run lengths are none")
    total = sum(runs.tolist())
    if total != width * height:
        reason = "mask_too_large" if total > width * height else "mask_broken"
        raise PhotoError(reason, f"{what}: its runs cover {total} pixels of {width * height}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def file_mask(data: bytes, size: tuple[int, int], what: str, *, scaled: bool) -> Mask:
    """(h, w) bool of a mask's file. scaled: of the picture's aspect but perhaps another size, to the nearest pixel.

    Raises PhotoError: `mask_broken`, `mask_too_large`, `mask_wrong_size`.
    """
    import cv2

    mask = decode_mask(data)
    (width, height), (rows, columns) = size, mask.shape
    if (rows, columns) == (height, width):
        return mask
    off = abs(columns * height - rows * width) / (rows * width)
    # Small masks have a coarse aspect: a side may have been rounded.
    if not scaled or off > max(_ASPECT, 2 / min(rows, columns)):
        reason = "mask_too_large" if columns > width and rows > height and not scaled else "mask_wrong_size"
        raise PhotoError(
            reason, f"{what}: its mask has {columns} x {rows} pixels, the picture {width} x {height}"
        )
    resized: Mask = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return resized


def _check_inside(points: NDArray[np.float64], size: tuple[int, int], reason: str, what: str) -> None:
    width, height = size
    margin = np.maximum(np.asarray([width, height]) * _MARGIN, _MIN_MARGIN)
    highest = margin + np.asarray([width, height])
    if not np.isfinite(points).all() or (points < -margin).any() or (points > highest).any():
        raise PhotoError(reason, f"{what}: goes beyond the picture of {width} x {height} pixels")


def _decompressed(text: str, what: str) -> list[int]:
    """COCO's compressed counts: base 32 with a carry bit, from the fourth on less the last but one."""
    runs: list[int] = []
    value = shift = 0
    for sign in text:
        digit = ord(sign) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise PhotoError("mask_broken", f"{what}: its compressed run lengths are none")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise PhotoError("mask_broken", f"{what}: its compressed run lengths are cut off")
    return runs

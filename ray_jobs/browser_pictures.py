"""Pictures and captions as the browser shows them: thumbnails, and a pair with what is drawn over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ray_jobs.browse import Pictures, Row
from ray_jobs.gallery import enlarged, overlaid, side_by_side
from shards.images import Pixels, decode

_THUMBNAIL = 280  # pixels, each of the two
_OVERLAY = 768  # pixels that a picture has at least before lines are drawn on it
MASKS, BOXES = "masks", "boxes"


@dataclass(frozen=True, slots=True)
class Opened:
    """The pair in detail. place: among those that fit, from 0."""

    place: int
    row: Row
    details: dict[str, Any] = field(default_factory=dict)
    before: Pixels | None = None
    after: Pixels | None = None


def drawn(opened: Opened, overlay: Sequence[str]) -> tuple[Pixels, Pixels] | None:
    """What the slider shows."""
    if opened.before is None or opened.after is None:
        return None
    masks, boxes = MASKS in overlay, BOXES in overlay
    if not (masks or boxes) or not opened.details:
        return opened.before, opened.after
    before, after = (
        overlaid(_large(rgb), opened.details, is_after, masks, boxes)
        for rgb, is_after in ((opened.before, False), (opened.after, True))
    )
    return before, after


def _large(rgb: Pixels) -> Pixels:
    return rgb if max(rgb.shape[:2]) >= _OVERLAY else enlarged(rgb, _OVERLAY)


def decoded(data: bytes | None) -> Pixels | None:
    """None for no picture, and for one that cannot be read."""
    if data is None:
        return None
    try:
        return decode(data)
    except (ValueError, Image.DecompressionBombError):
        return None


def thumbnail(pictures: Pictures) -> Pixels:
    """Before and after beside each other; grey where there is no picture."""
    found = [decoded(data) for data in (pictures.before, pictures.after)]
    shapes = [rgb.shape for rgb in found if rgb is not None]
    height, width = shapes[0][:2] if shapes else (_THUMBNAIL, _THUMBNAIL)
    scale = _THUMBNAIL / width
    size = (_THUMBNAIL, max(1, round(height * scale)))
    sides = [
        np.full((size[1], size[0], 3), 128, np.uint8)
        if rgb is None
        else np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
        for rgb in found
    ]
    return side_by_side(sides[0], sides[1], gap=2)


def caption(row: Row) -> str:
    """The instruction; of a pair that was not accepted, after its verdict and reason."""
    said = str(row["edit_prompt"] or "(no instruction)")
    verdict, reason = row.get("verdict"), (row.get("reason") or "").replace("_", " ")
    if verdict in (None, "accepted"):
        return said
    return f"{verdict}{': ' if reason else ''}{reason} — {said}"

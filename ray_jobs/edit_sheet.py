"""Edits in one picture: what was there, what the editor made of it, what was asked for, and what is wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ray_jobs.gallery import enlarged, wrapped
from ray_jobs.samples import plain_font
from shards.images import Pixels

_GOOD, _BAD, _INK, _SOFT = "#1a7f37", "#b3261e", "#1f2328", "#59636e"
_GAP, _LINE = 10, 18


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """before, made, truth: (h, w, 3) uint8. reason: what is wrong, None for nothing."""

    before: Pixels
    made: Pixels
    truth: Pixels
    text: str
    kind: str
    reason: str | None


def edit_sheet(tried: Sequence[Tried], columns: int = 3, side: int = 112) -> bytes:
    """A PNG. side: pixels of a picture. Raises ValueError for no edits."""
    if not tried:
        raise ValueError("a sheet needs at least one edit")
    font, small = plain_font(12), plain_font(10)
    width, height = 3 * side + 2, side + 3 * _LINE + 8
    rows = -(-len(tried) // columns)
    sheet = Image.new(
        "RGB", (_GAP + columns * (width + 2 * _GAP), _LINE + 2 * _GAP + rows * (height + _GAP)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), "before | made | as it should be", _SOFT, font=small)
    for number, one in enumerate(tried):
        x = _GAP + number % columns * (width + 2 * _GAP)
        y = _LINE + 2 * _GAP + number // columns * (height + _GAP)
        for place, picture in enumerate((one.before, one.made, one.truth)):
            sheet.paste(Image.fromarray(enlarged(picture, side)), (x + place * (side + 1), y))
        for line, text in enumerate(wrapped(one.text, font, width, 2)):
            draw.text((x, y + side + 4 + line * _LINE), text, _INK, font=font)
        said = "right" if one.reason is None else "wrong: " + one.reason.replace("_", " ")
        color = _GOOD if one.reason is None else _BAD
        draw.text((x, y + side + 4 + 2 * _LINE), f"{one.kind} · {said}", color, font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

"""Pictures for people: what an edit touched outlined, before and after side by side, sheets of pairs.

Pure functions from pixels, masks and rows of the pairs table to pixels and SVG paths. Nothing here changes
what the dataset holds.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shards.images import Mask, Pixels, rle_to_mask
from spatial.instruction import CAMERA_KINDS

Role = Literal["subject", "reference"]
Colour = tuple[int, int, int]
COLOURS: dict[Role, Colour] = {"subject": (255, 184, 28), "reference": (77, 208, 255)}
OTHERS: Colour = (214, 219, 229)
CASING: Colour = (12, 14, 20)  # around every line, so that it is seen on any ground
_STILL = 0.97  # masks that overlap more than this are in the same place
_TINT = 0.28
_SUBPIXEL = 4  # bits behind the point in OpenCV's drawing


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A thing to be outlined. mask: (h, w) bool. was: this is where it stood before the edit."""

    mask: Mask
    role: Role
    was: bool = False


def marks(row: Mapping[str, Any]) -> tuple[list[Mark], list[Mark]]:
    """What to outline in a row's picture before, and in that after: all that its operations name.

    A thing that moved or went is marked once more in the picture after, at its old place, unless the camera
    moved: then all places are new. Edits of light, background and camera name nothing.
    """
    roles = _roles(row)
    fixed = not CAMERA_KINDS & {step["kind"] for step in row["operations"] or ()}
    was, now = _masks(row["objects_before"]), _masks(row["objects_after"])
    before = [Mark(was[name], role) for name, role in roles.items() if name in was]
    after = [
        Mark(was[name], role, was=True)
        for name, role in roles.items()
        if fixed and name in was and not (name in now and _still(was[name], now[name]))
    ]
    return before, after + [Mark(now[name], role) for name, role in roles.items() if name in now]


def contours(mask: Mask) -> list[NDArray[np.float64]]:
    """Closed outlines around a mask's parts, each (n, 2) xy in pixels from the image's corner.

    They run one pixel outside of it, and leave out holes and specks of less than 4 pixels.
    """
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    found, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    smooth = [cv2.approxPolyDP(part, 0.6, closed=True) for part in found if cv2.contourArea(part) >= 4]
    return [part.reshape(-1, 2).astype(np.float64) + 0.5 for part in smooth]


def svg_path(mask: Mask) -> str:
    """The contours as the `d` of an SVG path, in pixels; "" for an empty mask."""
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in part.tolist()) + "Z" for part in contours(mask))


def outline(rgb: Pixels, mask: Mask, colour: Colour = COLOURS["subject"], dashed: bool = False) -> Pixels:
    """A copy of (h, w, 3) uint8 with a bright line in a dark casing around the mask.

    mask: of the picture's size, or of that before it was enlarged.
    """
    drawn = np.ascontiguousarray(rgb).copy()
    height, width = rgb.shape[:2]
    scale = np.array([width / mask.shape[1], height / mask.shape[0]])
    thickness = max(1, round(width / 160))
    lines = [
        line
        for part in contours(mask)
        for line in _dashes(part * scale, max(6.0, width / 40) if dashed else None)
    ]
    points = [np.rint((line - 0.5) * 2**_SUBPIXEL).astype(np.int32) for line in lines]
    for shade, thick in ((CASING, thickness + 2), (colour, thickness)):
        cv2.polylines(drawn, points, False, shade, thick, cv2.LINE_AA, _SUBPIXEL)
    return drawn


def outlined(rgb: Pixels, found: Sequence[Mark]) -> Pixels:
    """The picture with all its marks; old places dashed."""
    for mark in found:
        rgb = outline(rgb, mark.mask, COLOURS[mark.role], dashed=mark.was)
    return rgb


def overlaid(rgb: Pixels, row: Mapping[str, Any], after: bool, masks: bool, boxes: bool) -> Pixels:
    """The picture before or after the edit, with what the row says of its objects drawn over it.

    masks: every object tinted and outlined, as `marks` has it what the operations name, other things in grey. boxes:
    around their visible parts, with their ids.
    """
    roles, things = _roles(row), row["objects_after" if after else "objects_before"] or ()
    if masks:
        named = [Mark(_fitted(mark.mask, rgb), mark.role, mark.was) for mark in marks(row)[1 if after else 0]]
        others = [_fitted(mask, rgb) for name, mask in _masks(things).items() if name not in roles]
        for mask in others:
            rgb = outline(_tinted(rgb, mask, OTHERS), mask, OTHERS)
        for mark in named:
            rgb = rgb if mark.was else _tinted(rgb, mark.mask, COLOURS[mark.role])
        rgb = outlined(rgb, named)
    for thing in things if boxes else ():
        if thing["box"] and row["width"] and row["height"]:
            colour = COLOURS[roles[thing["id"]]] if thing["id"] in roles else OTHERS
            rgb = _boxed(rgb, thing["box"], (row["width"], row["height"]), colour, thing["id"])
    return rgb


def side_by_side(before: Pixels, after: Pixels, gap: int = 4, ground: Colour = (255, 255, 255)) -> Pixels:
    """(h, w1 + gap + w2, 3): two pictures of one height. Raises ValueError for others."""
    if before.shape[0] != after.shape[0]:
        raise ValueError(f"pictures of {before.shape[0]} and {after.shape[0]} pixels height")
    between = np.full((before.shape[0], gap, 3), ground, np.uint8)
    return np.concatenate([before, between, after], axis=1)


def enlarged(rgb: Pixels, side: int) -> Pixels:
    """The picture with its longer side at `side` pixels."""
    picture = Image.fromarray(rgb)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def thumbnail(rgb: Pixels, side: int = 384) -> str:
    """A data URI (WebP, lossy) of the picture, at most `side` pixels wide and high."""
    buffer = io.BytesIO()
    small = enlarged(rgb, side) if max(rgb.shape[:2]) > side else rgb
    Image.fromarray(small).save(buffer, "WEBP", quality=86, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A pair on a sheet. before, after: (h, w, 3) uint8 of one size. tag: a word beside the sentence."""

    before: Pixels
    after: Pixels
    sentence: str
    tag: str


def contact_sheet(
    cells: Sequence[Cell], font: ImageFont.FreeTypeFont, columns: int = 2, margin: int = 32
) -> Image.Image:
    """Pairs in a grid, each with its sentence below, in up to two lines. All cells are of the first one's size.

    Raises ValueError for no cells.
    """
    if not cells:
        raise ValueError("a sheet needs at least one pair")
    height, width = cells[0].before.shape[:2]
    gap, line = max(2, width // 80), round(font.size * 1.3)
    wide, tall = 2 * width + gap, height + 5 * line // 2
    rows = -(-len(cells) // columns)
    size = (columns * (wide + margin) + margin, rows * tall + (rows + 1) * margin - line // 2)
    sheet = Image.new("RGB", size, "#ffffff")
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        x = margin + (index % columns) * (wide + margin)
        y = margin + (index // columns) * (tall + margin)
        sheet.paste(Image.fromarray(side_by_side(cell.before, cell.after, gap)), (x, y))
        below = y + height + line // 2
        tag = draw.textlength(cell.tag, font)
        draw.text((x + wide - tag, below), cell.tag, "#6b7789", font)
        for number, words in enumerate(wrapped(cell.sentence, font, wide - tag - line, lines=2)):
            draw.text((x, below + number * line), words, "#1b2230", font)
    return sheet


def _roles(row: Mapping[str, Any]) -> dict[str, Role]:
    """By the ids of things that the operations name."""
    roles: dict[str, Role] = {}
    for step in row["operations"] or ():
        for name in (step["reference"], step["reference2"]):
            if name:
                roles.setdefault(name, "reference")
        for name in (step["subject"], *(step["objects"] or ())):
            if name:
                roles[name] = "subject"
    return roles


def _fitted(mask: Mask, rgb: Pixels) -> Mask:
    """The mask in the picture's size, its edge smooth where that is larger."""
    size = (rgb.shape[1], rgb.shape[0])
    resized = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized > 0.5)


def _tinted(rgb: Pixels, mask: Mask, colour: Colour) -> Pixels:
    """A copy with the colour laid thinly over the mask, which has the picture's size."""
    tinted = rgb.copy()
    tinted[mask] = np.rint(tinted[mask] * (1 - _TINT) + np.array(colour) * _TINT).astype(np.uint8)
    return tinted


def _boxed(rgb: Pixels, box: Sequence[float], size: tuple[int, int], colour: Colour, name: str) -> Pixels:
    """A copy with a box and a name at its upper edge. box: xyxy in pixels of a picture of `size` (width, height)."""
    x0, y0, x1, y1 = (
        round(value * to / of) for value, to, of in zip(box, rgb.shape[1::-1] * 2, size * 2, strict=True)
    )
    if x1 <= x0 or y1 <= y0:  # nothing of it is seen
        return rgb
    drawn = np.ascontiguousarray(rgb).copy()
    thickness, height = max(1, rgb.shape[1] // 300), max(0.35, rgb.shape[1] / 1500)
    for shade, thick in ((CASING, thickness + 2), (colour, thickness)):
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), shade, thick)
    (wide, tall), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, height, 1)
    left, base = min(x0, max(0, rgb.shape[1] - wide - 6)), max(y0, tall + 8)
    cv2.rectangle(drawn, (left, base - tall - 8), (left + wide + 6, base), colour, cv2.FILLED)
    cv2.putText(drawn, name, (left + 3, base - 4), cv2.FONT_HERSHEY_SIMPLEX, height, CASING, 1, cv2.LINE_AA)
    return drawn


def _masks(objects: Sequence[Mapping[str, Any]] | None) -> dict[str, Mask]:
    return {thing["id"]: rle_to_mask(thing["mask"]) for thing in objects or () if thing["mask"]}


def _still(a: Mask, b: Mask) -> bool:
    return a.shape == b.shape and bool((a & b).sum() >= _STILL * (a | b).sum())


def _dashes(closed: NDArray[np.float64], length: float | None) -> list[NDArray[np.float64]]:
    """The closed line as one, or in dashes of `length` pixels with gaps of two thirds of that."""
    ring = np.concatenate([closed, closed[:1]])
    if length is None:
        return [ring]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    starts = np.arange(0.0, along[-1], length * 5 / 3)
    steps = [np.linspace(start, min(start + length, along[-1]), 8) for start in starts]
    return [np.stack([np.interp(step, along, ring[:, axis]) for axis in (0, 1)], axis=1) for step in steps]


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """The text in at most so many lines of `width` pixels; an ellipsis where that is too little."""
    words, found = text.split(), list[str]()
    while words and len(found) < lines:
        fits = next((n for n in range(len(words), 1, -1) if font.getlength(" ".join(words[:n])) <= width), 1)
        if len(found) == lines - 1 and fits < len(words):  # the last line, and too much for it
            while fits > 1 and font.getlength(" ".join(words[:fits]) + " …") > width:
                fits -= 1
            return [*found, " ".join(words[:fits]) + " …"]
        found.append(" ".join(words[:fits]))
        words = words[fits:]
    return found


def sheet_font(size: int) -> ImageFont.FreeTypeFont:
    """Inter, which comes with Blender's module and has Vietnamese letters. size: pixels.

    Ends the program with a line where Blender's module is not installed.
    """
    spec = importlib.util.find_spec("bpy")  # looks for it, and does not load it
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    if not (found := sorted(folder.glob("*/datafiles/fonts/Inter.woff2"))):
        sys.exit("error: Blender's module, which brings the font, is not installed: run make setup")
    return ImageFont.truetype(str(found[0]), size)

"""Edits of a real photo with masks, each a function from a still and a draw to two pictures and what was done.

Where it can be, the *made-up* picture comes first and the photo as it was taken is the target: an editor that learns
from such pairs is shown real photos as answers. Pixels that neither a thing's old place nor its new one reaches are the
same in both, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from generators.cutout import Cutout, flipped, is_inside, mask_in, moved, pasted, scaled, seam, touched
from generators.photo_stills import Still
from generators.photo_words import Thing, describe
from shards.images import Mask, Pixels
from spatial.geometry import region_of
from spatial.instruction import Expression, Instruction
from spatial.mirror import mirrored as mirrored_words
from spatial.mirror import other_side
from spatial.scene import SpatialError

PERCENTS = (5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0)
LARGER, SMALLER = (1.25, 1.4, 1.5), (0.6, 0.7, 0.75, 0.8)
ZOOMS = (1.25, 1.5, 2.0)
GROUND = 0.07  # of the height: feet that differ by less stand on one line
ALIKE = 0.7  # ratio of heights down to which two things are of like size
CELL = 0.06  # of the side: how far inside its region a centre must be
TRIES = 12
Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """before, after: pixels of one shape. things_before, things_after: all things with their masks there. changed:
    (h, w) bool, where pixels may differ; None where all may (the view changed). real: which of the two is the photo as
    taken, "before", "after" or "both". seams: of what was pasted, beside what it was in the photo: ratios."""

    said: Instruction
    done: Mapping[str, Any]
    before: Pixels
    after: Pixels
    things_before: tuple[Thing, ...]
    things_after: tuple[Thing, ...]
    changed: Mask | None
    real: str
    seams: tuple[float, ...] = ()


def make(kind: str, still: Still, rng: Rng) -> Edit:
    """An edit of this kind, drawn by `rng`. Raises SpatialError where this photo has none."""
    return _KINDS[kind](still, rng)


def _pick(still: Still, rng: Rng, wanted: int = 1) -> list[Thing]:
    free = still.free
    if len(free) < wanted:
        raise SpatialError("nothing_free", f"the photo has {len(free)} things that may be touched")
    return [free[int(i)] for i in rng.permutation(len(free))[:wanted]]


def _remove(still: Still, rng: Rng) -> Edit:
    (thing,) = _pick(still, rng)
    words = describe(thing, still.things, rng)
    rest = tuple(other for other in still.things if other.id != thing.id)
    done = _done("remove", subject=thing.id, objects=[thing.id])
    said = Instruction("remove", subject=words)
    return Edit(said, done, still.rgb, still.without(thing), still.things, rest, still.hole(thing), "before")


def _add(still: Still, rng: Rng) -> Edit:
    """The photo is the target: what is added is real."""
    (thing,) = _pick(still, rng)
    rest = tuple(other for other in still.things if other.id != thing.id)
    new = Expression(thing.noun, color=thing.color)
    region = _region(thing, still.shape)
    said = Instruction("add", subject=new, amount=1.0, unit="count", region=region)
    done = _done("add", subject=thing.id, objects=[thing.id], region=region, amount=1.0, unit="count")
    return Edit(said, done, still.without(thing), still.rgb, rest, still.things, still.hole(thing), "after")


def _move(still: Still, rng: Rng) -> Edit:
    (thing,) = _pick(still, rng)
    width = still.shape[1]
    for _ in range(TRIES):
        percent = PERCENTS[int(rng.integers(len(PERCENTS)))]
        sign = 1 if rng.random() < 0.5 else -1
        shift = round(percent / 100 * width)
        elsewhere = moved(still.cutout(thing), 0, -sign * shift)
        if _free(still, elsewhere, thing):
            break
    else:
        raise SpatialError("no_room", f"{thing.id} can slide nowhere")
    direction = "right" if sign > 0 else "left"
    before, things = _made(still, [(thing, elsewhere)])
    words = _named(thing, things, rng)
    how = rng.random()
    extent: dict[str, Any] = {"amount": percent, "unit": "percent_width"}
    if how < 0.15 and percent <= 8:
        extent = {"vagueness": "slightly"}
    elif how < 0.25:
        extent = {}
    done = _done(
        "move", subject=thing.id, direction=direction, amount=100 * shift / width, unit="percent_width"
    )
    said = Instruction("move", subject=words, direction=direction, **extent)
    return _real_after(still, said, done, before, things, [(thing, elsewhere)])


def _place(still: Still, rng: Rng) -> Edit:
    (thing,) = _pick(still, rng)
    region = _region(thing, still.shape)
    if region is None:
        raise SpatialError("no_region", f"{thing.id} lies between two regions")
    width = still.shape[1]
    for _ in range(TRIES):
        shift = int(rng.integers(width // 4, width)) * (1 if rng.random() < 0.5 else -1)
        elsewhere = moved(still.cutout(thing), 0, shift)
        x, y = thing.centre
        if _free(still, elsewhere, thing) and region_of((x + shift, y), width, still.shape[0]) != region:
            break
    else:
        raise SpatialError("no_room", f"{thing.id} can slide to no other region")
    before, things = _made(still, [(thing, elsewhere)])
    said = Instruction("place", subject=_named(thing, things, rng), region=region)
    return _real_after(
        still, said, _done("place", subject=thing.id, region=region), before, things, [(thing, elsewhere)]
    )


def _swap(still: Still, rng: Rng) -> Edit:
    first, second = _pick(still, rng, 2)
    (_, a_top, _, a_foot), (_, b_top, _, b_foot) = first.box, second.box
    heights = sorted((a_foot - a_top, b_foot - b_top))
    if heights[0] < ALIKE * heights[1] or abs(a_foot - b_foot) > GROUND * still.shape[0]:
        raise SpatialError("unlike", f"{first.id} and {second.id} differ in size or ground line")
    shift, drop = round(second.centre[0] - first.centre[0]), b_foot - a_foot
    a = moved(still.cutout(first), drop, shift)
    b = moved(still.cutout(second), -drop, -shift)
    if not (_free(still, a, first, second) and _free(still, b, first, second)):
        raise SpatialError("no_room", f"{first.id} and {second.id} do not fit where the other stood")
    if (mask_in(still.shape, a) & mask_in(still.shape, b)).any():
        raise SpatialError("no_room", f"{first.id} and {second.id} would overlap")
    before, things = _made(still, [(first, a), (second, b)])
    said = Instruction("swap", subject=_named(first, things, rng), reference=_named(second, things, rng))
    done = _done("swap", subject=first.id, reference=second.id)
    return _real_after(still, said, done, before, things, [(first, a), (second, b)])


def _duplicate(still: Still, rng: Rng) -> Edit:
    """The photo is the input: nobody has a photo with the copies."""
    (thing,) = _pick(still, rng)
    words = describe(thing, still.things, rng)
    number = 1 + int(rng.random() < 0.3)
    copies: list[Cutout] = []
    cutout, width = still.cutout(thing), still.shape[1]
    taken = still.others() | thing.mask
    for _ in range(TRIES * number):
        copy = moved(cutout, 0, int(rng.integers(-width, width)))
        mask = mask_in(still.shape, copy)
        if is_inside(still.shape, copy) and not (mask & taken).any():
            copies.append(copy)
            taken |= mask
        if len(copies) == number:
            break
    else:
        raise SpatialError("no_room", f"there is no room for {number} more of {thing.id}")
    after = still.rgb
    new = []
    for count, copy in enumerate(copies, start=1):
        after = pasted(after, copy)
        new.append(replace(thing, id=f"{thing.id}-copy-{count}", mask=mask_in(still.shape, copy)))
    changed = np.any([touched(still.shape, copy) for copy in copies], axis=0)
    said = Instruction("duplicate", subject=words, amount=float(number), unit="count")
    done = _done(
        "duplicate", subject=thing.id, objects=[t.id for t in new], amount=float(number), unit="count"
    )
    seams = tuple(_seams(still, thing, after, t.mask) for t in new)
    return Edit(said, done, still.rgb, after, still.things, (*still.things, *new), changed, "before", seams)


def _resize(still: Still, rng: Rng) -> Edit:
    (thing,) = _pick(still, rng)
    value = "larger" if rng.random() < 0.5 else "smaller"
    factors = LARGER if value == "larger" else SMALLER
    factor = factors[int(rng.integers(len(factors)))]
    x0, _, x1, foot = thing.box
    other = scaled(still.cutout(thing), 1 / factor, (float(foot), (x0 + x1) / 2))
    if not _free(still, other, thing):
        raise SpatialError("no_room", f"{thing.id} does not fit at the other size")
    before, things = _made(still, [(thing, other)])
    extent: dict[str, Any] = {"amount": factor, "unit": "factor"} if rng.random() < 0.7 else {}
    said = Instruction("resize", subject=_named(thing, things, rng), value=value, **extent)
    done = _done("resize", subject=thing.id, value=value, amount=factor, unit="factor")
    return _real_after(still, said, done, before, things, [(thing, other)])


def _mirror(still: Still, rng: Rng) -> Edit:
    (thing,) = _pick(still, rng)
    other = flipped(still.cutout(thing))
    if not _free(still, other, thing):
        raise SpatialError("no_room", f"{thing.id} does not fit the other way round")
    before, things = _made(still, [(thing, other)])
    if np.abs(before.astype(np.int16) - still.rgb)[thing.mask].mean() < 6:
        raise SpatialError("no_change", f"{thing.id} looks the same in a mirror")
    said = Instruction("mirror", subject=_named(thing, things, rng))
    return _real_after(still, said, _done("mirror", subject=thing.id), before, things, [(thing, other)])


def _zoom(still: Still, rng: Rng) -> Edit:
    factor = ZOOMS[int(rng.integers(len(ZOOMS)))]
    height, width = still.native.shape[:2]
    near = (height / factor, width / factor)
    top, left = (height - near[0]) / 2, (width - near[1]) / 2
    close = _crop(still, top, left, *near)
    wide = (still.rgb, still.things)
    value = "in" if rng.random() < 0.5 else "out"
    (before, things_before), (after, things_after) = (wide, close) if value == "in" else (close, wide)
    said = Instruction("zoom", value=value, amount=factor, unit="factor")
    done = _done("zoom", value=value, amount=factor if value == "in" else 1 / factor, unit="factor")
    return Edit(said, done, before, after, things_before, things_after, None, "both")


def _pan(still: Still, rng: Rng) -> Edit:
    height, width = still.native.shape[:2]
    share = 0.7
    gap = float(rng.uniform(0.1, 1 - share)) * width
    left = float(rng.uniform(0, (1 - share) * width - gap))
    views = [
        _crop(still, (1 - share) / 2 * height, x, share * height, share * width) for x in (left, left + gap)
    ]
    direction = "right" if rng.random() < 0.5 else "left"
    (before, things_before), (after, things_after) = views if direction == "right" else views[::-1]
    vague: dict[str, Any] = {"vagueness": "slightly"} if gap < 0.15 * width else {}
    said = Instruction("pan", direction=direction, **vague)
    return Edit(
        said, _done("pan", direction=direction), before, after, things_before, things_after, None, "both"
    )


_KINDS: dict[str, Callable[[Still, Rng], Edit]] = {
    "remove": _remove, "add": _add, "move": _move, "place": _place, "swap": _swap, "duplicate": _duplicate,
    "resize": _resize, "mirror": _mirror, "zoom": _zoom, "pan": _pan,
}  # fmt: skip
PHOTO_KINDS = tuple(_KINDS)


def mirrored(edit: Edit) -> Edit:
    """The same edit seen in a mirror: pictures, masks and meaning; its words are to be said anew."""

    def things(some: Sequence[Thing]) -> tuple[Thing, ...]:
        return tuple(replace(thing, mask=thing.mask[:, ::-1].copy()) for thing in some)

    done = {**edit.done, **{name: other_side(edit.done[name]) for name in ("direction", "region")}}
    changed = None if edit.changed is None else edit.changed[:, ::-1].copy()
    return Edit(
        mirrored_words(edit.said),
        done,
        np.ascontiguousarray(edit.before[:, ::-1]),
        np.ascontiguousarray(edit.after[:, ::-1]),
        things(edit.things_before),
        things(edit.things_after),
        changed,
        edit.real,
        edit.seams,
    )


def _real_after(
    still: Still,
    said: Instruction,
    done: Mapping[str, Any],
    before: Pixels,
    things: tuple[Thing, ...],
    pieces: Sequence[tuple[Thing, Cutout]],
) -> Edit:
    """The photo is the target; before it everything in `pieces` stood elsewhere."""
    changed = still.hole(*(thing for thing, _ in pieces))
    for _, cutout in pieces:
        changed = changed | touched(still.shape, cutout)
    seams = tuple(_seams(still, thing, before, mask_in(still.shape, cutout)) for thing, cutout in pieces)
    return Edit(said, done, before, still.rgb, things, still.things, changed, "after", seams)


def _made(still: Still, pieces: Sequence[tuple[Thing, Cutout]]) -> tuple[Pixels, tuple[Thing, ...]]:
    """The photo with these things elsewhere, and where all things are then."""
    picture = still.without(*(thing for thing, _ in pieces))
    masks = {}
    for thing, cutout in pieces:
        picture = pasted(picture, cutout)
        masks[thing.id] = mask_in(still.shape, cutout)
    return picture, tuple(replace(t, mask=masks.get(t.id, t.mask)) for t in still.things)


def _free(still: Still, cutout: Cutout, *things: Thing) -> bool:
    """Whether the thing would stand wholly in the frame and touch no other. things: those that are taken away."""
    if not is_inside(still.shape, cutout):
        return False
    return not (mask_in(still.shape, cutout) & still.others(*things)).any()


def _named(thing: Thing, things: Sequence[Thing], rng: Rng) -> Expression:
    """Words for a thing in the picture before, where its place may be another."""
    return describe(next(t for t in things if t.id == thing.id), things, rng)


def _region(thing: Thing, shape: tuple[int, int]) -> str | None:
    """The region that a thing's centre lies well inside of, if it does."""
    height, width = shape
    x, y = thing.centre
    corners = [(x + dx * width * CELL, y + dy * height * CELL) for dx in (-1, 1) for dy in (-1, 1)]
    if any(not (0 <= a < width and 0 <= b < height) for a, b in corners):
        return None
    found = {region_of(corner, width, height) for corner in corners}
    return found.pop() if len(found) == 1 else None


def _crop(
    still: Still, top: float, left: float, height: float, width: float
) -> tuple[Pixels, tuple[Thing, ...]]:
    """A part of the photo at the still's size, from the photo's own pixels; things with less than half in it go."""
    rows, columns = still.shape
    scale = (rows / height, columns / width)
    matrix = np.array([[scale[1], 0, -left * scale[1]], [0, scale[0], -top * scale[0]]], np.float64)
    # From pixels' corners to OpenCV's middles.
    matrix[:, 2] += np.array([scale[1] - 1, scale[0] - 1]) / 2
    how = cv2.INTER_CUBIC if min(scale) > 1 else cv2.INTER_AREA
    source = still.native
    if max(scale) < 1:  # warpAffine does not average
        y, x = round(top), round(left)
        part = source[y : y + round(height), x : x + round(width)]
        picture = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    else:
        picture = cv2.warpAffine(source, matrix, (columns, rows), flags=how, borderMode=cv2.BORDER_REPLICATE)
    ratio = source.shape[0] / rows
    small = matrix.copy()
    small[:, :2] *= ratio
    things = []
    for thing in still.things:
        mask = (
            cv2.warpAffine(thing.mask.astype(np.uint8), small, (columns, rows), flags=cv2.INTER_NEAREST) > 0
        )
        if mask.sum() >= 0.5 * thing.area * ratio**2 * scale[0] * scale[1]:
            things.append(replace(thing, mask=np.asarray(mask)))
    return picture, tuple(things)


def _seams(still: Still, thing: Thing, picture: Pixels, mask: Mask) -> float:
    """How much more the thing's edge stands out where it was put than where it stood: 1 for the same."""
    return (seam(picture, mask) + 0.1) / (seam(still.rgb, thing.mask) + 0.1)


def _done(kind: str, **fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(
        ("subject", "reference", "reference2", "direction", "amount", "unit", "region", "relation", "value")
    )
    return {"kind": kind, **empty, "objects": [], **fields}

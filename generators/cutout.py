"""A thing cut out of a photo and put down elsewhere in it: mask, soft edge, shadow, and how well the seam is hidden.

Everything outside what `touched` says keeps its pixels to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import Mask, Pixels

FEATHER = 2  # pixels over which an edge fades
_RIM = 3  # pixels around a mask that still hold some of the thing: masks are drawn a little too tight
_FOOT, _SHADOW = (
    0.08,
    0.5,
)  # of the thing's height: the ground at its foot, and how far its shadow is looked for
_FAINT = 0.88  # of the brightness of the ground farther off: what is brighter is not in shadow
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A thing without its photo.

    rgb, alpha, mask: (h, w, 3) uint8, (h, w) 0..1, (h, w) bool, of the area around it. shade: (h, w) 0..1, what its
    contact shadow leaves of the light, 1 where there is none. origin: (y, x) of the area's corner in the photo.
    """

    rgb: Pixels
    alpha: Floats
    mask: Mask
    shade: Floats
    origin: tuple[int, int]


def hole_of(photo: Pixels, mask: Mask) -> Mask:
    """What has to be filled when the thing goes: its mask with a rim, and its contact shadow."""
    return dilated(mask, _RIM + FEATHER) | _foot(photo, mask)


def cut(photo: Pixels, behind: Pixels, mask: Mask) -> Cutout:
    """The thing under (h, w) `mask`. behind: the photo without it, which says how dark its shadow is."""
    foot = _foot(photo, mask)
    reach = dilated(mask, _RIM + FEATHER) | foot
    rows, columns = np.flatnonzero(reach.any(axis=1)), np.flatnonzero(reach.any(axis=0))
    area = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = mask[area]
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), FEATHER / 2)
    alpha[cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)] = 1
    alpha[alpha < 0.02] = 0
    return Cutout(
        photo[area].copy(),
        alpha,
        inside,
        _shade(photo[area], behind[area], mask[area], foot[area]),
        (rows[0], columns[0]),
    )


def scaled(cutout: Cutout, factor: float, anchor: tuple[float, float]) -> Cutout:
    """The thing made larger or smaller about `anchor` (y, x) in the photo, its foot as a rule."""
    height, width = cutout.mask.shape
    top, left = cutout.origin
    new = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    y, x = anchor
    origin = (round(y - (y - top) * factor), round(x - (x - left) * factor))
    return Cutout(
        cv2.resize(cutout.rgb, new, interpolation=how),
        np.clip(cv2.resize(cutout.alpha, new, interpolation=cv2.INTER_LINEAR), 0, 1),
        cv2.resize(cutout.mask.astype(np.float32), new, interpolation=cv2.INTER_LINEAR) >= 0.5,
        np.clip(cv2.resize(cutout.shade, new, interpolation=cv2.INTER_LINEAR), 0, 1),
        origin,
    )


def flipped(cutout: Cutout) -> Cutout:
    """The thing in a mirror, about its own middle."""
    columns = np.flatnonzero(cutout.mask.any(axis=0))
    middle = int(columns[0] + columns[-1] + 1)
    shift = middle - cutout.mask.shape[1]
    return Cutout(
        cutout.rgb[:, ::-1].copy(),
        cutout.alpha[:, ::-1].copy(),
        cutout.mask[:, ::-1].copy(),
        cutout.shade[:, ::-1].copy(),
        (cutout.origin[0], cutout.origin[1] + shift),
    )


def moved(cutout: Cutout, dy: int, dx: int) -> Cutout:
    """The thing so many pixels further down and to the right."""
    top, left = cutout.origin
    return Cutout(cutout.rgb, cutout.alpha, cutout.mask, cutout.shade, (top + dy, left + dx))


def pasted(ground: Pixels, cutout: Cutout) -> Pixels:
    """The ground with the thing on it, and its shadow."""
    target, source = _overlap(ground.shape[:2], cutout)
    result = ground.copy()
    under = result[target].astype(np.float32) * cutout.shade[source][..., None]
    alpha = cutout.alpha[source][..., None]
    mixed = cutout.rgb[source] * alpha + under * (1 - alpha)
    changed = (cutout.alpha[source] > 0) | (cutout.shade[source] < 1)
    result[target][changed] = np.rint(mixed[changed]).astype(np.uint8)
    return result


def mask_in(shape: tuple[int, int], cutout: Cutout) -> Mask:
    """(h, w) bool of the photo: where the thing is."""
    return _laid(shape, cutout, cutout.mask)


def touched(shape: tuple[int, int], cutout: Cutout) -> Mask:
    """(h, w) bool: every pixel that `pasted` may change."""
    return _laid(shape, cutout, (cutout.alpha > 0) | (cutout.shade < 1))


def is_inside(shape: tuple[int, int], cutout: Cutout, margin: int = 1) -> bool:
    """Whether the whole mask lies in a picture of this shape, so many pixels from its edges."""
    rows, columns = np.flatnonzero(cutout.mask.any(axis=1)), np.flatnonzero(cutout.mask.any(axis=0))
    top, left = cutout.origin
    return bool(
        top + rows[0] >= margin
        and left + columns[0] >= margin
        and top + rows[-1] < shape[0] - margin
        and left + columns[-1] < shape[1] - margin
    )


def seam(rgb: Pixels, mask: Mask) -> float:
    """How much a mask's edge stands out: the median step of brightness across it, over that just outside, 0 or more.

    Around 1 and below for an edge that is no stronger than the texture around it; a hard cut-out on a plain ground has
    far more, but so has any thing with a sharp outline: compare it with the same thing where it stood.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY).astype(np.float32)
    steps = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8)
    edge = dilated(mask, 1) & ~_eroded(mask, 1)
    around = dilated(mask, 12) & ~dilated(mask, 4)
    if not edge.any() or not around.any():
        return 0.0
    return float(np.median(steps[edge]) / (np.median(steps[around]) + 1.0))


def dilated(mask: Mask, pixels: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _eroded(mask: Mask, pixels: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    thin = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(thin > 0)


def _foot(photo: Pixels, mask: Mask) -> Mask:
    """The ground at a thing's foot, and the shadow that begins there: darker than the ground farther off, and joined to
    the thing."""
    rows = np.flatnonzero(mask.any(axis=1))
    height = rows[-1] + 1 - rows[0]
    low = mask.copy()
    low[: rows[-1] + 1 - max(2, height // 5)] = False
    near = _spread(low, max(_RIM + FEATHER, round(_FOOT * height)))
    zone = _spread(low, max(_RIM + FEATHER, round(_SHADOW * height))) & ~mask
    ring = _spread(low, max(2 * _RIM, round(1.4 * _SHADOW * height))) & ~zone & ~dilated(mask, _RIM)
    if not ring.any():
        return near
    grey = cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(photo), cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    dark = zone & (grey < _FAINT * np.median(grey[ring]))
    _, labels = cv2.connectedComponents((dark | low).astype(np.uint8))
    joined = dark & np.isin(labels, np.unique(labels[low]))
    return near | dilated(joined, _RIM)


def _spread(low: Mask, reach: int) -> Mask:
    """Wider than high: the ground is seen at a slant."""
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * (reach // 2) + 1))
    return np.asarray(cv2.dilate(low.astype(np.uint8), wide) > 0)


def _shade(photo: Pixels, behind: Pixels, mask: Mask, foot: Mask) -> Floats:
    """What the shadow leaves of the light: the photo beside the photo without the thing, smoothed, fading outwards."""
    ground = foot & ~dilated(mask, _RIM)
    shade = np.ones(ground.shape, np.float32)
    if not ground.any():
        return shade
    lit = cv2.GaussianBlur(behind.astype(np.float32).mean(axis=2), (0, 0), 3)
    seen = photo.astype(np.float32).mean(axis=2)
    ratio = np.clip((seen + 8) / (lit + 8), 0.3, 1)
    if float(np.percentile(ratio[ground], 25)) >= _FAINT:
        return shade
    weight = ground.astype(np.float32)
    smooth = cv2.GaussianBlur(ratio * weight, (0, 0), 2) / np.maximum(
        cv2.GaussianBlur(weight, (0, 0), 2), 1e-3
    )
    # Gone at the rim of what is looked at: a step there would be seen.
    depth = cv2.distanceTransform(np.pad(foot | mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    fade = np.clip(depth / (2 * FEATHER), 0, 1)
    shade[foot] = 1 - (1 - smooth[foot]) * fade[foot]
    return np.asarray(np.clip(shade, 0.3, 1), np.float32)


def _overlap(shape: tuple[int, ...], cutout: Cutout) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the area lies in the picture, and which part of it."""
    slices = []
    for start, length, size in zip(cutout.origin, cutout.mask.shape, shape):
        low, high = max(0, start), min(size, start + length)
        slices.append((slice(low, max(low, high)), slice(low - start, max(low, high) - start)))
    return (slices[0][0], slices[1][0]), (slices[0][1], slices[1][1])


def _laid(shape: tuple[int, int], cutout: Cutout, part: Mask) -> Mask:
    target, source = _overlap(shape, cutout)
    whole = np.zeros(shape, np.bool_)
    whole[target] = part[source]
    return whole

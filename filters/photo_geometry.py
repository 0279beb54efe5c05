"""The geometric judge of edits of photos: what the masks before and after say was done, and where pixels changed.

The same figures as `filters.geometry` has for scenes, measured anew from masks and pixels alone: nothing is taken from
whoever made the edit but what it claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.geometry import GeometryScores
from shards.images import Mask, Pixels
from spatial.geometry import region_of

Masks = Mapping[str, Mask]
_VIEWS = ("zoom", "pan")


def measure(
    done: Mapping[str, Any],
    before: Masks,
    after: Masks,
    pictures: tuple[Pixels, Pixels],
    changed: Mask | None,
    seam: float | None = None,
) -> GeometryScores:
    """done: as a row of operations. before, after: (h, w) bool by object id. pictures: (h, w, 3) uint8. changed: (h, w)
    bool, where pixels may differ; None where the view changed. seam: how visible the seams are, by who made them."""
    height, width = pictures[0].shape[:2]
    kind, name = done["kind"], done["subject"]
    figures: dict[str, float | None] = {}
    if kind == "move":
        across = _centre(after[name]) - _centre(before[name])
        moved = 100 * float(across[0]) / width
        figures["amount_measured"] = abs(moved)
        figures["percent_error"] = abs(moved - (1 if done["direction"] == "right" else -1) * done["amount"])
        figures["centre_error"] = abs(float(across[1])) / width  # along the ground, and nowhere else
    elif kind == "place":
        x, y = _centre(after[name])
        figures["holds"] = float(region_of((x, y), width, height) == done["region"])
    elif kind == "swap":
        figures["centre_error"] = max(
            abs(float(_centre(after[a])[0] - _centre(before[b])[0])) / width
            for a, b in ((name, done["reference"]), (done["reference"], name))
        )
    elif kind == "resize":
        factor = float(np.sqrt(after[name].sum() / max(1, before[name].sum())))
        figures["amount_measured"] = factor
        figures["factor_error"] = abs(factor / done["amount"] - 1)
    elif kind == "mirror":
        figures["holds"] = _overlap(_about_middle(before[name]), after[name])
    elif kind in ("add", "duplicate", "remove"):
        asked = {"remove": -1, "add": 1}.get(kind, int(done["amount"] or 1))
        figures["count_error"] = float(len(after) - len(before) - asked)
    elif kind in _VIEWS:
        figures["holds"] = _seen_again(kind, done, before, after, width, height)
    if kind not in _VIEWS:
        named = {name, done["reference"], *done["objects"]}
        figures["unnamed_mask"] = max(
            (1 - _overlap(mask, after[other]) if other in after else 1.0)
            for other, mask in {**before}.items()
            if other not in named
        ) if set(before) - named else 0.0  # fmt: skip
    difference = np.abs(pictures[0].astype(np.int16) - pictures[1]).mean(axis=2) / 255
    if changed is None:
        figures["change_inside"] = float(difference.mean())
    else:
        figures["change_inside"] = float(difference[changed].mean()) if changed.any() else 0.0
        # One pixel of another value is too many: the largest difference, not the mean.
        figures["change_outside"] = float(difference[~changed].max()) if not changed.all() else 0.0
    figures["seam"] = seam
    return GeometryScores(**figures)


def _centre(mask: Mask) -> NDArray[np.float64]:
    """(x, y) pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5]) if len(rows) else np.full(2, np.nan)


def _overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _about_middle(mask: Mask) -> Mask:
    """The mask in a mirror through its own middle."""
    columns = np.flatnonzero(mask.any(axis=0))
    result = np.zeros_like(mask)
    if len(columns):
        low, high = columns[0], columns[-1] + 1
        result[:, low:high] = mask[:, low:high][:, ::-1]
    return result


def _seen_again(
    kind: str, done: Mapping[str, Any], before: Masks, after: Masks, width: int, height: int
) -> float | None:
    """Share of the things seen in both whose centres went where the camera's edit takes them; None without things."""
    both = [name for name in before if name in after]
    if not both:
        return None
    right = 0
    for name in both:
        (x, y), (u, v) = _centre(before[name]), _centre(after[name])
        if kind == "zoom":
            # A thing that the frame cuts has its centre elsewhere: it must only have gone outwards or inwards.
            middle = np.array([width / 2, height / 2])
            away = (np.array([u, v]) - middle) @ (np.array([x, y]) - middle)
            right += bool(away >= 0 or np.hypot(x - middle[0], y - middle[1]) < 0.05 * width)
        else:
            right += bool((u < x) == (done["direction"] == "right"))
    return right / len(both)

"""What was really seen of a scene: masks, depth and pixels, as a renderer or an annotated photo gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial.scene import Floats, Scene

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One state of a scene as seen.

    amodal, visible: (h, w) bool by object id; amodal as if the object were alone.
    depth: (h, w) float32 metres along the camera's z, inf where nothing is.
    image: (h, w, 3) uint8 sRGB, or None before the beauty render.
    """

    scene: Scene
    amodal: Mapping[str, Mask]
    visible: Mapping[str, Mask]
    depth: NDArray[np.float32]
    image: NDArray[np.uint8] | None = None

    def centre(self, object_id: str) -> Floats:
        """(2,) pixels: the centroid of the amodal mask; NaN for an object that is not seen."""
        rows, columns = np.nonzero(self.amodal[object_id])
        if not len(rows):
            return np.full(2, np.nan)
        return np.array([columns.mean() + 0.5, rows.mean() + 0.5])

    def box(self, object_id: str) -> tuple[int, int, int, int]:
        """xyxy, half-open, pixels, of the amodal mask; all zeros for an object that is not seen."""
        return mask_box(self.amodal[object_id])

    def visible_fraction(self, object_id: str) -> float:
        """Visible pixels over pixels alone, 0..1."""
        alone = int(np.count_nonzero(self.amodal[object_id]))
        return int(np.count_nonzero(self.visible[object_id])) / alone if alone else 0.0


def mask_box(mask: Mask) -> tuple[int, int, int, int]:
    """xyxy, half-open, pixels; all zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)

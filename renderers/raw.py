"""A mesh as it lies in an asset file: its own axes, its own units, its own materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RawMesh:
    """Triangles with a material each.

    vertices: (V, 3) float32. triangles: (F, 3) int32, counterclockwise outside. smooth: (F,) bool.
    parts: (F,) int32, index into `materials`: (name in the file, role that `looks.fixed` knows).
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    parts: NDArray[np.int32]
    smooth: NDArray[np.bool_]
    materials: tuple[tuple[str, str], ...]

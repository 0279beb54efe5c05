"""What a row shows: masks, poses, cameras and pixels of one state, with the little geometry that judging needs.

World: metres, z up. Camera: x right, y down, z forward; image origin at the corner of the first pixel.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

Array = NDArray[Any]


@dataclass(frozen=True)
class Thing:
    """One object of one state. mask: (h, w) bool, visible pixels. position: middle of the base."""

    id: str
    name: str
    color: str | None
    material: str | None
    visible: float
    mask: Array
    position: Array
    quaternion: Array
    size: Array

    @cached_property
    def pixels(self) -> Array:
        """(n, 2) float64, x and y of the middles of the mask's pixels."""
        rows, columns = np.nonzero(self.mask)
        return np.stack([columns, rows], axis=1) + 0.5

    @property
    def centre(self) -> Array:
        return np.asarray(self.pixels.mean(axis=0))

    @property
    def box(self) -> Array:
        """x0, y0, x1, y1; half open."""
        return np.concatenate([self.pixels.min(axis=0) - 0.5, self.pixels.max(axis=0) + 0.5])

    @property
    def slack(self) -> Array:
        """How far what is hidden may shift the centre: half its share of the extent, pixels in x and y."""
        extent = self.box[2:] - self.box[:2]
        return 0.5 * max(0.0, 1.0 - self.visible) * extent

    @property
    def rotation(self) -> Array:
        w, x, y, z = self.quaternion
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    @property
    def yaw(self) -> float:
        """Degrees about world z, counterclockwise seen from above."""
        return float(np.degrees(np.arctan2(self.rotation[1, 0], self.rotation[0, 0])))

    @property
    def corners(self) -> Array:
        """(8, 3), the turned box around the object, metres."""
        unit = np.array(list(itertools.product((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0))))
        return (unit * self.size) @ self.rotation.T + self.position

    @property
    def reach(self) -> float:
        """Half the horizontal diagonal, metres."""
        return float(np.hypot(self.size[0], self.size[1]) / 2)


@dataclass(frozen=True)
class Eye:
    """A pinhole camera."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    rotation: Array
    translation: Array

    @property
    def position(self) -> Array:
        return np.asarray(-self.rotation.T @ self.translation)

    @property
    def right(self) -> Array:
        return np.asarray(self.rotation[0])

    @property
    def forward(self) -> Array:
        return np.asarray(self.rotation[2])

    @property
    def ground_forward(self) -> Array:
        """Away from the viewer along the floor, unit length."""
        flat = self.forward * [1.0, 1.0, 0.0]
        return np.asarray(flat / np.linalg.norm(flat))

    def project(self, points: Array) -> Array:
        """(n, 3) metres to (n, 2) pixels."""
        x, y, z = (np.atleast_2d(points) @ self.rotation.T + self.translation).T
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=1)

    def depth(self, point: Array) -> float:
        return float((self.rotation @ point + self.translation)[2])


@dataclass(frozen=True)
class State:
    """Before or after. image: (h, w, 3) float64 in 0..255."""

    things: Mapping[str, Thing]
    eye: Eye
    image: Array

    def covered(self, ids: set[str]) -> Array:
        """(h, w) bool, the union of these objects' masks."""
        masks = [self.things[i].mask for i in ids if i in self.things]
        return np.any(masks, axis=0) if masks else np.zeros(self.image.shape[:2], bool)


def state(row: Mapping[str, Any], when: str) -> State:
    """when: "before" or "after"."""
    things = {thing["id"]: _thing(thing) for thing in row[f"objects_{when}"]}
    camera = row[f"camera_{when}"]
    matrix = np.array(camera["world_to_camera"], float)
    sizes = {name: camera[name] for name in ("fx", "fy", "cx", "cy", "width", "height")}
    stored = row["original_image" if when == "before" else "edited_image"]["bytes"]
    image = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"), float)
    return State(things, Eye(**sizes, rotation=matrix[:3, :3], translation=matrix[:3, 3]), image)


def _thing(row: Mapping[str, Any]) -> Thing:
    run = {"size": row["mask"]["size"], "counts": row["mask"]["counts"].encode()}
    pose = row["pose"]
    return Thing(
        id=row["id"], name=row["name"], color=row["color"], material=row["material"],
        visible=float(row["visible_fraction"]), mask=coco.decode(run).astype(bool),
        position=np.array(pose["position"]), quaternion=np.array(pose["quaternion"]), size=np.array(pose["size"]),
    )  # fmt: skip


def lab(rgb: Array) -> Array:
    """CIE L*a*b* (D65) of sRGB values in 0..255; shape (..., 3) in and out."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def turned(angle: float) -> float:
    """Degrees brought into -180..180."""
    return (angle + 180.0) % 360.0 - 180.0


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))

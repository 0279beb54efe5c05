"""Reading the starter world back from its cache, whole, into memory: 10,000 pictures are 0.5 GB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.starter.scenes import key, units
from models.starter.world import IMAGE_SIZE
from shards.images import decode
from shards.storage import Storage, StorageError
from shards.tables import read_table
from spatial.scene import Scene


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """n pictures and what they show, in one order.

    ids: unique. images: (n, IMAGE_SIZE, IMAGE_SIZE, 3) uint8 sRGB. scenes: with the camera they were seen by.
    objects: by picture, `shards.schema.OBJECT_STRUCT` of each object, in the order of `scene.objects`: the box
    is of the visible pixels.
    """

    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    scenes: tuple[Scene, ...]
    objects: tuple[list[dict[str, Any]], ...]

    def __len__(self) -> int:
        return len(self.ids)


def load(cache: Storage, split: str, limit: int | None = None) -> Scenes:
    """What is rendered of a split so far. cache: the starter cache's root. limit: at most so many pictures.

    Raises StorageError("not_rendered") where nothing is.
    """
    scenes = cache.sub("scenes")
    there = {entry.key for entry in scenes.list(f"{split}/")}
    keys = [key(unit) for unit in units(split) if key(unit) in there]
    rows: list[dict[str, Any]] = []
    for name in keys:
        rows += read_table(scenes, name).to_pylist()
        if limit is not None and len(rows) >= limit:
            del rows[limit:]
            break
    if not rows:
        raise StorageError("not_rendered", f"{cache.uri} has no scenes of {split!r}: run 'render' first")
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(decode, (row["image"] for row in rows)))
    images = np.stack(pictures)
    assert images.shape[1:] == (IMAGE_SIZE, IMAGE_SIZE, 3)
    return Scenes(
        ids=tuple(row["scene_id"] for row in rows),
        images=images,
        scenes=tuple(Scene.from_json(row["scene"]) for row in rows),
        objects=tuple(row["objects"] for row in rows),
    )

"""A few scenes of the starter world without Blender: grey pictures, real layouts, captions and masks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from models.starter.data import Scenes
from models.starter.world import IMAGE_SIZE, sample
from renderers.shapes import ProceduralShapes
from shards.images import mask_to_rle
from spatial import geometry
from spatial.scene import SpatialError
from spatial.vocabulary import COLORS

SHAPES = ProceduralShapes()


@lru_cache
def scenes(number: int = 8, split: str = "train") -> Scenes:
    found, pictures, objects, seed = [], [], [], 0
    while len(found) < number:
        seed += 1
        rng = np.random.default_rng(seed)
        try:
            scene = sample(split, SHAPES, rng)
        except SpatialError:
            continue
        picture = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 90, np.uint8)
        rows = []
        for thing in scene.objects:
            x0, y0, x1, y1 = geometry.silhouette(thing, scene.camera, SHAPES).box
            mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
            mask[round(y0) : round(y1), round(x0) : round(x1)] = True
            picture[mask] = 30 + 20 * COLORS.index(thing.color or "")
            rows.append(
                {
                    "name": thing.noun, "color": thing.color, "material": thing.material,
                    "box": [x0, y0, x1, y1], "mask": mask_to_rle(mask),
                }
            )  # fmt: skip
        found.append(scene)
        pictures.append(picture)
        objects.append(rows)
    ids = tuple(f"{split}-{place}" for place in range(number))
    return Scenes(ids, np.stack(pictures), tuple(found), tuple(objects))

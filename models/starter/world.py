"""The starter world: what the starter models' pictures may show, and what is kept from them.

Small enough to be learned on a laptop, yet made of everything that spatial edits speak of: kinds, colours,
materials, places, times of day, sizes, positions and relations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from renderers.sampler import SamplerSettings, View, sample_scene
from spatial.scene import Scene, Shapes, SpatialError

IMAGE_SIZE = 128  # pixels
SEED = 20261

KINDS = ("ball", "cube", "cone", "mug", "bottle", "chair", "tree", "house", "car", "cat")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
MATERIALS = ("matte", "metal", "checkered", "wood")
FLOORS = ("plain", "wood", "tiles", "carpet", "grass")

# Never seen by the generative models: every colour and eight of the kinds once, so that each is known apart.
HELD_OUT = frozenset(
    {
        ("ball", "green"),
        ("cube", "yellow"),
        ("cone", "blue"),
        ("mug", "red"),
        ("bottle", "orange"),
        ("chair", "purple"),
        ("house", "white"),
        ("car", "pink"),
    }
)

# Matte is what most things are, and needs no word; the others must be common enough to be learned.
MATERIAL_DRAWS = ("matte", "matte", "metal", "checkered", "wood")
_NUMBERS, _NUMBER_WEIGHTS = (1, 2, 3, 4), (0.34, 0.4, 0.16, 0.1)
# Near and low: objects are large for 16 x 16 latents, and the place behind them is seen.
_VIEW = View(pitch=(13.0, 30.0), distance=(2.7, 3.8), inner=0.9, wall=0.0, least_area=0.025)
_SETTINGS = SamplerSettings(
    width=IMAGE_SIZE,
    height=IMAGE_SIZE,
    nouns=KINDS,
    materials=MATERIAL_DRAWS,
    colors=COLORS,
    floors=FLOORS,
    same_noun=0.12,
    on_top=0.1,
    view=_VIEW,
)


@dataclass(frozen=True, slots=True)
class Split:
    """A set of scenes. images: how many. combinations: which pairs of kind and colour may appear, with
    "held_out" at least one of `HELD_OUT` in every scene."""

    images: int
    combinations: Literal["seen", "all", "held_out"]


SPLITS = {
    "train": Split(10_000, "seen"),
    "validation": Split(500, "seen"),
    "test": Split(1_000, "seen"),
    "combinations": Split(500, "held_out"),
    # The reader judges the others, so it learns from scenes of its own and knows every combination.
    "reader_train": Split(16_000, "all"),
    "reader_test": Split(1_000, "all"),
}


def sample(split: str, shapes: Shapes, rng: np.random.Generator) -> Scene:
    """A scene of one to four objects for this split. Raises SpatialError("no_layout") after many tries."""
    combinations = SPLITS[split].combinations
    settings = replace(_SETTINGS, left_out=HELD_OUT if combinations == "seen" else frozenset())
    for _ in range(60):
        number = int(rng.choice(_NUMBERS, p=_NUMBER_WEIGHTS))
        scene = sample_scene("single", replace(settings, objects=(number, number)), shapes, rng)
        if combinations != "held_out" or any((t.noun, t.color) in HELD_OUT for t in scene.objects):
            return scene
    raise SpatialError("no_layout", f"no scene for split {split!r}")

"""Rendering the starter world into a cache: Parquet files of fifty scenes, made again only where missing.

A file depends on its split and number alone, and is created only if absent: several processes may render into
one cache, and an interrupted one is simply started again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from models.starter.world import SEED, SPLITS, sample
from renderers.rows import OUTPUT_LICENCE, object_row
from renderers.shapes import ProceduralShapes
from renderers.worker import BlenderCrashed, BlenderWorker, RenderSettings
from shards.features import IMAGE, with_features
from shards.images import encode
from shards.schema import OBJECTS
from shards.storage import Storage
from shards.tables import from_rows, write_table
from shards.units import Unit, seed_for
from spatial.scene import Scene, SpatialError

UNIT_SIZE = 50
# Denoised, 4 samples look like 8 at this size, in two thirds of the time.
RENDER = RenderSettings(samples=4, denoise=True, threads=1)

SCENES = with_features(
    pa.schema(
        [
            ("image", IMAGE),
            ("scene_id", pa.string()),
            ("scene", pa.string()),  # `Scene.to_json`
            ("objects", OBJECTS),
            ("seed", pa.int64()),
        ]
    )
)


def units(split: str) -> list[Unit]:
    return [Unit(split, index, UNIT_SIZE) for index in range(SPLITS[split].images // UNIT_SIZE)]


def key(unit: Unit) -> str:
    return f"{unit.route}/part-{unit.id}.parquet"


def render(cache: Storage, splits: list[str], share: int = 0, shares: int = 1) -> None:
    """Renders what is missing of these splits; share, shares: this process takes every `shares`-th unit."""
    shapes = ProceduralShapes()
    with BlenderWorker(RENDER, shapes=shapes) as worker:
        for split in splits:
            there = {entry.key for entry in cache.list(f"{split}/")}
            missing = [unit for unit in units(split)[share::shares] if key(unit) not in there]
            for done, unit in enumerate(missing):
                began = time.monotonic()
                rows = list(_rows(unit, worker, shapes))
                cache.create(key(unit), write_table(from_rows(rows, SCENES), {"unit": unit.id}))
                rate = len(rows) / (time.monotonic() - began)
                print(f"{unit.id}: {rate:.2f} images/s, {len(missing) - done - 1} units left", flush=True)


def _rows(unit: Unit, worker: BlenderWorker, shapes: ProceduralShapes) -> Iterator[dict[str, Any]]:
    """Two scenes ride as the two states of one request: the renderer keeps nothing between states."""
    drawn = [_draw(unit, number, shapes) for number in unit.rows]
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        try:
            yield from _render(first, second, worker)
        except BlenderCrashed as crash:
            print(f"{unit.id}: {crash}; once more", file=sys.stderr)
            yield from _render(first, second, worker)


def _draw(unit: Unit, number: int, shapes: ProceduralShapes) -> tuple[str, int, Scene]:
    seed = seed_for(SEED, unit.id, number, "scene")
    for attempt in range(20):
        try:
            return (
                f"{unit.id}-{number:07d}",
                seed,
                sample(unit.route, shapes, np.random.default_rng([seed, attempt])),
            )
        except SpatialError:
            continue
    raise SpatialError("no_layout", f"row {number} of {unit.id} found no scene")


def _render(
    first: tuple[str, int, Scene], second: tuple[str, int, Scene], worker: BlenderWorker
) -> Iterator[dict[str, Any]]:
    passes = worker.prepare(first[2], second[2])
    for (name, seed, scene), seen, picture in zip((first, second), passes, worker.render(), strict=True):
        view = seen.view(scene)
        licences = {thing.asset: OUTPUT_LICENCE for thing in scene.objects}
        yield {
            "image": encode(picture, "png", name),
            "scene_id": name,
            "scene": view.scene.to_json(),
            "objects": [object_row(thing, view, licences) for thing in scene.objects],
            "seed": seed,
        }

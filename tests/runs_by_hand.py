"""Runs as `generate` leaves them, in milliseconds: small pictures of coloured squares, and words that fit them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from shards.images import encode, mask_to_rle, perceptual_hash, pixel_sha256
from shards.run import Run
from shards.schema import PAIRS, SCORES, VERDICTS
from shards.storage import Storage, open_storage
from shards.tables import from_rows
from shards.units import Unit, seed_for

COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
NOUNS = ("mug", "cube", "ball", "car", "cat")
SIDE = 24
ROUTE = "blender"
FOLDERS = {
    "pairs": "pairs-blender-0000000a",
    "scores": "scores-blender-0000000b",
    "verdicts": "verdicts-blender-0000000c",
}


def hand_made_run(
    uri: str, units: int = 3, size: int = 4, seed: int = 1, finished: bool = True, **changes: Any
) -> Run:
    """A run of one route; every fourth pair is rejected. changes: columns that all rows get."""
    storage: Storage = open_storage(uri)
    config = {"seed": seed, "out": uri, "routes": {ROUTE: {"units": units, "unit_size": size}}}
    run = Run.create_or_open(storage, config)
    for index in range(units):
        unit = Unit(ROUTE, index, size)
        rows = [hand_made_row(seed, unit, number, run.id) | changes for number in range(size)]
        commit(run, unit.id, rows)
    if finished:
        run.set_current({ROUTE: FOLDERS})
    return run


def commit(run: Run, unit: str, rows: list[dict[str, Any]]) -> None:
    """The shards of one unit: pairs, scores, verdicts."""
    run.commit(FOLDERS["pairs"], unit, from_rows(rows, PAIRS), {"made": len(rows)})
    scored = [
        {
            "pair_id": row["pair_id"],
            "clip_image": 0.9,
            "clip_text_before": 0.3,
            "clip_text_after": 0.25,
            "clip_direction": 0.5,
            "clip_embedding": {"before": embedding(row, 0), "after": embedding(row, 1)},
            "model": "sha256:0123abcd",
        }
        for row in rows
    ]
    run.commit(FOLDERS["scores"], unit, from_rows(scored, SCORES), {"scored": len(rows)})
    verdicts = [
        {
            "pair_id": row["pair_id"],
            "verdict": "rejected" if number % 4 == 3 else "accepted",
            "reason": "clip_direction" if number % 4 == 3 else None,
            "profile": "starter",
        }
        for number, row in enumerate(rows)
    ]
    accepted = sum(row["verdict"] == "accepted" for row in verdicts)
    counts = {"accepted": accepted, "rejected:clip_direction": len(rows) - accepted}
    run.commit(FOLDERS["verdicts"], unit, from_rows(verdicts, VERDICTS), counts)


def hand_made_row(seed: int, unit: Unit, number: int, run_id: str) -> dict[str, Any]:
    """A coloured thing moves left or right by a tenth of the width, past another."""
    rng = np.random.default_rng(seed_for(seed, unit.id, number, "test"))
    noun, other = rng.choice(NOUNS, 2, replace=False).tolist()
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    direction = ("left", "right")[int(rng.integers(2))]
    language = ("en", "vi")[number % 2]
    shift = {"left": -4, "right": 4}[direction]
    before = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[8:14, 8:14] = True
    after = before.copy()
    after[8:14, 8 + shift : 14 + shift] = (255, 0, 0)
    name = f"{unit.id}-{number:03d}"
    pictures = encode(before, "png", f"{name}-before"), encode(after, "png", f"{name}-after")
    words = {"en": f"move the {noun} {direction} by 10%", "vi": f"di chuyển {noun} sang {direction} 10%"}
    extent = {"direction": direction, "amount": 10.0, "unit": "percent_width"}
    things = [_thing("a", noun, colour, mask), _thing("b", other, "white", np.roll(mask, 8, axis=0))]
    moved = [{**things[0], "mask": mask_to_rle(np.roll(mask, shift, axis=1))}, things[1]]
    return {
        "original_image": pictures[0],
        "edited_image": pictures[1],
        "original_prompt": f"a {colour} {noun} and a white {other}",
        "edit_prompt": words[language],
        "edited_prompt": f"a {colour} {noun} and a white {other}",
        "pair_id": name,
        "edit_id": name,
        "scene_id": name,
        "unit_id": unit.id,
        "run_id": run_id,
        "source": "blender",
        "edit_kind": "move",
        "language": language,
        "instructions": [{"kind": "move", "subject": f"the {noun}", **extent}],
        "operations": [{"kind": "move", "subject": "a", "objects": [], **extent}],
        "objects_before": things,
        "objects_after": moved,
        "width": SIDE,
        "height": SIDE,
        "image_bytes": sum(len(picture["bytes"]) for picture in pictures),
        "scores": {"percent_error": 0.1, "visible_before": 1.0, "visible_after": 0.97, "holds": 1.0},
        "hashes": {
            "pixel_before": pixel_sha256(before),
            "pixel_after": pixel_sha256(after),
            "perceptual_before": perceptual_hash(before),
            "perceptual_after": perceptual_hash(after),
        },
        "seed": seed,
        "sampler": {"name": "scene", "settings": "{}"},
        "license": "CC0-1.0",
        "provenance": {
            "kind": "render",
            "config": run_id,
            "details": json.dumps({"assets": {noun: "CC0-1.0"}}),
        },
    }


def embedding(row: dict[str, Any], which: int) -> list[float]:
    """Unit length, another for each pair."""
    values = np.random.default_rng(seed_for(which, row["pair_id"], 0, "embedding")).standard_normal(16)
    return (values / np.linalg.norm(values)).tolist()


def _thing(id: str, noun: str, colour: str, mask: Any) -> dict[str, Any]:
    return {
        "id": id,
        "name": noun,
        "color": colour,
        "material": "plastic",
        "box": [8.0, 8.0, 14.0, 14.0],
        "area": int(mask.sum()),
        "visible_fraction": 1.0,
        "mask": mask_to_rle(mask),
        "licence": "CC0-1.0",
    }

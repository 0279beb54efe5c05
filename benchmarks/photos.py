"""What a pair of a photo costs: python -m benchmarks.photos [--per-photo 24] [--rounds 3].

The stage itself, on one core, over the sample photos scaled to 512 pixels (those that are smaller would be cheaper),
holes filled by OpenCV: pairs a second of CPU by kind, for holes of at most 5% of the picture and for all. The floor is
what any such stage must do: to encode the pairs' pictures losslessly, once each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

import generators.photos as stage
from generators.photo_decode import decode_photo
from generators.photo_open import open_photos
from ray_jobs.config_photos import PHOTO_KINDS, PhotosRoute
from shards.images import decode, encode, mask_to_rle, rle_to_mask
from shards.run import Run
from shards.storage import open_storage
from shards.units import Unit

SIDE, SMALL, BAR = 512, 0.05, 6.0
_VIEWS = ("zoom", "pan")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--per-photo", type=int, default=24)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        print_table([
            measured(Path(folder), scaled(Path(folder)), arguments.per_photo, seed)
            for seed in range(arguments.rounds)
        ])  # fmt: skip


def scaled(folder: Path) -> Mapping[str, Any]:
    """The sample photos, all with a longer side of 512 pixels, as lines of one's own."""
    source = open_photos(
        "coco", annotations="package:generators/sample_photos.json", images="package:skimage/data"
    )
    lines = []
    for index in range(len(source)):
        entry = source.entry(index)
        photo = decode_photo(source.read(entry))
        height, width = photo.rgb.shape[:2]
        size = (round(width * SIDE / max(height, width)), round(height * SIDE / max(height, width)))
        Image.fromarray(cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA)).save(
            folder / f"{index}.jpg", quality=95
        )
        things = [
            {
                "name": thing.name,
                "id": thing.id,
                "truncated": thing.truncated,
                "occluded": thing.occluded,
                "rle": rle,
            }
            for thing in source.objects(entry, photo)
            if thing.mask is not None and (rle := _scaled(thing.mask, size)) is not None
        ]
        lines.append({"file": f"{index}.jpg", "objects": things, "license": entry.license})
    (folder / "photos.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return {"kind": "manual", "annotations": [str(folder / "photos.jsonl")], "images": [str(folder)]}


def _scaled(mask: Any, size: tuple[int, int]) -> Mapping[str, Any] | None:
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return cast(Mapping[str, Any], mask_to_rle(small)) if small.any() else None


def measured(
    folder: Path, source: Mapping[str, Any], per_photo: int, seed: int
) -> dict[str, tuple[int, float, float]]:
    """{group: (pairs, seconds of CPU, seconds that encoding them takes)}. Photos are decoded and made ready once, and
    every pair bears its part of that."""
    run = Run.create_or_open(open_storage(str(folder / f"run-{seed}")), {"seed": seed})
    route = PhotosRoute.model_validate({"source": source, "units": 1})
    settings = route.model_dump(mode="json") | {"seed": seed, "per_photo": per_photo, "image_size": SIDE}
    composer = stage.ComposePhotos(
        run_uri=run.storage.uri, folder="pairs-photos-00000000", inputs={}, settings=settings
    )
    found = defaultdict[str, list[tuple[float, float]]](list)
    unit = Unit("photos", 0, len(composer._source))
    for number in range(len(composer._source)):
        about = stage._About(unit, number, composer._source.entry(number))
        began = time.process_time()
        rows = composer._photo(about)
        each = (time.process_time() - began) / max(1, sum(bool(row.get("image_bytes")) for row in rows))
        for row in rows:
            if row.get("image_bytes"):
                for group in _groups(row):
                    found[group].append((each, _encoding(row)))
    return {
        group: (len(pairs), sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs))
        for group, pairs in found.items()
    }


def _groups(row: Mapping[str, Any]) -> list[str]:
    """What a pair counts to. A hole is where a thing was, or will be."""
    if row["edit_kind"] in _VIEWS:
        return ["zoom and pan"]
    named = set(row["operations"][0]["objects"] or [row["operations"][0]["subject"]])
    masks = [
        rle_to_mask(o["mask"]) for o in (*row["objects_before"], *row["objects_after"]) if o["id"] in named
    ]
    share = max((float(mask.mean()) for mask in masks), default=0.0)
    return ["with holes", "with holes of at most 5%"] if share <= SMALL else ["with holes"]


def _encoding(row: Mapping[str, Any]) -> float:
    pictures = [decode(row[name]) for name in ("original_image", "edited_image")]
    began = time.process_time()
    for picture in pictures:
        encode(picture, "webp", "x")
    return time.process_time() - began


def print_table(rounds: list[dict[str, tuple[int, float, float]]]) -> None:
    print(f"kinds: {', '.join(PHOTO_KINDS)}; one core; medians of {len(rounds)} rounds")
    print(f"{'pairs':28}{'number':>8}{'a second of CPU':>18}{'encoding alone':>17}{'share of it':>13}")
    for group in ("with holes of at most 5%", "with holes", "zoom and pan"):
        some = [found[group] for found in rounds if group in found]
        number = sum(pairs for pairs, _, _ in some)
        rate = statistics.median(pairs / seconds for pairs, seconds, _ in some)
        floor = statistics.median(pairs / seconds for pairs, _, seconds in some)
        print(f"{group:28}{number:>8}{rate:>18.1f}{floor:>17.1f}{rate / floor:>13.2f}")
    print(f"bar: {BAR:.0f} pairs a second per core, holes of at most 5%")


if __name__ == "__main__":
    main()

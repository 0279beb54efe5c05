"""A tiny published dataset, laid by hand: two sources, three splits, small pictures, and words that mean harm.

With pairs from photos too, where they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shards.dataset import (
    LATEST_FILE,
    MANIFEST_FILE,
    SPLITS,
    Dataset,
    DatasetFile,
    Manifest,
    read_version,
    version_folder,
)
from shards.images import Format, Mask, Pixels, encode, mask_to_rle, perceptual_hash, pixel_sha256
from shards.schema import INDEX, PUBLISHED
from shards.storage import Storage
from shards.tables import from_rows, write_table

HOSTILE = (
    "<script>alert(1)</script>",
    "| a | b |",
    "[x](javascript:1)",
    "--- yaml: breaks\n---\nlicense: mit",
    "```\n# a heading\n![](https://evil.example/x.png)",
    "{{ 7 * 7 }} {% raw %} $$\\frac{1}{2}$$ <!-- https://evil.example www.evil.example",
)
SOURCES: dict[str, Format] = {
    "blender": "png", "p2p": "jpeg", "coco": "webp", "open_images": "webp", "manual": "webp",
}  # fmt: skip
# Of each kind of photos a row in `train`, of this number, where they are asked for: edits that photos have.
PHOTOS = {"coco": 17, "open_images": 18, "manual": 21}
WIDTH, HEIGHT = 48, 32
KINDS = ("move", "place", "add", "recolor")
NOUNS, COLOURS = ("ball", "cube", "mug"), ("red", "green", "blue")
_REGIONS = ("upper-left", "centre", "lower-right")
_DIRECTIONS = ("left", "right", "up", "down")
# Rows of each source in each split.
ROWS = {"train": {"blender": 8, "p2p": 4}, "validation": {"blender": 2, "p2p": 1}, "test": {"blender": 2}}
SURVIVAL = (
    {"step": "asked for", "rows": 40},
    {"step": "rendered", "rows": 30, "reasons": {"collision": 6, "no_room": 4}},
    {"step": "accepted", "rows": 20, "reasons": {"wrong_place": 7, "<b>not</b> a | reason": 3}},
    {"step": "published", "rows": 17, "reasons": {"duplicate": 3}},
)
CONFIG = {
    "splits": {"validation": 0.1, "test": 0.1, "hold_out": ["mug blue", "`ball` *red*"]},
    "filters": {"geometry": {"centre_error": 0.01}},
    "to": "s3://<redacted>",
}
MODELS = {
    "clip": "ViT-L-14/openai",
    "diffusion": "sha256:" + "ab" * 32,
    "llm": "<img src=x onerror=alert(1)>",
}


def picture(number: int) -> Pixels:
    """(h, w, 3) uint8: a gradient, with a box in a shade of its own."""
    x, y = np.meshgrid(np.linspace(0, 90, WIDTH), np.linspace(0, 90, HEIGHT))
    rgb = np.stack([x, y, np.full_like(x, number * 7 % 200)], axis=2).astype(np.uint8)
    rgb[box(number)] = (230, 40 + number * 11 % 200, 60)
    return rgb


def box(number: int) -> tuple[slice, slice]:
    left, top = 3 + number * 5 % (WIDTH - 16), 4 + number * 3 % (HEIGHT - 14)
    return slice(top, top + 10), slice(left, left + 12)


def outline(number: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box(number)] = True
    return mask


def row(number: int, source: str, split: str, inverse_of: str | None = None) -> dict[str, Any]:
    """A row of PUBLISHED; words that mean harm in every place that takes words."""
    kind, language = KINDS[number % 4], ("en", "vi")[number // 4 % 2]
    before, after = picture(number), picture(number + 1)
    name = f"{source}-0000000-{number:07d}"
    rendered, photo = source == "blender", source in PHOTOS
    step = {
        "kind": kind, "subject": "ball-1", "direction": _DIRECTIONS[number // 4 % 4] if kind == "move" else None,
        "amount": 10.0 + number if kind == "move" else None,
        "unit": "percent_width" if kind == "move" else None,
        "region": _REGIONS[number // 4 % 3] if kind == "place" else None,
    }  # fmt: skip
    pictures = [
        encode(rgb, SOURCES[source], f"{name}-{when}") for rgb, when in ((before, "before"), (after, "after"))
    ]
    words = HOSTILE[number % len(HOSTILE)]
    details: dict[str, Any] = {
        "assets": {"procedural_ball": "Apache-2.0", "<b>chair</b>|": "CC-BY-4.0"},
        "environments": "CC0-1.0",
    }
    if photo:
        details = {"photo": str(number), "file": f"{number}.jpg", "author": words, "real": "after"}
    elif not rendered:
        details = {
            "model": MODELS["diffusion"],
            "clip": MODELS["clip"],
            "edit": {"caption": {"source": "coco"}},
        }

    def things(shown: int) -> list[dict[str, Any]]:
        one = {
            "id": "ball-1", "name": NOUNS[number % 3], "color": COLOURS[number % 3], "material": "matte",
            "box": [1.0, 2.0, 13.0, 12.0], "area": 120, "visible_fraction": 1.0,
            "mask": mask_to_rle(outline(shown)), "licence": "Apache-2.0",
            "pose": {"position": [0, 0, 0], "quaternion": [1, 0, 0, 0], "size": [1, 1, 1], "mirrored": False},
        }  # fmt: skip
        if photo:  # nobody knows where things of photos stand, nor what they are made of
            one |= {"pose": None, "material": None, "licence": "CC-BY-2.0"}
        return [one, one | {"id": "chair-1", "name": "chair", "color": None, "licence": "CC-BY-4.0"}]

    return {
        "original_image": pictures[0],
        "edited_image": pictures[1],
        "original_prompt": f"a {COLOURS[number % 3]} {NOUNS[number % 3]} {words}",
        "edit_prompt": f"{words} di chuyển quả bóng",
        "edited_prompt": f"a {NOUNS[number % 3]}",
        "pair_id": name,
        "edit_id": name,
        "scene_id": f"scene-{split}-{number // 2}",
        "unit_id": f"{source}-0000000",
        "run_id": "0123456789abcdef",
        "source": source,
        "edit_kind": kind,
        "language": language,
        "instructions": [step | {"subject": "the ball"}],
        "operations": [step | {"objects": []}] if rendered or photo else None,
        "objects_before": things(number) if rendered or photo else None,
        "objects_after": things(number + 1) if rendered or photo else None,
        "width": WIDTH,
        "height": HEIGHT,
        "image_bytes": sum(len(image["bytes"]) for image in pictures),
        "scores": {"clip_image": 0.8 + number / 200, "clip_text_after": 0.25}
        | ({"centre_error": 0.001 * number, "change_inside": 0.2} if rendered or photo else {}),
        "hashes": {
            "pixel_before": pixel_sha256(before), "pixel_after": pixel_sha256(after),
            "perceptual_before": perceptual_hash(before), "perceptual_after": perceptual_hash(after),
        },
        "seed": number,
        "sampler": {"name": "photo" if photo else "scene", "settings": "{}"},
        "license": "CC0-1.0 AND CC-BY-4.0" if rendered else "CC-BY-2.0" if photo else words,
        "provenance": {
            "kind": "render" if rendered else "photo" if photo else "p2p", "config": "0123456789abcdef",
            "details": json.dumps(details),
        },
        "inverse_of": inverse_of,
        "held_out": False,
    }  # fmt: skip


def rows(photos: bool = False) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """{split: {source: rows}}, sources by name. The second row of each undoes the first. photos: with `PHOTOS`."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    number = 0
    for split, sources in ROWS.items():
        for source, count in sources.items():
            made = []
            for place in range(count):
                undone = made[0]["pair_id"] if place == 1 else None
                made.append(row(number, source, split, undone))
                number += 1
            found.setdefault(split, {})[source] = made
    if photos:
        more = {source: [row(number, source, "train")] for source, number in PHOTOS.items()}
        found["train"] = dict(sorted((found["train"] | more).items()))
    return found


def lay(
    dataset: Storage, version: str = "1.0.0", extras: Mapping[str, bytes] | None = None, name: str = "demo"
) -> Dataset:
    """The version below the dataset's folder, with LATEST. extras: further files by path."""
    storage = dataset.sub(version_folder(version))
    files = [*lay_tables(storage), *(put(storage, path, data) for path, data in (extras or {}).items())]
    return finish(dataset, manifest(files, version, name))


def lay_tables(storage: Storage, photos: bool = False) -> list[DatasetFile]:
    """Data files and indices, without a manifest. photos: as of `rows`."""
    files, index = [], defaultdict(list)
    for split, sources in rows(photos).items():
        for source, some in sources.items():
            path = f"data/{source}/{split}-00000-of-00001.parquet"
            data = write_table(from_rows(some, PUBLISHED), {})
            files.append(put(storage, path, data, len(some), split, source))
            index[split] += [_indexed(one, path, place) for place, one in enumerate(some)]
    for split, some in index.items():
        data = write_table(from_rows(some, INDEX), {})
        files.append(put(storage, f"index/{split}.parquet", data, len(some), split))
    return files


def manifest(files: Iterable[DatasetFile], version: str = "1.0.0", name: str = "demo") -> Manifest:
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS if split in ROWS}
    for file in files:
        if file.source is not None and file.split is not None:
            counts[file.split][file.source] = file.rows
    return Manifest(
        name=name,
        version=version,
        files=tuple(sorted(files, key=lambda file: file.path)),
        counts=counts,
        survival=SURVIVAL,
        config=CONFIG,
        models=MODELS,
        parents=("0123456789abcdef",),
        tool={"spatialpix": "0.1.0"},
    )


def finish(dataset: Storage, manifest: Manifest) -> Dataset:
    """Puts MANIFEST.json and LATEST; the version exists."""
    storage = dataset.sub(version_folder(manifest.version))
    storage.write(MANIFEST_FILE, manifest.to_bytes())
    latest = {"version": manifest.version, "manifest_sha256": manifest.sha256}
    dataset.write(LATEST_FILE, json.dumps(latest).encode())
    found = read_version(storage)
    assert found is not None
    return found


def put(
    storage: Storage,
    path: str,
    data: bytes,
    rows: int = 0,
    split: str | None = None,
    source: str | None = None,
) -> DatasetFile:
    storage.write(path, data)
    return DatasetFile(path, len(data), hashlib.sha256(data).hexdigest(), rows, split, source)


def _indexed(row: Mapping[str, Any], path: str, place: int) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name in INDEX.names}
    for name in ("objects_before", "objects_after"):
        if kept[name] is not None:
            kept[name] = [{k: v for k, v in thing.items() if k != "mask"} for thing in kept[name]]
    return kept | {"file": path, "row_group": 0, "row": place}

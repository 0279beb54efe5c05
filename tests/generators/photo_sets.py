"""Small photo sets written by hand, as COCO, Open Images and people of their own lay them out."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generators.photo_decode import decode_photo
from generators.photo_open import open_photos
from generators.photo_sources import Mask, PhotoError, PhotoObject, PhotoSource
from shards.images import mask_to_rle

WIDTH, HEIGHT = 40, 30
ORIENTATION = 0x0112


def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(h, w, 3) uint8, smooth enough for JPEG."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(
    image: Image.Image | np.ndarray, format: str = "PNG", orientation: int | None = None, **more: Any
) -> bytes:
    buffer = io.BytesIO()
    if orientation is not None:
        more["exif"] = Image.Exif()
        more["exif"][ORIENTATION] = orientation
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format, **more)
    return buffer.getvalue()


def rectangle(left: int, top: int, right: int, bottom: int, width: int = WIDTH, height: int = HEIGHT) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def corners(left: float, top: float, right: float, bottom: float) -> list[float]:
    """COCO's polygon of a rectangle: x, y, x, y, ..."""
    return [left, top, right, top, right, bottom, left, bottom]


def runs(mask: Mask) -> dict[str, Any]:
    """COCO's uncompressed run lengths."""
    flat = np.concatenate([[0], mask.flatten("F").astype(int)])
    ends = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff([0, *ends, mask.size]).tolist()}


def zipped(folder: Path, target: Path, root: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, root + path.relative_to(folder).as_posix())
    return target


# --- COCO --------------------------------------------------------------------------------------------------------

COCO_LICENCES = [
    {"id": 1, "name": "Attribution-NonCommercial-ShareAlike License", "url": "http://creativecommons.org/licenses/by-nc-sa/2.0/"},
    {"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"},
    {"id": 7, "name": "No known copyright restrictions", "url": "http://flickr.com/commons/usage/"},
]  # fmt: skip
COMPRESSED = rectangle(5, 6, 15, 20)


def coco_values() -> dict[str, Any]:
    """Three photos in the file's own order, 12, 9, 30, the last without annotations; every form of a mask."""
    crowd = rectangle(0, 20, 40, 30)
    two_parts = [corners(12, 2, 18, 10), corners(24, 12, 32, 24)]
    things = [
        _thing(101, 9, 17, [2, 3, 8, 9], [corners(2, 3, 10, 12)]),
        _thing(102, 9, 47, [12, 2, 20, 22], two_parts),
        _thing(103, 9, 1, [0, 20, 40, 10], runs(crowd), crowd=1),
        _thing(104, 12, 47, [5, 6, 10, 14], mask_to_rle(COMPRESSED)),
        {"id": 105, "image_id": 12, "category_id": 17, "bbox": [1, 1, 3.5, 4.25]},
        _thing(106, 12, 17, [20, 1, 4, 4], []),
        _thing(107, 555, 17, [1, 1, 3, 4], []),
    ]
    return {
        "info": {"description": "a set of three", "year": 2026},
        "licenses": COCO_LICENCES,
        "images": [
            {"id": 12, "file_name": "000012.png", "width": WIDTH, "height": HEIGHT, "license": 4, "flickr_url": "http://f/12"},
            {"id": 9, "file_name": "000009.jpg", "width": WIDTH, "height": HEIGHT, "license": 1, "coco_url": "http://c/9"},
            {"id": 30, "file_name": "000030.jpg", "width": WIDTH, "height": HEIGHT, "license": 7},
        ],
        "annotations": things,
        "categories": [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}, {"id": 47, "name": "cup"}],
    }  # fmt: skip


def _thing(
    ident: int, image: int, category: int, box: list[float], shape: Any, crowd: int = 0
) -> dict[str, Any]:
    return {
        "id": ident, "image_id": image, "category_id": category, "bbox": box, "segmentation": shape, "iscrowd": crowd,
    }  # fmt: skip


def coco_captions() -> dict[str, Any]:
    values = {key: value for key, value in coco_values().items() if key in ("info", "licenses", "images")}
    said = [(12, " a cup beside a cat"), (9, "a cat."), (12, "two cats"), (777, "nobody")]
    values["annotations"] = [
        {"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(said)
    ]
    return values


def write_coco(folder: Path) -> tuple[list[str], str]:
    """Annotation files and the pictures' folder."""
    (folder / "images").mkdir(parents=True)
    for seed, (name, format) in enumerate(
        (("000012.png", "PNG"), ("000009.jpg", "JPEG"), ("000030.jpg", "JPEG"))
    ):
        (folder / "images" / name).write_bytes(encoded(picture(seed), format))
    files = [folder / "instances_val2017.json", folder / "captions_val2017.json"]
    for path, values in zip(files, (coco_values(), coco_captions())):
        path.write_text(json.dumps(values))
    return [str(path) for path in files], str(folder / "images")


def with_annotation(folder: Path, image: dict[str, Any] | None = None, **fields: Any) -> PhotoSource:
    """COCO's set with one photo, a picture of 40 x 30, and one annotation of it."""
    values = coco_values()
    values["images"] = [
        {"id": 9, "file_name": "000009.jpg", "width": WIDTH, "height": HEIGHT} | (image or {})
    ]
    values["annotations"] = [
        {"id": 1, "image_id": 9, "category_id": 17, "bbox": [1, 1, 8, 8], "iscrowd": 0} | fields
    ]
    write_coco(folder)
    (folder / "one.json").write_text(json.dumps(values))
    return open_photos("coco", annotations=str(folder / "one.json"), images=str(folder / "images"))


# --- Open Images -------------------------------------------------------------------------------------------------

CUP, CAT = "/m/02p5f1q", "/m/01yrx"
OPEN_IMAGES_IDS = ("000a1249af2bc5f0", "0001eeaf4aed83f9", "00075905539074f2")


def _write_csv(path: Path, head: str, rows: list[list[Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head.split(","))
        writer.writerows(rows)
    return str(path)


def write_open_images(folder: Path) -> tuple[list[str], str, str]:
    """Annotation files, pictures, masks. Photos: a has a cup with a mask of twice the size and a group of cats, b a
    drawing and a mask without a box, c lies on its side."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    a, b, c = OPEN_IMAGES_IDS
    for seed, ident in enumerate(OPEN_IMAGES_IDS):
        (folder / "images" / f"{ident}.jpg").write_bytes(encoded(picture(seed), "JPEG"))
    large = rectangle(20, 12, 60, 48, 2 * WIDTH, 2 * HEIGHT)
    (folder / "masks" / f"{a}_m02p5f1q_1.png").write_bytes(encoded(Image.fromarray(large)))
    small = rectangle(0, 0, 10, 15, WIDTH // 2, HEIGHT // 2)
    (folder / "masks" / f"{b}_m01yrx_2.png").write_bytes(encoded(Image.fromarray(small)))
    flags = "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    files = [
        _write_csv(
            folder / "validation-annotations-bbox.csv",
            f"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,{flags}",
            [
                [a, "xclick", CAT, 1, 0.5, 1, 0, 0.5, 0, 1, 1, 0, 0],
                [a, "xclick", CUP, 1, 0.25, 0.75, 0.2, 0.8, 1, 0, 0, 0, -1],
                [b, "xclick", CUP, 1, 0.1, 0.2, 0.1, 0.2, -1, -1, -1, 1, -1],
                [c, "xclick", CAT, 1, 0.1, 0.2, 0.1, 0.2, 0, 0, 0, 0, 0],
            ],
        ),
        _write_csv(
            folder / "validation-annotations-object-segmentation.csv",
            "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks",
            [
                [f"{a}_m02p5f1q_1.png", a, CUP, "1", 0.25, 0.75, 0.2, 0.8, 0.9, "0.1 0.2 1"],
                [f"{b}_m01yrx_2.png", b, CAT, "2", 0, 0.5, 0, 1, 0.9, ""],
            ],
        ),
        _write_csv(
            folder / "oidv7-class-descriptions-boxable.csv",
            "LabelName,DisplayName",
            [[CUP, "Coffee cup"], [CAT, "Cat"]],
        ),
        _write_csv(
            folder / "validation-images-with-rotation.csv",
            "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,"
            "OriginalMD5,Thumbnail300KURL,Rotation",
            [
                _about(a, "by", "Ana", 0.0, title='a "cup",\nhers'),
                _about(b, "by-nd", "Ben", ""),
                _about(c, "by", "Cho", 270.0),
                _about("ffff", "by", "", ""),
            ],
        ),
    ]  # fmt: skip
    narratives = folder / "open_images_validation_captions.jsonl"
    said = [
        {"image_id": a, "caption": "In this picture we see a cup.  "},
        {"image_id": a, "caption": "A cup."},
    ]
    narratives.write_text("\n".join(json.dumps(line) for line in said))
    return [*files, str(narratives)], str(folder / "images"), str(folder / "masks")


def _about(ident: str, licence: str, author: str, rotation: Any, title: str = "") -> list[Any]:
    url = f"https://creativecommons.org/licenses/{licence}/2.0/"
    return [
        ident,
        "validation",
        f"https://example.org/{ident}.jpg",
        "",
        url,
        "",
        author,
        title,
        1,
        "",
        "",
        rotation,
    ]


# --- one's own ---------------------------------------------------------------------------------------------------


def manual_lines() -> list[dict[str, Any]]:
    return [
        {
            "file": "b/cup.png", "id": "b", "width": WIDTH, "height": HEIGHT,
            "objects": [
                {"id": "cup-1", "name": "cup", "polygon": [[2, 3], [10, 3], [10, 12], [2, 12]], "color": "red"},
                {"name": "spoon", "rle": runs(rectangle(20, 5, 24, 25)), "occluded": True},
                {"id": "cat", "name": "cat", "mask": "masks/cat.png", "truncated": True},
                {"name": "plate", "box": [1, 2, 30.5, 29]},
                {"name": "ring", "polygons": [[[30, 2], [36, 2], [36, 8], [30, 8]], [[30, 20], [36, 20], [36, 26]]]},
            ],
            "captions": ["a cup and a spoon", "a cup, a cat"],
            "license": "https://creativecommons.org/licenses/by/4.0/", "author": "Ana", "url": "https://example.org/b",
        },
        {"file": "a.jpg", "license": "CC0-1.0", "split": "train"},
    ]  # fmt: skip


def write_manual(folder: Path) -> tuple[str, str]:
    """The file of lines, in the pictures' folder, and that."""
    (folder / "b").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "b" / "cup.png").write_bytes(encoded(picture(1)))
    (folder / "a.jpg").write_bytes(encoded(picture(2), "JPEG"))
    (folder / "masks" / "cat.png").write_bytes(encoded(rectangle(0, 10, 12, 30)))
    lines = folder / "photos.jsonl"
    lines.write_text("\n\n".join(json.dumps(line) for line in manual_lines()) + "\n")
    return str(lines), str(folder)


# --- what comes out ----------------------------------------------------------------------------------------------


def objects(source: PhotoSource, index: int) -> dict[str, PhotoObject]:
    entry = source.entry(index)
    return {thing.id: thing for thing in source.objects(entry, decode_photo(source.read(entry)))}


def everything(source: PhotoSource) -> Iterator[tuple[Any, ...]]:
    """All that a source gives, in values that compare."""
    for index in range(len(source)):
        entry = source.entry(index)
        data = source.read(entry)
        yield tuple(getattr(entry, name) for name in entry.__slots__), data
        for thing in source.objects(entry, decode_photo(data)):
            values = {name: getattr(thing, name) for name in thing.__slots__}
            yield tuple(
                (values | {"mask": thing.mask is not None and mask_to_rle(thing.mask)["counts"]}).items()
            )


def reason(call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(PhotoError) as caught:
        call(*arguments, **more)
    assert "\n" not in str(caught.value)
    return caught.value.reason

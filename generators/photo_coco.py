"""COCO's annotations: instances and captions, in one file or several.

What is read of `instances_*.json` and `captions_*.json`: images (id, file_name, width, height, license; also author,
title, flickr_url, coco_url, url), licenses (id, name, url), categories (id, name), annotations (id, image_id,
category_id, bbox, iscrowd, segmentation: polygons of one or more parts, run lengths as numbers or compressed, or none;
and, as some tools write them, attributes: occluded, truncated, color; or caption). Files are read as streams;
coordinates are kept to a hundredth of a pixel.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from generators.files import opened
from generators.json_stream import BrokenJson, json_items
from generators.photo_files import Files, file_signature, identity_of, read_annotated
from generators.photo_licences import licence_name, refused
from generators.photo_shapes import Frame, frame_of, polygons_mask, rle_mask
from generators.photo_sources import Attribution, Kind, Mask, Photo, PhotoEntry, PhotoError, PhotoObject
from generators.photo_store import Groups, Numbered, Pool

_NONE, _POLYGONS, _RUNS, _COMPRESSED, _BROKEN = range(5)
_HUNDREDTHS = 100
_BAD = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError)
_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(-?dev)?\d*(?![a-z])")


class CocoPhotos:
    """A `PhotoSource`; see `open_photos`. skipped has also `photo_broken`, `annotation_broken` and
    `annotation_without_photo`, how many items of the files were left out."""

    kind: Kind = "coco"

    def __init__(self, annotations: Sequence[str], images: Files, licences: Sequence[str] | None) -> None:
        self._files, self._images, self._licences = list(annotations), images, licences
        reading = _Reading()
        for uri in annotations:
            reading.read(uri)
        self._pictures, skipped = reading.chosen(licences)
        self.skipped: Mapping[str, int] = skipped
        self._things, self._captions = reading.things, reading.captions
        self._categories, self._terms = reading.categories, reading.terms
        rows = np.full(len(reading.idents), -1, np.int32)
        rows[[picture.number for picture in self._pictures]] = np.arange(len(self._pictures))
        self._of = Groups(rows[np.asarray(reading.thing_photos, np.int32)], len(self._pictures))
        self._said = Groups(rows[np.asarray(reading.caption_photos, np.int32)], len(self._pictures))

    def __len__(self) -> int:
        return len(self._pictures)

    @cached_property
    def identity(self) -> str:
        files = [file_signature(uri) for uri in self._files]
        return identity_of([self.kind, files, self._licences, self._images.signature()])

    def entry(self, index: int) -> PhotoEntry:
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        picture = self._pictures[index]
        return PhotoEntry(
            index=index,
            id=picture.ident,
            source=self.kind,
            file=picture.file,
            width=picture.width,
            height=picture.height,
            names=tuple(sorted({self._category(thing) for thing in self._of.of(index)})),
            captions=tuple(self._captions[said].decode() for said in self._said.of(index)),
            license=self._terms[picture.licence],
            attribution=Attribution(picture.author, picture.url, picture.title),
            split=picture.split,
        )

    def read(self, entry: PhotoEntry) -> bytes:
        return read_annotated(self._images, entry.file)

    def objects(self, entry: PhotoEntry, photo: Photo) -> tuple[PhotoObject, ...]:
        frame = frame_of(photo, entry.width, entry.height, None)
        found: dict[str, PhotoObject] = {}
        for thing in self._of.of(entry.index):
            made = self._object(thing, frame)
            if made is not None and found.setdefault(made.id, made) is not made:
                raise PhotoError("annotation_broken", f"annotation {made.id} comes twice in photo {entry.id}")
        return tuple(found.values())

    def _object(self, thing: int, frame: Frame) -> PhotoObject | None:
        """None for one of which nothing is inside the picture."""
        things = self._things
        ident = things.names.get(thing, str(things.ids[thing]))
        what = f"annotation {ident}"
        mask = self._mask(thing, frame, what)
        left, top, right, bottom = things.boxes[4 * thing : 4 * thing + 4]
        box = frame.box((left, top, right, bottom), what)
        if box is None or (mask is not None and not mask.any()):
            return None
        return PhotoObject(
            ident,
            self._category(thing),
            box,
            mask,
            crowd=bool(things.crowds[thing]),
            truncated=_flag(things.truncated[thing]),
            occluded=_flag(things.occluded[thing]),
            color=things.colors.get(thing),
        )

    def _mask(self, thing: int, frame: Frame, what: str) -> Mask | None:
        kind, data = self._things.kinds[thing], self._things.shapes[thing]
        if kind == _NONE:
            return None
        if kind == _BROKEN:
            raise PhotoError(
                "annotation_broken", f"{what} has no box, or no mask, as COCO has them: {data.decode()}"
            )
        if kind == _COMPRESSED:
            height, width = np.frombuffer(data[:16], np.int64).tolist()
            return frame.mask(rle_mask(data[16:].decode(), (height, width), frame.size, what))
        numbers = np.frombuffer(data, np.int32)
        if kind == _RUNS:
            height, width = numbers[:2].tolist()
            return frame.mask(rle_mask(numbers[2:].astype(np.int64), (height, width), frame.size, what))
        count = int(numbers[0])
        parts = np.split(numbers[1 + count :] / _HUNDREDTHS, np.cumsum(numbers[1:count]))
        return frame.mask(polygons_mask(parts, frame.size, what))

    def _category(self, thing: int) -> str:
        number = self._things.categories[thing]
        return self._categories.get(number, f"category {number}")


@dataclass(frozen=True, slots=True)
class _Picture:
    """number: in the order of its first coming. licence: as the file has it."""

    number: int
    ident: str
    file: str
    width: int | None
    height: int | None
    licence: int | str | None
    author: str | None
    url: str | None
    title: str | None
    split: str | None


class _Things:
    """Columns of the annotations of things. boxes: xyxy, four each. occluded, truncated: -1 for unknown. names: ids
    that are no numbers."""

    def __init__(self) -> None:
        self.ids = array("q")
        self.names: dict[int, str] = {}
        self.categories = array("i")
        self.crowds, self.occluded, self.truncated = array("b"), array("b"), array("b")
        self.colors: dict[int, str] = {}
        self.kinds = array("b")
        self.boxes = array("d")
        self.shapes = Pool()

    def add(self, item: Mapping[str, Any]) -> None:
        """Raises one of _BAD for an item that cannot be told to be of any category."""
        category, crowd = int(item["category_id"]), bool(item.get("iscrowd", 0))
        try:
            kind, shape = _packed(item.get("segmentation"))
            left, top, width, height = (float(value) for value in item["bbox"])
            box = (left, top, left + width, top + height)
            if not all(map(isfinite, box)):
                raise ValueError("bbox is not finite")
        except _BAD as error:
            kind, shape, box = _BROKEN, f"{type(error).__name__} {error}"[:100].encode(), (0.0,) * 4
        about = item.get("attributes")
        about = about if isinstance(about, dict) else {}
        if isinstance(about.get("color"), str):
            self.colors[len(self.ids)] = about["color"]
        ident = item.get("id")
        if not isinstance(ident, int) or abs(ident) >= 2**63:
            self.names[len(self.ids)] = str(len(self.ids) if ident is None else ident)
            ident = -1
        self.ids.append(ident)
        self.categories.append(category)
        self.crowds.append(crowd)
        self.occluded.append(_tristate(about.get("occluded")))
        self.truncated.append(_tristate(about.get("truncated")))
        self.kinds.append(kind)
        self.boxes.extend(box)
        self.shapes.add(shape)


def _packed(shape: Any) -> tuple[int, bytes]:
    """A segmentation as bytes. Raises one of _BAD for what is none."""
    if not shape:
        return _NONE, b""
    if isinstance(shape, dict):
        height, width = (int(value) for value in shape["size"])
        counts = shape["counts"]
        if isinstance(counts, str):
            return _COMPRESSED, np.asarray([height, width], np.int64).tobytes() + counts.encode("ascii")
        return _RUNS, np.asarray([height, width, *counts], np.int32).tobytes()
    parts = [part for part in (shape if isinstance(shape[0], list) else [shape]) if part]
    if not parts:
        return _NONE, b""
    points = np.array(
        parts[0] if len(parts) == 1 else [value for part in parts for value in part], np.float64
    )
    points *= _HUNDREDTHS
    if points.ndim != 1 or not -(2**31) < points.min() <= points.max() < 2**31:  # false also for NaN
        raise ValueError("a polygon is x, y, x, y, ... of pixels")
    lengths = array("i", [len(parts), *map(len, parts)])
    return _POLYGONS, lengths.tobytes() + np.rint(points).astype(np.int32).tobytes()


class _Reading:
    """What the files hold, while they are read."""

    def __init__(self) -> None:
        self.idents: Numbered[Any] = Numbered()
        self.things, self.thing_photos = _Things(), array("i")
        self.captions, self.caption_photos = Pool(), array("i")
        self.categories: dict[int, str] = {}
        self._pictures: dict[int, _Picture] = {}
        self.terms: dict[int | str | None, str | None] = {}
        self._licences: dict[Any, str | None] = {}
        self._bad: Counter[str] = Counter()
        self._split: str | None = None

    def read(self, uri: str) -> None:
        """Raises PhotoError: `annotations_missing`, `annotations_broken`."""
        split = _SPLIT.search(uri.rpartition("/")[2])
        self._split = split[0] if split else None
        seen: set[str] = set()
        try:
            with opened(uri) as file:
                for key, item in json_items(file):
                    seen.add(key)
                    self._take(key, item)
        except FileNotFoundError:
            raise PhotoError("annotations_missing", f"{uri}: there is no such file") from None
        except BrokenJson as error:
            raise PhotoError("annotations_broken", f"{uri}: is no JSON of COCO's: {error}") from None
        if "images" not in seen or not self._pictures:
            raise PhotoError(
                "annotations_broken",
                f"{uri}: is no COCO file: JSON with images (id, file_name), annotations and categories",
            )

    def chosen(self, allowed: Sequence[str] | None) -> tuple[list[_Picture], dict[str, int]]:
        """Photos under these licences in the order of their ids, and how many items were left out, why."""
        skipped = Counter(self._bad)
        kept = []
        values = self.idents.values()
        numeric = all(isinstance(value, int) for value in values)
        reasons: dict[Any, str | None] = {}
        for number in sorted(self._pictures, key=lambda n: values[n] if numeric else str(values[n])):
            picture = self._pictures[number]
            if picture.licence not in reasons:  # a few of them, for many photos
                self.terms[picture.licence] = self._licence(picture.licence)
                reasons[picture.licence] = refused(self.terms[picture.licence], allowed)
            if reason := reasons[picture.licence]:
                skipped[reason] += 1
            else:
                kept.append(picture)
        there = np.zeros(len(values), bool)
        there[list(self._pictures)] = True
        lost = int(np.count_nonzero(~there[np.asarray(self.thing_photos, np.int32)]))
        skipped["annotation_without_photo"] += lost
        return kept, {reason: count for reason, count in sorted(skipped.items()) if count}

    def _licence(self, said: int | str | None) -> str | None:
        """What a photo's `license` means: a number of the file's table, or a name."""
        if isinstance(said, str) and said not in self._licences:
            return licence_name(said)
        return self._licences.get(said)

    def _take(self, key: str, item: Any) -> None:
        try:
            if key == "annotations":
                self._annotation(item)
            elif key == "images":
                self._image(item)
            elif key == "categories":
                self.categories[int(item["id"])] = str(item["name"])
            elif key == "licenses":
                self._licences[item["id"]] = licence_name(item.get("name"), item.get("url"))
        except _BAD:
            self._bad["photo_broken" if key == "images" else "annotation_broken"] += 1

    def _annotation(self, item: Any) -> None:
        number = self.idents.number(item["image_id"])
        if isinstance(item.get("caption"), str) and "category_id" not in item:
            self.captions.add(item["caption"].strip().encode("utf-8", "replace"))
            self.caption_photos.append(number)
        else:
            self.things.add(item)
            self.thing_photos.append(number)

    def _image(self, item: Any) -> None:
        file, width, height = str(item["file_name"]), item.get("width"), item.get("height")
        url = item.get("flickr_url") or item.get("coco_url") or item.get("url")
        number = self.idents.number(item["id"])
        picture = _Picture(
            number=number,
            ident=str(item["id"]),
            file=file,
            width=None if width is None else int(width),
            height=None if height is None else int(height),
            licence=licence if isinstance(licence := item.get("license"), int | str) else None,
            author=_text(item.get("author")),
            url=_text(url),
            title=_text(item.get("title")),
            split=_text(item.get("split")) or self._split,
        )
        self._pictures.setdefault(number, picture)  # files of captions list the same photos


def _tristate(value: Any) -> int:
    return int(value) if isinstance(value, bool) or value in (0, 1) else -1


def _flag(value: int) -> bool | None:
    return None if value < 0 else bool(value)


def _text(value: Any) -> str | None:
    return str(value) if value else None

"""Annotated photos, one at a time: what the pairs from photos are made of.

One small interface over COCO, Open Images and folders of one's own. A source is opened once per worker; it holds the
annotations as compact arrays and reads pictures one by one, by their index, so that units can take ranges of indices:

    source = open_photos("coco", annotations=["instances_val2017.json", "captions_val2017.json"], images="val2017.zip")
    for index in unit.rows:
        entry = source.entry(index)
        try:
            photo = decode_photo(source.read(entry))
            objects = source.objects(entry, photo)
        except PhotoError as error:
            ...  # error.reason is a short stable word

The order of photos is that of their ids and the same every time. Nothing is moved here; that is `generators.photos`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
Kind = Literal["coco", "open_images", "manual"]

MAX_PIXELS = 100_000_000  # of a picture: 300 MB decoded


class PhotoError(Exception):
    """A photo or a source that cannot be used. reason: a short stable word, to be counted; message: one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded picture as it is to be looked at. rgb: (h, w, 3) uint8, sRGB, EXIF orientation applied.

    orientation: EXIF's number of what was applied, 1 for none. stored: width and height in the file, before that.
    """

    rgb: Pixels
    orientation: int
    stored: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoObject:
    """A thing in a photo.

    id: unique in its photo. name: the category, as the source calls it. box: xyxy, half-open, pixels of `Photo.rgb`,
    within it. mask: (h, w) bool, of the shape of `Photo.rgb`; None where the source has only a box. crowd: one mask
    over many things (COCO). group: one box around many (Open Images). truncated: goes on beyond the frame. occluded:
    something stands before it. depiction: a drawing or a toy of the thing. inside: seen from within. None: unknown.
    color: a key of the vocabulary, where somebody said it.
    """

    id: str
    name: str
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    group: bool | None = None
    truncated: bool | None = None
    occluded: bool | None = None
    depiction: bool | None = None
    inside: bool | None = None
    color: str | None = None


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whom to name, as far as the source says."""

    author: str | None = None
    url: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PhotoEntry:
    """A photo as it is listed; neither pixels nor masks are read.

    id: unique in its source. file: its name among the images. width, height: pixels as annotated, None where nobody
    says. names: the categories of its objects, sorted, each once. captions: as written. license: SPDX where it is
    known, else what the source calls it, None where nobody says. split: of the source ("train"), None where unknown.
    """

    index: int
    id: str
    source: Kind
    file: str
    width: int | None
    height: int | None
    names: tuple[str, ...]
    captions: tuple[str, ...]
    license: str | None
    attribution: Attribution = field(default_factory=Attribution)
    split: str | None = None


class PhotoSource(Protocol):
    """Photos by index. kind: what the pairs' column `source` says. skipped: how many were left out on opening, by
    reason: `licence_not_allowed`, `licence_unknown`, `rotated`; and of broken items, `photo_broken`,
    `annotation_broken`, `annotation_without_photo`. identity: a hash of the inputs: names and sizes of files, without
    where they lie, of zips also the checksums."""

    @property
    def kind(self) -> Kind: ...

    @property
    def skipped(self) -> Mapping[str, int]: ...

    @property
    def identity(self) -> str: ...

    def __len__(self) -> int: ...

    def entry(self, index: int) -> PhotoEntry:
        """Raises IndexError."""
        ...

    def read(self, entry: PhotoEntry) -> bytes:
        """The picture's file. Raises PhotoError: `image_missing`, `image_too_large`, `image_broken` (of an archive)."""
        ...

    def objects(self, entry: PhotoEntry, photo: Photo) -> tuple[PhotoObject, ...]:
        """Its things, in the source's order, on the pixels of `photo.rgb`.

        Raises PhotoError where the annotation does not fit the picture: `size_differs`, `orientation_unclear`,
        `mask_too_large`, `mask_wrong_size`, `mask_broken`, `mask_missing`, `box_outside`, `annotation_broken`.
        """
        ...


def open_photos(
    kind: str,
    *,
    annotations: str | Sequence[str],
    images: str | Sequence[str],
    masks: str | Sequence[str] = (),
    licences: Sequence[str] | None = None,
) -> PhotoSource:
    """The photos of a data set, from paths or `s3://...`.

    kind: "coco", "open_images", "manual". annotations: the files of the set's own format, in any order; each says by
    its content what it is. images, masks: a folder, a zip, several of them, or `package:skimage/data`, the data of an
    installed package. masks: Open Images' PNG files. licences: those that are allowed, None for all: "CC-BY-2.0" is
    that one, "CC-BY" every version of it; photos under others, or of which nobody says, are left out and counted.

    Raises PhotoError: `bad_source`, `annotations_missing`, `annotations_broken`, `images_missing`.
    """
    from generators.photo_files import open_files

    files = [annotations] if isinstance(annotations, str) else list(annotations)
    if not files:
        raise PhotoError("annotations_missing", "no file of annotations is named")
    pictures = open_files(images)
    shapes = open_files(masks) if masks else None
    if kind == "coco":
        from generators.photo_coco import CocoPhotos

        return CocoPhotos(files, pictures, licences)
    if kind == "open_images":
        from generators.photo_open_images import OpenImagesPhotos

        return OpenImagesPhotos(files, pictures, shapes, licences)
    if kind == "manual":
        from generators.photo_manual import ManualPhotos

        return ManualPhotos(files, pictures, shapes, licences)
    raise PhotoError("bad_source", f"{kind!r} is not one of coco, open_images, manual")

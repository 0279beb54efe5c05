"""Annotated photos, one at a time: the interface that COCO, Open Images and folders of one's own are read by.

`generators.photo_open` opens a source and shows how one is used. The order of photos is that of their ids and the same
every time. Nothing is moved here; that is `generators.photos`.
"""

from __future__ import annotations

from collections.abc import Mapping
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

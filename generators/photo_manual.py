"""Photos and annotations of one's own: a file of JSON lines, one photo in each; docs/photos-format.md describes it.

Whoever writes such a file can mend it, so a line that is wrong is an error that names the line and the key, at once.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, cast

import numpy as np
import pyarrow.fs as fs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from generators.files import filesystem, opened
from generators.photo_files import Files, identity_of, open_files, read_annotated
from generators.photo_licences import licence_name, refused
from generators.photo_shapes import Frame, file_mask, frame_of, polygons_mask, rle_mask
from generators.photo_sources import Attribution, Kind, Mask, Photo, PhotoEntry, PhotoError, PhotoObject
from generators.photo_store import Pool
from spatial.view import mask_box

ANNOTATIONS = "photos.jsonl"  # within a folder or zip that is given in place of the file

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Point = tuple[FiniteFloat, FiniteFloat]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Runs(_Model):
    """COCO's run lengths. size: height and width. counts: numbers, or compressed."""

    size: tuple[int, int]
    counts: str | list[int]


class Thing(_Model):
    """One of polygon, polygons, rle, mask; box alone where there is no mask."""

    name: Text
    id: Text | None = None
    polygon: Annotated[list[Point], Field(min_length=3)] | None = None
    polygons: list[Annotated[list[Point], Field(min_length=3)]] | None = None
    rle: Runs | None = None
    mask: Text | None = None
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    color: Text | None = None
    crowd: bool = False
    group: bool | None = None
    truncated: bool | None = None
    occluded: bool | None = None
    depiction: bool | None = None
    inside: bool | None = None

    @model_validator(mode="after")
    def _has_a_shape(self) -> Thing:
        shapes = [name for name in ("polygon", "polygons", "rle", "mask") if getattr(self, name) is not None]
        if len(shapes) > 1:
            raise ValueError(f"has {' and '.join(shapes)}: one of them is enough")
        if not shapes and self.box is None:
            raise ValueError("has neither polygon, polygons, rle, mask nor box")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("box is left, top, right, bottom, in this order and with something in between")
        return self


class Line(_Model):
    """A photo."""

    file: Text
    id: Text | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    height: Annotated[int, Field(gt=0)] | None = None
    objects: list[Thing] = []
    captions: list[Text] = []
    license: Text | None = None
    author: Text | None = None
    url: Text | None = None
    title: Text | None = None
    split: Text | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Line:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        ids = Counter(thing.id for thing in self.objects if thing.id is not None)
        if twice := [ident for ident, count in ids.items() if count > 1]:
            raise ValueError(f"objects: the id {twice[0]!r} comes twice")
        return self


class ManualPhotos:
    """A `PhotoSource`; see `open_photos`."""

    kind: Kind = "manual"

    def __init__(
        self, annotations: Sequence[str], images: Files, masks: Files | None, licences: Sequence[str] | None
    ) -> None:
        self._files, self._images, self._masks, self._licences = annotations, images, masks, licences
        found: dict[str, bytes] = {}
        skipped: Counter[str] = Counter()
        for uri in annotations:
            for number, text in _lines(uri):
                line = _checked(text, f"{uri}:{number}")
                ident = line.id or line.file
                if ident in found:
                    raise PhotoError("annotations_broken", f"{uri}:{number}: the photo {ident!r} comes twice")
                reason = refused(licence_name(line.license), licences)
                found[ident] = b"" if reason else text
                skipped[reason or ""] += 1
        del skipped[""]
        self.skipped: Mapping[str, int] = dict(sorted(skipped.items()))
        self._lines = Pool()
        for ident in sorted(found):
            if found[ident]:
                self._lines.add(found[ident])

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def identity(self) -> str:
        lines = [self._lines[number] for number in range(len(self))]
        masks = self._masks.signature() if self._masks else None
        return identity_of([self.kind, lines, self._images.signature(), masks])

    def entry(self, index: int) -> PhotoEntry:
        line = self._line(index)
        return PhotoEntry(
            index=index,
            id=line.id or line.file,
            source=self.kind,
            file=line.file,
            width=line.width,
            height=line.height,
            names=tuple(sorted({thing.name for thing in line.objects})),
            captions=tuple(line.captions),
            license=licence_name(line.license),
            attribution=Attribution(line.author, line.url, line.title),
            split=line.split,
        )

    def read(self, entry: PhotoEntry) -> bytes:
        return read_annotated(self._images, entry.file)

    def objects(self, entry: PhotoEntry, photo: Photo) -> tuple[PhotoObject, ...]:
        frame = frame_of(photo, entry.width, entry.height, "shown")
        found = []
        for number, thing in enumerate(self._line(entry.index).objects):
            made = self._object(thing, thing.id or f"object-{number}", frame)
            if made is not None:
                found.append(made)
        return tuple(found)

    def _line(self, index: int) -> Line:
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        return Line.model_validate_json(self._lines[index])

    def _object(self, thing: Thing, ident: str, frame: Frame) -> PhotoObject | None:
        """None for one of which nothing is inside the picture."""
        what = f"{ident} ({thing.name})"
        mask = self._mask(thing, frame, what)
        if mask is not None and not mask.any():
            return None
        if thing.box is not None:
            box = frame.box(thing.box, what)
        else:
            assert mask is not None
            left, top, right, bottom = mask_box(mask)
            box = (float(left), float(top), float(right), float(bottom))
        if box is None:
            return None
        return PhotoObject(
            ident,
            thing.name,
            box,
            mask,
            crowd=thing.crowd,
            group=thing.group,
            truncated=thing.truncated,
            occluded=thing.occluded,
            depiction=thing.depiction,
            inside=thing.inside,
            color=thing.color,
        )

    def _mask(self, thing: Thing, frame: Frame, what: str) -> Mask | None:
        if thing.rle is not None:
            return frame.mask(rle_mask(thing.rle.counts, thing.rle.size, frame.size, what))
        if thing.mask is not None:
            data = (self._masks or self._images).read(thing.mask)
            if data is None:
                raise PhotoError("mask_missing", f"{what}: there is no mask {thing.mask}")
            return frame.mask(file_mask(data, frame.size, what, scaled=False))
        rings = [thing.polygon] if thing.polygon is not None else thing.polygons
        if rings is None:
            return None
        parts = [np.asarray(ring, np.float64).ravel() for ring in rings]
        return frame.mask(polygons_mask(parts, frame.size, what))


def _lines(uri: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, and their numbers, of a file, or of the one in a folder or zip."""
    system, path = filesystem(uri)
    if uri.endswith(".zip") or system.get_file_info(path).type == fs.FileType.Directory:
        data = open_files(uri).read(ANNOTATIONS)
        file: io.BufferedIOBase | None = None if data is None else io.BytesIO(data)
    else:
        try:
            file = opened(uri)
        except FileNotFoundError:
            file = None
    if file is None:
        raise PhotoError("annotations_missing", f"{uri}: there is no such file, nor {ANNOTATIONS} in it")
    with io.BufferedReader(cast(Any, file)) as buffered:
        for number, line in enumerate(buffered, 1):
            if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield number, text


def _checked(text: bytes, where: str) -> Line:
    try:
        return Line.model_validate_json(text)
    except ValidationError as error:
        first: Mapping[str, Any] = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = "is no key of it" if first["type"] == "extra_forbidden" else first["msg"]
        raise PhotoError("annotations_broken", f"{where}: {place}{': ' if place else ''}{said}") from None

"""Open Images' annotations, as version 7 (and 4 to 6) has them.

The files are told apart by their first line: boxes (`*-annotations-bbox.csv`), masks (`*-annotations-object-
segmentation.csv`, their PNG files beside it or in zips), names of classes (`*class-descriptions*.csv`), images
(`*-images-with-rotation.csv`: licence, author, rotation), localized narratives (JSON lines: captions). Of a photo only
what the boxes or masks name is listed. Boxes are fractions of the picture as it is stored, so any size of it will do;
masks are scaled to it. Photos that lie on their side (a `Rotation` of 90, 180 or 270) are left out: left is not left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
from numpy.typing import NDArray

from generators.files import SourceError, json_lines, opened
from generators.photo_files import Files, file_signature, identity_of, read_annotated
from generators.photo_licences import licence_name, refused
from generators.photo_shapes import Frame, file_mask, frame_of
from generators.photo_sources import Attribution, Kind, Mask, Photo, PhotoEntry, PhotoError, PhotoObject
from generators.photo_store import Groups

_SIDES = ("XMin", "YMin", "XMax", "YMax")
_BOX_SIDES = tuple(f"Box{side}" for side in _SIDES)
_FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
_ABOUT = ("OriginalURL", "License", "Author", "Title", "Subset")
_SAME = 1e-4  # a mask tells its box by coordinates, which the two files round alike
_SPLIT = re.compile(r"^(?:oidv\d+-)?(train|validation|test)\b")


class OpenImagesPhotos:
    """A `PhotoSource`; see `open_photos`. skipped has also `rotated`."""

    kind: Kind = "open_images"

    def __init__(
        self, annotations: Sequence[str], images: Files, masks: Files | None, licences: Sequence[str] | None
    ) -> None:
        self._files, self._images, self._mask_files, self._licences = annotations, images, masks, licences
        tables = _Tables(annotations)
        self._names = tables.names
        everything = tables.photos()
        kept, self._about, skipped = _chosen(everything, tables.about(everything), licences)
        self.skipped: Mapping[str, int] = skipped
        self._photos = everything.take(kept)
        boxes, shapes = tables.boxes, tables.masks
        self._boxes, self._masks = _Columns(boxes, self._photos), _Columns(shapes, self._photos)
        self._captions = tables.captions
        self._split = tables.split

    def __len__(self) -> int:
        return len(self._photos)

    @cached_property
    def identity(self) -> str:
        files = [file_signature(uri) for uri in self._files]
        masks = self._mask_files.signature() if self._mask_files else None
        return identity_of([self.kind, files, self._licences, self._images.signature(), masks])

    def entry(self, index: int) -> PhotoEntry:
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        ident = self._photos[index].as_py()
        about = {name: column[index].as_py() for name, column in self._about.items()}
        labels = {table.label(row) for table in (self._boxes, self._masks) for row in table.of(index)}
        return PhotoEntry(
            index=index,
            id=ident,
            source=self.kind,
            file=f"{ident}.jpg",
            width=None,
            height=None,
            names=tuple(sorted({self._names.get(label, label) for label in labels})),
            captions=tuple(self._captions.get(ident, ())),
            license=about["License"],
            attribution=Attribution(about["Author"], about["OriginalURL"], about["Title"]),
            split=about["Subset"] or self._split,
        )

    def read(self, entry: PhotoEntry) -> bytes:
        return read_annotated(self._images, entry.file)

    def objects(self, entry: PhotoEntry, photo: Photo) -> tuple[PhotoObject, ...]:
        frame = frame_of(photo, None, None, "stored")
        shapes = list(self._masks.of(entry.index))
        found = []
        for number, row in enumerate(self._boxes.of(entry.index)):
            shape = self._mask_of(row, shapes)
            found.append(self._object(f"box-{number}", self._boxes, row, shape, frame))
        # Masks of boxes that the other file lacks.
        for number, shape in enumerate(shapes):
            found.append(self._object(f"mask-{number}", self._masks, shape, shape, frame))
        return tuple(thing for thing in found if thing is not None)

    def _mask_of(self, box: int, shapes: list[int]) -> int | None:
        """The mask's row for a box's, taken out of `shapes`."""
        for shape in shapes:
            same = np.abs(self._masks.sides[shape] - self._boxes.sides[box]).max() < _SAME
            if same and self._masks.label(shape) == self._boxes.label(box):
                shapes.remove(shape)
                return shape
        return None

    def _object(
        self, ident: str, table: _Columns, row: int, shape: int | None, frame: Frame
    ) -> PhotoObject | None:
        """None for one of which nothing is inside the picture."""
        name = self._names.get(table.label(row), table.label(row))
        width, height = frame.size
        sides = table.sides[row].astype(np.float64) * [width, height, width, height]
        left, top, right, bottom = np.round(sides, 3).tolist()
        box = frame.box((left, top, right, bottom), f"{ident} ({name})")
        mask = None if shape is None else self._mask(shape, frame)
        if box is None or (mask is not None and not mask.any()):
            return None
        occluded, truncated, group, depiction, inside = table.flags[row].tolist()
        return PhotoObject(
            ident,
            name,
            box,
            mask,
            group=_flag(group),
            truncated=_flag(truncated),
            occluded=_flag(occluded),
            depiction=_flag(depiction),
            inside=_flag(inside),
        )

    def _mask(self, shape: int, frame: Frame) -> Mask | None:
        if self._mask_files is None:
            return None
        name = self._masks.path(shape)
        data = self._mask_files.read(name)
        if data is None:
            raise PhotoError("mask_missing", f"{name} is annotated, but not among the masks")
        return frame.mask(file_mask(data, frame.size, name, scaled=True))


def _flag(value: int) -> bool | None:
    return None if value < 0 else bool(value)


class _Columns:
    """Boxes or masks in compact columns, by photo. sides: (n, 4) float32, xyxy, fractions of the picture. flags: (n, 5)
    int8, -1 for unknown, in the order of _FLAGS."""

    def __init__(self, table: pa.Table, photos: pa.Array) -> None:
        rows = pc.index_in(table["ImageID"], value_set=photos).combine_chunks()
        self._groups = Groups(pc.fill_null(rows, -1).to_numpy(zero_copy_only=False), len(photos))
        self._labels = pc.dictionary_encode(table["LabelName"]).combine_chunks()
        self._paths = table["MaskPath"].combine_chunks()
        self.sides = _stacked(table, _SIDES, np.float32)
        self.flags = _stacked(table, _FLAGS, np.int8)

    def of(self, photo: int) -> Iterator[int]:
        return self._groups.of(photo)

    def label(self, row: int) -> str:
        return str(self._labels[row].as_py())

    def path(self, row: int) -> str:
        return str(self._paths[row].as_py())


def _stacked(table: pa.Table, names: Sequence[str], dtype: Any) -> NDArray[Any]:
    return np.stack([table[name].to_numpy().astype(dtype) for name in names], axis=1)


class _Tables:
    """What the files hold. boxes, masks: ImageID, LabelName, the sides and flags, MaskPath."""

    def __init__(self, annotations: Sequence[str]) -> None:
        self.names: dict[str, str] = {}
        self.captions: dict[str, list[str]] = {}
        self.split: str | None = None
        self._images: list[str] = []
        found: dict[str, list[pa.Table]] = {"boxes": [], "masks": []}
        for uri in annotations:
            kind = _kind_of(uri)
            if kind == "boxes":
                found[kind].append(_boxes(uri))
                split = _SPLIT.search(uri.rpartition("/")[2])
                self.split = split[1] if split else self.split
            elif kind == "masks":
                found[kind].append(_masks(uri))
            elif kind == "classes":
                self.names |= dict(_classes(uri))
            elif kind == "narratives":
                self._narratives(uri)
            else:
                self._images.append(uri)
        if not found["boxes"] and not found["masks"]:
            raise PhotoError(
                "annotations_missing",
                "no file of boxes or masks is among the annotations (train-annotations-bbox.csv)",
            )
        self.boxes = pa.concat_tables(found["boxes"]) if found["boxes"] else _EMPTY
        self.masks = pa.concat_tables(found["masks"]) if found["masks"] else _EMPTY

    def photos(self) -> pa.Array:
        """Ids of all photos with boxes or masks, sorted."""
        ids = [pc.unique(table["ImageID"]) for table in (self.boxes, self.masks)]
        whole = pc.unique(pa.concat_arrays([part.cast(pa.string()) for part in ids]))
        return whole.take(pc.sort_indices(whole))

    def about(self, photos: pa.Array) -> pa.Table:
        """What the image files say, of these photos alone and in their order; null where they say nothing."""
        columns = [*_ABOUT, "Rotation"]
        batches = [
            batch.filter(pc.is_in(batch["ImageID"], value_set=photos))
            for uri in self._images
            for batch in _batches(uri, ["ImageID"], optional=columns, strings=columns)
        ]
        if not batches:
            nothing = pa.nulls(len(photos), pa.string())
            return pa.table(dict.fromkeys(columns, nothing))
        table = pa.Table.from_batches(batches)
        return table.take(pc.index_in(photos, value_set=table["ImageID"].combine_chunks())).select(columns)

    def _narratives(self, uri: str) -> None:
        try:
            for line in json_lines(uri):
                if isinstance(line.get("caption"), str):
                    self.captions.setdefault(str(line.get("image_id")), []).append(line["caption"].strip())
        except SourceError as error:
            raise PhotoError("annotations_broken", str(error)) from None


def _chosen(
    photos: pa.Array, about: pa.Table, allowed: Sequence[str] | None
) -> tuple[NDArray[np.int64], dict[str, pa.Array], dict[str, int]]:
    """Numbers of the photos that stay, what is said of them, and how many were left out, why."""
    skipped: Counter[str] = Counter()
    licences = [licence_name(None, url) for url in about["License"].to_pylist()]
    kept = []
    for number, (licence, rotation) in enumerate(zip(licences, about["Rotation"].to_pylist())):
        reason = "rotated" if rotation and float(rotation) else refused(licence, allowed)
        if reason:
            skipped[reason] += 1
        else:
            kept.append(number)
    numbers = np.asarray(kept, np.int64)
    columns = {name: about[name].combine_chunks().take(pa.array(numbers)) for name in _ABOUT}
    columns["License"] = pa.array([licences[n] for n in kept], pa.string()).dictionary_encode()
    return numbers, columns, dict(sorted(skipped.items()))


# --- files -----------------------------------------------------------------------------------------------------------

_EMPTY = pa.table(
    {"ImageID": pa.array([], pa.string()), "LabelName": pa.array([], pa.string())}
    | {name: pa.array([], pa.float32()) for name in _SIDES}
    | {name: pa.array([], pa.int8()) for name in _FLAGS}
    | {"MaskPath": pa.array([], pa.string())}
)


def _kind_of(uri: str) -> str:
    try:
        with opened(uri) as file:
            first = file.read(4096).decode("utf-8-sig", "replace").lstrip()
    except FileNotFoundError:
        raise PhotoError("annotations_missing", f"{uri}: there is no such file") from None
    names = set(first.partition("\n")[0].strip().split(","))
    if first.startswith("{"):
        return "narratives"
    if {"MaskPath", "ImageID", "LabelName", *_BOX_SIDES} <= names:
        return "masks"
    if {"ImageID", "LabelName", *_SIDES} <= names:
        return "boxes"
    if {"ImageID", "License"} <= names or {"ImageID", "Rotation"} <= names:
        return "images"
    if names == {"LabelName", "DisplayName"} or first.startswith(("/m/", "/g/", "/t/")):
        return "classes"
    raise PhotoError(
        "annotations_broken",
        f"{uri}: is no file of Open Images: boxes, masks, class descriptions, images with rotation, or narratives",
    )


def _batches(
    uri: str, needed: Sequence[str], *, optional: Sequence[str] = (), strings: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The columns of a CSV file, batch by batch; optional ones are null where the file has none."""
    numbers = {name: pa.float32() for name in (*_SIDES, *_BOX_SIDES)}
    flags = {name: pa.int8() for name in _FLAGS}
    texts = dict.fromkeys(("ImageID", "LabelName", "MaskPath", *strings), pa.string())
    options = csv.ConvertOptions(
        include_columns=[*needed, *optional],
        include_missing_columns=True,
        column_types=numbers | flags | texts,
        strings_can_be_null=True,
        null_values=["", "nan", "NaN"],
    )
    # Titles may hold quoted line breaks; a line of another number of fields is left out.
    parse = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    try:
        with opened(uri) as file, csv.open_csv(file, parse_options=parse, convert_options=options) as reader:
            for batch in reader:
                if any(batch[name].null_count for name in needed):
                    batch = batch.filter(_present(batch, needed))
                yield batch
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise PhotoError("annotations_broken", f"{uri}: {str(error).splitlines()[0]}") from None


def _present(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    there = pc.is_valid(batch[names[0]])
    for name in names[1:]:
        there = pc.and_(there, pc.is_valid(batch[name]))
    return there


def _boxes(uri: str) -> pa.Table:
    batches = _batches(uri, ["ImageID", "LabelName", *_SIDES], optional=_FLAGS)
    return _as_rows(batches, dict(zip(_SIDES, _SIDES)))


def _masks(uri: str) -> pa.Table:
    batches = _batches(uri, ["MaskPath", "ImageID", "LabelName", *_BOX_SIDES])
    return _as_rows(batches, dict(zip(_SIDES, _BOX_SIDES)))


def _as_rows(batches: Iterator[pa.RecordBatch], sides: Mapping[str, str]) -> pa.Table:
    """Tables of the schema of _EMPTY. Flags that are missing are unknown."""
    parts = [_EMPTY]
    for batch in batches:
        there = set(batch.schema.names)
        columns = {"ImageID": batch["ImageID"], "LabelName": batch["LabelName"]}
        columns |= {name: batch[column] for name, column in sides.items()}
        for name in _FLAGS:
            known = name in there and batch[name].type == pa.int8()
            flags = batch[name] if known else pa.nulls(len(batch), pa.int8())
            columns[name] = pc.fill_null(flags, pa.scalar(-1, pa.int8()))
        columns["MaskPath"] = batch["MaskPath"] if "MaskPath" in there else pa.nulls(len(batch), pa.string())
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _classes(uri: str) -> Iterator[tuple[str, str]]:
    with opened(uri) as file:
        text = file.read().decode("utf-8-sig", "replace")
    for line in text.splitlines():
        label, _, name = line.partition(",")
        if label != "LabelName" and name:
            yield label, name.strip().strip('"')

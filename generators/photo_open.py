"""Opens a source of annotated photos: COCO, Open Images or a folder of one's own.

A source is opened once per worker; it holds the annotations as compact arrays and reads pictures one by one, by their
index, so that units can take ranges of indices:

    source = open_photos("coco", annotations=["instances_val2017.json", "captions_val2017.json"], images="val2017.zip")
    for index in unit.rows:
        entry = source.entry(index)
        try:
            photo = decode_photo(source.read(entry))
            objects = source.objects(entry, photo)
        except PhotoError as error:
            ...  # error.reason is a short stable word
"""

from __future__ import annotations

from collections.abc import Sequence

from generators.photo_coco import CocoPhotos
from generators.photo_files import open_files
from generators.photo_manual import ManualPhotos
from generators.photo_open_images import OpenImagesPhotos
from generators.photo_sources import PhotoError, PhotoSource


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
    files = [annotations] if isinstance(annotations, str) else list(annotations)
    if not files:
        raise PhotoError("annotations_missing", "no file of annotations is named")
    pictures = open_files(images)
    shapes = open_files(masks) if masks else None
    if kind == "coco":
        return CocoPhotos(files, pictures, licences)
    if kind == "open_images":
        return OpenImagesPhotos(files, pictures, shapes, licences)
    if kind == "manual":
        return ManualPhotos(files, pictures, shapes, licences)
    raise PhotoError("bad_source", f"{kind!r} is not one of coco, open_images, manual")

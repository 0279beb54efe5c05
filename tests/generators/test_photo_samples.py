"""The photos that scikit-image brings, outlined by hand: whose they are, and that the outlines lie on the things."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np

from generators.files import opened
from generators.photo_decode import decode_photo
from generators.photo_licences import ADAPTABLE
from generators.photo_nouns import photo_noun
from generators.photo_open import open_photos
from generators.photo_sources import PhotoSource
from shards.images import rle_to_mask
from tests.generators.photo_sets import objects

ANNOTATIONS = "package:generators/sample_photos.json"


def samples(images: str) -> PhotoSource:
    return open_photos("coco", annotations=ANNOTATIONS, images=images, licences=ADAPTABLE)


def listed() -> dict[str, list[dict]]:
    with opened(ANNOTATIONS) as file:
        return json.load(file)


def test_each_says_whose_it_is_under_which_terms_and_what_it_shows(tmp_path):
    source = samples(str(tmp_path))
    entries = [source.entry(index) for index in range(len(source))]
    assert len(entries) == 7 and source.skipped == {}
    for entry in entries:
        assert (
            entry.license and entry.attribution.author and entry.attribution.url and len(entry.captions) == 2
        )
    names = {name for entry in entries for name in entry.names}
    # The word "camera" is the viewer's in an instruction, so the one in the picture has no noun.
    assert {name for name in names if photo_noun(name, "coco") is None} == {"camera"}


def test_things_do_not_share_pixels_and_fill_their_boxes():
    values = listed()
    things = [item for item in values["annotations"] if "segmentation" in item]
    assert len(things) == 41
    for image in values["images"]:
        covered = np.zeros((image["height"], image["width"]), int)
        for thing in (item for item in things if item["image_id"] == image["id"]):
            mask = rle_to_mask(thing["segmentation"])
            covered += mask
            left, top, width, height = thing["bbox"]
            inside = mask[top : top + height, left : left + width]
            assert mask.sum() == thing["area"] == inside.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert covered.max() == 1, image["file_name"]


def test_the_pictures_are_those_that_were_outlined():
    source = samples("package:skimage/data")
    known = {image["file_name"]: image["sha256"] for image in listed()["images"]}
    for index in range(len(source)):
        entry = source.entry(index)
        assert hashlib.sha256(source.read(entry)).hexdigest() == known[entry.file], entry.file
        assert objects(source, index)


def test_outlines_lie_on_edges():
    """Along an outline the picture changes more than along the same outline moved aside."""
    source = samples("package:skimage/data")
    for index in range(len(source)):
        photo = decode_photo(source.read(source.entry(index)))
        gray = cv2.GaussianBlur(cv2.cvtColor(photo.rgb, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(float)
        steep = np.hypot(cv2.Sobel(gray, cv2.CV_64F, 1, 0), cv2.Sobel(gray, cv2.CV_64F, 0, 1))
        for thing in objects(source, index).values():
            if thing.name in (
                "tower",
                "clock",
            ):  # lattices, outlined as a whole; a blur, outlined where it ends
                continue
            mask = thing.mask.astype(np.uint8)
            rim = (cv2.dilate(mask, np.ones((3, 3))) - cv2.erode(mask, np.ones((3, 3)))).astype(bool)
            rim[[0, 1, -2, -1]] = rim[:, [0, 1, -2, -1]] = False  # the frame is no outline
            aside = [np.roll(rim, (dy, dx), (0, 1)) for dx in (-6, 6) for dy in (-6, 6)]
            assert steep[rim].mean() > 1.1 * max(steep[moved].mean() for moved in aside), (index, thing.id)

"""Masks and boxes lie on their things, whatever a camera says of its orientation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from generators.photo_decode import decode_photo, oriented
from generators.photo_open import open_photos
from tests.generators.photo_sets import (
    OPEN_IMAGES_IDS,
    encoded,
    objects,
    picture,
    reason,
    rectangle,
    runs,
    with_annotation,
    write_manual,
    write_open_images,
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("annotated", ["stored", "shown"])
def test_masks_lie_on_their_things_whatever_the_orientation(orientation, annotated, tmp_path):
    """The thing is a white block on black: under its mask there must be nothing else."""
    stored = rectangle(3, 5, 11, 9)
    shown = oriented(stored, orientation)
    counted = stored if annotated == "stored" else shown
    rows, columns = np.nonzero(counted)
    box = [int(n) for n in (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)]
    size = {"width": counted.shape[1], "height": counted.shape[0], "file_name": "block.png"}
    source = with_annotation(tmp_path, size, bbox=box, segmentation=runs(counted))
    white = np.repeat(stored[..., None] * np.uint8(255), 3, axis=2)
    (tmp_path / "images" / "block.png").write_bytes(encoded(white, "PNG", orientation))
    if orientation in (2, 3, 4):  # sizes tell nothing
        assert reason(objects, source, 0) == "orientation_unclear"
        return
    photo = decode_photo(source.read(source.entry(0)))
    (thing,) = objects(source, 0).values()
    assert np.array_equal(thing.mask, photo.rgb[..., 0] > 0) and thing.mask.shape == photo.rgb.shape[:2]
    left, top, right, bottom = map(int, thing.box)
    assert photo.rgb[top:bottom, left:right].all() and (right - left) * (bottom - top) == stored.sum()


def test_a_picture_of_another_size_than_annotated_is_refused(tmp_path):
    source = with_annotation(tmp_path, {"width": 80, "height": 60}, segmentation=[])
    assert reason(objects, source, 0) == "size_differs"


@pytest.mark.parametrize(("kind", "counted"), [("manual", "shown"), ("open_images", "stored")])
def test_where_no_size_is_said_the_source_has_its_own_rule(kind, counted, tmp_path):
    if kind == "manual":
        annotations, images = write_manual(tmp_path)
        line = {"file": "a.jpg", "objects": [{"name": "cat", "box": [0, 0, 10, 15]}]}
        Path(annotations).write_text(json.dumps(line))
        source, name = open_photos(kind, annotations=annotations, images=images), "a.jpg"
    else:
        annotations, images, _ = write_open_images(tmp_path)
        source, name = (
            open_photos(kind, annotations=annotations[0], images=images),
            f"{OPEN_IMAGES_IDS[1]}.jpg",
        )
    Path(images, name).write_bytes(encoded(picture(0), "JPEG", 6))
    (thing,) = objects(source, 0).values()
    # 30 wide and 40 high when it is looked at; Open Images counts tenths of it lying down.
    assert thing.box == ((0, 0, 10, 15) if counted == "shown" else (24, 4, 27, 8))

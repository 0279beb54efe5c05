"""Open Images' tables become photos with things, flags, captions and terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generators.photo_open import open_photos
from tests.generators.photo_sets import (
    OPEN_IMAGES_IDS,
    encoded,
    objects,
    reason,
    rectangle,
    write_open_images,
)


@pytest.fixture(scope="module")
def open_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str, str]:
    return write_open_images(tmp_path_factory.mktemp("open_images"))


def test_open_images_boxes_flags_masks_captions_and_terms(open_images):
    annotations, images, masks = open_images
    source = open_photos("open_images", annotations=annotations, images=images, masks=masks)
    first, second = (source.entry(index) for index in range(len(source)))
    assert (first.id, second.id) == tuple(sorted(OPEN_IMAGES_IDS[:2])[::1])
    assert second.captions == ("In this picture we see a cup.", "A cup.") and second.split == "validation"
    assert second.license == "CC-BY-2.0" and second.attribution.author == "Ana"
    assert second.attribution.title == 'a "cup",\nhers' and second.names == ("Cat", "Coffee cup")
    cat, cup = objects(source, 1).values()
    assert cat.box == (20, 0, 40, 15) and cat.mask is None and cat.group is True and cat.truncated is True
    assert np.array_equal(cup.mask, rectangle(10, 6, 30, 24))  # from a mask of twice the size
    assert (cup.occluded, cup.truncated, cup.group, cup.depiction, cup.inside) == (
        True,
        False,
        False,
        False,
        None,
    )
    drawing, alone = objects(source, 0).values()
    assert drawing.depiction is True and drawing.occluded is None
    assert alone.name == "Cat" and np.array_equal(
        alone.mask, rectangle(0, 0, 20, 30)
    )  # from one of half the size


def test_photos_that_lie_on_their_side_are_left_out(open_images):
    annotations, images, _ = open_images
    source = open_photos("open_images", annotations=annotations, images=images)
    assert source.skipped == {"rotated": 1} and len(source) == 2


def test_open_images_masks_that_are_missing_or_of_another_shape_are_told(tmp_path):
    annotations, images, masks = write_open_images(tmp_path)
    source = open_photos("open_images", annotations=annotations, images=images, masks=masks)
    (path,) = Path(masks).glob("000a*")
    path.write_bytes(encoded(rectangle(0, 0, 5, 5, 60, 60)))
    assert reason(objects, source, 1) == "mask_wrong_size"
    path.write_bytes(b"")
    assert reason(objects, source, 1) == "mask_broken"
    path.unlink()
    assert reason(objects, source, 1) == "mask_missing"
    assert (
        len(objects(open_photos("open_images", annotations=annotations, images=images), 1)) == 2
    )  # without masks


def test_boxes_alone_will_do_and_no_boxes_will_not(open_images, tmp_path):
    annotations, images, _ = open_images
    source = open_photos("open_images", annotations=annotations[0], images=images)
    assert len(source) == 3 and source.entry(0).names == ("/m/02p5f1q",) and source.entry(0).license is None
    assert (
        reason(open_photos, "open_images", annotations=annotations[2], images=images) == "annotations_missing"
    )
    (tmp_path / "old.csv").write_text(
        "/m/01yrx,Cat\n/m/02p5f1q,Coffee cup\n"
    )  # without a head, as of version 4
    source = open_photos(
        "open_images", annotations=[annotations[0], str(tmp_path / "old.csv")], images=images
    )
    assert source.entry(0).names == ("Coffee cup",)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "a,b\n1,2\n",
        "ImageID,LabelName,XMin,XMax,YMin,YMax\na,/m/1,far,1,0,1\n",
        "ImageID,LabelName,XMin\na,/m/1,0\n",
    ],
)
def test_a_file_that_is_not_of_open_images_is_one_error(content, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    found = reason(open_photos, "open_images", annotations=str(tmp_path / "a.csv"), images=str(tmp_path))
    assert found == "annotations_broken"

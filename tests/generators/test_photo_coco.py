"""COCO's photos come with every form of mask that the format knows, and what is wrong is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from generators.photo_open import open_photos
from shards.images import mask_to_rle, rle_to_mask
from tests.generators.photo_sets import (
    COMPRESSED,
    HEIGHT,
    WIDTH,
    coco_values,
    corners,
    encoded,
    objects,
    picture,
    reason,
    rectangle,
    runs,
    with_annotation,
    write_coco,
)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    return write_coco(tmp_path_factory.mktemp("coco"))


def test_coco_photos_come_in_the_order_of_their_ids_with_all_that_is_said(coco):
    source = open_photos("coco", annotations=coco[0], images=coco[1])
    entries = [source.entry(index) for index in range(len(source))]
    assert [entry.id for entry in entries] == ["9", "12", "30"]
    nine, twelve, thirty = entries
    assert (nine.source, nine.file, nine.width, nine.height) == ("coco", "000009.jpg", WIDTH, HEIGHT)
    assert nine.names == ("cat", "cup", "person") and nine.split == "val2017"
    assert twelve.captions == ("a cup beside a cat", "two cats")
    assert [entry.license for entry in entries] == [
        "CC-BY-NC-SA-2.0", "CC-BY-2.0", "No known copyright restrictions",
    ]  # fmt: skip
    assert nine.attribution.url == "http://c/9"
    assert thirty.names == () and objects(source, 2) == {}  # without annotations
    assert source.skipped == {"annotation_without_photo": 1}
    with pytest.raises(IndexError):
        source.entry(3)
    with pytest.raises(IndexError):
        source.entry(-1)


def test_every_form_of_a_coco_mask_is_read(coco):
    source = open_photos("coco", annotations=coco[0], images=coco[1])
    nine, twelve = objects(source, 0), objects(source, 1)
    assert np.array_equal(nine["101"].mask, rectangle(2, 3, 10, 12)) and nine["101"].box == (2, 3, 10, 12)
    parts = rectangle(12, 2, 18, 10) | rectangle(24, 12, 32, 24)
    assert np.array_equal(nine["102"].mask, parts) and not nine["102"].crowd
    assert np.array_equal(nine["103"].mask, rectangle(0, 20, 40, 30)) and nine["103"].crowd
    assert np.array_equal(twelve["104"].mask, COMPRESSED)
    assert twelve["105"].mask is None and twelve["105"].box == (1, 1, 4.5, 5.25)
    assert twelve["106"].mask is None


BROKEN = {
    "a run-length mask of another size": ("mask_wrong_size", runs(rectangle(0, 0, 5, 5, 41, 30))),
    "a compressed mask of another size": ("mask_wrong_size", mask_to_rle(rectangle(0, 0, 5, 5, 30, 40))),
    "runs beyond the picture": ("mask_too_large", {"size": [HEIGHT, WIDTH], "counts": [5, WIDTH * HEIGHT]}),
    "runs that end early": ("mask_broken", {"size": [HEIGHT, WIDTH], "counts": [5, 10]}),
    "negative runs": ("mask_broken", {"size": [HEIGHT, WIDTH], "counts": [WIDTH * HEIGHT + 5, -5]}),
    "compressed runs that end early": ("mask_broken", {"size": [HEIGHT, WIDTH], "counts": "01400000"}),
    "compressed runs that are cut off": ("mask_broken", {"size": [HEIGHT, WIDTH], "counts": "PPP"}),
    "compressed runs that are none": ("mask_broken", {"size": [HEIGHT, WIDTH], "counts": "\x7f\x7f"}),
    "a polygon beyond the picture": ("mask_too_large", [corners(2, 3, 90, 12)]),
    "a polygon with a coordinate too few": ("mask_broken", [[1, 1, 5, 1, 5, 5, 1]]),
    "a polygon of two points": ("mask_broken", [[1, 1, 5, 5]]),
    "a polygon of words": ("annotation_broken", [["a", "b", "c", "d", "e", "f"]]),
    "a polygon of infinity": ("annotation_broken", [[1e400, 1, 5, 1, 5, 5]]),
    "a mask without counts": ("annotation_broken", {"size": [HEIGHT, WIDTH]}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mask_that_cannot_be_of_its_picture_is_told(case, tmp_path):
    expected, shape = BROKEN[case]
    source = with_annotation(tmp_path, segmentation=shape)
    assert reason(objects, source, 0) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([200, 1, 8, 8], "box_outside"),
        ([1, 1, "wide", 8], "annotation_broken"),
        ([1, 1, 8], "annotation_broken"),
        (None, "annotation_broken"),
        ([float("nan"), 1, 8, 8], "annotation_broken"),
    ],
)
def test_a_box_that_cannot_be_of_its_picture_is_told(box, expected, tmp_path):
    assert reason(objects, with_annotation(tmp_path, bbox=box), 0) == expected


def test_strokes_a_little_beyond_the_frame_are_cut_and_what_is_nowhere_is_no_thing(tmp_path):
    source = with_annotation(
        tmp_path / "a", bbox=[-1.5, 20, 10, 11], segmentation=[corners(-1.5, 20, 8.5, 31)]
    )
    (thing,) = objects(source, 0).values()
    assert thing.box == (0, 20, 8.5, 30) and thing.mask is not None and thing.mask[29, 0]
    assert objects(with_annotation(tmp_path / "b", bbox=[5, 5, 0, 4]), 0) == {}


def test_masks_are_those_of_cocos_own_reader(tmp_path):
    from pycocotools.coco import COCO

    rng = np.random.default_rng(3)
    width, height = 600, 400
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radii = rng.uniform(60, 190, 40)
    ring = np.stack([300 + radii * np.cos(angles), 200 + radii * np.sin(angles)], 1).round(2).ravel().tolist()
    shapes = [
        [ring],
        [ring, corners(1.25, 2.5, 40.75, 333.33)],
        runs(rectangle(5, 7, 500, 300, width, height)),
    ]
    values = coco_values()
    values["images"] = [{"id": 9, "file_name": "large.png", "width": width, "height": height}]
    values["annotations"] = [
        {
            "id": n,
            "image_id": 9,
            "category_id": 17,
            "bbox": [1, 1, 500, 390],
            "iscrowd": 0,
            "segmentation": shape,
        }
        for n, shape in enumerate(shapes)
    ]
    (tmp_path / "a.json").write_text(json.dumps(values))
    (tmp_path / "large.png").write_bytes(encoded(picture(0, width, height)))
    source = open_photos("coco", annotations=str(tmp_path / "a.json"), images=str(tmp_path))
    theirs = COCO(str(tmp_path / "a.json"))
    for ident, thing in objects(source, 0).items():
        assert np.array_equal(thing.mask, theirs.annToMask(theirs.anns[int(ident)]).astype(bool)), ident


def test_an_id_that_comes_twice_in_a_photo_is_told(tmp_path):
    values = coco_values()
    values["annotations"][1]["id"] = 101
    annotations, images = write_coco(tmp_path)
    Path(annotations[0]).write_text(json.dumps(values))
    assert (
        reason(objects, open_photos("coco", annotations=annotations[0], images=images), 0)
        == "annotation_broken"
    )


def test_broken_items_are_counted_and_the_rest_is_read(tmp_path):
    values = coco_values()
    values["images"] += [{"id": 77}, 5, {"id": 78, "file_name": "x", "width": "wide"}]
    values["annotations"] += [{"id": 900}, None, {"image_id": 9, "category_id": "cat", "bbox": [1, 1, 2, 2]}]
    values["annotations"].append({"id": "seven", "image_id": 9, "category_id": 99, "bbox": [1, 1, 2, 2]})
    annotations, images = write_coco(tmp_path)
    Path(annotations[0]).write_text(json.dumps(values))
    source = open_photos("coco", annotations=annotations, images=images)
    assert len(source) == 3
    assert source.skipped == {"annotation_broken": 3, "annotation_without_photo": 1, "photo_broken": 3}
    assert objects(source, 0)["seven"].name == "category 99"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        "{",
        '{"images": 3, "annotations": 4}',
        '{"annotations": []}',
        "\xff",
        '{"images": [' + "[" * 9999,
    ],
)
def test_json_that_is_no_coco_file_is_one_error(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content.encode("latin-1"))
    assert (
        reason(open_photos, "coco", annotations=str(tmp_path / "a.json"), images=str(tmp_path))
        == "annotations_broken"
    )


def test_masks_read_here_are_those_that_the_tables_hold(coco):
    source = open_photos("coco", annotations=coco[0], images=coco[1])
    for thing in objects(source, 0).values():
        assert np.array_equal(rle_to_mask(mask_to_rle(thing.mask)), thing.mask)


def test_attributes_that_tools_add_are_read(tmp_path):
    said = {"occluded": True, "truncated": 0, "color": "red", "mood": 7}
    (thing,) = objects(with_annotation(tmp_path / "a", attributes=said), 0).values()
    assert (thing.occluded, thing.truncated, thing.color) == (True, False, "red")
    (thing,) = objects(with_annotation(tmp_path / "b", attributes="none"), 0).values()
    assert (thing.occluded, thing.truncated, thing.color) == (None, None, None)

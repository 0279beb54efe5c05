"""Outlines lie around what an edit names, at the right place, and leave the rest of the picture alone."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from ray_jobs.gallery import (
    COLOURS,
    OTHERS,
    Cell,
    contact_sheet,
    contours,
    enlarged,
    marks,
    outline,
    overlaid,
    side_by_side,
    svg_path,
    thumbnail,
)
from shards.images import mask_to_rle

GROUND = np.full((64, 64, 3), 128, np.uint8)
MASK = np.zeros((64, 64), bool)
MASK[20:40, 10:30] = True


def thing(id, mask):
    return {"id": id, "mask": mask_to_rle(mask)}


def step(kind, subject=None, reference=None, objects=()):
    return {
        "kind": kind,
        "subject": subject,
        "reference": reference,
        "reference2": None,
        "objects": list(objects),
    }


def row(operations, before, after):
    return {
        "operations": operations,
        "objects_before": [thing(id, mask) for id, mask in before.items()],
        "objects_after": [thing(id, mask) for id, mask in after.items()],
    }


def described(found):
    return [(mark.role, mark.was, int(np.argwhere(mark.mask)[:, 1].min())) for mark in found]


MOVED = np.roll(MASK, 25, axis=1)
OTHER = np.roll(MASK, 18, axis=0)


def test_contour_runs_one_pixel_outside_of_the_mask():
    (ring,) = contours(MASK)
    assert ring.min(axis=0).tolist() == [9.5, 19.5]
    assert ring.max(axis=0).tolist() == [30.5, 40.5]


def test_empty_mask_has_no_contour_and_parts_have_one_each():
    assert contours(np.zeros((8, 8), bool)) == []
    assert svg_path(np.zeros((8, 8), bool)) == ""
    assert svg_path(MASK | np.roll(MASK, 30, axis=1)).count("M") == 2


@pytest.mark.parametrize("dashed", [False, True])
def test_outline_changes_a_band_around_the_mask_and_nothing_else(dashed):
    ground = GROUND.copy()
    drawn = outline(ground, MASK, dashed=dashed)
    changed = (drawn != ground).any(axis=2)
    band = np.zeros_like(MASK)
    band[16:44, 6:34] = True
    band[24:36, 14:26] = False
    assert changed.any() and not (changed & ~band).any()
    assert (ground == GROUND).all()  # a copy was drawn on
    assert (np.abs(drawn.astype(int) - COLOURS["subject"]).sum(axis=2) < 90).any()


def test_dashed_outline_has_gaps():
    whole, dashed = (
        (outline(GROUND, MASK, dashed=d) != GROUND).any(axis=2).sum() for d in (False, True)
    )  # fmt: skip
    assert 0.3 * whole < dashed < 0.95 * whole


def test_outline_fits_an_enlarged_picture():
    drawn = outline(enlarged(GROUND, 256), MASK)
    columns = np.argwhere((drawn != 128).any(axis=(0, 2)))
    assert abs(columns.min() - 4 * 9.5) < 6 and abs(columns.max() - 4 * 30.5) < 6


def test_moved_subject_is_marked_at_its_new_and_its_old_place_and_the_reference_once():
    pair = row(
        [step("relate", "a", "b")],
        {"a": MASK, "b": OTHER, "c": MASK},
        {"a": MOVED, "b": OTHER, "c": MASK},
    )
    before, after = marks(pair)
    assert described(before) == [("reference", False, 10), ("subject", False, 10)]
    assert described(after) == [("subject", True, 10), ("reference", False, 10), ("subject", False, 35)]


def test_added_things_are_marked_after_and_removed_ones_leave_their_place():
    before, after = marks(row([step("add", objects=["n"])], {}, {"n": MASK}))
    assert (before, described(after)) == ([], [("subject", False, 10)])
    before, after = marks(row([step("remove", "a", objects=["a"])], {"a": MASK}, {}))
    assert described(before) == [("subject", False, 10)]
    assert described(after) == [("subject", True, 10)]


def test_what_stays_in_its_place_is_marked_once():
    _, after = marks(row([step("recolor", "a")], {"a": MASK}, {"a": MASK}))
    assert described(after) == [("subject", False, 10)]


def test_old_places_mean_nothing_once_the_camera_moved():
    steps = [step("remove", "a"), step("orbit")]
    _, after = marks(row(steps, {"a": MASK, "b": OTHER}, {"b": MOVED}))
    assert after == []


def test_edits_that_name_nothing_and_rows_without_operations_have_no_marks():
    assert marks(row([step("lighting")], {"a": MASK}, {"a": MASK})) == ([], [])
    assert marks({"operations": None, "objects_before": None, "objects_after": None}) == ([], [])


def test_pictures_stand_side_by_side_and_must_be_of_one_height():
    joined = side_by_side(GROUND, GROUND[:, :32], gap=4)
    assert joined.shape == (64, 100, 3)
    assert (joined[:, 64:68] == 255).all()
    with pytest.raises(ValueError, match="64 and 32"):
        side_by_side(GROUND, GROUND[:32])


@pytest.mark.parametrize(("shape", "size"), [((64, 64), (64, 64)), ((500, 1000), (384, 192))])
def test_thumbnail_is_a_small_picture_in_a_data_uri(shape, size):
    uri = thumbnail(np.full((*shape, 3), 90, np.uint8))
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == size
        assert abs(picture.convert("RGB").getpixel((5, 5))[0] - 90) <= 3


def test_sheet_holds_every_pair_and_a_long_sentence_stays_in_its_cell():
    font = ImageFont.load_default(12)
    assert isinstance(font, ImageFont.FreeTypeFont)
    red, blue = np.zeros_like(GROUND), np.zeros_like(GROUND)
    red[..., 0] = blue[..., 2] = 255
    cell = Cell(red, blue, "put the ball " * 30, "place")
    sheet = np.asarray(contact_sheet([cell] * 3, font, columns=2, margin=10))
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 3 * 64 * 64
    assert (sheet == (0, 0, 255)).all(axis=2).sum() == 3 * 64 * 64
    wide = 2 * 64 + 2
    assert (sheet[:, 11 + wide : 19 + wide] == 255).all()  # between the columns
    assert (sheet[:10] == 255).all() and (sheet[:, -10:] == 255).all()
    with pytest.raises(ValueError, match="at least one pair"):
        contact_sheet([], font)


# --- masks and boxes over a picture -----------------------------------------------------------------------------------


def boxed_row():
    shown = row([step("move", "mug-1")], {"mug-1": MASK, "cube-1": OTHER}, {"mug-1": MOVED, "cube-1": OTHER})
    boxes = {"mug-1": [10.0, 20.0, 30.0, 40.0], "cube-1": [36.0, 44.0, 60.0, 58.0]}
    for things in (shown["objects_before"], shown["objects_after"]):
        for each in things:
            each["box"] = boxes[each["id"]]
    return {**shown, "width": 64, "height": 64}


def colours_at(drawn, points):
    return [tuple(int(value) for value in drawn[y, x]) for x, y in points]


def test_masks_tint_what_an_edit_names_in_its_colour_and_the_rest_in_grey():
    large = enlarged(GROUND, 256)
    drawn = overlaid(large, boxed_row(), after=False, masks=True, boxes=False)
    named, other, ground = colours_at(drawn, [(80, 110), (80, 200), (200, 30)])
    assert named == (164, 144, 100)  # 72 % of the grey ground, 28 % of amber
    assert other == (152, 153, 156)
    assert ground == (128, 128, 128)
    assert np.array_equal(large, enlarged(GROUND, 256))  # drawn on a copy


def test_the_old_place_of_what_moved_is_outlined_and_not_tinted():
    drawn = overlaid(enlarged(GROUND, 256), boxed_row(), after=True, masks=True, boxes=False)
    assert colours_at(drawn, [(50, 100), (180, 120)]) == [(128, 128, 128), (164, 144, 100)]
    assert (drawn == COLOURS["subject"]).all(axis=2)[:, 30:50].any()


def test_boxes_lie_where_the_row_says_with_names():
    drawn = overlaid(enlarged(GROUND, 512), boxed_row(), after=False, masks=False, boxes=True)
    assert (drawn[319, 81:239] == COLOURS["subject"]).all()  # the lower edge: y 40 of 64, half-open
    assert (drawn[323:, :280] == 128).all()
    assert (drawn[463, 290:478] == OTHERS).all()
    assert (drawn[140:160, 82:100] == COLOURS["subject"]).all(axis=2).any()  # the name, above the box


@pytest.mark.parametrize(
    "changes",
    [
        {"objects_before": None, "objects_after": None, "operations": None},
        {"objects_before": [{"id": "mug-1", "mask": None, "box": None}]},
        {"objects_before": [{"id": "mug-1", "mask": None, "box": [0.0, 0.0, 0.0, 0.0]}]},
        {"width": None},
    ],
)
def test_a_pair_that_lacks_masks_or_boxes_stays_as_it_is(changes):
    plain = {**boxed_row(), **changes}
    drawn = overlaid(GROUND, plain, after=False, masks="width" not in changes, boxes=True)
    assert np.array_equal(drawn, GROUND)

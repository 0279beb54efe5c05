"""What an edit leaves alone is measured where nothing was to change, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.preserved import kept, preserved
from evaluation.spatial import Thing
from shards.images import decode, mask_to_rle
from shards.schema import PUBLISHED
from shards.tables import from_rows
from tests.datasets import pair

ROW = from_rows([pair(1, side=96)], PUBLISHED).to_pylist()[0]
BEFORE = decode(ROW["original_image"])
MUG = np.s_[24:48, 12:36]  # and after the edit a quarter further right
ELSEWHERE = np.s_[66:90, 4:28]
CUBE = Thing("seen-1", "cube", "", (60, 48, 84, 72))


def mug(where=ELSEWHERE) -> Thing:
    return Thing("seen-0", "mug", "", (where[1].start, where[0].start, where[1].stop, where[0].stop))


def test_a_change_inside_of_the_edit_costs_nothing_and_one_outside_does():
    inside, outside = BEFORE.copy(), BEFORE.copy()
    inside[MUG] = 0
    outside[80:90, 2:12] = 255 - outside[80:90, 2:12]
    assert preserved(ROW, BEFORE, inside).psnr == 99
    found = preserved(ROW, BEFORE, outside)
    assert found.psnr < 30 and found.ssim < 1
    assert 0.05 < found.share < 0.8


def test_old_and_new_place_and_a_margin_are_the_edits():
    keep = kept(ROW)
    assert not keep[24:48, 12:60].any()  # where it was and where it is
    assert not keep[19:24, 20:28].any() and keep[:10].all()  # shadows, and beyond
    assert keep[48 + 10 :, :].mean() > 0.9


@pytest.mark.parametrize("kind", ["zoom", "pan", "orbit", "lighting", "background"])
def test_edits_of_the_whole_picture_keep_nothing(kind):
    assert kept(ROW | {"operations": [ROW["operations"][0] | {"kind": kind}]}) is None


def test_without_masks_or_operations_nobody_knows():
    things = [{**thing, "mask": None} for thing in ROW["objects_after"]]
    assert kept(ROW | {"objects_after": things}) is None and kept(ROW | {"operations": []}) is None


def test_a_named_thing_that_went_elsewhere_is_no_damage_and_its_shadow_is_none():
    """A vague move may end anywhere on its way: the true picture is one answer."""
    moved = BEFORE.copy()
    moved[ELSEWHERE] = 0
    moved[90:93, 4:28] = 90  # its shadow
    assert preserved(ROW, BEFORE, moved).psnr < 20  # nobody has read where it is
    found = preserved(ROW, BEFORE, moved, [mug(), CUBE])
    assert found.psnr == 99 and found.ssim == pytest.approx(1, abs=0.02)
    assert found.share < preserved(ROW, BEFORE, moved).share


def test_a_thing_that_nobody_named_and_one_too_many_are_damage():
    moved = BEFORE.copy()
    moved[ELSEWHERE] = 0
    cube = Thing("seen-1", "cube", "", mug().box)
    assert preserved(ROW, BEFORE, moved, [mug(MUG), cube]).psnr < 20
    assert preserved(ROW, BEFORE, moved, [mug(np.s_[24:48, 36:60]), mug(), CUBE]).psnr < 20


@pytest.mark.parametrize("box", [(-20, -9, 400, 300), (0, 0, 0, 0), (95.6, 95.2, 99, 99)])
def test_boxes_that_leave_the_picture_are_cut(box):
    keep = kept(ROW, [Thing("seen-0", "mug", "", box)])
    assert keep is None if box[2] == 400 else keep.shape == (96, 96)


def test_where_fewer_are_asked_for_any_of_them_may_go():
    """And of other things none."""
    mug, cube = ROW["objects_before"]
    second = {**mug, "id": "mug-2", "box": [0.0, 72.0, 24.0, 96.0]}
    second["mask"] = mask_to_rle(np.pad(np.ones((24, 24), bool), ((72, 0), (0, 72))))
    step = ROW["operations"][0] | {"kind": "count", "subject": None, "objects": ["mug-1"]}
    changes = {"operations": [step], "objects_before": [mug, second, cube], "objects_after": [second, cube]}
    keep = kept(ROW | changes)
    assert not keep[MUG].any() and not keep[72:, :24].any() and keep[52:70, 64:80].all()
    more = changes | {"operations": [step | {"objects": ["mug-3"]}]}  # one comes: those that are there stay
    assert kept(ROW | more).all()


def test_lpips_is_asked_of_what_is_kept_alone():
    asked = []

    def unlike(before, edited, keep):
        asked.append(keep)
        return 0.25

    assert preserved(ROW, BEFORE, BEFORE).lpips is None
    assert preserved(ROW, BEFORE, BEFORE, [mug(), CUBE], unlike).lpips == 0.25
    assert np.array_equal(asked[0], kept(ROW, [mug(), CUBE]))

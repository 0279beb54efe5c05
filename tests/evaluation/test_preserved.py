"""What an edit leaves alone is measured where nothing was to change, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.preserved import kept, preserved
from shards.images import decode
from shards.schema import PUBLISHED
from shards.tables import from_rows
from tests.datasets import pair

ROW = from_rows([pair(1, side=96)], PUBLISHED).to_pylist()[0]
BEFORE = decode(ROW["original_image"])
MUG = np.s_[24:48, 12:36]  # and after the edit a quarter further right


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

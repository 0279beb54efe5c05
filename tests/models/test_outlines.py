"""What the diffusion model is asked beside the noise: silhouettes and names, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from models.starter.outlines import ATTRIBUTES, CHANNELS, FINE, coverage, outline_loss, outline_targets
from models.starter.world import COLORS, KINDS
from shards.images import mask_to_rle, rle_to_mask
from tests.models.scenes import scenes


def test_targets_say_what_stands_in_each_cell():
    found = outline_targets(scenes()).float() / 255
    assert found.shape == (8, 2, CHANNELS, 16, 16)
    for picture, things in zip(found, scenes().objects, strict=True):
        mean = picture[0, : FINE**2].mean(dim=0).numpy()
        assert np.allclose(mean, coverage(things), atol=0.01)
        for thing in things:
            rows, columns = np.nonzero(rle_to_mask(thing["mask"]))
            row, column = int(np.median(rows)) // 8, int(np.median(columns)) // 8
            names = picture[0, FINE**2 :, row, column]
            share = rle_to_mask(thing["mask"])[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].mean()
            assert names[KINDS.index(thing["name"])] >= share - 0.01
            assert names[len(KINDS) + COLORS.index(thing["color"])] >= share - 0.01


def test_flipped_targets_are_those_of_the_flipped_masks():
    found = outline_targets(scenes())
    mask = rle_to_mask(scenes().objects[0][0]["mask"])
    alone = outline_targets_of_mask(mask, scenes())
    flipped = outline_targets_of_mask(mask[:, ::-1], scenes())
    assert torch.equal(alone[0, 1], flipped[0, 0])
    assert not torch.equal(found[0, 0], found[0, 1])


def outline_targets_of_mask(mask, like):
    thing = {**like.objects[0][0], "mask": mask_to_rle(np.ascontiguousarray(mask))}
    return outline_targets(replace(like, objects=([thing],)))


def test_the_right_answer_costs_less_than_any_other():
    targets = torch.zeros(1, CHANNELS, 16, 16)
    targets[:, FINE**2, 4:8, 4:8] = 1
    right, other = (targets * 20 - 10), (targets.roll(1, dims=1) * 20 - 10)
    assert outline_loss(right, targets) < 0.01 < outline_loss(other, targets)
    assert ATTRIBUTES == CHANNELS - FINE**2

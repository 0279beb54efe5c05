"""What is read comes from where masks say, in training, and by as much as words say."""

from __future__ import annotations

import math

import torch

from tests.trainer.editors import batch, shown, tiny_editor
from trainer.geometry import Truth, onto, taught
from trainer.landing import Landed
from trainer.maps import carried, coordinates
from trainer.spatial_attention import MAX_STEPS, READS, Parts
from trainer.words import arrays, read

POINTS = coordinates(16, 16)


def square(left: int, top: int, side: int) -> torch.Tensor:
    mask = torch.zeros(16, 16)
    mask[top : top + side, left : left + side] = 1
    return mask.flatten()


def fitted(text: str, before: torch.Tensor, after: torch.Tensor, growth: float = 0.0, masks=None):
    """Sources of the first read."""
    words = arrays([read(text)])
    maps = torch.zeros(1, READS, 256)
    maps[0, 0] = before / before.sum()
    said = Landed(
        torch.zeros(1, dtype=torch.long),
        after.log()[None],
        (after / after.sum())[None],
        torch.tensor([growth]),
    )
    sources, rows = onto(torch.zeros(1, READS, 256, 2), maps, said, words, POINTS, masks)
    assert rows.tolist() == [0]
    return sources[0, 0]


def test_a_thing_goes_to_the_map_of_where_it_lands_and_is_as_large_as_it_is_said_to_be():
    before, after = square(2, 2, 4), square(10, 8, 4)
    sources = fitted("put the red ball on the right", before, after)
    assert torch.allclose(sources, POINTS - torch.tensor([8 / 16, 6 / 16]), atol=1e-5)
    grown = fitted("put the red ball on the right", before, after, math.log(2))
    middle = torch.tensor([12 / 16, 10 / 16])
    assert torch.allclose(grown, torch.tensor([4 / 16, 4 / 16]) + (POINTS - middle) / 2, atol=1e-5)
    larger = fitted("make the red ball 2 times larger", before, after)
    assert torch.allclose(larger, grown, atol=1e-5)


def test_a_shift_that_words_say_to_the_point_is_that_shift_wherever_the_map_is():
    sources = fitted("move the red ball 25% to the right", square(2, 2, 4), square(9, 5, 4))
    assert torch.allclose(sources, POINTS - torch.tensor([0.25, 0]), atol=1e-5)
    for vague in ("move the red ball slightly to the right", "move the red ball half a metre to the right"):
        sources = fitted(vague, square(2, 2, 4), square(9, 5, 4))
        assert torch.allclose(sources, POINTS - torch.tensor([7 / 16, 3 / 16]), atol=1e-5)


def test_masks_say_where_things_are_and_will_be_when_they_are_known():
    maps = torch.full((2, 16), 1 / 16)
    masks = torch.zeros(2, 16)
    masks[0, 3] = 0.5
    known = taught(maps, masks)
    assert known[0].tolist() == [0, 0, 0, 1] + [0] * 12 and torch.equal(known[1], maps[1])
    wrong, right = square(0, 0, 4), square(8, 6, 8)
    truth = torch.zeros(1, READS, 256)
    truth[0, 0] = right
    told = fitted("put the red ball on the right", square(2, 2, 4), wrong, masks=truth)
    middle = torch.tensor([12 / 16, 10 / 16])
    assert torch.allclose(told, torch.tensor([4 / 16, 4 / 16]) + (POINTS - middle) / 2, atol=0.01)


def test_an_editor_that_is_told_the_truth_brings_the_thing_to_where_it_will_be():
    """Whatever it has found by then."""
    inputs, words, phrases = batch(("put the red ball in the lower-right corner",), size=(16, 16))
    before, after = (torch.zeros(1, MAX_STEPS, 2, 16, 16) for _ in range(2))
    before[0, 0, 0], after[0, 0, 0] = square(2, 2, 4).reshape(16, 16), square(11, 10, 4).reshape(16, 16)
    picture = before[:, 0, :1] * torch.ones(1, 4, 1, 1)
    editor = tiny_editor(Parts(land=True, paste=True))
    with torch.no_grad():
        told = editor.context(words, phrases, inputs[3], shown(picture), Truth(before, after))
    brought = told.paste.brought[0, 0, 0][4::8, 4::8]
    assert torch.allclose(brought, after[0, 0, 0], atol=1e-3)


def test_pictures_are_carried_as_coarser_sources_say():
    picture = torch.rand(1, 3, 32, 64)
    points = coordinates(8, 16)
    sources = torch.stack(
        [
            points,
            points - torch.tensor([0.25, 0.5]),
            torch.tensor([1.0, 0.0]) - points * torch.tensor([1, -1]),
        ]
    )
    brought, inside = carried(picture, sources.reshape(1, 3, 8, 16, 2))
    assert torch.allclose(brought[0, 0], picture[0], atol=1e-5) and inside[0, 0].all()
    assert torch.allclose(brought[0, 1][:, 16:, 16:], picture[0][:, :16, :48], atol=1e-4)
    assert not inside[0, 1, :15].any() and not inside[0, 1, :, :15].any() and inside[0, 1, 17:, 17:].all()
    assert torch.allclose(brought[0, 2], picture[0].flip(-1), atol=1e-4)

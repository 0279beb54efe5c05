"""What is read comes from where masks say, in training, and by as much as words say."""

from __future__ import annotations

import math

import pytest
import torch

from tests.trainer.editors import batch, shown, tiny_editor
from trainer.geometry import Located, Truth, growth, located, onto, surest
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
    said = Landed(
        torch.zeros(1, dtype=torch.long),
        after.log()[None],
        (after / after.sum())[None],
        torch.tensor([growth]),
    )
    start, *truth = (reads(one) for one in (before, *(masks or ())))
    told = (truth[0], truth[1]) if truth else None
    sources, rows = onto(torch.zeros(1, READS, 256, 2), start, said, words, POINTS, (16, 16), told)
    assert rows.tolist() == [0]
    return sources[0, 0]


def reads(first: torch.Tensor) -> Located:
    """Of an edit whose first read alone is known."""
    whole = torch.zeros(READS, 16, 16)
    whole[0] = first.reshape(16, 16)
    return located(whole)


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
    wrong, right, start = square(0, 0, 4), square(8, 6, 8), square(2, 2, 4)
    told = fitted("put the red ball on the right", start, wrong, masks=(start, right))
    middle = torch.tensor([12 / 16, 10 / 16])
    assert torch.allclose(told, torch.tensor([4 / 16, 4 / 16]) + (POINTS - middle) / 2, atol=0.01)
    untold = fitted("put the red ball on the right", start, wrong, masks=(start * 0, right))
    assert torch.allclose(untold, POINTS - middle + torch.tensor([4 / 16, 4 / 16]), atol=1e-5), (
        "it did not grow"
    )


def test_middles_and_sizes_are_those_of_the_masks():
    small, large = (square(*at).reshape(16, 16) for at in ((2, 4, 4), (8, 8, 8)))
    assert located(small).middle.tolist() == pytest.approx([0.25, 0.375])
    assert growth(located(small), located(large)).item() == pytest.approx(2, rel=0.03)
    assert growth(located(large), located(small)).item() == pytest.approx(0.5, rel=0.03)
    point = square(3, 3, 1).reshape(16, 16)
    assert growth(located(point), located(large)).item() == 4  # nothing grows a thousand times
    edge = torch.zeros(16, 16)
    edge[4, 4:7] = torch.tensor([1.0, 1.0, 0.5])  # a cell of which half is covered counts half
    assert located(edge).middle[0].item() == pytest.approx((4.5 + 5.5 + 3.25) / 2.5 / 16)
    assert not located(torch.zeros(2, 3, 4)).known.any() and located(torch.ones(2, 3, 4)).known.all()


def test_that_a_map_thinks_of_another_thing_too_moves_neither_middle_nor_size_by_much():
    small, large = (square(*at).reshape(16, 16) for at in ((2, 4, 4), (8, 8, 8)))
    doubtful = surest(0.9 * small / small.sum() + 0.1 * large / large.sum())
    assert doubtful.middle.tolist() == pytest.approx([0.25, 0.375], abs=0.01)
    assert growth(located(small), doubtful).item() == pytest.approx(1, abs=0.1)


def test_what_is_not_known_is_what_is_known_otherwise():
    known, other = (
        located(torch.stack([square(2, 4, 4), square(2, 4, 4) * 0]).reshape(2, 16, 16)),
        reads(POINTS[:, 0]),
    )
    both = known.over(Located(other.middle[:2], other.size[:2], other.known[:2]))
    assert torch.equal(both.middle[0], known.middle[0]) and torch.equal(both.middle[1], other.middle[1])


def test_truth_is_told_of_some_samples_alone():
    masks = torch.ones(2, MAX_STEPS, 2, 4, 4)
    told = Truth(masks, masks).told(torch.tensor([True, False]))
    assert (
        told.before[0].all() and told.after[0].all() and not told.before[1].any() and not told.after[1].any()
    )


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

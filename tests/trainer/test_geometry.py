"""What is read comes from where masks say, in training, and by as much as words say."""

from __future__ import annotations

import math

import pytest
import torch

from tests.trainer.editors import batch, shown, tiny_editor
from trainer.geometry import Located, Truth, growth, located, onto, surest, worded
from trainer.landing import Landed
from trainer.maps import FINE, carried, coordinates
from trainer.spatial_attention import MAX_STEPS, READS, Parts
from trainer.words import arrays, read

POINTS = coordinates(16, 16)


def square(left: int, top: int, side: int) -> torch.Tensor:
    mask = torch.zeros(16, 16)
    mask[top : top + side, left : left + side] = 1
    return mask.flatten()


def fitted(
    text: str, before: torch.Tensor, after: torch.Tensor, growth: float = 0.0, masks=None, shift=(0.0, 0.0)
):
    """Sources of the first read."""
    words = arrays([read(text)])
    said = Landed(
        torch.zeros(1, dtype=torch.long),
        after.log()[None],
        (after / after.sum())[None],
        torch.tensor([growth]),
        torch.tensor([shift]),
    )
    start, *truth = (reads(one) for one in (before, *(masks or ())))
    told = (truth[0], truth[1]) if truth else None
    sources, rows, _ = onto(torch.zeros(1, READS, 256, 2), start, said, words, POINTS, (16, 16), told)
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
    assert torch.allclose(sources, POINTS - torch.tensor([8 / 16, 6 / 16]), atol=3e-3)
    grown = fitted("put the red ball on the right", before, after, math.log(2))
    middle = torch.tensor([12 / 16, 10 / 16])
    assert torch.allclose(grown, torch.tensor([4 / 16, 4 / 16]) + (POINTS - middle) / 2, atol=3e-3)
    corrected = fitted("put the red ball on the right", before, after, shift=(0.125, -0.0625))
    assert torch.allclose(corrected, POINTS - torch.tensor([10 / 16, 5 / 16]), atol=3e-3)


def test_a_thing_that_grows_where_it_stands_keeps_its_foot_whatever_the_map_says():
    before = square(4, 2, 4)  # from 2/16 to 6/16
    foot = torch.tensor([6 / 16, 6 / 16])
    larger = fitted("make the red ball 2 times larger", before, square(10, 8, 4))
    assert torch.allclose(larger, foot + (POINTS - foot) / 2, atol=1e-5)
    smaller = fitted("make the red ball larger", before, square(10, 8, 4), math.log(0.5 / 1.4))
    assert torch.allclose(smaller, foot + (POINTS - foot) * 2, atol=1e-5)


def test_things_that_are_swapped_stand_on_each_others_feet():
    words = arrays([read("swap the cat and the car")])
    small, large = square(1, 1, 2).reshape(16, 16), square(8, 6, 4).reshape(16, 16)
    where = torch.zeros(READS, 16, 16)
    where[0], where[MAX_STEPS] = small, large
    rows = torch.tensor([0, MAX_STEPS])
    flat = torch.full((2, 256), 1 / 256)
    said = Landed(rows, flat.log(), flat, torch.tensor([2.0, 0.5]).log(), torch.zeros(2, 2))
    sources, placed, middles = onto(
        torch.zeros(1, READS, 256, 2), located(where), said, words, POINTS, (16, 16)
    )
    assert placed.tolist() == rows.tolist()
    # Twice as large, with its foot at 10/16; and half as large, with its foot at 3/16.
    assert torch.allclose(middles, torch.tensor([[10 / 16, 8 / 16], [2 / 16, 2 / 16]]), atol=1e-5)
    centre = torch.tensor([2 / 16, 2 / 16])
    assert torch.allclose(sources[0, 0], centre + (POINTS - middles[0]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("line the ball up with the cat in a row", (0.2, 0.7)),
        ("line the ball up with the cat in a column", (0.6, 0.3)),
        ("put the ball between the cat and the car", (0.6, 0.7)),
        ("add a ball", (0.5, 0.5)),
    ],
)
def test_where_words_put_things_before_anything_is_learned(text, wanted):
    beside = tiny_editor(Parts()).spatial.beside
    subject, reference = (
        torch.tensor([0.2, 0.3]).expand(1, MAX_STEPS, 2),
        torch.tensor([0.6, 0.7]).expand(1, MAX_STEPS, 2),
    )
    _, targets = worded(arrays([read(text)]), beside, subject, reference, POINTS)
    assert targets[0, 0].tolist() == pytest.approx(wanted, abs=1e-6)


def test_a_shift_that_words_say_to_the_point_is_that_shift_wherever_the_map_is():
    sources = fitted("move the red ball 25% to the right", square(2, 2, 4), square(9, 5, 4))
    assert torch.allclose(sources, POINTS - torch.tensor([0.25, 0]), atol=1e-5)
    for vague in ("move the red ball slightly to the right", "move the red ball half a metre to the right"):
        sources = fitted(vague, square(2, 2, 4), square(9, 5, 4))
        assert torch.allclose(sources, POINTS - torch.tensor([7 / 16, 3 / 16]), atol=3e-3)


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
    assert located(small).foot.item() == pytest.approx(0.125) and not located(small * 0).foot.any()
    assert located(edge).middle[0].item() == pytest.approx((4.5 + 5.5 + 3.25) / 2.5 / 16)
    assert not located(torch.zeros(2, 3, 4)).known.any() and located(torch.ones(2, 3, 4)).known.all()


def test_that_a_map_thinks_of_another_thing_too_moves_neither_middle_nor_size_by_much():
    small, large = (square(*at).reshape(16, 16) for at in ((2, 4, 4), (8, 8, 8)))
    doubtful = surest(0.9 * small / small.sum() + 0.1 * large / large.sum())
    assert doubtful.middle.tolist() == pytest.approx([0.25, 0.375], abs=0.01)
    assert growth(located(small), doubtful).item() == pytest.approx(1, abs=0.1)
    torn = surest(0.55 * small / small.sum() + 0.45 * large / large.sum())
    assert torn.middle.tolist() == pytest.approx([0.25, 0.375], abs=0.02), "one of two, not the middle"


def test_what_is_not_known_is_what_is_known_otherwise():
    known, other = (
        located(torch.stack([square(2, 4, 4), square(2, 4, 4) * 0]).reshape(2, 16, 16)),
        reads(POINTS[:, 0]),
    )
    both = known.over(other.of(torch.arange(2)))
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
    shown_at, wanted = (square(*at).reshape(16, 16) for at in ((2, 2, 4), (11, 10, 4)))
    before, after = (torch.zeros(1, MAX_STEPS, 2, 64, 64) for _ in range(2))
    before[0, 0, 0], after[0, 0, 0] = (
        mask.repeat_interleave(FINE, 0).repeat_interleave(FINE, 1) for mask in (shown_at, wanted)
    )
    picture = shown_at * torch.ones(1, 4, 1, 1)
    editor = tiny_editor(Parts(land=True, paste=True))
    with torch.no_grad():
        told = editor.context(words, phrases, inputs[3], shown(picture), Truth(before, after))
    brought = told.paste.brought[0, 0, 0][4::8, 4::8]
    assert torch.allclose(brought, wanted, atol=1e-3)


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

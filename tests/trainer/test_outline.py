"""Outlines of what was found: finer than cells, taught by masks, and told to what is pasted."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from tests.trainer.editors import batch, shown, tiny_editor
from trainer.brought import Brought, Does, bring
from trainer.geometry import Truth
from trainer.maps import FINE, coordinates
from trainer.outline import Outlined, covered, outline_loss
from trainer.spatial_attention import MAX_STEPS, READS, Parts

ALL = Parts(land=True, paste=True)


def drawn(left: int, top: int, side: int, rows: tuple[int, ...] = (0,)) -> Outlined:
    """A square, in places of pictures of 8 x 8 cells."""
    logits = torch.full((len(rows), 8 * FINE, 8 * FINE), -9.0)
    logits[:, top : top + side, left : left + side] = 9.0
    return Outlined(torch.tensor(rows), logits)


def test_the_loss_is_least_where_the_thing_is_and_unknown_things_lose_nothing():
    mask = drawn(5, 6, 7).logits.sigmoid()
    lost = [outline_loss(drawn(left, 6, 7), mask).item() for left in (5, 7, 20)]
    assert lost[0] < 0.01 and lost[0] < lost[1] < lost[2]
    assert outline_loss(drawn(5, 6, 7), torch.zeros_like(mask)) == 0
    both = Outlined(torch.tensor([0, 1]), torch.cat([drawn(7, 6, 7).logits, drawn(5, 6, 7).logits]))
    assert outline_loss(both, torch.cat([mask, mask * 0])).item() == pytest.approx(lost[1], rel=1e-4)


def test_places_are_covered_by_shares_and_what_is_not_to_be_seen_covers_none():
    shares = covered(drawn(4, 5, 6, (2,)), READS)
    assert shares[2, 5:11, 4:10].min() > 0.99 and shares[2].sum().item() == pytest.approx(36, abs=0.1)
    assert not shares[[0, 1, 3]].any()
    assert not covered(Outlined(torch.tensor([0]), torch.full((1, 32, 32), -4.0)), READS).any()
    assert not covered(drawn(4, 4, 2), READS).any(), "some places of a cell are no thing"


def does(*names: str) -> Does:
    """What words do to the first of all reads."""
    first = torch.zeros(1, READS, dtype=torch.bool)
    first[:, 0] = True
    said = (first if field.name in names else ~first & first for field in fields(Does)[:-1])
    return Does(*said, torch.full((1, READS), -1))


def brought(*names: str) -> Brought:
    """By a quarter of the picture to the right: eight places."""
    sources = (coordinates(8, 8) - torch.tensor([0.25, 0.0])).expand(1, READS, 64, 2)
    return bring(PIXELS, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), does(*names), (8, 8), YES)


DRAWN = (3 * drawn(3, 6, 7).logits[0] + 1.5).sigmoid()
YES = torch.tensor([True])
PIXELS = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_outlines_arrive_where_the_read_brings_them():
    got = brought("told", "carries", "leaves", "vacates")
    assert got.of.tolist() == [0] and got.kind.tolist() == [0] and got.pixels.shape == (1, 3, 64, 64)
    assert torch.allclose(got.arriving[0][:, 8:], DRAWN[:, :-8], atol=1e-3)
    assert got.leaving[0, 8, 5] > 0.9 and got.arriving[0, 8, 13] > 0.9 and got.arriving[0, 8, 5] < 0.1
    likely = got.prior().exp()[0]  # source, read, retouched, painted
    assert likely[1, 8, 13] > 0.8 and likely[0, 20, 20] > 0.8
    assert likely[2, 8, 5] == likely[3, 8, 5] and likely[2:, 8, 5].sum() > 0.8


def test_a_thing_of_which_another_is_made_stays_and_one_that_is_coloured_leaves_no_hole():
    copied, colored = brought("told", "carries"), brought("told", "leaves")
    assert copied.prior().exp()[0, 0, 8, 5] > 0.8 and not copied.hole.any()
    assert colored.prior().exp()[0, 2:, 8, 5].sum() > 0.8 and not colored.hole.any()
    assert torch.allclose(colored.would_be(PIXELS), PIXELS, atol=1e-6)


def test_by_the_outlines_alone_things_are_where_they_will_be_and_the_floor_where_they_were():
    left, top, side = 6, 12, 14  # of the thing, in pixels
    floor, thing = torch.tensor([0.5, -0.5, 0.0]), torch.tensor([-1.0, 1.0, 1.0])
    source = floor[None, :, None, None].expand(1, 3, 64, 64).clone()
    source[..., top : top + side, left : left + side] = thing[:, None, None]
    sources = (coordinates(8, 8) - torch.tensor([0.5, 0.0])).expand(1, READS, 64, 2)
    moved = does("told", "carries", "leaves", "vacates")
    got = bring(source, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), moved, (8, 8), YES).would_be(
        source
    )
    wanted = floor[None, :, None, None].expand(1, 3, 64, 64).clone()
    wanted[..., top : top + side, left + 32 : left + 32 + side] = thing[:, None, None]
    off = (got - wanted).abs().amax(dim=1)[0]
    assert off[:, :30].max() < 0.05 and off.median() < 1e-4
    assert off[top + 2 : top + side - 2, left + 34 : left + 30 + side].max() < 1e-3


def test_a_thing_that_moves_by_less_than_its_width_leaves_nothing_of_itself_behind():
    """What fills its place is what was around it, not the thing itself where it is now."""
    floor, thing = torch.tensor([0.5, -0.5, 0.0]), torch.tensor([-1.0, 1.0, 1.0])
    source = floor[None, :, None, None].expand(1, 3, 64, 64).clone()
    source[..., 12:26, 6:20] = thing[:, None, None]
    sources = (coordinates(8, 8) - torch.tensor([0.125, 0.0])).expand(1, READS, 64, 2)
    moved = does("told", "carries", "leaves", "vacates")
    got = bring(source, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), moved, (8, 8), YES).would_be(
        source
    )
    assert (got[0, :, 12:26, 4:12] - floor[:, None, None]).abs().max() < 0.05
    assert (got[0, :, 14:24, 17:26] - thing[:, None, None]).abs().max() < 0.05


def test_a_picture_that_is_brought_as_a_whole_arrives_wherever_it_is_from_within():
    got = brought("told", "frames")
    assert got.arriving[0, :, 9:].min() > 0.99 and got.arriving[0, :, :7].max() < 0.01 and got.drawn.all()
    assert torch.allclose(got.would_be(PIXELS)[..., 18:], PIXELS[..., 2:-16], atol=1e-3)
    edge = got.would_be(PIXELS)[..., :14]  # goes on as it ends
    assert torch.allclose(edge, PIXELS[..., :1].expand_as(edge), atol=1e-3)
    likely = got.prior().exp()[0]
    assert likely[2:, :, :7].sum(dim=0).min() > 0.8, "nothing of the source is seen there"


def test_in_training_masks_tell_what_is_brought_and_gone_where_they_are_known():
    """What was drawn is elsewhere."""
    mask = torch.zeros(1, READS, 32, 32)
    mask[0, 0, 20:26, 3:9] = 1
    moved, still = does("told", "carries", "leaves", "vacates"), coordinates(8, 8).expand(1, READS, 64, 2)
    maps = torch.zeros(1, READS, 64)
    told, untold = (
        bring(PIXELS, still, maps, drawn(3, 6, 7), moved, (8, 8), YES, truth) for truth in (mask, mask * 0)
    )
    assert torch.equal(told.leaving[0] * mask[0, 0], mask[0, 0]) and told.leaving[0].sum() == 18 * 15
    assert torch.allclose(told.arriving[0], mask[0, 0], atol=1e-5)
    assert untold.leaving[0, 8, 5] > 0.9 and untold.leaving[0, 22, 5] < 0.1


def test_an_outline_that_is_half_sure_is_taken_for_one():
    unsure = Outlined(torch.tensor([0]), drawn(3, 6, 7).logits / 18 - 0.25)  # one half, 0.32 elsewhere
    sources = coordinates(8, 8).expand(1, READS, 64, 2)
    some = bring(PIXELS, sources, torch.zeros(1, READS, 64), unsure, does("told", "leaves"), (8, 8), YES)
    assert some.leaving[0, 8, 5] > 0.85 and some.leaving[0, 25, 25] < 0.35


def test_what_stays_and_looks_otherwise_is_told_by_its_step():
    colored, moved = brought("told", "leaves"), brought("told", "carries", "leaves", "vacates")
    assert torch.allclose(colored.tinted[0], DRAWN) and not moved.tinted.any()
    steps = colored.all_of_steps(colored.tinted, MAX_STEPS)
    assert steps.shape == (1, MAX_STEPS, 32, 32)
    assert torch.equal(steps[0, 0], colored.tinted[0]) and not steps[0, 1:].any()


def test_a_thing_that_was_brought_somewhere_looks_otherwise_there():
    """Moved by the first step, coloured by the second."""
    sources = coordinates(8, 8).expand(1, READS, 64, 2).clone()
    sources[:, 0] -= torch.tensor([0.25, 0.0])
    both = torch.zeros(1, READS, dtype=torch.bool)
    both[:, :2] = True
    moves, colors = both.clone(), both.clone()
    moves[:, 1], colors[:, 0] = False, False
    follows = torch.full((1, READS), -1)
    follows[:, 1] = 0
    told = Does(both, moves, both, moves, both & ~both, follows)
    got = bring(PIXELS, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7, (0, 1)), told, (8, 8), YES)
    assert torch.allclose(got.tinted[1][:, 8:], DRAWN[:, :-8], atol=1e-3) and not got.tinted[0].any()
    assert got.leaving[1, 8, 13] > 0.9 and got.leaving[1, 8, 5] < 0.1


def test_where_there_is_no_read_outlines_tell_nothing():
    got = brought("carries", "leaves", "vacates")
    assert not got.prior().any()
    assert torch.allclose(got.would_be(PIXELS), PIXELS, atol=1e-6)


def test_where_things_are_is_known_by_their_outlines_once_these_are_drawn(monkeypatch):
    """The map is sure of nothing: what is put in the corner is the outlined thing."""
    inputs, words, phrases = batch(("put the red ball in the lower-right corner",), size=(8, 8))
    editor = tiny_editor(ALL)
    picture = shown(inputs[3])
    after = torch.zeros(1, MAX_STEPS, 2, 8, 8)
    after[0, 0, 0, 5:7, 5:7] = 1
    monkeypatch.setattr(
        editor.spatial.land,
        "forward",
        lambda *_: (after[0, 0, 0].flatten()[None] * 30, torch.zeros(1), torch.zeros(1, 2)),
    )
    monkeypatch.setattr(editor.spatial.outline, "forward", lambda *_: drawn(4, 8, 8).logits)
    with torch.no_grad():
        paste = editor.context(words, phrases, inputs[3], picture).paste
    thing, hole = (slice(16, 32), slice(8, 24)), (slice(40, 56), slice(40, 56))
    assert torch.allclose(paste.brought[0, 0][:, *hole], paste.source[0][:, *thing], atol=0.05)


def test_outlines_are_learned_from_masks():
    inputs, words, phrases = batch(("remove the red ball",), size=(8, 8))
    editor = tiny_editor(ALL)
    with torch.no_grad():
        inputs[3][..., 2:4, 5:7] += 4.0
    picture = shown(inputs[3])
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:16, 20:28] = 1
    before = torch.zeros(1, MAX_STEPS, 2, 32, 32)
    before[0, 0, 0] = mask[0]
    optimizer = torch.optim.Adam(editor.parameters(), 3e-3)
    for _ in range(50):
        truth = Truth(before, torch.zeros_like(before))
        context = editor.context(words, phrases, inputs[3], picture, truth)
        loss = outline_loss(context.outlined, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((context.outlined.logits[0] > 0) == (mask[0] > 0)).float().mean() > 0.98

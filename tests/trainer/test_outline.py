"""Outlines of what was found: finer than cells, taught by masks, and told to what is pasted."""

from __future__ import annotations

import pytest
import torch

from tests.trainer.editors import batch, shown, tiny_editor
from trainer.geometry import Truth
from trainer.maps import FINE, coordinates
from trainer.outline import Outlined, covered, outline_loss
from trainer.paste import bring
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


def test_cells_are_covered_by_shares_and_what_is_not_to_be_seen_covers_none():
    shares = covered(drawn(4, 4, 6, (2,)), READS).reshape(READS, 8, 8)
    assert shares[2, 1, 1].item() == pytest.approx(1, abs=1e-3)
    assert shares[2, 1, 2].item() == pytest.approx(0.5, abs=1e-3)
    assert shares[2, 2, 2] == 0 and not shares[[0, 1, 3]].any()  # a quarter is no more than a corner
    assert not covered(Outlined(torch.tensor([0]), torch.full((1, 32, 32), -4.0)), READS).any()


def test_outlines_arrive_where_the_read_brings_them():
    """By a quarter of the picture to the right: eight places."""
    points = coordinates(8, 8)
    sources = (points - torch.tensor([0.25, 0.0])).expand(1, READS, 64, 2)
    told = torch.zeros(1, READS, dtype=torch.bool)
    told[:, 0] = True
    pixels = torch.rand(1, 3, 64, 64)
    got = bring(pixels, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), told, told, told, (8, 8))
    assert got.reads == [0] and got.pixels.shape == (1, 1, 3, 64, 64)
    assert torch.allclose(got.arriving[0, 0][:, 8:], got.leaving[0, 0][:, :-8], atol=1e-3)
    assert got.leaving[0, 0, 8, 5] > 0.9 and got.arriving[0, 0, 8, 13] > 0.9
    assert got.arriving[0, 0, 8, 5] < 0.1
    likely = got.prior().exp()[0]
    assert likely[1, 8, 13] > 0.8 and likely[2, 8, 5] > 0.8 and likely[0, 20, 20] > 0.8
    nobody = torch.zeros_like(told)
    stays = bring(pixels, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), told, told, nobody, (8, 8))
    assert stays.prior().exp()[0, 0, 8, 5] > 0.8, "a thing of which another is made stays"
    silent = bring(pixels, sources, torch.zeros(1, READS, 64), drawn(3, 6, 7), nobody, told, told, (8, 8))
    assert not silent.prior().any()


def test_where_things_are_is_known_by_their_outlines_once_these_are_drawn(monkeypatch):
    """The map is sure of nothing: what is put in the corner is the outlined thing."""
    inputs, words, phrases = batch(("put the red ball in the lower-right corner",), size=(8, 8))
    editor = tiny_editor(ALL)
    picture = shown(inputs[3])
    after = torch.zeros(1, MAX_STEPS, 2, 8, 8)
    after[0, 0, 0, 5:7, 5:7] = 1
    monkeypatch.setattr(
        editor.spatial.land, "forward", lambda *_: (after[0, 0, 0].flatten()[None] * 30, torch.zeros(1))
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
    before = torch.zeros(1, MAX_STEPS, 2, 8, 8)
    before[0, 0, 0, 2:4, 5:7] = 1
    optimizer = torch.optim.Adam(editor.parameters(), 3e-3)
    for _ in range(50):
        truth = Truth(before, torch.zeros_like(before))
        context = editor.context(words, phrases, inputs[3], picture, truth)
        loss = outline_loss(context.outlined, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((context.outlined.logits[0] > 0) == (mask[0] > 0)).float().mean() > 0.98

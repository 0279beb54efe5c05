"""Holes are filled from what is around them, and colours change where they are taught to."""

from __future__ import annotations

import pytest
import torch

from trainer.retouch import Retouch, filled, toned


@pytest.mark.parametrize("size", [(32, 32), (24, 20), (8, 12), (1, 5)])
def test_a_hole_becomes_as_what_is_around_it_and_what_is_known_stays(size):
    color = torch.tensor([0.5, -0.25, 1.0])[None, :, None, None]
    picture, known = color.expand(1, 3, *size).clone(), torch.ones(1, 1, *size)
    known[..., size[0] // 3 : size[0] // 2 + 1, 1 : size[1] // 2] = 0
    picture = picture + (1 - known) * 9
    assert torch.allclose(filled(picture, known), color.expand(1, 3, *size), atol=1e-3)
    noise = torch.randn(1, 3, *size)
    assert torch.equal(filled(noise, known) * known, noise * known)
    assert torch.isfinite(filled(noise, known * 0)).all()


def test_a_hole_between_two_walls_is_nearer_to_the_nearer():
    picture = torch.cat([torch.full((1, 3, 32, 16), -1.0), torch.full((1, 3, 32, 16), 1.0)], dim=-1)
    known = torch.ones(1, 1, 32, 32)
    known[..., 8:24, 8:24] = 0
    got = filled(picture, known)
    assert got[..., 12:20, 8].mean() < -0.3 and got[..., 12:20, 23].mean() > 0.3


def test_a_horizon_goes_on_behind_a_hole():
    picture = torch.cat([torch.full((1, 3, 15, 32), -1.0), torch.full((1, 3, 17, 32), 1.0)], dim=-2)
    known = torch.ones(1, 1, 32, 32)
    known[..., 8:24, 8:24] = 0
    assert torch.allclose(filled(picture, known), picture, atol=1e-4)
    whole = torch.ones(1, 1, 32, 32)
    whole[..., 10:12, :] = 0  # a hole from side to side
    assert filled(picture, whole)[..., 10:12, :].max() < -0.5


@pytest.mark.parametrize("cells", [(8, 8), (5, 3)])
def test_a_new_one_changes_nothing_and_takes_pictures_of_any_shape(cells):
    retouch, size = Retouch(16, 8), tuple(8 * side for side in cells)
    finer = tuple(4 * side for side in cells)
    source, would_be = 2 * torch.rand(2, 2, 3, *size) - 1
    hole, arriving = torch.rand(2, 2, 1, *finer)
    got = retouch(source, would_be, hole, arriving, torch.randn(2, 16, *cells))
    assert torch.equal(got, would_be)


def test_tones_are_affine_in_the_colour_that_is_seen_and_no_colour_is_beyond_white_or_black():
    """A texture keeps its grain: twice as far from grey, it stays so."""
    picture = 0.2 * torch.rand(1, 3, 8, 8)
    tones = 0.2 * torch.rand(1, 12, 1, 1).expand(1, 12, 8, 8)
    flat, once, twice = (toned(by * picture, tones) for by in (0.0, 1.0, 2.0))
    assert torch.allclose(twice - flat, 2 * (once - flat), atol=1e-5) and not torch.allclose(once, picture)
    assert toned(picture, 50 * tones).max() == 1


def test_a_tint_is_of_the_thing_alone_and_of_the_words():
    """After some teaching two words are two colours, whatever colour the thing has, inside its outline."""
    retouch = Retouch(16, 8)
    words = torch.randn(2, 1, 8)
    outlines = torch.zeros(2, 1, 32, 32)
    outlines[..., 8:16, 8:16] = 1
    wanted = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])[:, :, None, None]
    optimizer = torch.optim.Adam(retouch.tint.parameters(), 1e-2)
    for step in range(200):
        picture = torch.rand(2, 3, 1, 1, generator=torch.Generator().manual_seed(step)).expand(2, 3, 64, 64)
        off = (retouch.tinted(picture, outlines, words) - wanted)[..., 18:30, 18:30].square().mean()
        optimizer.zero_grad()
        off.backward()
        optimizer.step()
    assert off < 0.01
    away = (retouch.tinted(picture, outlines, words) - picture).abs()
    assert away[..., 40:].max() == 0

"""Cut out and put down: what is not reached keeps its pixels, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from generators.cutout import cut, flipped, hole_of, is_inside, mask_in, moved, pasted, scaled, seam, touched
from generators.inpainting import OpenCv

SHAPE = (120, 160)


def scene(seed=0, texture=12):
    """A textured ground with a red disc on it, a dark shadow at its foot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ground = 150 + texture * rng.standard_normal((*SHAPE, 1)) + 20 * (x[..., None] / SHAPE[1])
    photo = np.clip(np.repeat(ground, 3, axis=2), 0, 255).astype(np.uint8)
    mask = (y - 60) ** 2 + (x - 70) ** 2 < 18**2
    foot = (y > 72) & ((y - 76) ** 2 * 5 + (x - 70) ** 2 < 20**2) & ~mask
    photo[foot] = photo[foot] * 0.6
    photo[mask] = (200, 30, 30)
    return photo, mask


@pytest.fixture(scope="module")
def parts():
    photo, mask = scene()
    behind = OpenCv()(photo, hole_of(photo, mask), 0)
    return photo, mask, behind, cut(photo, behind, mask)


def test_filling_keeps_every_pixel_outside_the_hole(parts):
    photo, mask, behind, _ = parts
    hole = hole_of(photo, mask)
    assert np.array_equal(behind[~hole], photo[~hole])
    inside = behind[mask].astype(int)
    assert (abs(inside[:, 0] - inside[:, 1]) < 40).all()  # nothing red is left of the disc


def test_pasting_changes_nothing_but_what_it_says(parts):
    _, _, behind, piece = parts
    elsewhere = moved(piece, 3, 40)
    made = pasted(behind, elsewhere)
    outside = ~touched(SHAPE, elsewhere)
    assert np.array_equal(made[outside], behind[outside])
    assert (made[mask_in(SHAPE, elsewhere)][:, 0] > 120).mean() > 0.98


def test_put_back_it_looks_as_it_did(parts):
    photo, mask, behind, piece = parts
    made = pasted(behind, piece)
    y, x = np.nonzero(mask)
    inner = (y - 60) ** 2 + (x - 70) ** 2 < 15**2  # its edge is soft
    assert np.abs(made[mask][inner].astype(int) - photo[mask][inner]).max() <= 1


def test_a_thing_lands_where_it_is_sent(parts):
    _, mask, _, piece = parts
    assert np.array_equal(mask_in(SHAPE, moved(piece, 5, -20)), np.roll(mask, (5, -20), (0, 1)))


def test_twice_the_size_covers_four_times_the_area_about_its_foot(parts):
    _, mask, _, piece = parts
    foot = float(np.flatnonzero(mask.any(axis=1))[-1] + 1)
    large = mask_in(SHAPE, scaled(piece, 1.5, (foot, 70.0)))
    assert large.sum() == pytest.approx(2.25 * mask.sum(), rel=0.05)
    assert abs(np.flatnonzero(large.any(axis=1))[-1] + 1 - foot) <= 1


def test_flipped_twice_is_the_same(parts):
    *_, piece = parts
    again = flipped(flipped(piece))
    assert np.array_equal(mask_in(SHAPE, again), mask_in(SHAPE, piece))
    assert np.array_equal(again.rgb, piece.rgb) and again.origin == piece.origin


@pytest.mark.parametrize("shift", [(0, 200), (0, -75), (90, 0), (-60, 0)])
def test_a_thing_that_leaves_the_frame_is_told(parts, shift):
    *_, piece = parts
    assert is_inside(SHAPE, piece)
    assert not is_inside(SHAPE, moved(piece, *shift))
    mask_in(SHAPE, moved(piece, *shift))  # and is no error


def test_the_shadow_goes_along(parts):
    _, _, behind, piece = parts
    made = pasted(behind, moved(piece, 0, 45)).astype(float)
    below = (slice(79, 82), slice(108, 122))  # under the disc at its new place
    assert made[below].mean() < 0.9 * behind[below].mean()


def test_a_ground_without_a_shadow_gets_none():
    photo, mask = scene()
    plain = np.full_like(photo, 150)
    plain[mask] = (200, 30, 30)
    behind = OpenCv()(plain, hole_of(plain, mask), 0)
    assert (cut(plain, behind, mask).shade == 1).all()


def test_a_hard_edge_on_a_plain_ground_stands_out_more_than_one_in_texture():
    rough, mask = scene(texture=40)
    plain = np.full_like(rough, 150)
    plain[mask] = (200, 30, 30)
    assert seam(plain, mask) > 2 * seam(rough, mask)

"""Weights in eight bits come back as they were, to half a level."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.compact import packed, unpacked


@given(st.integers(0, 2**31 - 1), st.integers(-6, 6), st.sampled_from([(5, 7), (3, 4, 3, 3), (1, 2)]))
def test_weights_come_back_to_half_a_level_of_their_row(seed, power, shape):
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10.0**power
    if not value.abs().max() / 127 < torch.finfo(torch.float16).max:
        return
    back = unpacked(packed({"w": value}))["w"]
    level = value.flatten(1).abs().amax(dim=1).clamp_min(2.0**-14) / 127
    off = (back - value).flatten(1).abs().amax(dim=1)
    assert back.dtype == torch.float32 and back.shape == value.shape
    assert (off <= 0.5 * level * 1.002 + 2.0**-25).all()  # a scale is rounded up by at most a thousandth


def test_a_row_of_zeros_stays_one_and_does_not_blur_the_others():
    back = unpacked(packed({"w": torch.tensor([[0.0, 0.0], [1.0, -127.0]])}))["w"]
    assert torch.equal(back[0], torch.zeros(2)) and torch.allclose(
        back[1], torch.tensor([1.0, -127.0]), rtol=1e-3
    )


def test_what_has_one_dimension_is_not_packed():
    stored = packed({"bias": torch.tensor([0.1, 300.0])})
    assert stored["bias"].dtype == torch.float16 and stored.keys() == {"bias"}


def test_weights_that_were_never_packed_stay_as_they_are():
    plain = {"w": torch.randn(2, 2), "one.scale": torch.ones(3)}
    assert unpacked(plain).keys() == plain.keys()
    assert all(torch.equal(unpacked(plain)[name], plain[name]) for name in plain)


def test_a_missing_scale_is_said():
    stored = packed({"w": torch.ones(2, 2)})
    del stored["w.scale"]
    with pytest.raises(ValueError, match="w is packed, and its scale is missing"):
        unpacked(stored)


def test_a_name_that_ends_as_scales_do_is_refused():
    with pytest.raises(ValueError, match=r"cannot end in \.scale"):
        packed({"norm.scale": torch.ones(2)})

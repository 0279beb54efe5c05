"""What the starter models learn from: runs that resume, wrong captions that are wrong, layouts that mirror."""

from __future__ import annotations

import numpy as np
import torch

from models.starter.captions import layout_of, one_wrong
from models.starter.training import Plan, train
from models.starter.world import COLORS, HELD_OUT, KINDS
from spatial.captioning import Facts
from spatial.instruction import Expression


def fit(folder, until_s=None):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)

    def loss(step, noise):
        inputs = torch.randn(8, 3, generator=noise)
        return (model(inputs) - inputs.sum(1, keepdim=True)).square().mean(), {}

    return train("line", model, loss, Plan(steps=30, rate=0.05, warmup=3), folder, until_s=until_s)


def test_a_run_stopped_after_every_step_ends_with_the_same_weights(tmp_path):
    whole = fit(tmp_path / "whole")
    for _ in range(30):
        pieces = fit(tmp_path / "pieces", until_s=0.0)
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def test_a_wrong_caption_changes_one_attribute_and_never_only_leaves_one_out():
    things = (
        Expression("mug", color="red", material="metal"),
        Expression("cat", color="blue", material="matte"),
    )
    facts = Facts(things, ("left", "right"), {})
    for seed in range(200):
        wrong = one_wrong(facts, np.random.default_rng(seed)).things
        changed = [
            (old, new, field)
            for old, new in zip(things, wrong)
            for field in ("noun", "color", "material")
            if getattr(old, field) != getattr(new, field)
        ]
        assert len(changed) == 1
        assert changed[0][2] != "material" or changed[0][1].material != "matte"


def test_the_layout_of_the_mirrored_picture_is_flipped_and_binds_the_same():
    things = [{"name": "car", "color": "green", "box": [0, 96, 30, 128]}]
    kinds = len(KINDS) * 16
    plain, flipped = layout_of(things, False), layout_of(things, True)
    grid, other = plain[:kinds].reshape(-1, 4, 4), flipped[:kinds].reshape(-1, 4, 4)
    assert grid[KINDS.index("car"), 3, 0] == 1 and grid.sum() == 1
    assert np.array_equal(other, grid[:, :, ::-1])
    assert np.array_equal(plain[-len(KINDS) * len(COLORS) :], flipped[-len(KINDS) * len(COLORS) :])


def test_every_colour_is_held_out_with_one_kind():
    assert sorted(color for _, color in HELD_OUT) == sorted(COLORS)
    assert len({kind for kind, _ in HELD_OUT}) == len(HELD_OUT)

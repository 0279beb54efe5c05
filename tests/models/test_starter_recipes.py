"""What the starter models learn from: runs that resume, wrong captions that are wrong, layouts that mirror."""

from __future__ import annotations

import numpy as np
import torch

from models.starter.captions import layout_of, one_wrong, placed, sides_of
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


def test_cells_count_row_by_row_from_the_top_left():
    things = [{"name": "car", "color": "green", "box": [96, 32, 128, 64]}]  # the last column, the second row
    cells = placed(layout_of(things, False)[None])
    assert cells.shape[0] == 1 and cells[0, KINDS.index("car")].ravel().tolist().index(1) == 1 * 4 + 3
    assert cells[0, len(KINDS) + COLORS.index("green"), 1, 3] == 1 and cells.sum() == 2


def test_sides_are_told_where_they_are_clear_and_turn_with_the_picture():
    def thing(kind: str, color: str, x: int) -> dict[str, object]:
        return {"name": kind, "color": color, "box": [x, 90, x + 20, 110]}

    def left(found, kind: str, other: str) -> int:
        return int(found[KINDS.index(kind) * len(KINDS) + KINDS.index(other)])

    things = [thing("car", "green", 0), thing("mug", "red", 60), thing("tree", "blue", 66)]
    plain, flipped = sides_of(things, False), sides_of(things, True)
    assert (left(plain, "car", "mug"), left(plain, "mug", "car")) == (1, 0)
    assert (left(flipped, "car", "mug"), left(flipped, "mug", "car")) == (0, 1)
    assert left(plain, "mug", "tree") == left(plain, "mug", "mug") == left(plain, "mug", "cube") == -1
    colors = plain[len(KINDS) ** 2 :].reshape(len(COLORS), len(COLORS))
    assert colors[COLORS.index("green"), COLORS.index("red")] == 1
    both = [*things, thing("car", "pink", 100)]  # a car on either side of the mug
    assert left(sides_of(both, False), "car", "mug") == -1


def test_every_colour_is_held_out_with_one_kind():
    assert sorted(color for _, color in HELD_OUT) == sorted(COLORS)
    assert len({kind for kind, _ in HELD_OUT}) == len(HELD_OUT)

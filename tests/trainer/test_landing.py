"""Things land on the map of where they will be: what is read is fitted onto it, and both pictures' masks teach it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from shards.images import mask_to_rle
from shards.schema import PUBLISHED
from shards.tables import from_rows
from tests.datasets import pair
from tests.trainer.editors import batch, shown, tiny_editor
from trainer.examples import Seen, example
from trainer.landing import Landed, growth_loss, shift_loss
from trainer.maps import FINE, map_loss
from trainer.paste import Shown
from trainer.spatial_attention import MAX_STEPS, READS, Parts
from trainer.words import arrays, read

ALL = Parts(land=True, paste=True)
KNOWN = torch.tensor([True])


def square(left: int, top: int, side: int) -> torch.Tensor:
    mask = torch.zeros(16, 16)
    mask[top : top + side, left : left + side] = 1
    return mask.flatten()


@pytest.mark.parametrize(
    ("sentence", "lands"),
    [
        ("move the red ball 10% to the right", {0}),
        ("swap the cat and the car", {0, MAX_STEPS}),
        ("add a red ball", {0}),
        ("make the ball blue", {0}),
        ("remove the ball", set()),
        ("zoom in 2x", set()),
        ("make it autumn", set()),
        ("make the ball blue, then move it 10% to the left", {0, 1}),
    ],
)
def test_what_a_step_puts_somewhere_lands(sentence, lands):
    assert set(np.flatnonzero(arrays([read(sentence)]).lands.transpose(0, 2, 1))) == lands


def test_what_is_read_lies_on_the_map_of_where_it_will_be(monkeypatch):
    """A square of 4 cells, found in the upper left, that will be one of 8 in the lower right."""
    inputs, words, phrases = batch(("put the red ball in the lower-right corner",), size=(16, 16))
    editor = tiny_editor(ALL)
    encoder = editor.spatial
    before, after = square(2, 2, 4), square(7, 7, 8)
    picture = before.reshape(1, 1, 16, 16) * torch.ones(1, 4, 1, 1)
    monkeypatch.setattr(
        encoder.land, "forward", lambda *_: (after[None] * 30, torch.tensor([2.0]).log(), torch.zeros(1, 2))
    )
    # Finds it for sure: what is looked for is the square, at each place.
    monkeypatch.setattr(encoder.query, "forward", lambda found: torch.ones(*found.shape[:-1], 1))
    monkeypatch.setattr(encoder.key, "forward", lambda _: before[None, :, None] * 342.0 * 32**0.5)
    monkeypatch.setattr(encoder.outline, "forward", lambda *_: torch.full((1, 64, 64), -9.0))
    with torch.no_grad():
        context = editor.context(words, phrases, picture, Shown(shown(picture).pixels))
    brought = context.paste.brought[0, 0, 0][4::8, 4::8]
    landed = context.landings[0, 0]
    assert landed[8:14, 8:14].min() > 0.9 and landed[:6].max() < 0.1 and landed[:, :6].max() < 0.1
    assert brought[8:14, 8:14].min() > 0.9
    assert brought[:6].max() < 0.1 and brought[:, :6].max() < 0.1
    assert not context.landings[0, 1:].any()
    assert inputs[3].shape == picture.shape


def test_the_loss_of_growth_is_that_to_the_growth_of_the_masks():
    lost = [
        growth_loss(landed(torch.tensor([said])), torch.tensor([2.0]), KNOWN, torch.ones(1)).item()
        for said in (0.0, 0.5, math.log(2))
    ]
    assert lost[0] > lost[1] > lost[2] and lost[2] == pytest.approx(0, abs=1e-6)
    twice = growth_loss(landed(torch.zeros(1)), torch.tensor([2.0]), KNOWN, torch.full((1,), 2.0))
    assert twice.item() == pytest.approx(0, abs=1e-6)  # the words say it
    assert growth_loss(landed(torch.ones(1)), torch.tensor([2.0]), ~KNOWN, torch.ones(1)) == 0


def landed(growth: torch.Tensor) -> Landed:
    maps = torch.ones(1, 256) / 256
    return Landed(torch.zeros(1, dtype=torch.long), maps.log(), maps, growth, torch.zeros(1, 2))


def test_the_loss_of_a_shift_is_how_far_the_middle_is_off():
    at = torch.tensor([[0.4, 0.6], [0.1, 0.1]])
    one = replace(landed(torch.zeros(1)), placed=torch.arange(2), middles=at)
    known = torch.tensor([True, False])
    near, far = (shift_loss(one, at + torch.tensor([by, 0.0]), known).item() for by in (0.01, 0.2))
    assert 0 < near < far and shift_loss(one, at, known) == 0
    assert far == pytest.approx(shift_loss(one, at - torch.tensor([0.2, 0.0]), known).item())
    assert shift_loss(one, at + 1, ~known & known) == 0


def test_maps_of_where_things_will_be_are_learned_from_the_edited_picture():
    def thing(name: str, left: int) -> dict:
        mask = np.zeros((64, 64), bool)
        mask[8:16, left : left + 8] = True
        return {"id": name, "name": name[:-2], "mask": mask_to_rle(mask)}

    def landings(kind: str, words: str, **step: object) -> np.ndarray:
        told = {"kind": kind, "subject": "mug-1", **step}
        row = pair(
            0, edit_prompt=words, operations=[told], objects_before=[thing("mug-1", 0), thing("cube-1", 8)],
            objects_after=[thing("mug-1", 32), thing("cube-1", 40), thing("ball-1", 56)],
        )  # fmt: skip
        shown = from_rows([row], PUBLISHED).to_pylist()[0]
        return example(shown, Seen(64), np.random.default_rng(0)).landings[..., ::FINE, ::FINE]

    def cells(mask: np.ndarray) -> list[list[int]]:
        return np.argwhere(mask > 0.5).tolist()

    moved = landings("move", "move the mug to the right")
    assert cells(moved[0, 0]) == [[1, 4]] and not moved[0, 1].any()
    swapped = landings("swap", "swap the mug and the cube", reference="cube-1")
    assert cells(swapped[0, 0]) == [[1, 4]] and cells(swapped[0, 1]) == [[1, 5]]
    added = landings("add", "add a ball", subject=None, objects=["ball-1"])
    assert cells(added[0, 0]) == [[1, 7]]


def test_the_loss_is_least_on_the_thing_and_nothing_is_lost_of_what_is_not_known():
    mask = square(2, 2, 2)[None]
    right, wrong = mask * 9.0, square(9, 9, 2)[None] * 9.0
    assert map_loss(right, mask) < map_loss(wrong, mask)
    assert map_loss(wrong, torch.zeros_like(mask)) == 0
    assert map_loss(wrong[:0], mask[:0]) == 0
    both = torch.cat([mask, torch.zeros_like(mask)])
    assert map_loss(torch.cat([right, wrong]), both) == map_loss(right, mask)


def test_both_maps_learn_and_reads_follow_them():
    inputs, words, phrases = batch(size=(8, 8))
    editor, picture = tiny_editor(ALL).train(), Shown(shown(inputs[3]).pixels)
    optimizer = torch.optim.Adam(editor.spatial.parameters(), 3e-3)
    masks = torch.zeros(3, MAX_STEPS, 2, 8, 8)
    masks[:2, 0, 0, 1:3, 1:3] = 1
    landings = masks.roll(4, dims=-1)
    losses = []
    for _ in range(40):
        context = editor.context(words, phrases, inputs[3], picture)
        wanted = landings.transpose(1, 2).flatten(3).flatten(0, 2)[context.landed.rows]
        loss = map_loss(context.logits.flatten(3), masks.flatten(3)) + map_loss(context.landed.logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert context.landed.rows.tolist() == [0, READS]  # two of the three sentences put something somewhere
    assert losses[-1] < 0.6 * losses[0]
    cat = context.landings[1, 0]  # the ball is moved by as much as the words say, whatever the map
    assert cat[1:3, 5:7].mean() > cat[1:3, 1:3].mean() + 0.3

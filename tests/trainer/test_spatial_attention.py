"""The spatial layers begin as nothing, read from where the operation says, and learn where things are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.editors import SENTENCES, TEXT_WIDTH, batch, opened, shown, tiny_editor
from trainer.geometry import worded
from trainer.maps import coordinates, fourier, level, map_loss, pull_back, sampled, silhouettes
from trainer.spatial_attention import Parts, SpatialEncoder
from trainer.words import arrays, read

PARTS = [Parts(land=True, paste=True), Parts(), Parts(read=False), Parts(grounding=False, read=False)]
unit = st.floats(0, 1)
scales = st.floats(0.2, 5) | st.floats(-5, -0.2)


def pair(x: float, y: float) -> torch.Tensor:
    return torch.tensor([x, y], dtype=torch.float64)


@given(points=st.lists(st.tuples(unit, unit), min_size=1, max_size=5), centre=st.tuples(unit, unit),
       target=st.tuples(unit, unit), scale=st.tuples(scales, scales))  # fmt: skip
def test_pulling_back_undoes_the_map(points, centre, target, scale):
    """c goes to t, and what is around it is scaled about it."""
    c, t, s = pair(*centre), pair(*target), pair(*scale)
    there = torch.tensor(points, dtype=torch.float64)
    source = pull_back(there, c, t, s)
    assert torch.allclose(t + (source - c) * s, there, atol=1e-9)
    assert torch.allclose(pull_back(t[None], c, t, s), c[None], atol=1e-9)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (2, 0), (-1, 3)])
def test_sampling_at_shifted_places_shifts_the_picture(dx, dy):
    picture = torch.randn(1, 3, 6, 8)
    shift = torch.tensor([dx / 8, dy / 6])
    points = pull_back(coordinates(6, 8), torch.zeros(2), shift, torch.ones(2))
    moved = sampled(picture, points[None])[0].T.reshape(3, 6, 8)
    wanted = torch.zeros(3, 6, 8)
    for y in range(6):
        for x in range(8):
            if 0 <= y - dy < 6 and 0 <= x - dx < 8:
                wanted[:, y, x] = picture[0, :, y - dy, x - dx]
    assert torch.allclose(moved, wanted, atol=1e-5)


def test_a_mirror_reads_from_the_other_side():
    picture = torch.randn(1, 2, 4, 6)
    middle = torch.full((2,), 0.5)
    points = pull_back(coordinates(4, 6), middle, middle, torch.tensor([-1.0, 1.0]))
    assert torch.allclose(
        sampled(picture, points[None])[0].T.reshape(2, 4, 6), picture[0].flip(-1), atol=1e-5
    )


def test_coordinates_are_the_middles_of_cells_x_first():
    assert coordinates(2, 4)[:2].tolist() == [[0.125, 0.25], [0.375, 0.25]]
    assert fourier(torch.zeros(3, 2)).shape == (3, 26)


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_a_new_editor_does_what_the_plain_one_does(parts):
    inputs, words, phrases = batch()
    plain, spatial = tiny_editor(None), tiny_editor(parts)
    with torch.no_grad():
        wanted = plain(*inputs)
        found = spatial(*inputs, spatial.context(words, phrases, inputs[3], shown(inputs[3])))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_every_gate_learns_from_the_first_step_on():
    inputs, words, phrases = batch()
    editor = tiny_editor(Parts())
    editor(*inputs, editor.context(words, phrases, inputs[3])).square().mean().backward()
    gates = {name: value.grad for name, value in editor.named_parameters() if "gate" in name}
    assert len(gates) == 2 * 3 * 7
    assert all(grad is not None and bool(grad.any()) for grad in gates.values())


def told(editor, sentence: str) -> torch.Tensor:
    """The prediction of one sample, the text encoder's states being the same whatever is said."""
    inputs, _, phrases = batch(("move the red ball 10% to the right",))
    with torch.no_grad():
        return editor(*inputs, editor.context([read(sentence)], phrases, inputs[3], shown(inputs[3])))


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_direction_and_amount_count_once_gates_are_open(parts):
    editor = opened(tiny_editor(parts))
    first = told(editor, "move the red ball 10% to the right")
    for other in (
        "move the red ball 10% to the left",
        "move the red ball 30% to the right",
        "remove the red ball",
    ):
        assert not torch.allclose(told(editor, other), first, atol=1e-4), other
    assert torch.equal(told(editor, "dịch quả bóng đỏ sang phải 10%"), first)


@pytest.mark.parametrize("parts", [Parts(), Parts(land=True, paste=True)], ids=str)
def test_samples_of_a_batch_do_not_mix(parts):
    """One of them is a swap, which has a read that the others have not."""
    inputs, words, phrases = batch((*SENTENCES[:2], "swap the red ball and the cat"))
    editor = opened(tiny_editor(parts))
    if parts.paste:
        torch.nn.init.constant_(editor.spatial.share.opened, 0.07)
    with torch.no_grad():
        context = editor.context(words, phrases, inputs[3], shown(inputs[3]))
        whole = editor(*inputs, context)
        for row in range(len(words)):
            own = arrays([words[row]]).texts
            picked = phrases[[arrays(words).texts.index(text) for text in own]]
            alone = [value[row : row + 1] for value in inputs]
            its = editor.context([words[row]], picked, alone[3], shown(alone[3]))
            assert torch.allclose(editor(*alone, its), whole[row : row + 1], atol=1e-4)
            assert torch.allclose(editor(*alone, context.of([row])), whole[row : row + 1], atol=1e-4)


BALL, CAT = (0.25, 0.75), (0.75, 0.5)  # where both are found


@pytest.mark.parametrize(
    ("text", "pairs"),
    [  # what is there afterwards, and where it was before
        ("move the red ball 25% to the right", [((0.5, 0.75), BALL), ((0.6, 0.75), (0.35, 0.75))]),
        ("move the red ball up by 25%", [((0.25, 0.5), BALL)]),
        (
            "put the red ball in the upper-right corner",
            [((5 / 6, 1 / 6), BALL), ((5 / 6 - 0.1, 1 / 6), (0.15, 0.75))],
        ),
        ("put the red ball to the right of the cat", [((0.75 + 0.25, 0.5), BALL)]),
        ("make the red ball 2 times larger", [(BALL, BALL), ((0.45, 0.75), (0.35, 0.75))]),
        ("zoom in 2x", [((0.5, 0.5), (0.5, 0.5)), ((1.0, 1.0), (0.75, 0.75))]),
        ("mirror the image", [((0.1, 0.3), (0.9, 0.3))]),
        ("mirror the red ball", [((0.35, 0.6), (0.15, 0.6))]),
        ("pan the camera left", [((0.625, 0.5), (0.5, 0.5))]),
        ("make the red ball blue", [((0.4, 0.1), (0.4, 0.1))]),
    ],
)
def test_each_place_reads_where_its_content_comes_from(text, pairs):
    beside = tiny_editor(Parts()).spatial.beside
    middles = torch.zeros(1, 3, 2) + torch.tensor(BALL), torch.zeros(1, 3, 2) + torch.tensor(CAT)
    there, before = (torch.tensor(places) for places in zip(*pairs, strict=True))
    sources, _ = worded(arrays([read(text)]), beside, *middles, there)
    assert torch.allclose(sources[0, 0], before, atol=1e-5), text


def test_a_swap_reads_both_ways():
    beside = tiny_editor(Parts()).spatial.beside
    middles = torch.zeros(1, 3, 2) + torch.tensor(BALL), torch.zeros(1, 3, 2) + torch.tensor(CAT)
    said = arrays([read("swap the red ball and the cat")])
    sources, _ = worded(said, beside, *middles, torch.tensor([CAT, BALL]))
    assert torch.allclose(sources[0, 0, 0], torch.tensor(BALL)), "where the cat was the ball is seen"
    assert torch.allclose(sources[0, 3, 1], torch.tensor(CAT)), "and the cat where the ball was"


def test_what_is_yet_to_come_and_what_has_no_name_is_nowhere():
    sentences = ("add a cat", "make it autumn", "zoom in 2x", "remove the cat")
    inputs, words, phrases = batch(sentences)
    context = tiny_editor(Parts()).context(words, phrases, inputs[3])
    assert context is not None and context.maps is not None
    assert context.maps.flatten(1).sum(dim=1).tolist() == pytest.approx([0, 0, 0, 1], abs=1e-5)
    assert torch.isfinite(context.read).all()


def test_latents_of_odd_sides_have_their_levels():
    assert level((9, 13), 117) == (9, 13) and level((9, 13), 35) == (5, 7) and level((9, 13), 12) == (3, 4)
    with pytest.raises(ValueError, match="no level"):
        level((9, 13), 36)


def test_parts_that_need_another_are_refused():
    with pytest.raises(ValueError, match="needs grounding"):
        Parts(grounding=False)


def test_the_loss_of_grounding_is_least_for_the_mask_itself_and_counts_masks_alone():
    masks = torch.zeros(2, 3, 2, 4, 4)
    masks[0, 0, 0, 1:3, 1:3] = 1
    right = torch.where(masks > 0, 0.0, -30.0)
    wrong = right.roll(1, dims=-1)
    assert map_loss(right.flatten(3), masks.flatten(3)).item() == pytest.approx(np.log(4), abs=1e-4)
    assert map_loss(wrong.flatten(3), masks.flatten(3)) > map_loss(right.flatten(3), masks.flatten(3)) + 5
    assert map_loss(wrong.flatten(3), torch.zeros_like(masks).flatten(3)) == 0


def test_silhouettes_reach_one_and_nothing_stays_nothing():
    maps = torch.tensor([[0.1, 0.7, 0.2], [0.0, 0.0, 0.0]])
    assert torch.allclose(silhouettes(maps), torch.tensor([[1 / 7, 1.0, 2 / 7], [0, 0, 0]]))


def test_things_are_found_by_their_names_after_a_little_teaching():
    """Squares of two colours, a phrase for each: the map's middle comes to lie on the one that is named."""
    torch.manual_seed(0)
    encoder = SpatialEncoder(TEXT_WIDTH, width=32, depth=1)
    optimizer = torch.optim.AdamW(encoder.parameters(), 3e-3)
    phrases = torch.randn(2, TEXT_WIDTH)
    named = ("remove the red ball", "remove the blue ball")

    def draw(count: int) -> tuple[list, torch.Tensor, torch.Tensor]:
        words, latents, masks = [], 0.3 * torch.randn(count, 4, 8, 8), torch.zeros(count, 3, 2, 8, 8)
        for row in range(count):
            places = torch.randperm(9)[:2]
            for thing, place in enumerate(places.tolist()):
                y, x = 1 + 2 * (place // 3), 1 + 2 * (place % 3)
                latents[row, thing, y : y + 2, x : x + 2] += 3
                if thing == row % 2:
                    masks[row, 0, 0, y : y + 2, x : x + 2] = 1
            words.append(read(named[row % 2]))
        return words, latents, masks

    for _ in range(120):
        words, latents, masks = draw(16)
        loss = map_loss(encoder(arrays(words), phrases, latents).logits.flatten(3), masks.flatten(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words, latents, masks = draw(64)
    maps = encoder(arrays(words), phrases, latents).maps[:, 0, 0]
    hits = (maps * masks[:, 0, 0]).flatten(1).sum(dim=1) > 0.5
    assert hits.float().mean() > 0.9

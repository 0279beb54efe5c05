"""A step of learning: the same when it is done again, blind where it should be, and it does learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from tests.trainer.editors import SENTENCES, TEXT_WIDTH, batch, opened, shown, tiny_editor
from trainer.frozen import Frozen, text_to_image
from trainer.objective import Objective
from trainer.spatial_attention import Parts
from trainer.step import Batch, Noised, StepSettings, Trained, _shuffled, draws, loss_of
from trainer.words import arrays

STARTER = Path(__file__).parents[2] / "models/starter/weights/diffusion"
OBJECTIVE = Objective.of(
    DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
)
NULL = torch.zeros(1, 7, TEXT_WIDTH)


def learned_from(sentences: tuple[str, ...] = SENTENCES) -> Batch:
    (noisy, _, text, source), words, phrases = batch(sentences, (8, 8))
    outlines = torch.zeros(len(words), 3, 2, 32, 32)
    outlines[:2, 0, 0, 8:16, 8:16] = 1
    landings = outlines.roll(8, dims=-1)
    return Batch(source, noisy, text, tuple(words), phrases, outlines, landings, 0.5)


def test_a_step_done_again_is_the_same_step():
    editor, some = Trained(opened(tiny_editor(Parts()))), learned_from()
    first, again, other, rank = (
        loss_of(editor, OBJECTIVE, some, NULL, StepSettings(), draws(1, *at)).total
        for at in ((7, 0), (7, 0), (8, 0), (7, 1))
    )
    assert first == again and first != other and first != rank


@pytest.mark.parametrize("what", ["text", "image"])
def test_a_sample_that_is_told_nothing_knows_nothing(what):
    """Words of a sample whose text is dropped, and the picture of one whose picture is, change nothing that it says."""
    editor = Trained(opened(tiny_editor(Parts(land=True, paste=True))))
    some = learned_from(("move the red ball 10% to the right",) * 2)
    other = learned_from(("swap the cat and the car", "move the red ball 10% to the right"))
    zeros = torch.zeros_like(some.source)
    silent = torch.tensor([True, False])

    def say(words, phrases, seen):
        steps = torch.tensor([500, 500])
        with torch.no_grad():
            noised = Noised(some.target, steps, NULL.expand(2, -1, -1), zeros, silent)
            return editor(noised, words=words, phrases=phrases, seen=seen, shown=shown(seen))[0].final

    wanted = say(some.words, some.phrases[:1], some.source)
    if what == "text":
        phrases = torch.cat([other.phrases[:2], some.phrases[:1]])
        found = say(other.words, phrases, some.source)
    else:
        found = say(some.words, some.phrases[:1], some.source + torch.tensor([5.0, 0.0])[:, None, None, None])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_shuffled_steps_keep_the_text_and_lose_the_place():
    editor = Trained(opened(tiny_editor(Parts())))
    some = learned_from(
        ("move the red ball 10% to the right", "zoom in 2x", "mirror the image", "remove the cat")
    )
    plain, shuffled = (
        loss_of(editor, OBJECTIVE, some, NULL, StepSettings(drop=0, shuffled=on), draws(0, 0, 0)).noise
        for on in (False, True)
    )
    assert plain != shuffled


def test_shuffled_steps_keep_the_phrases_that_they_name():
    some = learned_from(
        (
            "move the red ball 10% to the right",
            "zoom in 2x",
            "swap the cat and the red ball",
            "remove the cat",
        )
    )
    orders = set()
    for seed in range(8):
        other = _shuffled(some, draws(seed, 0, 0))
        assert [one.text for one in other.words] == [one.text for one in some.words]
        assert sorted(str(one.steps) for one in other.words) == sorted(str(one.steps) for one in some.words)
        known = dict(zip(arrays(list(some.words)).texts, some.phrases, strict=True))
        texts = arrays(list(other.words)).texts
        orders.add(texts)
        assert all(
            torch.equal(known[text], states) for text, states in zip(texts, other.phrases, strict=True)
        )
    assert len(orders) > 1


def test_the_plain_editor_has_no_loss_of_grounding():
    losses = loss_of(
        Trained(tiny_editor(None)), OBJECTIVE, learned_from(), NULL, StepSettings(), draws(0, 0, 0)
    )
    assert losses.grounding == 0 and losses.total == losses.noise


def test_an_editor_that_pastes_learns_from_the_pictures_and_what_masks_tell():
    editor = Trained(opened(tiny_editor(Parts(land=True, paste=True))))
    some = learned_from(("put the red ball in the lower-left corner", "make it autumn"))
    picture = shown(some.source)
    pixels = torch.stack([picture.pixels, shown(some.target).pixels], dim=1)
    untold = replace(some, pixels=pixels, landings=torch.zeros_like(some.landings))
    losses = [
        loss_of(
            editor, OBJECTIVE, one, NULL, StepSettings(drop=0, shuffled=on), draws(0, 0, 0), picture.encode
        )
        for one, on in ((replace(some, pixels=pixels), False), (untold, False), (untold, True))
    ]
    assert losses[0].noise != losses[1].noise  # where the ball arrives
    assert all(torch.isfinite(one.total) for one in losses)


def test_it_learns():
    editor = tiny_editor(Parts()).train()
    trained, some = Trained(editor), learned_from()
    optimizer = torch.optim.AdamW(editor.parameters(), 3e-3)
    totals = []
    for step in range(60):
        losses = loss_of(trained, OBJECTIVE, some, NULL, StepSettings(), draws(0, step, 0))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append((losses.noise.item(), losses.grounding.item()))
    first, last = np.mean(totals[:10], axis=0), np.mean(totals[-10:], axis=0)
    assert last[0] < 0.8 * first[0] and last[1] < 0.8 * first[1]


@pytest.fixture(scope="module")
def starter() -> Frozen:
    return Frozen.load(STARTER)


def test_the_starters_parts_encode_and_decode(starter):
    rows, columns = np.mgrid[:64, :64]
    picture = np.stack([rows * 3, columns * 3, np.full_like(rows, 120)], axis=2).astype(np.uint8)
    pixels = starter.pixels([picture, picture[:, ::-1].copy()])
    assert pixels.shape == (2, 3, 64, 64) and pixels.min() >= -1 and pixels.max() <= 1
    back = starter.decode(starter.source(pixels) * starter.vae.config.scaling_factor)[0].numpy().astype(int)
    assert np.abs(back - picture).mean() < 25


def test_phrases_are_means_over_words_and_padding_has_no_say(starter):
    one, same, other = starter.phrases(["the red ball", "the red ball", "the blue cube"])
    assert torch.equal(one, same) and not torch.allclose(one, other)
    assert starter.phrases([]).shape == (0, one.shape[0])
    tokens = starter.tokenizer("the red ball")["input_ids"]
    states = starter.text(["the red ball"])[0]
    inner = [n for n, token in enumerate(tokens) if token not in starter.tokenizer.all_special_ids]
    assert torch.allclose(states[inner].mean(dim=0), one, atol=1e-5)


def test_a_model_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        Frozen.load(tmp_path)


def test_the_starters_unet_takes_spatial_layers(starter):
    from trainer.model import SpatialEditor

    editor = SpatialEditor(text_to_image(STARTER), Parts(), pasting=starter.pasting)
    plain = SpatialEditor(text_to_image(STARTER), None)
    noisy, source = torch.randn(2, 2, 4, 16, 16)
    steps, text = torch.tensor([10, 999]), starter.text(["move the red ball left", "make it autumn"])
    from trainer.words import arrays, read

    words = [read("move the red ball left"), read("make it autumn")]
    context = editor.context(words, starter.phrases(arrays(words).texts), source)
    with torch.no_grad():
        assert torch.allclose(
            editor(noisy, steps, text, source, context), plain(noisy, steps, text, source), atol=1e-5
        )

"""Edits by a pipeline: as diffusers' sampler makes them, each by its own seed, guided away only where that is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler

from tests.trainer.editors import opened, tiny_unet
from tests.trainer.test_step import STARTER
from trainer.frozen import Frozen
from trainer.guidance import Dynamic, TextScale
from trainer.model import SpatialEditor
from trainer.pipeline import Sampling, SpatialPixPipeline, leaving
from trainer.spatial_attention import Parts
from trainer.words import arrays, read

MOVE = "move the red ball 10% to the right"


def made(parts: Parts) -> SpatialPixPipeline:
    frozen = Frozen.load(STARTER)
    unet = tiny_unet(cross_attention_dim=frozen.text_encoder.config.hidden_size)
    torch.manual_seed(1)
    editor = opened(SpatialEditor(unet, parts, 32, frozen.pasting))
    scheduler = EulerAncestralDiscreteScheduler.from_pretrained(STARTER, subfolder="scheduler")
    return SpatialPixPipeline(editor, frozen, scheduler)


@pytest.fixture(scope="module")
def pipeline() -> SpatialPixPipeline:
    return made(Parts())


@pytest.fixture(scope="module")
def pasting() -> SpatialPixPipeline:
    return made(Parts(land=True, paste=True))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rows, columns = np.mgrid[:60, :76]
    return np.stack([rows * 3, columns * 3, np.full_like(rows, 90)], axis=2).astype(np.uint8)


def test_without_guidance_the_steps_are_those_of_diffusers(pipeline):
    """Scales of one: the state follows from the prediction alone, and both draw the same noise."""
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    source, words = pipeline.frozen.source(pixels), [read(MOVE)]
    found = pipeline._sampled(pixels, words, [7], Sampling(steps=6, text=1.0, image=1.0))
    theirs = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    theirs.set_timesteps(6)
    drawn = torch.Generator().manual_seed(7)
    state = torch.randn(1, 4, 8, 8, generator=drawn) * theirs.init_noise_sigma
    context = pipeline.editor.context(words, pipeline.frozen.phrases(arrays(words).texts), source)
    with torch.no_grad():
        for step in theirs.timesteps:
            said = pipeline.editor(
                theirs.scale_model_input(state, step),
                step.long()[None],
                pipeline.frozen.text([MOVE]),
                source,
                context,
            )
            state = theirs.step(said, step, state, generator=drawn).prev_sample
    wanted = pipeline.frozen.decoded(state)
    assert torch.allclose(found, wanted, atol=1e-2 * wanted.abs().max())


@pytest.mark.parametrize("which", ["pipeline", "pasting"])
def test_a_seed_gives_one_edit_and_batches_do_not_mix(which, image, request):
    pipeline: SpatialPixPipeline = request.getfixturevalue(which)
    sampling = Sampling(steps=3, text=TextScale(), negative="a blurred picture", copying=Dynamic())
    alone = pipeline(image, MOVE, 4, sampling)
    assert np.array_equal(alone, pipeline(image, MOVE, 4, sampling))
    assert not np.array_equal(alone, pipeline(image, MOVE, 5, sampling))
    both = pipeline.batch([image, image], ["make it autumn", MOVE], [1, 4], sampling)
    assert np.abs(both[1].astype(int) - alone).max() <= 1
    assert alone.shape == image.shape


def test_negatives_and_copies_have_a_say_and_no_weight_has_none(pipeline, image):
    plain = pipeline(image, MOVE, 4, Sampling(steps=3))
    for changed in (
        Sampling(steps=3, negative="a picture", dynamic=Dynamic(scale=5, prior=0.5)),
        Sampling(steps=3, copying=Dynamic(scale=5, prior=0.5)),
    ):
        assert not np.array_equal(pipeline(image, MOVE, 4, changed), plain)
    silent = Sampling(steps=3, negative="a picture", dynamic=Dynamic(scale=0), copying=Dynamic(scale=0))
    assert np.abs(pipeline(image, MOVE, 4, silent).astype(int) - plain).max() <= 1
    nothing_leaves = Sampling(steps=3, copying=Dynamic(scale=5, prior=0.5))
    assert np.array_equal(
        pipeline(image, "make the red ball blue", 4, nothing_leaves),
        pipeline(image, "make the red ball blue", 4, Sampling(steps=3)),
    )


def test_what_leaves_is_where_it_was_found(pipeline):
    words = [read(text) for text in (MOVE, "swap the cat and the red ball", "zoom in 2x", "make it autumn")]
    source = torch.randn(4, 4, 8, 8)
    context = pipeline.editor.context(words, pipeline.frozen.phrases(arrays(words).texts), source)
    where = leaving(words, context)
    assert where.shape == (4, 1, 8, 8) and where.amax(dim=(1, 2, 3)).tolist() == pytest.approx(
        [1, 1, 0, 0], abs=1e-5
    )


def test_guidance_that_cannot_be_given_is_refused(pipeline, image):
    with pytest.raises(ValueError, match="needs an ancestral sampler"):
        pipeline(image, MOVE, 0, Sampling(steps=1, negative="a picture"))
    plain = SpatialPixPipeline(SpatialEditor(pipeline.editor.unet, None), pipeline.frozen, pipeline.scheduler)
    with pytest.raises(ValueError, match="needs an editor with grounding"):
        plain(image, MOVE, 0, Sampling(steps=2, copying=Dynamic()))


def test_pictures_of_two_sizes_are_refused(pipeline, image):
    with pytest.raises(ValueError, match="one size"):
        pipeline.batch([image, image[:40]], [MOVE, MOVE], [0, 1])


def test_what_is_known_for_sure_is_pasted_to_the_pixel_and_what_is_not_is_painted(pasting, image):
    """All of the first picture comes from the source, whatever the UNet would paint; nothing of the second does."""
    share = pasting.editor.spatial.share
    opened, bias = share.opened.detach().clone(), share.coarse.bias.detach().clone()
    with torch.no_grad():
        share.opened.fill_(0.1)
        share.coarse.bias.zero_()[0] = 1e3
        copied = pasting(image, MOVE, 4, Sampling(steps=3))
        share.coarse.bias.zero_()[-1] = 1e3
        painted = pasting(image, MOVE, 4, Sampling(steps=3))
        share.opened.copy_(opened)
        share.coarse.bias.copy_(bias)
    assert np.array_equal(copied, image)
    assert np.abs(painted.astype(int) - image).mean() > 5


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_whatever_a_model_predicts_stands_for_the_same_noise(pipeline, prediction):
    clean, noise, sigma = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), 1.7
    signal, share = 1 / (sigma**2 + 1) ** 0.5, sigma / (sigma**2 + 1) ** 0.5
    said = {"epsilon": noise, "v_prediction": signal * noise - share * clean, "sample": clean}[prediction]
    scheduler = EulerAncestralDiscreteScheduler.from_config(
        pipeline.scheduler.config, prediction_type=prediction
    )
    other = SpatialPixPipeline(pipeline.editor, pipeline.frozen, scheduler)
    assert torch.allclose(other._noise(said, clean + sigma * noise, sigma), noise, atol=1e-4)


def test_the_smallest_pictures_are_edited_too(pasting):
    image = np.full((5, 8, 3), 120, np.uint8)
    edited = pasting(image, MOVE, 0, Sampling(steps=2))
    assert edited.shape == image.shape

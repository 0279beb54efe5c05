"""What is pasted is blended into the clean latents that a prediction stands for, and begins as nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.editors import batch, pasting, tiny_editor, tiny_unet
from trainer.model import SpatialEditor
from trainer.spatial_attention import Parts

PREDICTIONS = ("v_prediction", "epsilon", "sample")
ALL = Parts(paste=True)


def contexts(prediction: str = "v_prediction"):
    inputs, words, phrases = batch()
    editor = tiny_editor(ALL, prediction)
    with torch.no_grad():
        return inputs, editor, editor.context(words, phrases, inputs[3])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_new_editor_that_pastes_does_what_the_plain_one_does(prediction):
    inputs, editor, context = contexts(prediction)
    with torch.no_grad():
        assert torch.allclose(editor(*inputs, context), tiny_editor(None)(*inputs), atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_predicted_picture_is_blended_by_the_share_of_the_noise(prediction):
    """c + u stay (source - c) + w (brought - shares c), w the noise's share, u near one unless it is low."""
    (noisy, steps, _, source), editor, context = contexts(prediction)
    stay, shares = torch.rand(2, len(noisy), 1, *noisy.shape[-2:])
    said, brought = torch.randn(2, *noisy.shape)
    objective, scale = editor.pasting.objective, editor.pasting.scaling
    paste = replace(context.paste, stay=stay, brought=brought, shares=shares)
    blended = editor.pasting.pasted(said, noisy, steps, replace(context, paste=paste))
    _, w = objective.shares(steps, noisy)
    clean = objective.clean(said, noisy, steps)
    wanted = clean + (1 - (1 - w) ** 4) * stay * (source * scale - clean)
    wanted = wanted + w * (brought * scale - shares * clean)
    assert torch.allclose(objective.clean(blended, noisy, steps), wanted, atol=1e-4)


def test_pure_noise_and_a_whole_share_of_the_source_give_the_source():
    (noisy, steps, _, source), editor, context = contexts()
    whole = replace(context, paste=replace(context.paste, stay=torch.ones_like(source[:, :1])))
    last = torch.full_like(steps, 999)
    said = editor.pasting.pasted(torch.randn_like(noisy), noisy, last, whole)
    clean = editor.pasting.objective.clean(said, noisy, last)
    assert torch.allclose(clean, source * editor.pasting.scaling, atol=1e-5)


def test_without_words_the_source_may_stay_and_without_the_source_nothing_is_pasted():
    inputs, editor, _ = contexts()
    torch.nn.init.constant_(editor.spatial.gate_still, 0.25)
    torch.nn.init.normal_(editor.spatial.gate_paste.weight)
    _, words, phrases = batch()
    with torch.no_grad():
        context = editor.context(words, phrases, inputs[3])
        quiet = context.silenced(torch.tensor([False, True, True]), torch.tensor([False, False, True])).paste
    assert torch.equal(quiet.stay[0], context.paste.stay[0]) and bool(context.paste.stay[0].any())
    assert torch.equal(quiet.brought[0], context.paste.brought[0]) and bool(quiet.brought[0].any())
    assert bool((quiet.stay[1] == 0.25).all()) and not quiet.stay[2].any()
    assert not quiet.brought[1:].any() and not quiet.shares[1:].any()


def test_a_thing_that_is_brought_is_what_the_read_found():
    """With a share of one for the first read alone, all that is pasted is the source, moved."""
    inputs, words, phrases = batch(("move the red ball 50% to the right",), size=(8, 8))
    editor = tiny_editor(ALL)
    torch.nn.init.zeros_(editor.spatial.gate_paste.weight)
    with torch.no_grad():
        editor.spatial.gate_paste.bias.copy_(
            torch.eye(len(editor.spatial.gate_paste.bias))[1]
        )  # after the source's
        brought = editor.context(words, phrases, inputs[3]).paste.brought
    assert torch.allclose(brought[..., 4:], inputs[3][..., :4], atol=1e-5)
    assert not brought[..., :4].any()  # from beyond the edge comes nothing


def test_every_share_learns_from_the_first_step_on():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    context = editor.context(words, phrases, inputs[3])
    quiet = context.silenced(torch.tensor([False, False, True]))
    editor(*inputs, quiet).square().mean().backward()
    assert editor.spatial.gate_paste.weight.grad.any() and editor.spatial.gate_still.grad.any()


def test_an_editor_that_pastes_must_be_told_the_objective():
    with pytest.raises(ValueError, match="pasting"):
        SpatialEditor(tiny_unet(), ALL, 32)
    assert SpatialEditor(tiny_unet(), ALL, 32, pasting()).pasting is not None


@pytest.mark.parametrize(("read", "grounding", "tokens"), [(False, True, True), (True, False, True)])
def test_parts_need_those_before_them(read, grounding, tokens):
    with pytest.raises(ValueError, match="needs"):
        Parts(tokens, grounding, read, paste=True)


def test_an_editor_that_pastes_is_loaded_as_it_was(tmp_path):
    inputs, editor, _ = contexts()
    torch.nn.init.normal_(editor.spatial.gate_paste.weight)
    editor.save(tmp_path)
    again = SpatialEditor.load(tmp_path, pasting()).eval()
    _, words, phrases = batch()
    with torch.no_grad():
        wanted = editor(*inputs, editor.context(words, phrases, inputs[3]))
        assert torch.equal(again(*inputs, again.context(words, phrases, inputs[3])), wanted)

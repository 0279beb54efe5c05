"""What is pasted is blended into the clean latents that a prediction stands for, and begins as nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.editors import batch, pasting, tiny_editor, tiny_unet
from trainer.model import SpatialEditor
from trainer.spatial_attention import Parts

PREDICTIONS = ("v_prediction", "epsilon", "sample")
ALL = Parts(land=True, paste=True)


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
    """c + u (stay (source - c) + sum of share (brought - c)), u near one unless the noise is low."""
    (noisy, steps, _, source), editor, context = contexts(prediction)
    count, reads, *_ = context.paste.brought.shape
    stay, shares = torch.rand(2, count, 1, *noisy.shape[-2:]), torch.rand(2, count, reads, *noisy.shape[-2:])
    said, brought = torch.randn(noisy.shape), torch.randn(context.paste.brought.shape)
    told = (torch.rand(count, reads, 1, 1) < 0.5).float()
    objective, scale = editor.pasting.objective, editor.pasting.scaling
    paste = replace(context.paste, stay=stay[0], brought=brought, shares=shares[0], told=told)
    more = torch.cat([stay[1], shares[1]], dim=1)  # the UNet's count as much as the encoder's
    blended = editor.pasting.pasted(said, noisy, steps, replace(context, paste=paste), more)
    _, w = objective.shares(steps, noisy)
    clean = objective.clean(said, noisy, steps)
    pasted = stay.sum(0) * (source * scale - clean)
    for read in range(reads):
        pasted = pasted + told[:, read].unsqueeze(1) * shares.sum(0)[:, read, None] * (
            brought[:, read] * scale - clean
        )
    wanted = clean + (1 - (1 - w) ** 4) * pasted
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
        (pasted, total), (plain, shares) = (
            one.blended(torch.full_like(torch.cat([one.stay, one.shares], dim=1), 0.5), torch.float32)
            for one in (quiet, context.paste)
        )
    assert torch.equal(pasted[0], plain[0]) and bool(plain[0].any()) and torch.equal(total[0], shares[0])
    assert torch.allclose(total[1], torch.full_like(total[1], 0.75))  # the source, and nothing that words say
    assert torch.allclose(pasted[1], 0.75 * inputs[3][1])
    assert not pasted[2].any() and not total[2].any()


def test_a_thing_that_is_brought_is_what_the_read_found():
    """With a share of one for the first read alone, all that is pasted is the source, moved."""
    inputs, words, phrases = batch(("move the red ball 50% to the right",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))  # by arithmetic alone
    with torch.no_grad():
        paste = editor.context(words, phrases, inputs[3]).paste
        only = torch.zeros_like(torch.cat([paste.stay, paste.shares], dim=1))
        only[:, 1] = 1  # after the source's
        brought, total = paste.blended(only, torch.float32)
        nothing, none = paste.blended(only.roll(1, dims=1), torch.float32)
    assert torch.allclose(brought[..., 4:], inputs[3][..., :4], atol=1e-5) and bool((total == 1).all())
    assert not brought[..., :4].any()  # from beyond the edge comes nothing
    assert not nothing.any() and not none.any()  # a read that no word asks for


def test_every_share_learns_from_the_first_step_on():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    context = editor.context(words, phrases, inputs[3])
    quiet = context.silenced(torch.tensor([False, False, True]))
    editor(*inputs, quiet).square().mean().backward()
    assert editor.spatial.gate_paste.weight.grad.any() and editor.spatial.gate_still.grad.any()
    assert editor.spatial.gate_unet.weight.grad.any()


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

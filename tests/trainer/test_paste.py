"""What is pasted is blended into the clean latents that a prediction stands for, and begins as nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.editors import batch, pasting, tiny_editor, tiny_unet
from trainer.model import SpatialEditor
from trainer.paste import NEVER, fading, share_loss
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


def opened(context, share: float = 1.0):
    """With the gate open so far, and all logits drawn."""
    paste = context.paste
    there = paste.logits > NEVER / 2
    logits = torch.where(there, torch.randn_like(paste.logits), paste.logits)
    return replace(context, paste=replace(paste, logits=logits, opened=torch.full_like(paste.opened, share)))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_predicted_picture_is_blended_by_the_share_of_the_noise(prediction):
    """c + u g (stay (source - c) + sum of share (brought - c)), u near one unless the noise is low; the same whether
    predictions are blended, as in training, or clean latents, as in sampling."""
    (noisy, steps, _, _), editor, context = contexts(prediction)
    context = opened(context, 0.7)
    paste, said = context.paste, torch.randn(noisy.shape)
    more = torch.randn_like(paste.logits[:, :-1])  # the UNet's count as much as the encoder's
    objective, scale = editor.pasting.objective, editor.pasting.scaling
    blended = editor.pasting.pasted(said, noisy, steps, context, more)
    _, w = objective.shares(steps, noisy)
    clean = objective.clean(said, noisy, steps)
    logits = paste.logits.clone()
    logits[:, :-1] += more
    shares = 0.7 * logits.softmax(dim=1)
    pasted = shares[:, :1] * (paste.source * scale - clean)
    for read in range(paste.brought.shape[1]):
        pasted = pasted + shares[:, 1 + read, None] * (paste.brought[:, read] * scale - clean)
    wanted = clean + (1 - (1 - w) ** 4) * pasted
    assert torch.allclose(objective.clean(blended, noisy, steps), wanted, atol=1e-4)
    assert torch.allclose(paste.blended(clean, scale, fading(w), more), wanted, atol=1e-4)


def test_pure_noise_and_a_whole_share_of_the_source_give_the_source():
    (noisy, steps, _, source), editor, context = contexts()
    context = opened(context)
    sure = torch.full_like(context.paste.logits, NEVER)
    sure[:, 0] = 0
    whole = replace(context, paste=replace(context.paste, logits=sure))
    last = torch.full_like(steps, 999)
    said = editor.pasting.pasted(torch.randn_like(noisy), noisy, last, whole)
    clean = editor.pasting.objective.clean(said, noisy, last)
    assert torch.allclose(clean, source * editor.pasting.scaling, atol=1e-5)


def test_where_words_say_nothing_of_space_nothing_is_pasted():
    inputs, words, phrases = batch(
        ("move the red ball 50% to the right", "make it dreamy", "remove the red ball")
    )
    editor = tiny_editor(ALL)
    torch.nn.init.constant_(editor.spatial.share.opened, 0.1)
    with torch.no_grad():
        context = editor.context(words, phrases, inputs[3])
        quiet = context.silenced(torch.tensor([False, False, True]))
    assert context.paste.opened.flatten().tolist() == [1, 0, 1]
    assert quiet.paste.opened.flatten().tolist() == [1, 0, 0]
    clean = torch.randn_like(inputs[0])
    assert torch.equal(quiet.paste.blended(clean, 1.0, 1.0)[1:], clean[1:])
    assert not torch.equal(quiet.paste.blended(clean, 1.0, 1.0)[0], clean[0])


def test_a_thing_that_is_brought_is_what_the_read_found():
    """With the first read alone, all that is pasted is the source, moved."""
    inputs, words, phrases = batch(("move the red ball 50% to the right",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))  # by arithmetic alone
    with torch.no_grad():
        paste = opened(editor.context(words, phrases, inputs[3])).paste
    sure = torch.full_like(paste.logits, NEVER)
    sure[:, 1] = 0  # after the source's
    brought, total = replace(paste, logits=sure).pasted(1.0, None, torch.float32)
    assert torch.allclose(brought[..., 4:], inputs[3][..., :4], atol=1e-5) and bool((total == 1).all())
    assert not brought[..., :4].any()  # from beyond the edge comes nothing
    assert (paste.logits[:, 2:-1] == NEVER).all()  # reads that no word asks for


def test_shares_learn_where_a_place_comes_from_by_the_true_picture_alone():
    """The right half is the source, the left is what the read brings: after some steps the shares say so, and what is
    neither is painted."""
    inputs, words, phrases = batch(("move the red ball 50% to the right",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))
    source = inputs[3]
    optimizer = torch.optim.Adam(editor.parameters(), 1e-2)
    for _ in range(120):
        context = editor.context(words, phrases, source)
        truth = torch.cat([context.paste.brought[:, 0][..., :4], source[..., 4:]], dim=-1).detach()
        truth[..., 0, :] = 3.0  # the first row is new
        loss = share_loss(context.paste, truth * 0.5, 0.5, torch.tensor([True]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = context.paste.logits[0].argmax(dim=0)
    assert (best[1:, 4:] == 0).float().mean() > 0.9
    assert (best[0] == best.new_tensor(context.paste.logits.shape[1] - 1)).float().mean() > 0.8
    assert share_loss(context.paste, truth, 0.5, torch.tensor([False])) == 0


def test_what_finds_things_is_not_taught_by_the_shares():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    context = editor.context(words, phrases, inputs[3])
    share_loss(context.paste, inputs[0], 0.5, torch.tensor([True, True, True])).backward()
    taught = {
        name.split(".")[0] for name, value in editor.spatial.named_parameters() if value.grad is not None
    }
    assert taught == {"share"}


def test_the_gate_opens_from_the_first_step_on():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    context = editor.context(words, phrases, inputs[3])
    editor(*inputs, context).square().mean().backward()
    assert editor.spatial.share.opened.grad.any()
    torch.nn.init.constant_(editor.spatial.share.opened, 0.01)
    editor(*inputs, editor.context(words, phrases, inputs[3])).square().mean().backward()
    assert editor.spatial.gate_unet.weight.grad.any() and editor.spatial.share.logits.weight.grad.any()


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
    torch.nn.init.constant_(editor.spatial.share.opened, 0.07)
    editor.save(tmp_path)
    again = SpatialEditor.load(tmp_path, pasting()).eval()
    _, words, phrases = batch()
    with torch.no_grad():
        wanted = editor(*inputs, editor.context(words, phrases, inputs[3]))
        assert torch.equal(again(*inputs, again.context(words, phrases, inputs[3])), wanted)

"""What is pasted is blended into the clean latents that a prediction stands for, and begins as nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.editors import batch, pasting, shown, tiny_editor, tiny_unet
from trainer.model import SpatialEditor
from trainer.paste import NEVER, fading, share_loss
from trainer.spatial_attention import Parts

PREDICTIONS = ("v_prediction", "epsilon", "sample")
ALL = Parts(land=True, paste=True)


def contexts(prediction: str = "v_prediction"):
    inputs, words, phrases = batch()
    editor = tiny_editor(ALL, prediction)
    with torch.no_grad():
        return inputs, editor, editor.context(words, phrases, inputs[3], shown(inputs[3]))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_new_editor_that_pastes_does_what_the_plain_one_does(prediction):
    inputs, editor, context = contexts(prediction)
    with torch.no_grad():
        assert torch.allclose(editor(*inputs, context), tiny_editor(None)(*inputs), atol=1e-5)
    painted = torch.rand_like(context.paste.source)
    assert torch.equal(context.paste.over(painted), painted)


def opened(context, share: float = 1.0):
    """With the gate open so far, and all logits drawn."""
    paste = context.paste
    there = paste.logits > NEVER / 2
    logits = torch.where(there, torch.randn_like(paste.logits), paste.logits)
    return replace(context, paste=replace(paste, logits=logits, opened=torch.full_like(paste.opened, share)))


def only(paste, place: int):
    """All that is there comes from one place."""
    sure = torch.full_like(paste.logits, NEVER)
    sure[:, place] = 0
    return replace(paste, logits=sure)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_predicted_picture_is_blended_by_the_share_of_the_noise(prediction):
    """c + u g k (draft - c), u near one unless the noise is low; the same whether predictions are blended, as in
    training, or clean latents, as in sampling."""
    (noisy, steps, _, _), editor, context = contexts(prediction)
    context = opened(context, 0.7)
    paste, said = context.paste, torch.randn(noisy.shape)
    more = torch.randn(len(noisy), 1, *noisy.shape[-2:])  # the UNet's count as much as the encoder's
    objective = editor.pasting.objective
    blended = editor.pasting.pasted(said, noisy, steps, paste, more)
    _, w = objective.shares(steps, noisy)
    clean = objective.clean(said, noisy, steps)
    known = 0.7 * paste.known(more)
    assert known.min() > 0.01 and known.max() < 0.7
    wanted = clean + (1 - (1 - w) ** 4) * known * (paste.draft - clean)
    assert torch.allclose(objective.clean(blended, noisy, steps), wanted, atol=1e-4)
    assert torch.allclose(paste.blended(clean, fading(w), more), wanted, atol=1e-4)


def test_pure_noise_and_a_whole_share_of_the_source_give_the_source():
    (noisy, steps, _, source), editor, context = contexts()
    context = opened(context)
    paste = only(context.paste, 0)
    draft = shown(source).encode(paste.expected()) * editor.pasting.scaling
    last = torch.full_like(steps, 999)
    said = editor.pasting.pasted(torch.randn_like(noisy), noisy, last, replace(paste, draft=draft))
    clean = editor.pasting.objective.clean(said, noisy, last)
    assert torch.allclose(clean[:, :3], source[:, :3] * editor.pasting.scaling, atol=1e-5)
    painted = torch.randn_like(paste.source)
    assert torch.allclose(paste.over(painted), paste.source, atol=1e-6)


def test_the_draft_is_what_is_known_and_the_retouched_picture_elsewhere():
    _, _, context = contexts()
    paste = context.paste
    assert torch.allclose(only(paste, 0).expected(), paste.source, atol=1e-6)
    toned = replace(paste, retouched=torch.full_like(paste.source, 0.3))
    for place in (-1, -2):
        assert torch.allclose(only(toned, place).expected(), toned.retouched, atol=1e-6)
    assert paste.draft.shape == (3, 4, 8, 12)
    painted = torch.full_like(paste.source, 7.0)
    sure, unsure = (
        replace(only(toned, place), opened=torch.ones_like(paste.opened)).over(painted) for place in (-2, -1)
    )
    assert torch.allclose(sure, toned.retouched, atol=1e-6) and torch.allclose(unsure, painted, atol=1e-6)


def test_what_the_unet_says_is_known_is_pasted_and_what_it_says_is_not_is_painted():
    _, _, context = contexts()
    paste = opened(context).paste
    sure = torch.full((3, 1, 8, 12), 50.0)
    assert paste.known(sure).min() > 0.99 and paste.known(-sure).max() < 0.01
    painted = torch.full_like(paste.source, 7.0)
    assert torch.allclose(paste.over(painted, -sure), painted, atol=1e-4)
    assert not torch.isclose(paste.over(painted, sure), painted, atol=0.5).any()


def test_where_words_say_nothing_of_space_nothing_is_pasted():
    inputs, words, phrases = batch(
        ("move the red ball 50% to the right", "make it dreamy", "remove the red ball")
    )
    editor = tiny_editor(ALL)
    torch.nn.init.constant_(editor.spatial.share.opened, 0.1)
    with torch.no_grad():
        context = editor.context(words, phrases, inputs[3], shown(inputs[3]))
        quiet = context.silenced(torch.tensor([False, False, True]))
    assert context.paste.opened.flatten().tolist() == [1, 0, 1]
    assert quiet.paste.opened.flatten().tolist() == [1, 0, 0]
    clean = torch.randn_like(inputs[0])
    assert torch.equal(quiet.paste.blended(clean, 1.0)[1:], clean[1:])
    assert not torch.equal(quiet.paste.blended(clean, 1.0)[0], clean[0])
    painted = torch.randn_like(context.paste.source)
    assert torch.equal(quiet.paste.over(painted)[1:], painted[1:])


def test_a_thing_that_is_brought_is_what_the_read_found():
    """With the first read alone, all that is pasted is the source, moved."""
    inputs, words, phrases = batch(("move the red ball 50% to the right",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))  # by arithmetic alone
    with torch.no_grad():
        paste = editor.context(words, phrases, inputs[3], shown(inputs[3])).paste
    half = paste.source.shape[-1] // 2
    assert torch.allclose(paste.brought[:, 0][..., half:], paste.source[..., :half], atol=1e-5)
    assert (paste.logits[:, 1][..., : half // 2] == NEVER).all()  # from beyond the edge comes nothing
    assert (paste.logits[:, 1][..., half // 2 :] > NEVER / 2).all()
    assert paste.brought.shape[1] == 1  # no word asks for another


def test_reads_that_another_sentence_asks_for_bring_nothing_to_this_one():
    inputs, words, phrases = batch(("move the red ball left", "swap the red ball and the cat"))
    editor = tiny_editor(ALL)
    with torch.no_grad():
        paste = editor.context(words, phrases, inputs[3], shown(inputs[3])).paste
    assert paste.logits.shape[1] == 5  # source, subject, reference, retouched, painted
    assert (paste.logits[0, 2] == NEVER).all() and (paste.logits[1, 2] > NEVER / 2).any()


def test_shares_learn_where_a_place_comes_from_by_the_true_picture_alone():
    """The right half is the source, the left is what the read brings: after some steps the shares say so, and what is
    neither is painted."""
    inputs, words, phrases = batch(("move the red ball 50% to the left",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))
    editor.spatial.share.retouch.requires_grad_(False)
    picture = shown(inputs[3] / 2)
    optimizer = torch.optim.Adam(editor.parameters(), 1e-2)
    for _ in range(60):
        context = editor.context(words, phrases, inputs[3], picture)
        source, brought = context.paste.source, context.paste.brought[:, 0]
        half = source.shape[-1] // 2
        truth = torch.cat([brought[..., :half], source[..., half:]], dim=-1).detach()
        truth[..., :8, :] = 3.0  # the first row is new
        loss = share_loss(context.paste, truth, torch.tensor([True]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = context.paste.logits[0].argmax(dim=0)
    side = len(best) // 2
    assert (best[4:, side:] == 0).float().mean() > 0.9
    assert (best[4:, :side] == 1).float().mean() > 0.9
    assert (best[:4] == 3).float().mean() > 0.8
    assert share_loss(context.paste, truth, torch.tensor([False])) == 0


def test_what_finds_things_is_not_taught_by_the_shares():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    picture = shown(inputs[3])
    context = editor.context(words, phrases, inputs[3], picture)
    share_loss(context.paste, picture.pixels, torch.tensor([True, True, True])).backward()
    taught = {
        name.split(".")[0] for name, value in editor.spatial.named_parameters() if value.grad is not None
    }
    assert taught == {"share"}


def test_the_gate_opens_from_the_first_step_on_and_one_that_was_pushed_out_comes_back():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    for begins, lost in ((0.0, -1.0), (-0.2, -1.0), (0.05, 1.0), (0.05, -1.0), (0.2, 1.0)):
        torch.nn.init.constant_(editor.spatial.share.opened, begins)
        editor.zero_grad()
        paste = editor.context(words, phrases, inputs[3], shown(inputs[3])).paste
        assert paste.opened.max().item() == pytest.approx(min(1, max(0, 10 * begins)), abs=1e-6)
        (lost * paste.opened.sum()).backward()
        assert editor.spatial.share.opened.grad.any()
    for begins, lost in ((-0.2, 1.0), (0.2, -1.0)):  # but is not pushed further
        torch.nn.init.constant_(editor.spatial.share.opened, begins)
        editor.zero_grad()
        paste = editor.context(words, phrases, inputs[3], shown(inputs[3])).paste
        (lost * paste.opened.sum()).backward()
        assert not editor.spatial.share.opened.grad.any()


def test_what_comes_of_pasting_teaches_the_unet_what_to_say_and_the_true_picture_all_the_rest():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    torch.nn.init.constant_(editor.spatial.share.opened, 0.05)
    editor(*inputs, editor.context(words, phrases, inputs[3], shown(inputs[3]))).square().mean().backward()
    assert editor.spatial.gate_unet.weight.grad.any() and editor.spatial.share.opened.grad.any()
    assert editor.spatial.share.coarse.weight.grad is None


def test_a_retouched_picture_learns_a_colour_that_nothing_brings():
    """The named thing's cells become blue; what is not named stays."""
    inputs, words, phrases = batch(("make the red ball blue",), size=(8, 8))
    editor = tiny_editor(Parts(paste=True))
    picture = shown(inputs[3] / 4)
    truth = picture.pixels.clone()
    truth[:, :, 16:32, 24:40] = torch.tensor([-1.0, -1.0, 1.0])[:, None, None]
    optimizer = torch.optim.Adam(editor.parameters(), 3e-3)
    for _ in range(80):
        paste = editor.context(words, phrases, inputs[3], picture).paste
        loss = share_loss(paste, truth, torch.tensor([True]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    off = (paste.expected() - truth).abs().amax(dim=1)[0]
    assert off[18:30, 26:38].mean() < 0.15 and off[40:].mean() < 0.1


def test_an_editor_that_pastes_must_be_shown_the_picture():
    inputs, words, phrases = batch()
    with pytest.raises(ValueError, match="must be shown"):
        tiny_editor(ALL).context(words, phrases, inputs[3])


@pytest.mark.parametrize("parts", [ALL, Parts(True, True, False)])
def test_an_editor_that_finds_things_must_be_told_the_objective(parts):
    with pytest.raises(ValueError, match="pasting"):
        SpatialEditor(tiny_unet(), parts, 32)
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
        picture = shown(inputs[3])
        wanted = editor(*inputs, editor.context(words, phrases, inputs[3], picture))
        assert torch.equal(again(*inputs, again.context(words, phrases, inputs[3], picture)), wanted)


def test_sharper_shares_come_more_surely_from_where_they_most_likely_come_from():
    inputs, editor, _ = contexts()
    _, words, phrases = batch()
    picture = shown(inputs[3])
    with torch.no_grad():
        plain, sharp = (
            editor.context(words, phrases, inputs[3], replace(picture, sharp=by)).paste for by in (1.0, 4.0)
        )
    surest = [paste.logits.softmax(dim=1).amax(dim=1).mean() for paste in (plain, sharp)]
    assert surest[1] > surest[0] + 0.05
    assert torch.equal(plain.logits.argmax(dim=1), sharp.logits.argmax(dim=1))
    assert not torch.equal(plain.draft, sharp.draft)

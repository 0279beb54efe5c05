"""What the UNet knows of a picture is given to what finds things."""

from __future__ import annotations

import torch

from tests.trainer.editors import batch, opened, pasting, shown, tiny_editor, tiny_unet
from trainer.features import features, features_width
from trainer.model import with_source
from trainer.spatial_attention import Parts

FINDS = Parts(True, True, False)


def test_features_are_of_the_pictures_cells_alike_each_time_and_teach_the_unet_nothing():
    unet = with_source(tiny_unet())
    source = torch.randn(2, 4, 8, 12)
    found = features(unet, pasting().objective, source)
    assert found.shape == (2, features_width(unet), 8, 12) and not found.requires_grad
    assert torch.equal(found, features(unet, pasting().objective, source))
    level = found[:, : unet.config["block_out_channels"][-1]].flatten(1)
    assert torch.allclose(level.mean(dim=1), torch.zeros(2), atol=1e-4)
    assert torch.allclose(level.std(dim=1), torch.ones(2), atol=0.01)


def test_a_unet_without_a_middle_block_has_features_of_the_others():
    unet = with_source(tiny_unet(mid_block_type=None))
    found = features(unet, pasting().objective, torch.randn(1, 4, 8, 8))
    assert found.shape[1] == features_width(unet) == sum(unet.config["block_out_channels"])


def test_in_bf16_the_unet_still_learns_after_them():
    editor = opened(tiny_editor(FINDS)).train()
    (noisy, steps, text, source), words, phrases = batch()
    with torch.autocast("cpu", torch.bfloat16):
        context = editor.context(words, phrases, source)
        editor(noisy, steps, text, source, context).square().mean().backward()
    assert all(
        value.grad is not None for name, value in editor.unet.named_parameters() if "mid_block" in name
    )


def test_nothing_of_it_stays_in_the_unet():
    unet = with_source(tiny_unet())
    features(unet, pasting().objective, torch.randn(1, 4, 8, 8))
    assert not any(block._forward_hooks for block in (unet.mid_block, *unet.up_blocks))
    seen = torch.randn(1, 8, 8, 8)
    unet(seen, torch.tensor([3]), encoder_hidden_states=torch.zeros(1, 1, 24)).sample.sum().backward()
    assert unet.conv_in.weight.grad is not None


def test_features_are_those_of_the_model_whatever_the_spatial_layers_say():
    editor = tiny_editor(FINDS)
    source = torch.randn(1, 4, 8, 8)
    before = features(editor.unet, editor.pasting.objective, source)
    for name, value in editor.named_parameters():
        if "processor" in name:
            torch.nn.init.normal_(value)
    assert torch.equal(before, features(editor.unet, editor.pasting.objective, source))


def test_what_finds_things_sees_what_the_unet_knows():
    editor = opened(tiny_editor(FINDS))
    (_, _, _, source), words, phrases = batch()
    before = editor.context(words, phrases, source)
    with torch.no_grad():
        editor.unet.mid_block.resnets[0].conv1.weight.mul_(3)
    assert not torch.allclose(before.logits, editor.context(words, phrases, source).logits)


def test_where_only_finding_is_taught_nothing_is_brought():
    editor = opened(tiny_editor(Parts(land=True, paste=True)))
    (_, _, _, source), words, phrases = batch()
    alone = editor.context(words, phrases, source, shown(source), alone=True)
    whole = editor.context(words, phrases, source, shown(source))
    assert alone.paste is None and alone.landed is None and alone.outlined is not None
    assert torch.equal(alone.logits, whole.logits)

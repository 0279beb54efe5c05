"""An editor starts as the text-to-image model it comes from, and is the same when it is loaded again."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from tests.trainer.editors import TEXT_WIDTH, batch, opened, pasting, tiny_editor, tiny_unet
from trainer.model import SPATIAL, SpatialEditor, with_source
from trainer.spatial_attention import Parts


def test_a_new_editor_does_what_the_text_to_image_model_did():
    (noisy, steps, text, source), _, _ = batch()
    with torch.no_grad():
        wanted = tiny_unet().eval()(noisy, steps, encoder_hidden_states=text).sample
        found = tiny_editor(None)(noisy, steps, text, source)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_unet_of_eight_channels_stays_as_it_is():
    unet = tiny_unet()
    grown = with_source(unet)
    weight = grown.conv_in.weight.clone()
    assert with_source(grown) is grown and torch.equal(grown.conv_in.weight, weight)
    with pytest.raises(ValueError, match="9 input channels"):
        with_source(UNet2DConditionModel(in_channels=9, block_out_channels=(32, 32), cross_attention_dim=8,
                    down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2))  # fmt: skip


@pytest.mark.parametrize("parts", [None, Parts(), Parts(grounding=False, read=False)], ids=str)
def test_loaded_again_it_says_the_same(tmp_path, parts):
    inputs, words, phrases = batch()
    editor = opened(tiny_editor(parts))
    editor.save(tmp_path)
    again = SpatialEditor.load(tmp_path, pasting()).eval()
    with torch.no_grad():
        wanted = editor(*inputs, editor.context(words, phrases, inputs[3]))
        found = again(*inputs, again.context(words, phrases, inputs[3]))
    assert torch.equal(found, wanted)
    assert (tmp_path / SPATIAL).exists() == (parts is not None)


def test_carried_about_it_says_nearly_the_same(tmp_path):
    inputs, words, phrases = batch()
    editor = opened(tiny_editor(Parts()))
    editor.save(tmp_path / "whole")
    editor.save(tmp_path / "compact", compact=True)
    again = SpatialEditor.load(tmp_path / "compact", pasting()).eval()
    with torch.no_grad():
        wanted = editor(*inputs, editor.context(words, phrases, inputs[3]))
        found = again(*inputs, again.context(words, phrases, inputs[3]))
    assert (found - wanted).square().mean() < 1e-4 * wanted.square().mean()
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    sizes = [
        sum(file.stat().st_size for file in (tmp_path / name / SPATIAL).glob("*.safetensors"))
        for name in ("whole", "compact")
    ]
    assert sizes[1] < 0.35 * sizes[0]


def test_layers_that_do_not_fit_the_weights_are_named(tmp_path):
    tiny_editor(Parts()).save(tmp_path)
    file = tmp_path / SPATIAL / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    gone = next(name for name in weights if name.endswith("gate_read.weight"))
    del weights[gone]
    save_file(weights, file)
    with pytest.raises(OSError, match="gate_read"):
        SpatialEditor.load(tmp_path, pasting())


def test_a_folder_that_holds_no_editor_says_so(tmp_path):
    with pytest.raises(OSError, match="holds no editor"):
        SpatialEditor.load(tmp_path)


def test_the_plain_editor_is_a_unet_that_diffusers_loads(tmp_path):
    inputs, _, _ = batch()
    editor = opened(tiny_editor(None))
    editor.save(tmp_path)
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet").eval()
    noisy, steps, text, source = inputs
    with torch.no_grad():
        found = unet(torch.cat([noisy, source], 1), steps, encoder_hidden_states=text).sample
        assert torch.equal(found, editor(*inputs))


def test_recomputing_activations_changes_no_gradient():
    inputs, words, phrases = batch()

    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        editor = opened(tiny_editor(Parts())).train()
        if checkpointing:
            editor.unet.enable_gradient_checkpointing()
        editor(*inputs, editor.context(words, phrases, inputs[3])).square().mean().backward()
        return {name: value.grad for name, value in editor.named_parameters() if value.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys()
    for name, grad in plain.items():
        assert torch.allclose(grad, recomputed[name], atol=1e-5), name


def test_the_width_of_the_text_is_the_unets(tmp_path):
    assert tiny_editor(Parts()).spatial.phrase.in_features == TEXT_WIDTH


def test_an_editor_of_other_layers_is_one_line(tmp_path):
    tiny_editor(Parts()).save(tmp_path)
    weights = load_file(tmp_path / "spatial" / "diffusion_pytorch_model.safetensors")
    weights.pop("encoder.query.weight")
    save_file(weights, tmp_path / "spatial" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(OSError, match="of other layers than this version's, train it anew") as raised:
        SpatialEditor.load(tmp_path, pasting())
    assert "\n" not in str(raised.value)

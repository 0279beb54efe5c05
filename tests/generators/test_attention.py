"""Each control is what a plain version with all its maps makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from generators.alignment import align, reweighted, tokenized
from generators.attention import Blend, Control, NotControllable, install
from tests.generators import plain_attention as plain
from tests.generators.diffusion_models import STARTER, WIDTH, tiny_unet

PAIRS, TOKENS = 3, 48
CAPTIONS = [
    ("a red mug on grass", "a blue mug on grass"),
    ("a photo of a cat", "a photo of a white dog at night"),
    ("a cube and a cone", "a cube"),
]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(f"{STARTER}/tokenizer")


def inputs():
    torch.manual_seed(3)
    return (
        torch.randn(4 * PAIRS, 4, 8, 8),
        torch.arange(4 * PAIRS) * 50.0,
        torch.randn(4 * PAIRS, TOKENS, WIDTH),
    )


def fused(control):
    unet = tiny_unet()
    assert install(unet) == 14  # seven transformer blocks of two attentions
    with torch.no_grad():
        return unet(*inputs(), cross_attention_kwargs={"control": control}).sample


def mapped(inject, edit, tokens=0):
    unet, processor = tiny_unet(), plain.MapAttention(inject, edit, tokens)
    unet.set_attn_processor(processor)
    with torch.no_grad():
        return unet(*inputs()).sample, processor.maps


def alignments(tokenizer, mode):
    return [align(*(tokenized(tokenizer, text) for text in two), mode) for two in CAPTIONS]


def stacked(found):
    return torch.from_numpy(np.stack([a.mapped for a in found])), torch.from_numpy(
        np.stack([a.own for a in found])
    )


def assert_equal(one, other):
    assert (one - other).abs().max() < 2e-5 * other.abs().max()


def test_without_control_it_is_plain_attention():
    assert_equal(fused(None), mapped([False] * PAIRS, [None] * PAIRS)[0])
    assert_equal(fused(Control()), mapped([False] * PAIRS, [None] * PAIRS)[0])


def test_self_attention_of_the_first_picture_is_the_seconds_pair_by_pair():
    inject = [True, False, True]
    found = fused(Control(inject=torch.tensor(inject)))
    wanted, _ = mapped(inject, [None] * PAIRS)
    assert_equal(found, wanted)
    untouched = fused(None).view(2, PAIRS, 2, -1)
    found = found.view(2, PAIRS, 2, -1)
    assert torch.allclose(found[:, 1], untouched[:, 1], atol=1e-6)  # the pair without
    assert not torch.allclose(found[:, 0, 1], untouched[:, 0, 1], atol=1e-3)
    assert torch.allclose(found[:, :, 0], untouched[:, :, 0], atol=1e-6)  # never the first picture


def test_injection_spares_layers_with_more_pixels_than_asked():
    everywhere = fused(Control(inject=torch.ones(PAIRS, dtype=torch.bool)))
    small = fused(Control(inject=torch.ones(PAIRS, dtype=torch.bool), max_tokens=16))
    none = fused(Control(inject=torch.ones(PAIRS, dtype=torch.bool), max_tokens=1))
    assert_equal(none, fused(None))
    assert (small - everywhere).abs().max() > 1e-4 and (small - none).abs().max() > 1e-4


def test_refining_is_the_papers_mixture_of_maps(tokenizer):
    found = alignments(tokenizer, "refine")
    matrix, own = stacked(found)
    edits = [plain.refined(matrix[i], 1 - own[i]) for i in range(PAIRS)]
    assert_equal(fused(Control(mapped=matrix, own=own)), mapped([False] * PAIRS, edits)[0])


def test_replacing_is_the_papers_mapping_of_tokens(tokenizer):
    found = alignments(tokenizer, "replace")[:1] * PAIRS  # as many words on both sides: nothing keeps its own
    matrix, own = stacked(found)
    assert own.sum() == 0
    edits = [plain.replaced(matrix[i]) for i in range(PAIRS)]
    assert_equal(fused(Control(mapped=matrix, own=own)), mapped([False] * PAIRS, edits)[0])


def test_reweighting_scales_a_words_column(tokenizer):
    tokens = tokenized(tokenizer, CAPTIONS[0][1])
    plainly = alignments(tokenizer, "refine")[0]
    found = reweighted(plainly, tokens, ["blue"], 3.0)
    place = tokens.words.index("blue")
    scale = torch.ones(TOKENS)
    scale[slice(*tokens.spans[place])] = 3.0
    matrix, own = stacked([found] * PAIRS)
    edit = plain.reweighted(
        plain.refined(torch.from_numpy(plainly.mapped), 1 - torch.from_numpy(plainly.own)), scale
    )
    assert_equal(fused(Control(mapped=matrix, own=own)), mapped([False] * PAIRS, [edit] * PAIRS)[0])


def test_pairs_of_one_batch_are_controlled_each_in_its_own_way(tokenizer):
    found = alignments(tokenizer, "refine")
    matrix, own = stacked(found)
    matrix[1], own[1] = 0, 1  # this pair has no cross-attention control now
    inject = [False, True, True]
    edits = [plain.refined(matrix[0], 1 - own[0]), None, plain.refined(matrix[2], 1 - own[2])]
    control = Control(torch.tensor(inject), matrix, own)
    assert_equal(fused(control), mapped(inject, edits)[0])


def test_local_blend_sees_the_controlled_maps_of_its_words(tokenizer):
    found = alignments(tokenizer, "refine")
    matrix, own = stacked(found)
    words = torch.from_numpy(np.stack([a.changed for a in found]))
    blend = Blend(words, tokens=16)
    edits = [plain.refined(matrix[i], 1 - own[i]) for i in range(PAIRS)]
    fused(Control(mapped=matrix, own=own, blend=blend))
    _, maps = mapped([False] * PAIRS, edits, tokens=16)
    assert len(blend.maps) == len(maps) > 0
    for ours, whole in zip(blend.maps, maps, strict=True):
        assert torch.allclose(ours, (whole @ words[..., None]).squeeze(-1), atol=1e-5)


def test_mapped_without_own_is_refused():
    with pytest.raises(ValueError, match="come together"):
        Control(mapped=torch.zeros(1, 2, 2))


def test_a_unet_without_text_is_refused_with_what_it_needs():
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    with pytest.raises(NotControllable, match=r"no cross-attention.*text-to-image"):
        install(unet)

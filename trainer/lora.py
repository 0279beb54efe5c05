"""Low-rank adapters (Hu et al. 2021) on the attention of an editor's UNet: little is learned, and what comes out are
plain weights.

The first convolution learns whole, since its weights for the source begin at zero, and so do the spatial layers, which
are new.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from trainer.model import SpatialEditor, is_spatial

# Projections of diffusers' layers, by full name: a SpatialProcessor has some of the same names, below ".processor.".
_PROJECTIONS = r".*\.attn[12]\.(to_q|to_k|to_v|to_out\.0)"
_WHOLE = "unet.conv_in."
_BASE, _DOWN, _UP = "base_layer.", "lora_A.default.", "lora_B.default."


def adapt(editor: SpatialEditor, rank: int, seed: int) -> None:
    """Puts adapters into `editor`, which then says what it said, and freezes all that is not to learn."""
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_PROJECTIONS)  # so that B A counts once
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # alike on all ranks
        inject_adapter_in_model(config, editor.unet)
    for name, value in editor.named_parameters():
        value.requires_grad_(".lora_" in name or name.startswith(_WHOLE) or is_spatial(name))


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An editor's weights with adapters as those of one without: W + B A. Others stay as they are."""
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        if ".lora_" in name:
            continue
        layer, base, rest = name.rpartition(_BASE)
        if base and rest == "weight":
            plain[layer + rest] = value + weights[f"{layer}{_UP}weight"] @ weights[f"{layer}{_DOWN}weight"]
        else:
            plain[layer + rest] = value
    return plain

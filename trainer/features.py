"""What the UNet knows of a picture: diffusion features (Tang et al. 2023, "Emergent Correspondence from Image
Diffusion"), read off its middle and its upward blocks.

A text-to-image model has learned from its captions what a chair looks like. What finds things begins with that, and
does not learn it anew from some ten thousand pairs.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import sized
from trainer.objective import Objective

_NOISED = 0.1  # share of the schedule's steps: late enough that the picture is there, early enough that things matter


def features_width(unet: UNet2DConditionModel) -> int:
    """Channels of `features`."""
    widths: tuple[int, ...] = unet.config["block_out_channels"]
    return sum(widths) + (0 if unet.mid_block is None else widths[-1])


def features(unet: UNet2DConditionModel, objective: Objective, source: Tensor) -> Tensor:
    """(b, `features_width`, h, w), of each block with mean 0 and variance 1 over a picture; they teach nothing of the
    UNet. No noise is added: the same picture has the same features.

    unet: of twice the latents' channels; it is given neither words nor a source to edit. source: (b, c, h, w), with the
    scaling.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Any, ...], said: Any) -> None:
        kept.append(said[0] if isinstance(said, tuple) else said)

    step = int(_NOISED * len(objective.alphas))
    steps = torch.full((len(source),), step, device=source.device)
    signal, _ = objective.shares(steps, source)
    no_words = source.new_zeros(len(source), 1, unet.config["cross_attention_dim"])
    blocks = [block for block in (unet.mid_block, *unet.up_blocks) if block is not None]
    hooks = [block.register_forward_hook(keep) for block in blocks]
    kind = source.device.type
    # What autocast keeps of weights here must not be met by passes that learn.
    cast = torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), False)
    try:
        with torch.no_grad(), cast:
            seen = torch.cat([signal * source, torch.zeros_like(source)], dim=1)
            unet(seen, steps, encoder_hidden_states=no_words)
    finally:
        for hook in hooks:
            hook.remove()
    size = source.shape[-2:]
    return torch.cat([F.group_norm(sized(part.float(), size), 1) for part in kept], dim=1)

"""A UNet small enough for tests, and the starter's."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional as F

from trainer.model import SpatialEditor
from trainer.objective import Objective
from trainer.paste import Pasting, Shown
from trainer.spatial_attention import Parts
from trainer.words import Words, arrays, read

TEXT_WIDTH = 24
SENTENCES = ("move the red ball 10% to the right", "put the cat in the lower-left corner", "make it autumn")


def tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """Two levels, cross-attention in both."""
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 4, "out_channels": 4, "block_out_channels": (16, 32), "layers_per_block": 1,
        "norm_num_groups": 4, "cross_attention_dim": TEXT_WIDTH, "attention_head_dim": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 2, "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    }  # fmt: skip
    return UNet2DConditionModel(**config | changes)


def pasting(prediction: str = "v_prediction") -> Pasting:
    signal = torch.linspace(1, 0, 1000).square()
    return Pasting(Objective(cast(Any, prediction), signal), scaling=0.5)


def tiny_editor(parts: Parts | None, prediction: str = "v_prediction") -> SpatialEditor:
    unet = tiny_unet()
    torch.manual_seed(1)
    return SpatialEditor(unet, parts, 32, pasting(prediction)).eval()


def opened(editor: SpatialEditor, width: float = 0.3) -> SpatialEditor:
    """With gates as after some training."""
    for name, value in editor.named_parameters():
        if "gate" in name:
            nn.init.normal_(value, std=width)
        if "conv_in" in name:  # the source is seen
            nn.init.normal_(value, std=0.1)
        if name.endswith("share.opened"):
            nn.init.constant_(value, 0.07)
    return editor


CELL = 8  # pixels of a latent's side


def shown(latents: torch.Tensor) -> Shown:
    """Pictures that have these latents, if the first three channels are what a cell's pixels are on average."""
    pixels = latents[:, :3].repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        cells = F.avg_pool2d(pictures, CELL)
        return torch.cat([cells, cells.mean(dim=1, keepdim=True)], dim=1)

    return Shown(pixels, encode)


def batch(
    sentences: tuple[str, ...] = SENTENCES, size: tuple[int, int] = (8, 12)
) -> tuple[tuple[torch.Tensor, ...], list[Words], torch.Tensor]:
    """(noisy, steps, text, source), the words, and their phrases."""
    drawn = torch.Generator().manual_seed(2)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=drawn)

    words = [read(text) for text in sentences]
    count = len(words)
    tensors = (
        noise(count, 4, *size),
        torch.arange(count) * 300 + 5,
        noise(count, 7, TEXT_WIDTH),
        noise(count, 4, *size),
    )
    return tensors, words, noise(len(arrays(words).texts), TEXT_WIDTH)

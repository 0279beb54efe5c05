"""How CLIP's embeddings of pictures are given to a UNet that decodes them, as Stable unCLIP does it."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from torch import Tensor

UNET, NORMALIZER = "unet", "image_normalizer"  # folders of a decoder


def conditions(embeddings: Tensor, normalizer: StableUnCLIPImageNormalizer) -> Tensor:
    """(b, 2 d), as Stable unCLIP gives embeddings to its UNet: normalized, and the embedding of a noise level, of none.
    embeddings: (b, d), each of length 1."""
    level = torch.zeros(len(embeddings), device=embeddings.device)
    said = get_timestep_embedding(level, embeddings.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0)
    return torch.cat([normalizer.scale(embeddings), said.to(embeddings)], dim=1)

"""A second task for the diffusion model while it learns: to say of its own features what stands where.

The renderer knows every silhouette, so the UNet can be asked, of a noisy picture, which cells each thing covers
and what its kind, colour and material are. The loss of the noise alone teaches this too, but slowly: most of it is
floor and texture. The head that answers is thrown away when the model is exported. (Features that recognise make
diffusion models learn faster: Yu et al. 2024, "Representation Alignment for Generation".)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.starter.data import Scenes
from models.starter.world import COLORS, IMAGE_SIZE, KINDS, MATERIALS
from shards.images import rle_to_mask

CELLS = IMAGE_SIZE // 8  # as latents
FINE = 2  # silhouettes have so many points a cell, each way
ATTRIBUTES = len(KINDS) + len(COLORS) + len(MATERIALS)
CHANNELS = FINE**2 + ATTRIBUTES


class Outlines(nn.Module):
    """(b, channels, 16, 16) features to (b, CHANNELS, 16, 16) logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(16, channels)
        self.out = nn.Conv2d(channels, CHANNELS, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(nn.functional.silu(self.norm(features)))
        return logits


def outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy, the silhouette's and the attributes' means added. targets: (b, CHANNELS, 16, 16) in 0..1."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # Summed over attributes: all but a few are absent everywhere, and a mean would be about nothing else.
    return each[:, : FINE**2].mean() + each[:, FINE**2 :].sum(dim=1).mean()


def outline_targets(scenes: Scenes) -> torch.Tensor:
    """(n, 2, CHANNELS, 16, 16) uint8, 0 to 255: shares covered; axis 1 is 0 for the picture, 1 for its flip."""
    found = torch.from_numpy(np.stack([_targets(things) for things in scenes.objects]))
    flipped = found.flip(-1)
    # Within a cell too: its left points become its right ones.
    fine = flipped[:, : FINE**2].reshape(-1, FINE, FINE, CELLS, CELLS).flip(2).flatten(1, 2)
    return torch.stack([found, torch.cat([fine, flipped[:, FINE**2 :]], dim=1)], dim=1)


def coverage(things: list[dict[str, Any]], cells: int = CELLS) -> NDArray[np.float32]:
    """(cells, cells) share of each cell's pixels that show one of these objects (`shards.schema.OBJECT_STRUCT`)."""
    covered = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
    for thing in things:
        covered |= rle_to_mask(thing["mask"])
    size = IMAGE_SIZE // cells
    return np.asarray(covered.reshape(cells, size, cells, size).mean(axis=(1, 3)), np.float32)


def _targets(things: list[dict[str, Any]]) -> NDArray[np.uint8]:
    fine = coverage(things, CELLS * FINE).reshape(CELLS, FINE, CELLS, FINE)
    silhouette = fine.transpose(1, 3, 0, 2).reshape(FINE**2, CELLS, CELLS)
    attributes = np.zeros((ATTRIBUTES, CELLS, CELLS), np.float32)
    for thing in things:
        share = coverage([thing])
        names = [(str(thing["name"]), KINDS), (str(thing["color"]), COLORS), (thing["material"], MATERIALS)]
        start = 0
        for name, known in names:
            if name is not None:
                place = start + known.index(name)
                attributes[place] = np.maximum(attributes[place], share)
            start += len(known)
    return np.asarray((np.concatenate([silhouette, attributes]) * 255).round(), np.uint8)

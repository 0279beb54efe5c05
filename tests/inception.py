"""Inception-v3 with weights by chance, under the names of the file that FIDs are taken with."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import inception_v3


def weights(seed: int = 0) -> dict[str, Tensor]:
    """The published file was made so, too: of torchvision's names, with 1008 classes."""
    net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    drawn, found = torch.Generator().manual_seed(seed), {}
    for name, value in net.state_dict().items():
        if value.ndim == 4:  # of convolutions: as large as keeps what passes through them as it is
            spread = (2 / value[0].numel()) ** 0.5
            found[name] = torch.randn(value.shape, generator=drawn) * spread
        else:
            found[name] = value.clone()
    return found


def written(path: Path, seed: int = 0, **changes: Tensor) -> Path:
    """As safetensors, or as torch writes it, by the name's ending."""
    held = weights(seed) | changes
    save_file(held, path) if path.suffix == ".safetensors" else torch.save(held, path)
    return path

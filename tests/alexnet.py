"""AlexNet's convolutions with weights by chance, under the names of torchvision's file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

_SHAPES = {
    0: (64, 3, 11, 11),
    3: (192, 64, 5, 5),
    6: (384, 192, 3, 3),
    8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}


def weights(seed: int = 0) -> dict[str, Tensor]:
    drawn, found = torch.Generator().manual_seed(seed), {}
    for number, shape in _SHAPES.items():
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        found[f"features.{number}.weight"] = torch.randn(shape, generator=drawn) * spread
        found[f"features.{number}.bias"] = torch.randn(shape[0], generator=drawn) * 0.01
    return found


def written(path: Path, seed: int = 0, **changes: Tensor) -> Path:
    """As safetensors, or as torch writes it, by the name's ending."""
    held = weights(seed) | changes
    save_file(held, path) if path.suffix == ".safetensors" else torch.save(held, path)
    return path

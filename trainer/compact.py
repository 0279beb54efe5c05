"""Weights in eight bits, for an editor that is carried about: a quarter of the bytes, and pictures look the same.

Of each tensor of two and more dimensions every row (its first dimension) is int8, times one number of its own, the
row's largest magnitude over 127 (symmetric quantization by channel, Jacob et al. 2018); that number is float16, and
rounded up to it, so nothing is cut. What has one dimension, biases and norms, is float16 as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = ".scale"  # beside the tensor's own name
_MOST = 127


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As they are stored. weights: floating, by name. Raises ValueError for a name that ends as scales do."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith(_SCALE):
            raise ValueError(f"a weight's name cannot end in {_SCALE}: {name}")
        if value.ndim < 2:
            found[name] = value.half().contiguous()
            continue
        rows = value.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp_min(2.0**-14) / _MOST
        near = scale.half()
        up = torch.nextafter(near, torch.full_like(near, torch.inf))
        scale = torch.where(near.float() < scale, up, near)
        levels = (rows / scale.float()[:, None]).round().clamp(-_MOST, _MOST)
        found[name] = levels.to(torch.int8).reshape(value.shape).contiguous()
        found[name + _SCALE] = scale
    return found


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32, or as they were where nothing is packed. Raises ValueError where a scale is missing."""
    found: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in stored:
            continue
        if value.dtype != torch.int8:
            found[name] = value
            continue
        if name + _SCALE not in stored:
            raise ValueError(f"{name} is packed, and its scale is missing")
        scale = stored[name + _SCALE].float()
        found[name] = (value.float().flatten(1) * scale[:, None]).reshape(value.shape)
    return found

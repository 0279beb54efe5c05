"""Pictures as places: coordinates, maps over them, and how they are read and resized."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 6
FINE = 4  # places on a cell's side, where edges matter
NARROW = 32  # channels of what is looked at so finely


def coordinates(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(h w, 2) float32: (x, y) of the middles of the cells, from 0 to 1, row by row."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)


def fourier(values: Tensor, bands: int = BANDS) -> Tensor:
    """(..., n) to (..., n (1 + 2 bands)): the values, and sines and cosines of pi 2^k times them."""
    angles = values[..., None] * (math.pi * 2.0 ** torch.arange(bands, device=values.device))
    return torch.cat([values[..., None], angles.sin(), angles.cos()], dim=-1).flatten(-2)


def pull_back(points: Tensor, centre: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Where what is at `points` came from. points: (n, 2). centre, target, scale: (..., 2). Returns (..., n, 2)."""
    return centre[..., None, :] + (points - target[..., None, :]) / scale[..., None, :]


def sampled(picture: Tensor, points: Tensor, beyond: str = "zeros") -> Tensor:
    """(b, c, h, w) read at (b, n, 2) points (x, y) of 0 to 1, bilinear: (b, n, c). beyond: what is outside, "zeros" or
    the "border"."""
    grid = (2 * points.float() - 1)[:, :, None]  # bfloat16 would round a place to 1/256 of the picture
    read = F.grid_sample(picture.float(), grid, padding_mode=beyond, align_corners=False)
    return read[..., 0].transpose(1, 2).to(picture.dtype)


def carried(pictures: Tensor, sources: Tensor, beyond: str = "zeros") -> tuple[Tensor, Tensor]:
    """Each picture as reads bring it: (b, r, c, H, W), and (b, r, H, W), 1 where that is from within it, else 0.

    pictures: (b, c, H, W). sources: (b, r, h, w, 2), where the middles of coarser cells take their content from, (x, y)
    of 0 to 1, linear in x and in y; at least two cells a side. beyond: as of `sampled`; what is within half a pixel of
    the edge is mixed with it.
    """
    count, reads, height, width, _ = sources.shape
    size = pictures.shape[-2], pictures.shape[-1]
    points, ends = coordinates(*size, sources.device), coordinates(height, width, sources.device)[[0, -1]]
    first, last = sources[:, :, 0, 0], sources[:, :, -1, -1]
    slope = (last - first) / (ends[1] - ends[0])
    there = (first[:, :, None] + slope[:, :, None] * (points - ends[0])).flatten(0, 1)  # (b r, H W, 2)
    brought = sampled(pictures.repeat_interleave(reads, dim=0), there, beyond)
    inside = ((there >= 0) & (there <= 1)).all(dim=-1).to(pictures.dtype)
    return (
        torch.unflatten(as_picture(brought, size), 0, (count, reads)),
        inside.reshape(count, reads, *size),
    )


class Residual(nn.Module):
    """As in a ResNet, with norms before (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, seen: Tensor) -> Tensor:
        return seen + cast(Tensor, self.steps(seen))


def fine(out: int) -> nn.Sequential:
    """From `NARROW` channels, by what is near."""
    return nn.Sequential(
        nn.SiLU(), nn.Conv2d(NARROW, NARROW, 3, padding=2, dilation=2),
        nn.SiLU(), nn.Conv2d(NARROW, NARROW, 3, padding=1),
        nn.SiLU(), nn.Conv2d(NARROW, out, 1),
    )  # fmt: skip


def sized(picture: Tensor, size: tuple[int, ...]) -> Tensor:
    """(b, c, h, w), bilinear where it becomes larger, the mean where it becomes smaller."""
    if picture.shape[-2:] == tuple(size):
        return picture
    if picture.shape[-2] > size[0]:
        return F.interpolate(picture, size, mode="area")
    return F.interpolate(picture, size, mode="bilinear", align_corners=False)


def as_picture(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, n, c) to (b, c, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[-1], *size)


def silhouettes(maps: Tensor) -> Tensor:
    """(..., n) maps of sum 1 as masks: 1 where they are largest."""
    return maps / maps.amax(dim=-1, keepdim=True).clamp_min(1e-6)


def map_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of maps with the masks that they should be, mean over those that are not empty; 0 for none.

    logits: (..., n). masks: the same shape, 0 to 1, shares of each cell that the thing covers.
    """
    total = masks.sum(dim=-1)
    wanted = masks / total.clamp_min(1e-6)[..., None]
    losses = -(wanted * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    known = total > 0
    return torch.where(known, losses, losses.new_zeros(())).sum() / known.sum().clamp_min(1)


def level(size: tuple[int, int], count: int) -> tuple[int, int]:
    """(h, w) of the layer with so many image tokens: latents halved, rounding up, until it fits.

    Raises ValueError where none does.
    """
    height, width = size
    while height * width > count:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != count:
        raise ValueError(f"{count} image tokens are no level of latents of {size[0]} x {size[1]}")
    return height, width


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, c, h, w) at the layer's size, as tokens (b, n, c)."""
    if pictures.shape[-2:] != size:
        pictures = F.interpolate(pictures, size, mode="area")
    return pictures.flatten(2).transpose(1, 2)


def closed(width: int, out: int) -> nn.Linear:
    """A gate that lets nothing through yet."""
    gate = nn.Linear(width, out)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, wanted: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(wanted)
        ctx.ends = low, high
        return wanted.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (wanted,), (gradient,), (low, high) = ctx.saved_tensors, gradients, ctx.ends
        outward = ((wanted <= low) & (gradient > 0)) | ((wanted >= high) & (gradient < 0))
        return torch.where(outward, 0, gradient), None, None


def kept(wanted: Tensor, low: float, high: float) -> Tensor:
    """Between the ends. There a gradient passes if it leads back, so that what was pushed out comes back, and is not
    pushed on."""
    return cast(Tensor, cast(Any, _Kept).apply(wanted, low, high))

"""What a small network already knows to fill in: the floor behind what left, a colour that changes, a shadow.

Holes are first filled from what is beside them, coarse to fine (pull-push, Gortler et al. 1996). What is seen then is
toned: each place's colour becomes an affine function of itself (as local affine models of colour, Gharbi et al. 2017,
"Deep bilateral learning"), which a small U-Net draws by what is to be done there. So a ball that becomes red keeps its
light and its texture, and a floor its grain. It begins as no change at all. What words say of a thing's looks, a new
colour, a material, is such a function too, inside its outline, of the words and the colour that it has alone: that is
soon learned, and the U-Net sees what comes of it.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import NARROW, kept, sized

_WIDTHS = (NARROW, 48, 64, 96)  # of each level, half as large as the one before
_TONES, _HIDDEN = 12, 64  # of an affine function of three colours
_LEAST = 1e-3


class Retouch(nn.Module):
    """width: of what is known of a cell, and of what is to be done there. told: of what one step is to do."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.tint = nn.Sequential(nn.Linear(told + 3, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, _TONES))
        nn.init.zeros_(cast(Tensor, self.tint[-1].weight))
        nn.init.zeros_(cast(Tensor, self.tint[-1].bias))
        self.enter = _conv(3 + 3 + 1 + 1, NARROW)  # as it is, as it would be, holes, and what arrives
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, 2), _conv(b, b)) for a, b in itertools.pairwise(_WIDTHS)
        )
        self.cell = nn.Conv2d(width, _WIDTHS[2], 1)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(_WIDTHS))
        self.mix = nn.ModuleList(_conv(a, a) for a in _WIDTHS[:-1])
        self.even, self.tone = nn.LayerNorm(NARROW), nn.Conv2d(NARROW, _TONES, 1)
        nn.init.zeros_(self.tone.weight)
        nn.init.zeros_(cast(Tensor, self.tone.bias))

    def tinted(self, picture: Tensor, outlines: Tensor, todo: Tensor) -> Tensor:
        """(b, 3, H, W), with things as words say that they look. picture: (b, 3, H, W). outlines: (b, s, FINE h, FINE
        w). todo: (b, s, told)."""
        shapes = sized(outlines, picture.shape[-2:])
        whole = shapes.sum(dim=(2, 3)).clamp_min(1)[..., None]
        seen = torch.einsum("bshw,bchw->bsc", shapes, picture) / whole  # what colour it has
        return toned(picture, torch.einsum("bshw,bst->bthw", shapes, self.tint(torch.cat([todo, seen], -1))))

    def forward(
        self, source: Tensor, would_be: Tensor, hole: Tensor, arriving: Tensor, cells: Tensor
    ) -> Tensor:
        """(b, 3, H, W), the picture retouched. source, would_be: (b, 3, H, W), pixels of -1 to 1, the second with
        things where they will be, and its holes filled. hole, arriving: (b, 1, FINE h, FINE w), 0 to 1. cells: (b,
        width, h, w)."""
        size = hole.shape[-2:]
        levels = [self.enter(torch.cat([sized(source, size), sized(would_be, size), hole, arriving], dim=1))]
        for number, down in enumerate(self.down, start=1):
            level = down(levels[-1])
            levels.append(level + sized(self.cell(cells), level.shape[-2:]) if number == 2 else level)
        drawn = levels.pop()
        for up, mix in zip(reversed(self.up), reversed(self.mix), strict=True):
            below = levels.pop()
            drawn = mix(below + sized(up(drawn), below.shape[-2:]))
        tones = self.tone(self.even(drawn.movedim(1, -1)).movedim(-1, 1))
        return toned(would_be, sized(tones, would_be.shape[-2:]))


def toned(picture: Tensor, tones: Tensor) -> Tensor:
    """(b, 3, h, w), -1 to 1, with an affine function of the colour added. tones: (b, 12, h, w), by which colour, and by
    none, of which."""
    tones = torch.unflatten(tones, 1, (4, 3))
    return kept(picture + (tones[:, :3] * picture[:, :, None]).sum(dim=1) + tones[:, 3], -1.0, 1.0)


def filled(picture: Tensor, known: Tensor) -> Tensor:
    """(b, 3, h, w) with what is not known as what is around it: beside it, and where nothing beside it is known, above
    and below. known: (b, 1, h, w), 0 to 1.

    Floors and horizons lie across pictures: what is beside a hole tells more of it than what is above.
    """
    height, width = picture.shape[-2:]
    if height < 2 and width < 2:
        return picture
    half = (height, (width + 1) // 2) if width > 1 else ((height + 1) // 2, width)
    share = F.adaptive_avg_pool2d(known, half)
    mean = F.adaptive_avg_pool2d(picture * known, half) / share.clamp_min(_LEAST)
    around = sized(filled(mean, (2 * share).clamp(max=1)), (height, width))
    return known * picture + (1 - known) * around


def _conv(of: int, to: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(of, to, 3, stride, padding=1), nn.SiLU())

"""What does it cover? The outlines of things that were found, finer than the cells of latents.

Maps of where things are have the latents' cells, which are as large as a thing may be. A small network sees the map,
the thing's token and the pixels, and draws the thing; `objects_before`'s masks teach it. Outlines tell where a thing's
middle is to a part of a cell, and what leaves and what arrives when it is pasted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import FINE, NARROW, as_picture, fine, sized

_SELDOM = -3.0  # a logit: most places are not of the thing
_COVERED, _ENOUGH = 0.3, 5.0  # shares of a place, and places: less is no thing


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """Of things that are somewhere, (k,) numbers in `rows` among all b reads. logits: (k, FINE h, FINE w)."""

    rows: Tensor
    logits: Tensor


class Outlines(nn.Module):
    """width: of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell, self.thing = nn.Linear(width, NARROW), nn.Linear(width, NARROW)
        self.pixel, self.map = nn.Conv2d(3, NARROW, 3, padding=1), nn.Conv2d(1, NARROW, 1)
        self.fine = fine(1)
        nn.init.constant_(cast(Tensor, self.fine[-1].bias), _SELDOM)

    def forward(
        self, seen: Tensor, pixels: Tensor, of: Tensor, things: Tensor, maps: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """(k, FINE h, FINE w) logits. seen: (b, n, d). pixels: (b, 3, H, W). of: (k,), whose things they are. things:
        (k, d). maps: (k, n), 1 where they are largest."""
        finer = FINE * size[0], FINE * size[1]
        base = sized(as_picture(self.cell(seen), size), finer) + self.pixel(sized(pixels, finer))
        found = self.map(as_picture(maps[..., None], size)) + self.thing(things)[:, :, None, None]
        looked = base[of] + sized(found, finer)
        logits: Tensor = self.fine(looked)[:, 0]
        return logits


def covered(outlined: Outlined, count: int) -> Tensor:
    """(count, FINE h, FINE w): what share of each place each of so many reads' things covers; zeros where none is to be
    seen."""
    shares = outlined.logits.detach().float().sigmoid()
    shares = torch.where(shares > _COVERED, shares, 0)
    shares = torch.where(shares.sum(dim=(1, 2), keepdim=True) > _ENOUGH, shares, 0)
    return shares.new_zeros(count, *shares.shape[1:]).index_copy(0, outlined.rows, shares)


def outline_loss(outlined: Outlined, masks: Tensor) -> Tensor:
    """Cross-entropy, and what is missing of the overlap (Dice; Milletari et al. 2016), mean over things that are known;
    0 for none. masks: (k, FINE h, FINE w), shares of each place that things cover."""
    logits, known = outlined.logits.float(), masks.flatten(1).sum(dim=1) > 0
    off = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").flatten(1).mean(dim=1)
    drawn, true = logits.sigmoid().flatten(1), masks.flatten(1)
    overlap = (2 * (drawn * true).sum(dim=1) + 1) / (drawn.sum(dim=1) + true.sum(dim=1) + 1)
    lost = 4 * off + 1 - overlap
    return torch.where(known, lost, lost.new_zeros(())).sum() / known.sum().clamp_min(1)

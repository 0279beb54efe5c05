"""Where will it be? A map of each thing that an instruction puts somewhere, over the picture as it will be.

Words and arithmetic tell much: to a shift, a region, a reference belongs a guess of where the silhouette goes. They do
not tell what perspective makes of it, how near "beside" is, or where there is room. So a small network looks at the
guess, the picture and the words, and draws the map; `objects_after`'s masks teach it, in training alone. What is read
from the source is then read so that the middle and the size of the one map come to lie on the other's, and most edits
of place are a copy and a hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import Residual, as_picture

_NEAR, _FARTHEST = 0.02, 0.25  # shares of the picture: of a shift what is near, and the most that there is
_COUNTS = 20.0  # what a shift by the whole picture counts
_CLOSE = 0.1  # of a logarithm: what is further off counts by its size, not its square
MOST = 4.0  # how many times larger a thing becomes at most


@dataclass(frozen=True, slots=True, eq=False)
class Landed:
    """Of the reads that land, (m,) numbers in `rows` among all b r. logits: (m, n). maps: (m, n), each of sum 1.
    growth: (m,), the natural logarithm of how many times larger a thing becomes than the words say. shift: (m, 2), how
    far its middle is from where map and arithmetic have it. placed: (k,) numbers of those that were found, and middles:
    (k, 2), where theirs go; None until sources are made."""

    rows: Tensor
    logits: Tensor
    maps: Tensor
    growth: Tensor
    shift: Tensor
    placed: Tensor | None = None
    middles: Tensor | None = None


class Landing(nn.Module):
    """One network for all reads. width: of tokens. hints: maps that are given."""

    def __init__(self, width: int, hints: int) -> None:
        super().__init__()
        self.hints = nn.Linear(hints, width)
        self.token = nn.Linear(width, width)
        self.near = Residual(width)
        self.far = nn.TransformerEncoderLayer(
            width, width // 32, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.more = Residual(width)
        self.map = nn.Linear(width, 1)
        self.grow, self.shift = nn.Linear(width, 1), nn.Linear(width, 2)
        for head in (self.grow, self.shift):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self, seen: Tensor, tokens: Tensor, hints: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(m, n) logits, (m,) growth, and (m, 2) shift. seen: (m, n, d), what is seen at each place. tokens: (m, d),
        who is to land, and how. hints: (m, n, hints), 0 to 1."""
        looked = seen + self.hints(hints) + self.token(tokens)[:, None]
        looked = self.near(as_picture(looked, size)).flatten(2).transpose(1, 2)
        looked = self.far(looked)
        looked = self.more(as_picture(looked, size)).flatten(2).transpose(1, 2)
        logits = self.map(looked)[..., 0]
        there = torch.einsum("mn,mnd->md", logits.softmax(dim=-1).detach(), looked)
        there = (
            there / there.shape[-1] ** 0.5
        )  # so that a step of the heads' weights is a small step of what they say
        return logits, self.grow(there)[..., 0], _FARTHEST * self.shift(there).tanh()


def shift_loss(landed: Landed, wanted: Tensor, known: Tensor) -> Tensor:
    """How far the middles are from where masks show them, mean over the things that do; 0 for none. wanted: (k, 2), of
    those that were placed. known: (k,) bool."""
    assert landed.middles is not None
    off = F.smooth_l1_loss(landed.middles, wanted, reduction="none", beta=_NEAR).sum(dim=-1)
    return _COUNTS * torch.where(known, off, off.new_zeros(())).sum() / known.sum().clamp_min(1)


def growth_loss(landed: Landed, wanted: Tensor, known: Tensor, scale: Tensor) -> Tensor:
    """How far what is said of the growth is from what masks show, mean over the things that both show; 0 for none.
    wanted: (m,), how many times larger each becomes. known: (m,) bool. scale: (m,), what words say."""
    off = F.smooth_l1_loss(landed.growth.float(), (wanted / scale).log(), reduction="none", beta=_CLOSE)
    return torch.where(known, off, off.new_zeros(())).sum() / known.sum().clamp_min(1)

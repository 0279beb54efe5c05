"""What only moves is pasted, not painted: the predicted picture is blended with the source as it is, and with what each
warped read brings.

Each place of the edited picture comes from somewhere: from the source, where nothing changes, from one of the reads,
where something arrives, or it is painted. `Sharing` says how likely each is: a mixture whose components are known
pictures, but for the last (as pointer networks copy or write, See et al. 2017). In training the true picture teaches
it, by the mixture's likelihood, before any edit and beside them (`share_loss`); nothing else has to be marked.

The clean latents that the UNet predicts, c, become

    c + u g (stay (source - c) + sum over reads of share (brought - c))

with `stay` and the shares softmax of what the encoder says and what the UNet adds at this step, of the features that it
predicts from: it sees which of two likely pictures the sampling has taken. g is one number that starts at zero, so a
new editor is the plain one, and opens within some hundred steps.

u = 1 - (1 - w)^4, where w, sqrt(1 - alpha), is the share of the noise: near one until the noise is low, so that edges
and shading, where a copy that was moved by part of a cell is blurred, are left to the UNet in the end, and vanishing
with the noise, so that no prediction is divided by anything that does. As in blended latents (Avrahami et al. 2023,
"Blended Latent Diffusion"), but where to blend is learned, and what is blended may come from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainer.maps import Residual
from trainer.objective import Objective

if TYPE_CHECKING:
    from trainer.spatial_attention import SpatialContext

NEVER = -1e4  # a logit
_HIDDEN = 64
_SPREADS = (
    0.2,
    0.5,
    0.8,
)  # of the scaled latents around the source, what is read, what is painted, at the start
_LEAST = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """Of a batch of edits with r reads. source: (b, c, h, w), brought: (b, r, c, h, w), without the autoencoder's
    scaling. logits: (b, 1 + r + 1, h, w): it is the source, a read, painted. painted: (b, c, h, w), with the scaling,
    what is expected there where it is painted. spreads: (b, 1 + r + 1, 1, 1), how far the true picture is from each.
    opened: (b, 1, 1, 1), 0 to 1, how much of the shares counts."""

    source: Tensor
    brought: Tensor
    logits: Tensor
    painted: Tensor
    spreads: Tensor
    opened: Tensor

    def of(self, rows: Sequence[int] | Tensor) -> Paste:
        return Paste(*(getattr(self, field.name)[rows] for field in fields(self)))

    def silenced(self, silent: Tensor) -> Paste:
        """As `SpatialContext.silenced`: nothing is pasted of these samples, (b,) bool."""
        return replace(self, opened=self.opened * (~silent).to(self.opened.dtype)[:, None, None, None])

    def known(self, scaling: float) -> Tensor:
        """(b, 1 + r, c, h, w), with the scaling: what can be pasted, the source first."""
        return torch.cat([self.source[:, None], self.brought], dim=1) * scaling

    def expected(self, scaling: float) -> Tensor:
        """(b, c, h, w): the edited picture as far as it is known before it is painted."""
        whole = torch.cat([self.known(scaling), self.painted[:, None]], dim=1)
        return (self.logits.softmax(dim=1)[:, :, None] * whole).sum(dim=1)

    def blended(
        self, clean: Tensor, scaling: float, faded: Tensor | float, more: Tensor | None = None
    ) -> Tensor:
        """The clean latents (b, c, h, w) with what is pasted. faded: u. more: (b, 1 + r, h, w), the UNet's logits at
        this step."""
        pasted, total = self.pasted(scaling, more, clean.dtype)
        return clean + faded * (pasted - total * clean)

    def pasted(self, scaling: float, more: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(b, c, h, w), the sum of what is pasted times its share, and (b, 1, h, w), the sum of the shares."""
        logits = self.logits.float()
        if more is not None:
            logits = torch.cat([logits[:, :-1] + more.float(), logits[:, -1:]], dim=1)
        shares = (logits.softmax(dim=1)[:, :-1] * self.opened).to(dtype)
        return (shares[:, :, None] * self.known(scaling).to(dtype)).sum(dim=1), shares.sum(
            dim=1, keepdim=True
        )


class Sharing(nn.Module):
    """Where does each place come from? width: of what is known of a place. tokens: of what is to be done."""

    def __init__(self, width: int, tokens: int, channels: int, reads: int) -> None:
        super().__init__()
        self.place, self.token = nn.Conv2d(width, _HIDDEN, 1), nn.Linear(tokens, _HIDDEN)
        self.look = nn.Sequential(Residual(_HIDDEN), Residual(_HIDDEN), nn.GroupNorm(8, _HIDDEN), nn.SiLU())
        self.logits = nn.Conv2d(_HIDDEN, 2 + reads, 1)
        self.painted = nn.Conv2d(_HIDDEN, channels, 1)
        source, brought, painted = (math.log(spread) for spread in _SPREADS)
        self.spreads = nn.Parameter(torch.tensor([source, *[brought] * reads, painted]))
        self.opened = nn.Parameter(torch.zeros(1))

    def forward(self, places: Tensor, tokens: Tensor, source: Tensor, brought: Tensor, told: Tensor) -> Paste:
        """places: (b, width, h, w). tokens: (b, tokens). told: (b, r) bool, the reads that there are."""
        looked = self.look(self.place(places) + self.token(tokens)[:, :, None, None])
        there = torch.cat([told.new_ones(len(told), 1), told, told.new_ones(len(told), 1)], dim=1)
        logits = self.logits(looked).masked_fill(~there[:, :, None, None], NEVER)
        spreads = self.spreads.exp().clamp_min(_LEAST).expand(len(told), -1)[..., None, None]
        # Ten times, so that a rate of learning that suits other weights opens it within some hundred steps.
        opened = (10 * self.opened).clamp(0, 1) * told.any(dim=1)[:, None]
        return Paste(source, brought, logits, self.painted(looked), spreads, opened[..., None, None])


def share_loss(paste: Paste, truth: Tensor, scaling: float, told: Tensor) -> Tensor:
    """Negative logarithm of the mixture's likelihood of the true picture, above the least that there can be, mean over
    places of the samples that are `told`, (b,) bool; 0 for none. truth: (b, c, h, w), with the scaling. What is brought
    is taken as it is: this teaches where it belongs, not to bring something else."""
    whole = torch.cat([paste.known(scaling).detach(), paste.painted[:, None]], dim=1).float()
    spreads = paste.spreads.float()
    away = (whole - truth[:, None].float()).square().sum(dim=2)
    fits = -away / (2 * spreads.square()) - truth.shape[1] * (spreads / _LEAST).log()
    likely = torch.logsumexp(paste.logits.float().log_softmax(dim=1) + fits, dim=1).flatten(1).mean(dim=1)
    return -torch.where(told, likely, likely.new_zeros(())).sum() / told.sum().clamp_min(1)


def fading(w: Tensor | float) -> Tensor | float:
    """u, by the share of the noise."""
    return 1 - (1 - w) ** 4


@dataclass(frozen=True, slots=True)
class Pasting:
    """How predictions and clean latents hang together. scaling: of the autoencoder; the source comes without it."""

    objective: Objective
    scaling: float

    def pasted(
        self, said: Tensor, noisy: Tensor, steps: Tensor, context: SpatialContext, more: Tensor | None = None
    ) -> Tensor:
        """The prediction `said` of `noisy` at `steps`, blended; shaped as it is. more: as of `Paste.blended`."""
        paste = context.paste
        if paste is None:
            return said
        signal, w = self.objective.shares(steps, noisy)
        if self.objective.prediction == "sample":
            return paste.blended(said, self.scaling, fading(w), more)
        pasted, total = paste.pasted(self.scaling, more, said.dtype)
        faded = 4 - 6 * w + 4 * w**2 - w**3  # u / w
        if self.objective.prediction == "v_prediction":
            clean = signal * noisy - w * said
            return said + faded * (total * clean - pasted)
        clean = noisy - w * said  # times the signal
        return said + faded * (total * clean - signal * pasted)

"""What only moves is pasted, not painted: the predicted picture is blended with the source as it is, and with what each
warped read brings.

The clean latents that the UNet predicts, c, become

    c + u (stay (source - c) + sum over reads of share (brought - c))

with `stay` the share of the source at a place, and a share of what each read brings there. Shares are the sum of two:
what the words and the picture make likely, from the encoder, and what the UNet makes of the noisy picture at this step,
from the features that it predicts from. The first alone must hedge where two outcomes are likely, and what is hedged
stays blurred to the end; the second sees which of them the sampling has taken. Both start at zero.

u = 1 - (1 - w)^4, where w, sqrt(1 - alpha), is the share of the noise: near one until the noise is low, so that edges
and shading, where a copy that was moved by part of a cell is blurred, are left to the UNet in the end, and vanishing
with the noise, so that no prediction is divided by anything that does. As in blended latents (Avrahami et al. 2023,
"Blended Latent Diffusion"), but where to blend is learned, and what is blended may come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.objective import Objective

if TYPE_CHECKING:
    from trainer.spatial_attention import SpatialContext


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """Of a batch of edits with r reads, without the autoencoder's scaling. source: (b, c, h, w). stay: (b, 1, h, w).
    brought: (b, r, c, h, w). shares: (b, r, h, w). still: (b, 1, 1, 1), the share of the source where words are silent.
    seen: (b, 1, 1, 1), 1 where there is a source to be pasted, else 0. told: (b, r, 1, 1), 1 for a read that there is.
    """

    source: Tensor
    stay: Tensor
    brought: Tensor
    shares: Tensor
    still: Tensor
    seen: Tensor
    told: Tensor

    def of(self, rows: Sequence[int] | Tensor) -> Paste:
        return Paste(*(getattr(self, field.name)[rows] for field in fields(self)))

    def silenced(self, silent: Tensor, blind: Tensor | None) -> Paste:
        """As `SpatialContext.silenced`."""
        quiet = silent[:, None, None, None]
        seen = self.seen
        if blind is not None:
            seen = seen * (~blind.to(seen.device)).to(seen.dtype)[:, None, None, None]
        told = self.told * (~quiet).to(self.told.dtype)
        return replace(self, stay=torch.where(quiet, self.still, self.stay), seen=seen, told=told)

    def blended(self, more: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(b, c, h, w), the sum of what is pasted times its share, and (b, 1, h, w), the sum of the shares. more: (b,
        1 + r, h, w), the UNet's shares at this step, of the source first."""
        stay, shares = self.stay, self.shares
        if more is not None:
            stay, shares = stay + more[:, :1], shares + more[:, 1:]
        stay, shares = (stay * self.seen).to(dtype), (shares * self.told).to(dtype)
        pasted = stay * self.source.to(dtype) + (shares[:, :, None] * self.brought.to(dtype)).sum(dim=1)
        return pasted, stay + shares.sum(dim=1, keepdim=True)


@dataclass(frozen=True, slots=True, eq=False)
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
        pasted, total = paste.blended(more, said.dtype)
        pasted = pasted * self.scaling
        faded = 4 - 6 * w + 4 * w**2 - w**3  # u / w
        if self.objective.prediction == "v_prediction":
            clean = signal * noisy - w * said
            return said + faded * (total * clean - pasted)
        if self.objective.prediction == "epsilon":
            clean = noisy - w * said  # times the signal
            return said + faded * (total * clean - signal * pasted)
        return said + w * faded * (pasted - total * said)

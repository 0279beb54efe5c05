"""What only moves is pasted, not painted: the predicted picture is blended with the source as it is, and with what the
warped reads bring.

The clean latents that the UNet predicts, c, become

    c + u stay (source - c) + w (brought - shares c)

with `stay` the share of the source, and `brought` the sum of what the reads bring, each times its share, `shares` the
sum of those: one of each for every place. They come from the encoder and start at zero. w is the noise's share,
sqrt(1 - alpha): high noise decides what stands where, which a copy knows; edges and shading, where a copy that was
moved by part of a cell is blurred, are left to the UNet. What stays where it is is not blurred: u = 1 - (1 - w)^4, near
one until the noise is low. Both vanish with the noise, so that no prediction is divided by anything that does. As in
blended latents (Avrahami et al. 2023, "Blended Latent Diffusion"), but where to blend is learned, and what is blended
may come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.objective import Objective

if TYPE_CHECKING:
    from trainer.spatial_attention import SpatialContext


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """Of a batch of edits, without the autoencoder's scaling. source, brought: (b, c, h, w). stay, shares: (b, 1, h,
    w). still: (b, 1, 1, 1), the share of the source where words are silent."""

    source: Tensor
    stay: Tensor
    brought: Tensor
    shares: Tensor
    still: Tensor

    def of(self, rows: Sequence[int] | Tensor) -> Paste:
        return Paste(
            self.source[rows], self.stay[rows], self.brought[rows], self.shares[rows], self.still[rows]
        )

    def silenced(self, silent: Tensor, blind: Tensor | None) -> Paste:
        """As `SpatialContext.silenced`."""
        quiet, still = silent[:, None, None, None], self.still
        if blind is not None:
            still = still * (~blind.to(still.device)).to(still.dtype)[:, None, None, None]
        keep = (~quiet).to(self.brought.dtype)
        return Paste(
            self.source,
            torch.where(quiet, still, self.stay),
            self.brought * keep,
            self.shares * keep,
            self.still,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pasting:
    """How predictions and clean latents hang together. scaling: of the autoencoder; the source comes without it."""

    objective: Objective
    scaling: float

    def pasted(self, said: Tensor, noisy: Tensor, steps: Tensor, context: SpatialContext) -> Tensor:
        """The prediction `said` of `noisy` at `steps`, blended; shaped as it is."""
        paste = context.paste
        if paste is None:
            return said
        signal, spread = self.objective.shares(steps, noisy)
        source, brought = (
            paste.source.to(said.dtype) * self.scaling,
            paste.brought.to(said.dtype) * self.scaling,
        )
        stay, shares = paste.stay.to(said.dtype), paste.shares.to(said.dtype)
        stay = stay * (4 - 6 * spread + 4 * spread**2 - spread**3)  # times u / w
        if self.objective.prediction == "v_prediction":
            clean = signal * noisy - spread * said
            return said + stay * (clean - source) + shares * clean - brought
        if self.objective.prediction == "epsilon":
            clean = noisy - spread * said  # times the signal
            return said + stay * (clean - signal * source) + shares * clean - signal * brought
        return said + spread * (stay * (source - said) + brought - shares * said)

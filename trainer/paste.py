"""What only moves is pasted, not painted: the edited picture is the source as it is, what each warped read brings, and
for the rest what the UNet paints.

Each place of the edited picture comes from somewhere: from the source, where nothing changes, from one of the reads,
where something arrives, or it is painted. `Sharing` says how likely each is: a mixture whose components are known
pictures, but for the last (as pointer networks copy or write, See et al. 2017). In training the true picture teaches
it, by the mixture's likelihood, before any edit and beside them (`share_loss`); nothing else has to be marked.

Pictures are pasted as pixels. Latents that are moved by part of a cell are no latents of the moved thing, and edges are
finer than cells: shares have `FINE` places on a cell's side. The picture as far as it is known, the *draft*, goes
through the autoencoder once an edit. The UNet is shown it, and the clean latents that it predicts, c, become

    c + u g k (draft - c)

with k, the share of a cell that is known, from the shares and what the UNet adds to them at this step, of the features
that it predicts from. g is one number that starts at zero, so a new editor is the plain one, and opens within some
hundred steps. u = 1 - (1 - w)^4, where w, sqrt(1 - alpha), is the share of the noise: near one until the noise is low,
and vanishing with it, so that no prediction is divided by anything that does. As in blended latents (Avrahami et al.
2023, "Blended Latent Diffusion"), but where to blend is learned, and what is blended may come from elsewhere. What was
sampled is decoded, and the same shares lay the known pixels over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import Residual
from trainer.objective import Objective

if TYPE_CHECKING:
    from trainer.spatial_attention import SpatialContext

NEVER = -1e4  # a logit
FINE = 4
_HIDDEN, _NARROW = 64, 32
# How far from the source, from what is read, from the painted colour the picture is at the start, of values -1 to 1.
_SPREADS = (0.05, 0.1, 0.2)
_LEAST = 0.03
_WHOLE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What is pasted from. pixels: (b, 3, H, W), -1 to 1. encode: of pixels the latents, without the scaling; None
    where nothing is to be painted."""

    pixels: Tensor
    encode: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """Of a batch of edits with r reads. source: (b, 3, H, W), brought: (b, r, 3, H, W), pixels of -1 to 1. logits: (b,
    1 + r + 1, FINE h, FINE w): it is the source, a read, painted. painted: (b, 3, FINE h, FINE w), the colour that is
    expected where it is painted. spreads: (b, 1 + r + 1, 1, 1), how far the true picture is from each. opened: (b, 1,
    1, 1), 0 to 1, how much of the shares counts. draft: (b, c, h, w), of the autoencoder, with the scaling; None until
    it was asked."""

    source: Tensor
    brought: Tensor
    logits: Tensor
    painted: Tensor
    spreads: Tensor
    opened: Tensor
    draft: Tensor | None = None

    def of(self, rows: Sequence[int] | Tensor) -> Paste:
        kept: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        picked: dict[str, Any] = {
            name: None if value is None else value[rows] for name, value in kept.items()
        }
        return replace(self, **picked)

    def silenced(self, silent: Tensor) -> Paste:
        """As `SpatialContext.silenced`: nothing is pasted of these samples, (b,) bool."""
        return replace(self, opened=self.opened * (~silent).to(self.opened.dtype)[:, None, None, None])

    def over(self, painted: Tensor, more: Tensor | None = None) -> Tensor:
        """(b, 3, H, W): what is known laid over a picture. painted: (b, 3, H, W). more: (b, 1, h, w), the UNet's
        logits, that a place is known."""
        size = painted.shape[-2:]
        logits = F.interpolate(self._logits(more), size, mode="bilinear", align_corners=False)
        shares = logits.softmax(dim=1)
        laid = shares[:, :1] * self.source + shares[:, -1:] * painted
        for read in range(self.brought.shape[1]):
            laid = laid + shares[:, 1 + read, None] * self.brought[:, read]
        return painted + self.opened * (laid - painted)

    def expected(self) -> Tensor:
        """(b, 3, H, W): the picture as far as it is known before it is painted; the draft's pixels."""
        size = self.source.shape[-2:]
        whole = replace(self, opened=torch.ones_like(self.opened))
        return whole.over(F.interpolate(self.painted, size, mode="bilinear", align_corners=False))

    def known(self, more: Tensor | None = None) -> Tensor:
        """(b, 1, h, w): k, what share of each cell is known."""
        return F.avg_pool2d(1 - self._logits(more).softmax(dim=1)[:, -1:], FINE)

    def _logits(self, more: Tensor | None) -> Tensor:
        logits = self.logits.float()
        if more is None:
            return logits
        finer = F.interpolate(more.float(), logits.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([logits[:, :-1], logits[:, -1:] - finer], dim=1)

    def blended(self, clean: Tensor, faded: Tensor | float, more: Tensor | None = None) -> Tensor:
        """The clean latents (b, c, h, w), scaled, with what is pasted. faded: u. more: as of `over`."""
        pasted, total = self.pasted(more, clean.dtype)
        return clean + faded * (pasted - total * clean)

    def pasted(self, more: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(b, c, h, w), the draft times its share, and (b, 1, h, w), that share. Raises ValueError without a draft."""
        if self.draft is None:
            raise ValueError("what is known was not yet encoded: give `SpatialEditor.context` an autoencoder")
        share = (self.known(more) * self.opened).to(dtype)
        return share * self.draft.to(dtype), share


class Sharing(nn.Module):
    """Where does each place come from? width: of what is known of a cell. tokens: of what is to be done. reads: how
    many there can be."""

    def __init__(self, width: int, tokens: int, reads: int) -> None:
        super().__init__()
        self.place, self.token = nn.Conv2d(width, _HIDDEN, 1), nn.Linear(tokens, _HIDDEN)
        self.look = nn.Sequential(Residual(_HIDDEN), Residual(_HIDDEN), nn.GroupNorm(8, _HIDDEN), nn.SiLU())
        self.coarse = nn.Conv2d(_HIDDEN, 2 + reads, 1)
        self.finer = nn.Conv2d(_HIDDEN, _NARROW, 1)
        self.seen = nn.Conv2d(3, _NARROW, 3, padding=1)
        self.bring = nn.Conv2d(3 + 1, _NARROW, 3, padding=1)  # a read's pixels, and its silhouette
        self.of_base, self.of_read = _fine(2 + 3), _fine(1)
        source, brought, painted = (math.log(spread) for spread in _SPREADS)
        self.spreads = nn.Parameter(torch.tensor([source, *[brought] * reads, painted]))
        self.opened = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        cells: Tensor,
        tokens: Tensor,
        source: Tensor,
        brought: Tensor,
        silhouettes: Tensor,
        inside: Tensor,
        told: Tensor,
        reads: Sequence[int],
    ) -> Paste:
        """cells: (b, width, h, w). tokens: (b, tokens). source: (b, 3, H, W), brought: (b, r, 3, H, W), pixels.
        silhouettes: (b, r, h, w), as they arrive. inside: (b, r, H, W), 1 where what is brought is from the picture.
        told: (b, r) bool, the reads that there are. reads: which they are, of all that there can be."""
        looked = self.look(self.place(cells) + self.token(tokens)[:, :, None, None])
        size = (FINE * cells.shape[-2], FINE * cells.shape[-1])
        coarse, base = (_sized(part, size) for part in (self.coarse(looked), self.finer(looked)))
        base = base + self.seen(_sized(source, size))
        stay, paint, *color = self.of_base(base).split(1, dim=1)
        logits = [coarse[:, :1] + stay]
        for place, read in enumerate(reads):
            arriving = torch.cat(
                [brought[:, place], _sized(silhouettes[:, place, None], source.shape[-2:])], 1
            )
            one = self.of_read(base + self.bring(_sized(arriving, size)))
            from_picture = _sized(inside[:, place, None], size) > _WHOLE
            here = told[:, place, None, None, None] & from_picture
            logits.append((coarse[:, 1 + read, None] + one).masked_fill(~here, NEVER))
        logits.append(coarse[:, -1:] + paint)
        which = [0, *(1 + read for read in reads), len(self.spreads) - 1]
        spreads = self.spreads[which].exp().clamp_min(_LEAST).expand(len(cells), -1)[..., None, None]
        # Ten times, so that a rate of learning that suits other weights opens it within some hundred steps. Kept
        # between 0 and 1, but a gradient passes at the ends: one that was pushed below may come back.
        wanted = 10 * self.opened
        opened = (wanted + (wanted.clamp(0, 1) - wanted).detach()) * told.any(dim=1)[:, None]
        return Paste(
            source,
            brought,
            torch.cat(logits, dim=1),
            torch.cat(color, dim=1),
            spreads,
            opened[..., None, None],
        )


def _fine(out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.SiLU(), nn.Conv2d(_NARROW, _NARROW, 3, padding=2, dilation=2),
        nn.SiLU(), nn.Conv2d(_NARROW, _NARROW, 3, padding=1),
        nn.SiLU(), nn.Conv2d(_NARROW, out, 1),
    )  # fmt: skip


def _sized(picture: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear where it becomes larger, the mean where it becomes smaller."""
    if picture.shape[-2] >= size[0]:
        return (
            F.interpolate(picture, size, mode="area") if tuple(picture.shape[-2:]) != tuple(size) else picture
        )
    return F.interpolate(picture, size, mode="bilinear", align_corners=False)


def share_loss(paste: Paste, truth: Tensor, told: Tensor) -> Tensor:
    """Negative logarithm of the mixture's likelihood of the true picture, above the least that there can be, mean over
    places of the samples that are `told`, (b,) bool; 0 for none. truth: (b, 3, H, W), -1 to 1. What is brought is taken
    as it is: this teaches where it belongs, not to bring something else."""
    size = paste.logits.shape[-2:]
    known = torch.cat([paste.source[:, None], paste.brought], dim=1).detach()
    known = torch.unflatten(_sized(known.flatten(0, 1), size), 0, known.shape[:2])
    whole = torch.cat([known, paste.painted[:, None]], dim=1).float()
    spreads = paste.spreads.float()
    away = (whole - _sized(truth, size)[:, None].float()).square().sum(dim=2)
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
        """The prediction `said` of `noisy` at `steps`, blended; shaped as it is. more: as of `Paste.over`."""
        paste = context.paste
        if paste is None:
            return said
        signal, w = self.objective.shares(steps, noisy)
        if self.objective.prediction == "sample":
            return paste.blended(said, fading(w), more)
        pasted, total = paste.pasted(more, said.dtype)
        faded = 4 - 6 * w + 4 * w**2 - w**3  # u / w
        if self.objective.prediction == "v_prediction":
            clean = signal * noisy - w * said
            return said + faded * (total * clean - pasted)
        clean = noisy - w * said  # times the signal
        return said + faded * (total * clean - signal * pasted)

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

from trainer.maps import FINE, NARROW, Residual, carried, fine, sized
from trainer.objective import Objective
from trainer.outline import Outlined

if TYPE_CHECKING:
    from trainer.spatial_attention import SpatialContext

NEVER = -1e4  # a logit
_HIDDEN = 64
# How far from the source, from what is read, from the painted colour the picture is at the start, of values -1 to 1.
_SPREADS = (0.05, 0.1, 0.2)
_LEAST = 0.03
_DOUBT = 0.1  # of outlines
_WHOLE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What is pasted from. pixels: (b, 3, H, W), -1 to 1. encode: of pixels the latents, without the scaling; None
    where nothing is to be painted. sharp: what the logits of shares are times: with more than 1 each place comes more
    surely from where it most likely comes from; training is always with 1."""

    pixels: Tensor
    encode: Callable[[Tensor], Tensor] | None = None
    sharp: float = 1.0


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


@dataclass(frozen=True, slots=True, eq=False)
class Brought:
    """What r reads bring to a batch. pixels: (b, r, 3, H, W). inside: (b, r, H, W), 1 where that is from the picture.
    maps: (b, r, h, w), of the things that are read, as they arrive. leaving, arriving: (b, r, FINE h, FINE w), outlines
    of things that leave, and of those that are brought as they look now, where they will be; 0 where none does. told:
    (b, r) bool, the reads that there are. reads: which they are, of all that there can be. drawn: (b,) bool, whether
    outlines tell what changes at all."""

    pixels: Tensor
    inside: Tensor
    maps: Tensor
    leaving: Tensor
    arriving: Tensor
    told: Tensor
    reads: Sequence[int]
    drawn: Tensor

    def prior(self) -> Tensor:
        """(b, 1 + r + 1, FINE h, FINE w), logarithms: from where each place comes by the outlines alone. What arrives
        is in front; where something left and nothing arrives it is painted; all else is the source. Alike where
        outlines tell nothing."""
        arriving, leaving = self.arriving.amax(dim=1, keepdim=True), self.leaving.amax(dim=1, keepdim=True)
        stays, painted = (1 - arriving) * (1 - leaving), (1 - arriving) * leaving
        likely = torch.cat([stays, self.arriving, painted], dim=1)
        likely = ((1 - _DOUBT) * likely + _DOUBT / 3).log()  # whatever reads others of the batch ask for
        return likely * self.drawn[:, None, None, None]


@torch.no_grad()
def bring(
    pixels: Tensor,
    sources: Tensor,
    maps: Tensor,
    outlined: Outlined,
    told: Tensor,
    carries: Tensor,
    leaves: Tensor,
    size: tuple[int, int],
) -> Brought:
    """Pixels and outlines only of the reads that some edit has; of one at least, so that all batches do the same.

    pixels: (b, 3, H, W). sources: (b, R, h w, 2). maps: (b, R, h w), as they arrive. told, carries, leaves: (b, R)
    bool, which there are, and which things are brought and leave. size: (h, w).
    """
    reads = sorted({0, *torch.nonzero(told.any(dim=0)).flatten().tolist()})
    there = torch.unflatten(sources[:, reads].float(), 2, size)
    brought, inside = carried(pixels, there)
    drawn = outlined.logits.float().sigmoid()
    things = drawn.new_zeros(told.numel(), *drawn.shape[1:]).index_copy(0, outlined.rows, drawn)
    things = torch.unflatten(things, 0, told.shape)[:, reads]
    arriving, _ = carried(things.flatten(0, 1)[:, None], there.flatten(0, 1)[:, None])
    carries, leaves = (told & some for some in (carries, leaves))
    return Brought(
        brought, inside, torch.unflatten(maps[:, reads], 2, size), things * leaves[:, reads, None, None],
        arriving[:, 0, 0].reshape(things.shape) * carries[:, reads, None, None], told[:, reads], reads,
        (carries | leaves).any(dim=1),
    )  # fmt: skip


class Sharing(nn.Module):
    """Where does each place come from? width: of what is known of a cell. tokens: of what is to be done. reads: how
    many there can be."""

    def __init__(self, width: int, tokens: int, reads: int) -> None:
        super().__init__()
        self.place, self.token = nn.Conv2d(width, _HIDDEN, 1), nn.Linear(tokens, _HIDDEN)
        self.look = nn.Sequential(Residual(_HIDDEN), Residual(_HIDDEN), nn.GroupNorm(8, _HIDDEN), nn.SiLU())
        self.coarse = nn.Conv2d(_HIDDEN, 2 + reads, 1)
        self.finer = nn.Conv2d(_HIDDEN, NARROW, 1)
        self.seen = nn.Conv2d(3 + 2, NARROW, 3, padding=1)  # pixels, and what leaves and arrives
        self.bring = nn.Conv2d(
            3 + 3, NARROW, 3, padding=1
        )  # a read's pixels, its map and outlines there and here
        self.of_base, self.of_read = fine(2 + 3), fine(1)
        source, brought, painted = (math.log(spread) for spread in _SPREADS)
        self.spreads = nn.Parameter(torch.tensor([source, *[brought] * reads, painted]))
        self.opened = nn.Parameter(torch.zeros(1))

    def forward(self, cells: Tensor, tokens: Tensor, source: Tensor, brought: Brought) -> Paste:
        """cells: (b, width, h, w). tokens: (b, tokens). source: (b, 3, H, W), pixels."""
        looked = self.look(self.place(cells) + self.token(tokens)[:, :, None, None])
        size = (FINE * cells.shape[-2], FINE * cells.shape[-1])
        coarse, base = (sized(part, size) for part in (self.coarse(looked), self.finer(looked)))
        both = [part.amax(dim=1, keepdim=True) for part in (brought.leaving, brought.arriving)]
        base = base + self.seen(torch.cat([sized(source, size), *both], dim=1))
        stay, paint, *color = self.of_base(base).split(1, dim=1)
        prior = brought.prior()
        logits = [coarse[:, :1] + stay + prior[:, :1]]
        for place, read in enumerate(brought.reads):
            shapes = [part[:, place, None] for part in (brought.leaving, brought.arriving)]
            pixels, map_ = sized(brought.pixels[:, place], size), sized(brought.maps[:, place, None], size)
            one = self.of_read(base + self.bring(torch.cat([pixels, map_, *shapes], dim=1)))
            from_picture = sized(brought.inside[:, place, None], size) > _WHOLE
            here = brought.told[:, place, None, None, None] & from_picture
            one = coarse[:, 1 + read, None] + one + prior[:, 1 + place, None]
            logits.append(one.masked_fill(~here, NEVER))
        logits.append(coarse[:, -1:] + paint + prior[:, -1:])
        which = [0, *(1 + read for read in brought.reads), len(self.spreads) - 1]
        spreads = self.spreads[which].exp().clamp_min(_LEAST).expand(len(cells), -1)[..., None, None]
        # Ten times, so that a rate of learning that suits other weights opens it within some hundred steps. Kept
        # between 0 and 1, but a gradient passes at the ends: one that was pushed below may come back.
        wanted = 10 * self.opened
        opened = (wanted + (wanted.clamp(0, 1) - wanted).detach()) * brought.told.any(dim=1)[:, None]
        return Paste(
            source,
            brought.pixels,
            torch.cat(logits, dim=1),
            torch.cat(color, dim=1),
            spreads,
            opened[..., None, None],
        )


def share_loss(paste: Paste, truth: Tensor, told: Tensor) -> Tensor:
    """Negative logarithm of the mixture's likelihood of the true picture, above the least that there can be, mean over
    places of the samples that are `told`, (b,) bool; 0 for none. truth: (b, 3, H, W), -1 to 1. What is brought is taken
    as it is: this teaches where it belongs, not to bring something else."""
    size = paste.logits.shape[-2:]
    known = torch.cat([paste.source[:, None], paste.brought], dim=1).detach()
    known = torch.unflatten(sized(known.flatten(0, 1), size), 0, known.shape[:2])
    whole = torch.cat([known, paste.painted[:, None]], dim=1).float()
    spreads = paste.spreads.float()
    away = (whole - sized(truth, size)[:, None].float()).square().sum(dim=2)
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

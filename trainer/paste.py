"""What only moves is pasted, not painted: the edited picture is the source as it is, what each warped read brings, what
a small network knows to fill in, and for the rest what the UNet paints.

Each place of the edited picture comes from somewhere: from the source, where nothing changes, from one of the reads,
where something arrives, from the retouched picture (`trainer.retouch`), or it is painted. `Sharing` says how likely
each is: a mixture whose components are known pictures (as pointer networks copy or write, See et al. 2017); what is
painted is only known to be about as the retouched picture. In training the true picture teaches it, by the mixture's
likelihood, before any edit and beside them (`share_loss`); nothing else has to be marked.

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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.brought import Brought
from trainer.maps import FINE, NARROW, Residual, fine, kept, sized
from trainer.objective import Objective
from trainer.retouch import Retouch

NEVER = -1e4  # a logit
_HIDDEN = 64
# How far from the source, a read, the retouched picture, and that where it is painted, the true one is at the start,
# of values -1 to 1.
_SPREADS = (0.05, 0.1, 0.1, 0.3)
_LEAST = 0.03
_WHOLE = 0.99
_RETOUCHED = 10.0  # what a unit of a colour counts, beside logarithms of likelihoods


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
    """Of a batch of edits with r reads. source, retouched: (b, 3, H, W), brought: (b, r, 3, H, W), pixels of -1 to 1.
    logits: (b, 1 + r + 2, FINE h, FINE w): it is the source, a read, retouched, painted. spreads: (b, 1 + r + 2, 1, 1),
    how far the true picture is from each, and from the retouched one where it is painted. opened: (b, 1, 1, 1), 0 to 1,
    how much of the shares counts. draft: (b, c, h, w), of the autoencoder, with the scaling; None until it was
    asked."""

    source: Tensor
    brought: Tensor
    retouched: Tensor
    logits: Tensor
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
        laid = shares[:, -1:] * painted
        for number, known in enumerate([self.source, *self.brought.unbind(1), self.retouched]):
            laid = laid + shares[:, number, None] * known
        return painted + self.opened * (laid - painted)

    def expected(self) -> Tensor:
        """(b, 3, H, W): the picture as far as it is known before it is painted; the draft's pixels."""
        return replace(self, opened=torch.ones_like(self.opened)).over(self.retouched)

    def known(self, more: Tensor | None = None) -> Tensor:
        """(b, 1, h, w): k, what share of each cell is known."""
        return F.avg_pool2d(1 - self._logits(more).softmax(dim=1)[:, -1:], FINE)

    def detached(self) -> Paste:
        """What learns from it teaches nothing of it."""
        kept: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        apart: dict[str, Any] = {
            name: None if value is None else value.detach() for name, value in kept.items()
        }
        return replace(self, **apart)

    def said(self, more: Tensor) -> Paste:
        """With what the UNet says of the shares."""
        return replace(self, logits=self._logits(more))

    def _logits(self, more: Tensor | None) -> Tensor:
        logits = self.logits.float()
        if more is None:
            return logits
        finer = F.interpolate(more.float(), logits.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([logits[:, :-1], logits[:, -1:] - finer], dim=1)

    def blended(self, clean: Tensor, faded: Tensor | float, more: Tensor | None = None) -> Tensor:
        """The clean latents (b, c, h, w), scaled, with what is pasted. faded: u. more: as of `over`."""
        pasted, total = self.pasted(more)
        return (clean + faded * (pasted - total * clean)).to(clean.dtype)

    def pasted(self, more: Tensor | None) -> tuple[Tensor, Tensor]:
        """(b, c, h, w), the draft times its share, and (b, 1, h, w), that share, in float32: what is copied is to stay
        as it is, and bfloat16 would round it. Of the shares only what the UNet says is taught by what comes of it: the
        true picture teaches the rest better. Raises ValueError without a draft."""
        if self.draft is None:
            raise ValueError("what is known was not yet encoded: give `SpatialEditor.context` an autoencoder")
        known = replace(self, logits=self.logits.detach()).known(more)
        share = (known * self.opened).float()
        return share * self.draft.float(), share


class Sharing(nn.Module):
    """Where does each place come from? width: of what is known of a cell. tokens, values: of what is to be done, and of
    the words for the value that it takes. reads: how many there can be."""

    def __init__(self, width: int, tokens: int, values: int, reads: int) -> None:
        super().__init__()
        self.place, self.token = nn.Conv2d(width, _HIDDEN, 1), nn.Linear(tokens, _HIDDEN)
        # What differs between phrases is a small part of their states.
        self.value = nn.Sequential(nn.LayerNorm(values), nn.Linear(values, _HIDDEN))
        self.spot = nn.ModuleList(nn.Linear(2 * _HIDDEN, _HIDDEN) for _ in range(2))
        self.look = nn.Sequential(Residual(_HIDDEN), Residual(_HIDDEN), nn.GroupNorm(8, _HIDDEN), nn.SiLU())
        self.retouch = Retouch(_HIDDEN, 2 * _HIDDEN)
        self.coarse = nn.Conv2d(_HIDDEN, 3 + reads, 1)
        self.finer = nn.Conv2d(_HIDDEN, NARROW, 1)
        self.seen = nn.Conv2d(
            3 + 3 + 2, NARROW, 3, padding=1
        )  # pixels, retouched, and what leaves and arrives
        self.bring = nn.Conv2d(
            3 + 3, NARROW, 3, padding=1
        )  # a read's, with its map, and outlines there and here
        self.of_base, self.of_read = fine(3), fine(1)
        self.spreads = nn.Parameter(torch.tensor([math.log(spread) for spread in _SPREADS]))
        self.opened = nn.Parameter(torch.zeros(1))

    def forward(
        self, cells: Tensor, spots: Tensor, told: tuple[Tensor, Tensor], source: Tensor, brought: Brought
    ) -> Paste:
        """cells: (b, width, h, w). spots: (b, s, 2, h, w), 0 to 1: where each step finds its thing, and where that will
        be. told: (b, s, tokens) and (b, s, values), what each is to do. source: (b, 3, H, W), pixels."""
        first, second = self.token(told[0]), self.value(told[1])
        todo = torch.cat([first, second], dim=-1)
        placed = self.place(cells) + (first + second).sum(dim=1)[:, :, None, None]
        for number, spot in enumerate(self.spot):
            placed = placed + torch.einsum("bshw,bsd->bdhw", spots[:, :, number], spot(todo))
        looked = self.look(placed)
        size = (FINE * cells.shape[-2], FINE * cells.shape[-1])
        both = [brought.all_of(part).amax(dim=1)[:, None] for part in (brought.leaving, brought.arriving)]
        tinted = brought.all_of_steps(brought.tinted, todo.shape[1])
        would_be = self.retouch.tinted(brought.would_be(source), tinted, todo)
        retouched = self.retouch(source, would_be, brought.hole, both[1], looked)
        coarse, base = (sized(part, size) for part in (self.coarse(looked), self.finer(looked)))
        pictures = [sized(picture, size) for picture in (source, retouched.detach())]
        base = base + self.seen(torch.cat([*pictures, *both], dim=1))
        stay, sure, paint = self.of_base(base).split(1, dim=1)
        prior = brought.prior()
        shapes = [sized(brought.maps[:, None], size), brought.leaving[:, None], brought.arriving[:, None]]
        read = self.of_read(
            base[brought.of] + self.bring(torch.cat([sized(brought.pixels, size), *shapes], 1))
        )
        read = read[:, 0] + coarse[brought.of, 1 + brought.kind]
        reads = brought.all_of(read, NEVER) + prior[:, 1:-2]
        # What stays where it is is the source itself.
        moves = brought.inside * (brought.carried | brought.framed)[:, None, None]
        beyond = brought.all_of(sized(moves[:, None], size)[:, 0]) < _WHOLE
        logits = [
            coarse[:, :1] + stay + prior[:, :1], reads.masked_fill(beyond, NEVER),
            coarse[:, -2:-1] + sure + prior[:, -2:-1], coarse[:, -1:] + paint + prior[:, -1:],
        ]  # fmt: skip
        spreads = self.spreads.exp().clamp_min(_LEAST)
        spreads = torch.cat([spreads[:1], spreads[1:2].expand(brought.slots), spreads[2:]])
        # Ten times, so that a rate of learning that suits other weights opens it within some hundred steps.
        opened = kept(10 * self.opened, 0.0, 1.0) * brought.told
        return Paste(
            source,
            brought.all_of(brought.pixels),
            retouched,
            torch.cat(logits, dim=1),
            spreads.expand(len(cells), -1)[..., None, None],
            opened[:, None, None, None],
        )


def share_loss(paste: Paste, truth: Tensor, told: Tensor) -> Tensor:
    """Negative logarithm of the mixture's likelihood of the true picture, above the least that there can be, mean over
    places of the samples that are `told`, (b,) bool; 0 for none. truth: (b, 3, H, W), -1 to 1.

    How far off the retouched picture is counts beside it, wherever the true one is neither the source nor brought: the
    wide spread of what is painted hardly teaches colours.
    """
    size = paste.logits.shape[-2:]
    known = torch.cat([paste.source[:, None], paste.brought, paste.retouched[:, None]], dim=1)
    known = torch.unflatten(sized(known.flatten(0, 1), size), 0, known.shape[:2])
    whole = torch.cat([known, known[:, -1:]], dim=1).float()
    spreads = paste.spreads.float()
    away = (whole - sized(truth, size)[:, None].float()).square().sum(dim=2)
    fits = -away / (2 * spreads.square()) - truth.shape[1] * (spreads / _LEAST).log()
    joint = paste.logits.float().log_softmax(dim=1) + fits
    likely = torch.logsumexp(joint, dim=1).flatten(1).mean(dim=1)
    new = joint.detach().softmax(dim=1)[:, -2:].sum(dim=1)
    off = (
        F.smooth_l1_loss(whole[:, -1], sized(truth, size).float(), reduction="none").sum(dim=1) * new
    ).flatten(1)
    lost = _RETOUCHED * off.mean(dim=1) - likely
    return torch.where(told, lost, lost.new_zeros(())).sum() / told.sum().clamp_min(1)


def fading(w: Tensor | float) -> Tensor | float:
    """u, by the share of the noise."""
    return 1 - (1 - w) ** 4


@dataclass(frozen=True, slots=True)
class Pasting:
    """How predictions and clean latents hang together. scaling: of the autoencoder; the source comes without it."""

    objective: Objective
    scaling: float

    def pasted(
        self, said: Tensor, noisy: Tensor, steps: Tensor, paste: Paste | None, more: Tensor | None = None
    ) -> Tensor:
        """The prediction `said` of `noisy` at `steps`, blended; shaped as it is. more: as of `Paste.over`."""
        if paste is None:
            return said
        signal, w = self.objective.shares(steps, noisy)
        if self.objective.prediction == "sample":
            return paste.blended(said, fading(w), more)
        pasted, total = paste.pasted(more)
        faded = 4 - 6 * w + 4 * w**2 - w**3  # u / w
        if self.objective.prediction == "v_prediction":
            clean = signal * noisy - w * said
            return (said + faded * (total * clean - pasted)).to(said.dtype)
        clean = noisy - w * said  # times the signal
        return (said + faded * (total * clean - signal * pasted)).to(said.dtype)

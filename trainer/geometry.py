"""Where each place of the edited picture takes its content from: words, found things and where they land, as plain
maps of the plane.

In training the masks of `objects_before` and `objects_after` say where things are and will be. What is brought is then
what does arrive, and shares and the UNet learn to make use of it, whatever of finding and landing is learned by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainer.landing import MOST, Landed
from trainer.maps import coordinates, pull_back
from trainer.words import BY_SHIFT, TO_POINT, TO_REFERENCE, VALUES, WordArrays

_RELATION, _VALUE = 5, 6  # places among the fields of a step
_NARROWEST = 0.01  # shares of the picture: no thing is smaller
_SEEN = 0.5  # of a place that a thing reaches
_AROUND, _TURNS = 0.15, 5  # shares of the picture: what is further from the middle is another thing
_SQUARE = 1.22  # how far a square's middle is from its foot, in such sizes


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Of subject and reference of each step, what shares of each place they cover; zeros where that is not known, or
    not to be told. before, after: (b, steps, 2, FINE h, FINE w)."""

    before: Tensor
    after: Tensor

    def told(self, rows: Tensor) -> Truth:
        """Of these samples, (b,) bool, alone."""
        kept = rows.to(self.before)[:, None, None, None, None]
        return Truth(self.before * kept, self.after * kept)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where things are, and how large. middle: (..., 2), shares of the picture. size: (...), the root of the mean
    square of what is seen of them from their middle. foot: (...), how far below their middle they end. known: (...)
    bool, whether something is to be seen of them."""

    middle: Tensor
    size: Tensor
    foot: Tensor
    known: Tensor

    def over(self, other: Located) -> Located:
        """Where this is not known, the other."""
        return Located(
            torch.where(self.known[..., None], self.middle, other.middle),
            torch.where(self.known, self.size, other.size),
            torch.where(self.known, self.foot, other.foot),
            self.known | other.known,
        )

    def of(self, rows: Tensor) -> Located:
        return Located(self.middle[rows], self.size[rows], self.foot[rows], self.known[rows])

    def by_read(self) -> Located:
        """(b, s, 2, ...) to (b reads, ...), subjects first."""
        parts = (
            part.transpose(1, 2).flatten(0, 2) for part in (self.middle, self.size, self.foot, self.known)
        )
        return Located(*parts)


def located(weights: Tensor) -> Located:
    """Of shares that things cover, (..., h, w), in float32."""
    weights = weights.float()
    height, width = weights.shape[-2:]
    points = coordinates(height, width, weights.device)
    ends = (torch.arange(height, device=weights.device) + 1) / height
    lowest = torch.where(weights.amax(dim=-1) > _SEEN, ends, 0).amax(dim=-1)
    weights = weights.flatten(-2)
    total = weights.sum(dim=-1)
    shares = weights / total.clamp_min(1e-6)[..., None]
    middle = (shares[..., None] * points).sum(dim=-2)
    squares = (points - middle[..., None, :]).square().sum(dim=-1)
    size = (shares * squares).sum(dim=-1).sqrt().clamp_min(_NARROWEST)
    return Located(middle, size, (lowest - middle[..., 1]).clamp_min(0), total > 0)


def surest(maps: Tensor) -> Located:
    """Of maps of where things may be, (..., h, w). Of a map that is sure much the same as `located`; of one that also
    thinks of another thing, mostly the first: a middle between two is the place of neither, and the spread over both is
    nobody's size."""
    squares = maps.float().square()
    points = coordinates(maps.shape[-2], maps.shape[-1], maps.device)
    middle, found = points[squares.flatten(-2).argmax(dim=-1)], located(squares)
    for _ in range(_TURNS):  # mean shift (Comaniciu & Meer 2002), from where the map is largest
        away = (points - middle[..., None, :]).square().sum(dim=-1).reshape(maps.shape)
        found = located(squares * torch.exp(-away / (2 * _AROUND**2)))
        middle = found.middle
    return replace(found, foot=_SQUARE * found.size)


def growth(before: Located, after: Located) -> Tensor:
    """(...): how many times larger the one is than the other."""
    return (after.size / before.size).clamp(1 / MOST, MOST)


def worded(
    words: WordArrays, beside: Tensor, subject: Tensor, reference: Tensor, points: Tensor
) -> tuple[Tensor, Tensor]:
    """(b, reads, n, 2): where each place takes its content from, as far as words tell, and (b, reads, 2): where the
    middles go; subjects' reads first. beside: (relations + 1, 2), where a relation puts things from the reference, none
    first. subject, reference: (b, s, 2), their middles."""
    device = points.device
    kind = torch.from_numpy(words.target).to(device)[..., None]
    numbers = torch.from_numpy(words.numbers).to(device)
    scale = torch.from_numpy(words.scale).to(device)
    framed = torch.from_numpy(words.of_frame).to(device)[..., None]
    # What is yet to come is brought from nowhere: any place does.
    somewhere = framed | ~torch.from_numpy(words.grounded[..., :1]).to(device)
    centre = torch.where(somewhere, torch.full_like(subject, 0.5), subject)
    away = beside[torch.from_numpy(words.ids[..., _RELATION]).to(device)]
    target = torch.where(kind == BY_SHIFT, centre + numbers[..., 1:3], centre)
    target = torch.where(kind == TO_POINT, numbers[..., 5:7], target)
    target = torch.where(kind == TO_REFERENCE, reference + away, target)
    value = torch.from_numpy(words.ids[..., _VALUE]).to(device)
    across = torch.stack([subject[..., 0], reference[..., 1]], dim=-1)
    along = torch.stack([reference[..., 0], subject[..., 1]], dim=-1)
    for line, there in (("row", across), ("column", along)):
        target = torch.where((value == VALUES.index(line) + 1)[..., None], there, target)
    there = pull_back(points, centre, target, scale)
    back = pull_back(points, reference, subject, torch.ones_like(scale))
    return torch.cat([there, back], dim=1), torch.cat([target, subject], dim=1)


def onto(
    sources: Tensor,
    before: Located,
    landed: Landed,
    words: WordArrays,
    points: Tensor,
    size: tuple[int, int],
    truth: tuple[Located, Located] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sources by which each thing that was found comes to lie where it lands, (k,), its numbers among the reads, and
    (k, 2), where its middle is said to go.

    That is by as much as words say to the point; of a thing that grows where it stands, by where its foot is; of two
    that are swapped, to each other's feet; else to the middle of the map; and all but the first are corrected by what
    the landing says. Its size is what words and growth say. sources: (b, reads, h w, 2). before: (b reads), where
    things are. truth: by masks, where things are and will be, as far as that is known.
    """
    device = points.device

    def of_reads(subject: np.ndarray, reference: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([subject, reference], axis=1)).to(device).flatten(0, 1)

    found = of_reads(words.grounded[..., 0], words.grounded[..., 1])[landed.rows]
    rows, grows = landed.rows[found], landed.growth[found].float()
    scale = of_reads(words.scale, np.ones_like(words.scale))[rows]
    exact = of_reads(words.exact, np.zeros_like(words.exact))[rows, None]
    anchored = of_reads(words.anchored, np.zeros_like(words.anchored))[rows, None]
    swapped = of_reads(words.swaps, words.swaps)[rows, None]
    shift = of_reads(words.numbers[..., 1:3], np.zeros_like(words.numbers[..., 1:3]))[rows]
    own, reads = before.of(rows), sources.shape[1]
    other = before.of(rows - rows % reads + (rows % reads + reads // 2) % reads)
    larger = scale[:, 1].abs() * grows.exp().detach()
    down = torch.tensor([0.0, 1.0], device=device)
    grown = own.middle + down * ((1 - larger) * own.foot)[:, None]
    instead = other.middle + down * (other.foot - larger * own.foot)[:, None]
    middle = surest(torch.unflatten(landed.maps[found].detach(), -1, size)).middle
    middle = torch.where(swapped & other.known[:, None], instead, torch.where(anchored, grown, middle))
    said = torch.where(exact, own.middle + shift, middle.detach() + landed.shift[found].float())
    target = said.detach()
    if truth is not None:
        was, will = (part.of(rows) for part in truth)
        target = torch.where(will.known[:, None] & ~exact, will.middle, target)
        shown = growth(was, will).log() - scale[:, 0].abs().log()
        grows = torch.where(was.known & will.known, shown, grows)
    # Masks alone teach where things are and how they grow: not what would lessen the noise's loss.
    there = pull_back(points, own.middle.detach(), target, scale * grows.detach().exp()[:, None])
    flat = sources.flatten(0, 1).index_copy(0, rows, there.to(sources.dtype))
    return flat.reshape(sources.shape), rows, said

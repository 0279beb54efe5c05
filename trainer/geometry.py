"""Where each place of the edited picture takes its content from: words, found things and where they land, as plain
maps of the plane.

In training the masks of `objects_before` and `objects_after` say where things are and will be. What is brought is then
what does arrive, and shares and the UNet learn to make use of it, whatever of finding and landing is learned by then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.landing import MOST, Landed
from trainer.maps import coordinates, pull_back
from trainer.words import BY_SHIFT, TO_POINT, TO_REFERENCE, WordArrays

_RELATION = 5  # place of the relation among the fields of a step
_NARROWEST = 0.01  # shares of the picture: no thing is smaller


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
    square of what is seen of them from their middle. known: (...) bool, whether something is to be seen of them."""

    middle: Tensor
    size: Tensor
    known: Tensor

    def over(self, other: Located) -> Located:
        """Where this is not known, the other."""
        return Located(
            torch.where(self.known[..., None], self.middle, other.middle),
            torch.where(self.known, self.size, other.size),
            self.known | other.known,
        )

    def of(self, rows: Tensor) -> Located:
        return Located(self.middle[rows], self.size[rows], self.known[rows])

    def by_read(self) -> Located:
        """(b, s, 2, ...) to (b reads, ...), subjects first."""
        parts = (part.transpose(1, 2).flatten(0, 2) for part in (self.middle, self.size, self.known))
        return Located(*parts)


def located(weights: Tensor) -> Located:
    """Of shares that things cover, (..., h, w), in float32."""
    weights = weights.float()
    points = coordinates(weights.shape[-2], weights.shape[-1], weights.device)
    weights = weights.flatten(-2)
    total = weights.sum(dim=-1)
    shares = weights / total.clamp_min(1e-6)[..., None]
    middle = (shares[..., None] * points).sum(dim=-2)
    squares = (points - middle[..., None, :]).square().sum(dim=-1)
    return Located(middle, (shares * squares).sum(dim=-1).sqrt().clamp_min(_NARROWEST), total > 0)


def surest(maps: Tensor) -> Located:
    """Of maps of where things may be, (..., h, w). Of a map that is sure much the same as `located`; of one that also
    thinks of another thing, mostly the first: a middle between two is the place of neither, and the spread over both is
    nobody's size."""
    return located(maps.float().square())


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
    centre = torch.where(framed, torch.full_like(subject, 0.5), subject)
    away = beside[torch.from_numpy(words.ids[..., _RELATION]).to(device)]
    target = torch.where(kind == BY_SHIFT, centre + numbers[..., 1:3], centre)
    target = torch.where(kind == TO_POINT, numbers[..., 5:7], target)
    target = torch.where(kind == TO_REFERENCE, reference + away, target)
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
) -> tuple[Tensor, Tensor]:
    """Sources by which each thing that was found comes to lie where it lands, and (k,), its numbers among the reads.

    Its middle goes to that of the map, or by as much as words say to the point; its size is what words and growth
    say. sources: (b, reads, h w, 2). before: (b reads), where things are. truth: by masks, where things are and will
    be, as far as that is known.
    """
    device = points.device

    def of_reads(subject: np.ndarray, reference: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([subject, reference], axis=1)).to(device).flatten(0, 1)

    found = of_reads(words.grounded[..., 0], words.grounded[..., 1])[landed.rows]
    rows, grows = landed.rows[found], landed.growth[found].float()
    after = surest(torch.unflatten(landed.maps[found], -1, size))
    scale = of_reads(words.scale, np.ones_like(words.scale))[rows]
    exact = of_reads(words.exact, np.zeros_like(words.exact))[rows, None]
    shift = of_reads(words.numbers[..., 1:3], np.zeros_like(words.numbers[..., 1:3]))[rows]
    if truth is not None:
        was, will = (part.of(rows) for part in truth)
        after = will.over(after)
        shown = growth(was, will).log() - scale[:, 0].abs().log()
        grows = torch.where(was.known & will.known, shown, grows)
    centre = before.middle[rows]
    target = torch.where(exact, centre + shift, after.middle)
    there = pull_back(points, centre, target, scale * grows.exp()[:, None])
    return sources.flatten(0, 1).index_copy(0, rows, there.to(sources.dtype)).reshape(sources.shape), rows

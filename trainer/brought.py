"""What reads bring, before anything is learned of it: pixels and outlines of things, where words and geometry put them.

Of a batch the reads are listed one after another, since most edits have one and few have six.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.maps import carried, sized
from trainer.outline import Outlined
from trainer.retouch import filled

# Chosen on validation edits, with an editor that had learned with others.
_DOUBT, _SOME = 0.01, 1e-4  # of outlines
_SURE, _RATHER = 5.0, 1.5  # of outlines' logits: what they are times, and what is added
# Places across, of what is gone and of what looks otherwise: edges are mixed with what is behind, and a rim of what is
# gone still looks like it.
_WIDER = (13, 5)


@dataclass(frozen=True, slots=True, eq=False)
class Brought:
    """What m reads bring to b edits. of: (m,), whose they are. slot: (m,), which of its own edit's. slots: the most
    that an edit has, at least one. kind: (m,), which of all that there can be. pixels: (m, 3, H, W). inside: (m, H, W),
    1 where that is from the picture. maps: (m, h, w), of the things that are read, as they arrive. carried, framed:
    (m,) bool, of a thing that comes to lie there, and of a whole picture.

    Outlines, (m, FINE h, FINE w), 0 to 1: leaving, of things that leave, somewhat widened, and all of a picture that is
    brought as a whole; arriving, of those that are brought as they look now, where they will be, and of a whole picture
    all that is from within it; tinted, of things that stay and look otherwise. Of all reads, (b, 1, FINE h, FINE w):
    gone, where nothing is to be seen any more of what left, and hole, of that, where nothing arrives.

    told: (b,) bool, edits that are told something. drawn: (b,) bool, whether all this tells what changes.
    """

    of: Tensor
    slot: Tensor
    slots: int
    kind: Tensor
    pixels: Tensor
    inside: Tensor
    maps: Tensor
    leaving: Tensor
    arriving: Tensor
    tinted: Tensor
    carried: Tensor
    framed: Tensor
    gone: Tensor
    hole: Tensor
    told: Tensor
    drawn: Tensor

    def all_of(self, each: Tensor, none: float = 0.0) -> Tensor:
        """(m, ...) to (b, slots, ...)."""
        whole = each.new_full((len(self.told) * self.slots, *each.shape[1:]), none)
        return torch.unflatten(
            whole.index_copy(0, self.of * self.slots + self.slot, each), 0, (-1, self.slots)
        )

    def all_of_steps(self, each: Tensor, steps: int) -> Tensor:
        """(m, ...) of reads to (b, steps, ...), of the subject of each step."""
        whole = each.new_zeros(len(self.told) * steps, *each.shape[1:])
        first = self.kind < steps
        at = (self.of * steps + self.kind)[first]
        return torch.unflatten(whole.index_copy(0, at, each[first]), 0, (-1, steps))

    def prior(self) -> Tensor:
        """(b, slots + 3, FINE h, FINE w), logarithms: from where each place comes by the outlines alone: the source, a
        read, retouched, painted. What arrives is in front; where something left and nothing arrives it is retouched or
        painted; all else is the source. Alike where outlines tell nothing."""
        each = self.all_of(self.arriving)
        arriving = each.amax(dim=1, keepdim=True)
        leaving = self.all_of(self.leaving).amax(dim=1, keepdim=True)
        stays, rest = (1 - arriving) * (1 - leaving), (1 - arriving) * leaving / 2
        likely = torch.cat([stays, each, rest, rest], dim=1)
        likely = ((1 - _DOUBT) * likely + _DOUBT / 4).log()  # whatever reads others of the batch ask for
        return likely * self.drawn[:, None, None, None]

    def would_be(self, source: Tensor) -> Tensor:
        """(b, 3, H, W), by the outlines alone: the source, its holes filled, and what arrives laid upon it. A whole
        picture goes on beyond its edges as it ends. source: (b, 3, H, W)."""
        size, around = source.shape[-2:], filled(sized(source, self.gone.shape[-2:]), 1 - self.gone)
        gone = sized(self.gone, size)
        base = (1 - gone) * source + gone * sized(around, size)
        most = sized(self.all_of(self.arriving).amax(dim=1)[:, None], size)
        most = torch.maximum(most, self.all_of(self.framed.to(most)).amax(dim=1)[:, None, None, None])
        each = sized(self.arriving[:, None], size) + _SOME
        shares = torch.zeros_like(most).index_add(0, self.of, each)
        brought = torch.zeros_like(source).index_add(0, self.of, each * self.pixels)
        laid: Tensor = (1 - most) * base + most * brought / shares.clamp_min(_SOME)
        return laid


@dataclass(frozen=True, slots=True, eq=False)
class Does:
    """What words do to what each read brings, (b, R) bool. told: there is one. carries: a thing comes to lie where it
    is brought. leaves: it is not where it was, or not as it was. vacates: of those, nothing is to be seen there any
    more. frames: the whole picture is brought. follows: (b, R) int64, the read that has brought the same thing
    somewhere, -1 for none."""

    told: Tensor
    carries: Tensor
    leaves: Tensor
    vacates: Tensor
    frames: Tensor
    follows: Tensor


@torch.no_grad()
def bring(
    pixels: Tensor,
    sources: Tensor,
    maps: Tensor,
    outlined: Outlined,
    does: Does,
    size: tuple[int, int],
    spoken: Tensor,
    truth: Tensor | None = None,
) -> Brought:
    """Of the reads that there are; where an edit has none, nothing. One at least, so that all batches do the same.

    pixels: (b, 3, H, W). sources: (b, R, h w, 2). maps: (b, R, h w), as they arrive. size: (h, w). spoken: (b,)
    bool, edits that are told something, if nothing that is there. truth: in
    training, (b, R, FINE h, FINE w), what things do cover; zeros where that is not known.
    """
    count, many = does.told.shape
    rows = torch.nonzero(does.told.flatten()).flatten()
    if not len(rows):
        rows = rows.new_zeros(1)
    of, kind = rows // many, rows % many
    slot = (does.told.long().cumsum(dim=1) - 1).clamp_min(0).flatten()[rows]
    there = torch.unflatten(sources.flatten(0, 1)[rows].float(), 1, size)[:, None]
    brought, inside = (part[:, 0] for part in carried(pixels[of], there, "border"))
    # What is as good as covered is: half a thing is neither brought nor gone.
    drawn = (_SURE * outlined.logits.float() + _RATHER).sigmoid()
    things = drawn.new_zeros(count * many, *drawn.shape[1:]).index_copy(0, outlined.rows, drawn)[rows]
    if truth is not None:
        masks = truth.flatten(0, 1)[rows].float()
        things = torch.where(masks.sum(dim=(1, 2), keepdim=True) > 0, masks, things)
    carries, leaves, vacates, frames = (
        (does.told & some).flatten()[rows][:, None, None]
        for some in (does.carries, does.leaves, does.vacates, does.frames)
    )
    arriving = carried(things[:, None], there)[0][:, 0, 0] * carries
    arriving = arriving + sized(inside[:, None], things.shape[-2:])[:, 0] * frames
    # A thing that was brought somewhere looks otherwise there.
    numbers = rows.new_full((count * many,), -1).index_copy(
        0, rows, torch.arange(len(rows), device=rows.device)
    )
    before = does.follows.flatten()[rows]
    where = torch.where(before >= 0, numbers[(of * many + before).clamp_min(0)], -1)
    there_now = (where >= 0)[:, None, None] & leaves & ~vacates
    things = torch.where(there_now, arriving[where.clamp_min(0)], things)
    gone, other = (_widened(things, by) for by in _WIDER)
    left = torch.maximum(torch.where(vacates, gone, other) * leaves, frames.to(things))
    vacated, covered = drawn.new_zeros(2, count * many, *things.shape[1:])
    vacated[rows], covered[rows] = gone * vacates, arriving
    vacated, covered = (
        torch.unflatten(part, 0, (count, many)).amax(dim=1)[:, None] for part in (vacated, covered)
    )
    hole = vacated * (1 - covered)
    some = (does.told & (does.carries | does.leaves | does.frames)).any(dim=1)
    # Of a whole picture and things in it, either says too much.
    alone = ~(does.told & does.frames).any(dim=1) | (does.told.sum(dim=1) == 1)
    return Brought(
        of, slot, max(1, int(does.told.sum(dim=1).max())), kind, brought, inside,
        torch.unflatten(maps.flatten(0, 1)[rows], 1, size), left, arriving, things * (leaves & ~vacates),
        carries[:, 0, 0], frames[:, 0, 0], vacated, hole,
        spoken, some & alone,
    )  # fmt: skip


def _widened(outlines: Tensor, by: int) -> Tensor:
    """(m, h, w), by so many places across."""
    return F.max_pool2d(outlines[:, None], by, 1, by // 2)[:, 0]

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

from trainer.landing import Landed, growth, middle
from trainer.maps import pull_back
from trainer.words import BY_SHIFT, TO_POINT, TO_REFERENCE, WordArrays

_RELATION = 5  # place of the relation among the fields of a step


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Of subject and reference of each step, what shares of each cell they cover; zeros where that is not known.
    before, after: (b, steps, 2, h, w)."""

    before: Tensor
    after: Tensor


def taught(maps: Tensor, masks: Tensor) -> Tensor:
    """Masks as maps of sum 1, where they are known; else the maps, (..., n)."""
    total = masks.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, masks / total.clamp_min(1e-6), maps)


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
    before: Tensor,
    landed: Landed,
    words: WordArrays,
    points: Tensor,
    masks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sources by which each thing that was found comes to lie where it lands, and (k,), its numbers among the reads.

    Its middle goes to that of the map, or by as much as words say to the point; its size is what words and growth
    say. sources: (b, reads, n, 2). before: (b, reads, n), maps of where things are. masks: (b, reads, n), where they
    will be, if that is known.
    """
    device = points.device

    def of_reads(subject: np.ndarray, reference: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([subject, reference], axis=1)).to(device).flatten(0, 1)

    found = of_reads(words.grounded[..., 0], words.grounded[..., 1])[landed.rows]
    rows, after, grows = landed.rows[found], landed.maps[found], landed.growth[found]
    scale = of_reads(words.scale, np.ones_like(words.scale))[rows]
    exact = of_reads(words.exact, np.zeros_like(words.exact))[rows, None]
    shift = of_reads(words.numbers[..., 1:3], np.zeros_like(words.numbers[..., 1:3]))[rows]
    before = before.flatten(0, 1)[rows]
    if masks is not None:
        marked = masks.flatten(0, 1)[rows]
        after = taught(after, marked)
        shown = growth(before, after, points).log() - scale[:, 0].abs().log()
        grows = torch.where(marked.sum(dim=-1) > 0, shown, grows)
    centre = middle(before, points)
    target = torch.where(exact, centre + shift, middle(after, points))
    there = pull_back(points, centre, target, scale * grows.exp()[:, None])
    return sources.flatten(0, 1).index_copy(0, rows, there.to(sources.dtype)).reshape(sources.shape), rows

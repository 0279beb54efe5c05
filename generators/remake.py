"""Pairs made again from their numbers, without a judge: for replay, and to hold the engine against a plain version."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from torch import Tensor

from generators.batch import Draw, Slot
from generators.diffusion import Diffusion
from generators.pairs import PairEngine, PairSettings, Prompt


def remade(
    model: Diffusion, settings: PairSettings, pairs: Sequence[tuple[Prompt, Draw]], *, slots: int = 8
) -> list[Tensor]:
    """The pictures of these pairs, made again: (2, h, w, 3) float32 in 0..1 each, not rounded, in order.

    settings: of the run; its ranges are not drawn from. Raises CaptionError for captions that the model cannot take.
    """
    return [model.decode(latents) for latents in trajectories(model, settings, pairs, slots=slots)]


def trajectories(
    model: Diffusion,
    settings: PairSettings,
    pairs: Sequence[tuple[Prompt, Draw]],
    *,
    slots: int = 8,
    until: int | None = None,
) -> list[Tensor]:
    """The latents of these pairs after `until` steps, by default all: (2, channels, h, w) float32 each, in order."""
    engine = PairEngine(model, settings, lambda some: [], slots=slots, shrink=False)
    batch, waiting = engine.batch, deque(enumerate(pairs))
    found: dict[int, Tensor] = {}
    while len(found) < len(pairs):
        while waiting and batch.free:
            place, (prompt, draw) = waiting.popleft()
            ready = engine.ready(prompt)
            batch.put(Slot(place, draw), ready.context, ready.alignment)
        batch.step()
        if until is not None:
            for slot, latents in batch.at(until):
                found[slot.owner] = latents
                batch.remove(slot)
        found |= {slot.owner: latents for slot, latents in batch.ended()}
    return [found[place] for place in range(len(pairs))]

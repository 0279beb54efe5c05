"""One step of learning: what is dropped, what is drawn, what is lost.

All draws come from (seed, step, rank), so that a step that is done again is the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.examples import Example
from trainer.frozen import Frozen
from trainer.geometry import Truth, growth, located
from trainer.landing import growth_loss, shift_loss
from trainer.latents import OpenLatents
from trainer.maps import FINE, map_loss
from trainer.model import SpatialEditor
from trainer.objective import Objective
from trainer.outline import outline_loss
from trainer.paste import Shown, share_loss
from trainer.spatial_attention import SpatialContext
from trainer.words import MAX_STEPS, Words, arrays

Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Examples in latents. source: (b, c, h, w), without the scaling factor. target: (b, c, h, w), with it. text: (b,
    l, d) states; words: of the same; phrases: (texts, d), of `arrays(words).texts`. outlines, landings: (b, steps, 2,
    FINE h, FINE w), shares that subjects and references cover, of the source and of the edited picture. scaling: the
    autoencoder's. pixels: (b, 2, 3, H, W), -1 to 1, of both pictures; None where nothing is pasted."""

    source: Tensor
    target: Tensor
    text: Tensor
    words: tuple[Words, ...]
    phrases: Tensor
    outlines: Tensor
    landings: Tensor
    scaling: float
    pixels: Tensor | None = None

    @property
    def masks(self) -> Tensor:
        """(b, steps, 2, h, w), as `outlines`, of cells."""
        return pooled(self.outlines)

    @property
    def truth(self) -> Truth:
        return Truth(self.outlines, self.landings)

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True)
class StepSettings:
    """drop: the odds that the text, the picture, and both are left out (Brooks et al. 2023: 5% each). gamma, floor: as
    `Objective.loss_weights`. grounding: what the loss of grounding counts. bare: what the UNet's own prediction counts,
    before anything is pasted: guidance is between such predictions, everywhere. masked: the odds that masks tell where
    things are and will be, not what was found, while finding is learned; taught: while edits are. shuffled: steps of
    the words go to other examples of the batch, to see what they are worth."""

    drop: float = 0.05
    gamma: float | None = None
    floor: float = 0.0
    grounding: float = 0.05
    bare: float = 0.1
    masked: float = 0.8
    taught: float = 0.5
    shuffled: bool = False


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean over the examples. total is what is learned from."""

    total: Tensor
    noise: Tensor
    grounding: Tensor


def batch_of(
    examples: Sequence[Example],
    frozen: Frozen,
    kept: OpenLatents | None = None,
    pasting: bool = False,
    spatial: bool = True,
) -> Batch:
    """Encodes pictures and words. kept: where latents that are made here go, for the next time. pasting: for an editor
    that pastes; the examples have their pictures. spatial: for one with spatial layers, which read phrases."""
    words = tuple(one.words for one in examples)
    modes = _modes(examples, frozen, kept)
    pixels: Tensor | None = None
    if pasting:
        pictures = [shown for one in examples for shown in (one.before, one.after) if shown is not None]
        pixels = torch.unflatten(frozen.pixels(pictures), 0, (len(examples), 2))
    return Batch(
        modes[:, 0],
        modes[:, 1] * frozen.vae.config.scaling_factor,
        frozen.text([one.text for one in words]),
        words,
        frozen.phrases(arrays(list(words)).texts if spatial else []),
        torch.stack([torch.from_numpy(one.masks) for one in examples]).to(frozen.device),
        torch.stack([torch.from_numpy(one.landings) for one in examples]).to(frozen.device),
        float(frozen.vae.config.scaling_factor),
        pixels,
    )


def sought_of(batch: Batch, examples: Sequence[Example], frozen: Frozen) -> Batch:
    """Pictures, words and masks of what is sought in the examples of a batch; of its targets, nothing is meant."""
    words, source = [Words("")] * len(batch), batch.source.clone()
    outlines, landings = torch.zeros_like(batch.outlines), torch.zeros_like(batch.landings)
    pixels = None if batch.pixels is None else batch.pixels.clone()
    for place, one in enumerate(examples):
        if one.sought is None:
            continue
        words[place] = one.sought.words
        outlines[place] = outlines.new_tensor(one.sought.masks)
        if one.sought.after:
            source[place] = batch.target[place] / batch.scaling
            if pixels is not None:
                pixels[place] = pixels[place].flip(0)
    phrases = frozen.phrases(arrays(words).texts)
    return replace(
        batch, source=source, words=tuple(words), phrases=phrases, outlines=outlines, landings=landings,
        pixels=pixels,
    )  # fmt: skip


def pooled(outlines: Tensor) -> Tensor:
    """(b, steps, 2, FINE h, FINE w) to (b, steps, 2, h, w)."""
    return torch.unflatten(F.avg_pool2d(outlines.flatten(0, 1), FINE), 0, outlines.shape[:2])


def nothing(frozen: Frozen, pasting: bool = False) -> Batch:
    """Of one example, to take part with where there are none: several ranks must all do the same work."""
    words = (Words(""),)
    blank = torch.zeros(1, *frozen.latents_of(64), device=frozen.device)
    nowhere = blank.new_zeros(1, MAX_STEPS, 2, *(FINE * side for side in blank.shape[-2:]))
    phrases = frozen.phrases(arrays(list(words)).texts)
    pixels = blank.new_zeros(1, 2, 3, 64, 64) if pasting else None
    return Batch(blank, blank, frozen.text([""]), words, phrases, nowhere, nowhere, 1.0, pixels)


def _modes(examples: Sequence[Example], frozen: Frozen, kept: OpenLatents | None) -> Tensor:
    """(b, 2, c, h, w): of both pictures of each example, without the scaling factor."""
    new = [one for one in examples if one.latents is None]
    made: dict[int, Tensor] = {}
    if new:
        pictures = [shown for one in new for shown in (one.before, one.after) if shown is not None]
        encoded = torch.unflatten(frozen.source(frozen.pixels(pictures)), 0, (len(new), 2))
        made = {id(one): latents for one, latents in zip(new, encoded, strict=True)}
        for one in new:
            if kept is not None and one.place is not None:
                kept.put(one.place, made[id(one)].float().cpu().numpy())
    return torch.stack(
        [
            made[id(one)] if one.latents is None else torch.from_numpy(one.latents).to(frozen.device)
            for one in examples
        ]
    )


def draws(seed: int, step: int, rank: int) -> torch.Generator:
    """Of one step of one rank, on the CPU: the same on every machine."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 4_096 + rank)


def loss_of(
    editor: Any,
    objective: Objective,
    batch: Batch,
    null: Tensor,
    settings: StepSettings,
    drawn: torch.Generator,
    encode: Encode | None = None,
) -> Losses:
    """editor: a `Trained`, or one that is wrapped for several ranks. null: (1, l, d), states of no words. encode: of
    pixels the latents, for an editor that pastes.

    The grounding is learned from the words as they are, dropped or not.
    """
    count, device = len(batch), batch.target.device
    noise = torch.randn(batch.target.shape, generator=drawn).to(batch.target)
    steps = torch.randint(len(objective.alphas), (count,), generator=drawn).to(device)
    odds = torch.rand(count, generator=drawn)
    no_text, no_image = odds < 2 * settings.drop, (odds >= settings.drop) & (odds < 3 * settings.drop)
    if settings.shuffled:
        batch = _shuffled(batch, drawn)
    text = torch.where(no_text.to(device)[:, None, None], null.to(batch.text), batch.text)
    source = torch.where(
        no_image.to(device)[:, None, None, None], torch.zeros_like(batch.source), batch.source
    )
    silent = (no_text | no_image).to(device)
    noised = Noised(objective.noised(batch.target, noise, steps), steps, text, source, silent)
    said, context = editor(
        noised,
        words=batch.words,
        phrases=batch.phrases,
        seen=batch.source,
        shown=_shown(batch, encode),
        truth=None if settings.shuffled else _told(batch, settings.taught, drawn),
    )
    wanted = objective.target(batch.target, noise, steps).float()
    weights = objective.loss_weights(steps, settings.gamma, settings.floor)

    def off(prediction: Tensor) -> Tensor:
        return ((prediction.float() - wanted).square().flatten(1).mean(dim=1) * weights).mean()

    learned = off(said.final)
    total = learned
    if said.more is not None:
        total = (total + settings.bare * off(said.bare)) / (1 + settings.bare)
    found = None
    if context is not None:
        found = _found(context, batch, said.more, ~noised.silent)
    if found is None:
        found = learned.new_zeros(())
    return Losses(total + settings.grounding * found, learned.detach(), found.detach())


def _shuffled(batch: Batch, drawn: torch.Generator) -> Batch:
    """Texts and pictures of each example, with the steps of another's words."""
    order = torch.randperm(len(batch), generator=drawn).tolist()
    if not len(batch.phrases):  # of an editor that does not read them
        return batch
    words = tuple(
        replace(one, steps=batch.words[other].steps) for one, other in zip(batch.words, order, strict=True)
    )
    known = arrays(list(batch.words)).texts
    places = [known.index(text) for text in arrays(list(words)).texts]
    return replace(batch, words=words, phrases=batch.phrases[places])


def _told(batch: Batch, odds: float, drawn: torch.Generator) -> Truth:
    told = torch.rand(len(batch), generator=drawn) < odds
    return batch.truth.told(told.to(batch.source.device))


def _found(
    context: SpatialContext, batch: Batch, more: Tensor | None = None, spoken: Tensor | None = None
) -> Tensor | None:
    """Of where things are, where they will be, and where each place comes from; None without grounding. more: what the
    UNet says of the last, of the samples that are spoken to, (b,) bool."""
    if context.logits is None:
        return None
    # What words do not name is not to be found by them.
    grounded = torch.from_numpy(arrays(list(batch.words)).grounded).to(batch.source)
    found = map_loss(context.logits.flatten(3), batch.masks.flatten(3) * grounded[..., None])
    if context.landed is not None:
        masks = pooled(batch.landings).transpose(1, 2).flatten(3).flatten(0, 2)
        rows = context.landed.rows
        found = found + map_loss(context.landed.logits, masks[rows])
        said = arrays(list(batch.words)).scale[..., 0]
        scale = torch.from_numpy(np.concatenate([said, np.ones_like(said)], axis=1)).to(masks).flatten()
        before, after = (located(part).by_read() for part in (batch.outlines, batch.landings))
        was, will = before.of(rows), after.of(rows)
        both = was.known & will.known
        found = found + growth_loss(context.landed, growth(was, will), both, scale[rows].abs())
        if context.landed.placed is not None:
            will = after.of(context.landed.placed)
            found = found + shift_loss(context.landed, will.middle, will.known)
    if context.outlined is not None:
        outlines = batch.outlines.transpose(1, 2).flatten(0, 2)
        found = found + outline_loss(context.outlined, outlines[context.outlined.rows])
    if context.paste is not None and batch.pixels is not None:
        told = torch.tensor([bool(words.steps) for words in batch.words], device=batch.target.device)
        found = found + share_loss(context.paste, batch.pixels[:, 1], told)
        if more is not None and spoken is not None:
            found = found + share_loss(context.paste.detached().said(more), batch.pixels[:, 1], told & spoken)
    return found


def _shown(batch: Batch, encode: Encode | None) -> Shown | None:
    return None if batch.pixels is None else Shown(batch.pixels[:, 0], encode)


def finding_loss_of(
    editor: Any, batch: Batch, sought: Batch, settings: StepSettings, drawn: torch.Generator
) -> Losses:
    """What is lost of finding alone; no edit is made. sought: as `sought_of` makes it."""
    if settings.shuffled:
        batch, sought = _shuffled(batch, drawn), _shuffled(sought, drawn)
    context, also = editor(
        None,
        words=batch.words,
        phrases=batch.phrases,
        seen=batch.source,
        shown=_shown(batch, None),
        truth=None if settings.shuffled else _told(batch, settings.masked, drawn),
        sought=sought,
    )
    found, more = _found(context, batch), _found(also, sought)
    assert found is not None and more is not None, "finding is taught to editors with grounding alone"
    found = found + more
    return Losses(found, torch.zeros_like(found), found.detach())


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """What the UNet is given. noisy, source: (b, c, h, w). steps: (b,). text: (b, l, d). silent: (b,) bool, samples
    that are told nothing of space."""

    noisy: Tensor
    steps: Tensor
    text: Tensor
    source: Tensor
    silent: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Predictions, (b, c, h, w). final: with what is pasted. bare: the UNet's own. more: as of `Paste.over`, of an
    editor that pastes."""

    final: Tensor
    bare: Tensor
    more: Tensor | None


class Trained(torch.nn.Module):
    """An editor as one call, so that wrappers for several ranks see all that takes part."""

    def __init__(self, editor: SpatialEditor) -> None:
        super().__init__()
        self.editor = editor

    def forward(
        self,
        noised: Noised | None,
        *,
        words: Sequence[Words],
        phrases: Tensor,
        seen: Tensor,
        shown: Shown | None = None,
        truth: Truth | None = None,
        sought: Batch | None = None,
    ) -> tuple[Said | SpatialContext | None, SpatialContext | None]:
        """What is predicted and the context, of all samples. Where nothing is to be predicted, the context, and that of
        what is sought. seen: the sources, of which none is left out. shown, truth: as of `SpatialEditor.context`."""
        context = self.editor.context(words, phrases, seen, shown, truth)
        if noised is None:
            assert sought is not None
            also = self.editor.context(
                sought.words, sought.phrases, sought.source, _shown(sought, None), alone=True
            )
            return context, also
        quiet = None if context is None else context.silenced(noised.silent)
        bare, more = self.editor.painted(noised.noisy, noised.steps, noised.text, noised.source, quiet)
        final = self.editor.pasted(bare, noised.noisy, noised.steps, quiet, more)
        return Said(final, bare, more), context

"""What makes an editor know where: typed tokens of the instruction, grounded in the picture, and a read from elsewhere.

Four parts, each with a switch, all behind gates, projections that start at zero (as the zero convolutions of Zhang et
al. 2023), so that a new model is the plain one. One number for a gate, times a projection drawn at random, hardly
opened in 2,500 steps: what such a projection gives is at first of use by chance alone.

- *tokens*: image tokens, which know their own coordinates by Fourier features (Tancik et al. 2020), attend to tokens of
  the operation, its subject and its references;
- *grounding*: a soft map over the source picture for each subject and reference: where is it? Taught by masks, and
  read by the image tokens, here and where the thing will be;
- *warped read*: the image token at `p` reads the source at `c + (p - t) / scale`, where its content comes from;
- *landing*: a soft map of where each thing will be, from that arithmetic, the picture and the words, taught by masks
  too; what is read is fitted onto it (`trainer.landing`);
- *paste*: what the reads bring, and the source where nothing changes, is blended into the prediction, by shares that
  the true picture teaches (`trainer.paste`).

The first two depend on the picture and the words alone, not on the step of sampling, so `SpatialEncoder` is run once an
edit and `trainer.processor` at each layer of each step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial.instruction import RELATIONS
from trainer.brought import Brought, Does, bring
from trainer.geometry import Truth, located, onto, surest, worded
from trainer.landing import Landed, Landing
from trainer.maps import (
    BANDS,
    FINE,
    Residual,
    as_picture,
    closed,
    coordinates,
    fourier,
    sampled,
    silhouettes,
)
from trainer.outline import Outlined, Outlines, covered
from trainer.paste import Paste, Sharing
from trainer.words import FIELD_SIZES, MAX_STEPS, NUMBERS, WordArrays

ROLES = 3  # tokens of a step: the operation, its subject, its reference
READS = 2 * MAX_STEPS  # of each step one for the subject, one for a reference that is swapped
_NEAR = 0.08  # shares of the picture: how far from the point that words mean a thing may well be
# Where a relation puts things, from where the reference is: shares of the picture, to be learned on from here.
_BESIDE = {
    "left_of": (-0.25, 0.0), "right_of": (0.25, 0.0), "in_front_of": (0.0, 0.15), "behind": (0.0, -0.12),
    "on": (0.0, -0.18), "next_to": (0.2, 0.0), "between": (0.0, 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts are there. Each needs those before it."""

    tokens: bool = True
    grounding: bool = True
    read: bool = True
    land: bool = False
    paste: bool = False

    def __post_init__(self) -> None:
        ordered = (self.tokens, self.grounding, self.read, self.land)
        if any(later and not earlier for earlier, later in itertools.pairwise(ordered)) or (
            self.paste and not self.read
        ):
            raise ValueError(
                "parts: landing and paste need the warped read, that needs grounding, and grounding needs tokens"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SpatialContext:
    """What the layers need of an edit. tokens: (b, 1 + s roles, d), the first a token that means nothing. hidden:
    (b, 1 + s roles) bool, tokens that are not there. maps: (b, s, 2, h, w), each of sum 1, of subject and reference, or
    None. logits: the maps before their softmax. read: (b, d, h, w), or None. size: (h, w) of the latents. paste: what
    is blended into predictions, or None. landings: (b, reads, h, w), silhouettes of where things will be, or None;
    landed: the same as it is learned from, of all samples. outlined: of what was found, likewise."""

    tokens: Tensor
    hidden: Tensor
    maps: Tensor | None
    logits: Tensor | None
    read: Tensor | None
    size: tuple[int, int]
    paste: Paste | None = None
    landings: Tensor | None = None
    landed: Landed | None = None
    outlined: Outlined | None = None

    def of(self, rows: Sequence[int] | Tensor) -> SpatialContext:
        """The context of some of the samples, in this order; repeats are allowed."""
        picked: dict[str, Any] = {
            field.name: value[rows]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **picked, paste=None if self.paste is None else self.paste.of(rows))

    def silenced(self, rows: Tensor) -> SpatialContext:
        """As if these samples, (b,) bool, had no words: one token that means nothing, no maps, no read, no paste."""
        silent = rows.to(self.tokens.device)
        hidden = self.hidden.clone()
        hidden[:, 1:] |= silent[:, None]
        keep = (~silent).to(self.tokens.dtype)[:, None, None, None]
        return replace(
            self,
            hidden=hidden,
            maps=None if self.maps is None else self.maps * keep[..., None],
            read=None if self.read is None else self.read * keep,
            landings=None if self.landings is None else self.landings * keep,
            paste=None if self.paste is None else self.paste.silenced(silent),
        )


class SpatialEncoder(nn.Module):
    """Words and the source's latents to a `SpatialContext`."""

    def __init__(
        self,
        text_width: int,
        channels: int = 4,
        width: int = 128,
        depth: int = 2,
        parts: Parts | None = None,
        unet_width: int = 0,
        scaling: float = 1.0,
        known: int = 0,
    ) -> None:
        """text_width: of the text encoder's states. channels: of the latents. width: of tokens, a multiple of 32.
        depth: layers in which words and picture look at each other before things are found. unet_width: of the features
        that the UNet predicts from, which say at each step what is to be pasted. scaling: of the autoencoder. known: of
        the features by which the UNet knows the source (`trainer.features`), 0 where there are none."""
        super().__init__()
        self.scaling = scaling
        self.parts = parts or Parts()
        self.width = width
        self.fields = nn.ModuleList(nn.Embedding(size, width) for size in FIELD_SIZES)
        self.numbers = nn.Linear(len(NUMBERS) * (1 + 2 * BANDS), width)
        self.phrase = nn.Linear(text_width, width)
        self.role = nn.Parameter(torch.randn(MAX_STEPS, ROLES, width) * 0.02)
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))
        self.norm = nn.LayerNorm(width)
        if not self.parts.grounding:
            return
        self.latents = nn.Conv2d(channels, width, 3, padding=1)
        self.known = nn.Conv2d(known, width, 1) if known else None
        self.see = nn.Sequential(
            Residual(width),
            Residual(width),
            nn.GroupNorm(8, width),
        )
        self.where = nn.Linear(2 * (1 + 2 * BANDS), width)
        layer = nn.TransformerEncoderLayer(
            width, width // 32, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.look = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        if self.parts.read:
            beside = torch.tensor([(0.0, 0.0), *(_BESIDE[name] for name in RELATIONS)])
            self.beside = nn.Parameter(beside)  # by relation, 0 for none
            self.value = nn.Linear(width, width)
            self.taken = nn.Linear(width + channels + 3 + self.parts.land, width)
            self.of_read = nn.Parameter(torch.randn(READS, width) * 0.02)
        if self.parts.land:
            self.land = Landing(width, hints=4)
        if self.parts.paste:
            places = width + channels + (channels + 3 + self.parts.land) * READS
            self.outline = Outlines(width)
            self.share = Sharing(places, width, text_width, READS)
            self.expect = nn.Linear(channels + 1, width)
            self.gate_unet = closed(unet_width, 1)

    def forward(
        self,
        words: WordArrays,
        phrases: Tensor,
        latents: Tensor,
        known: Tensor | None = None,
        pixels: Tensor | None = None,
        truth: Truth | None = None,
        alone: bool = False,
    ) -> SpatialContext:
        """phrases: (texts, text_width), the mean of each phrase's states over its words. latents: (b, c, h, w) of the
        source, the posterior's mode without the scaling factor. known: (b, known, h, w), its features, if any.
        pixels: (b, 3, H, W) of it, -1 to 1, to paste from. truth: in training, where things are and will be. alone:
        things are found, and nothing is done with them. Raises ValueError where features or pixels are missing."""
        if self.parts.paste and pixels is None:
            raise ValueError("an editor that pastes must be shown the picture's pixels: shown")
        device, size = latents.device, (latents.shape[-2], latents.shape[-1])
        present = torch.from_numpy(words.present).to(device)
        tokens = self._tokens(words, phrases, device)
        hidden = ~present[:, :, None].expand(-1, -1, ROLES).flatten(1)
        hidden = torch.cat([hidden.new_zeros(len(hidden), 1), hidden], dim=1)
        nothing = self.nothing.expand(len(tokens), -1, -1)
        if not self.parts.grounding:
            whole = self.norm(torch.cat([nothing, tokens.flatten(1, 2)], dim=1))
            return SpatialContext(whole, hidden, None, None, None, size)
        points = coordinates(*size, device)
        looks = self.latents(latents)
        if self.known is not None:
            if known is None:
                raise ValueError("this encoder must be given the features of the source: known")
            looks = looks + self.known(known.to(latents))
        seen = self.see(looks).flatten(2).transpose(1, 2) + self.where(fourier(points))
        looked = torch.cat([tokens.flatten(1, 2), seen], dim=1)
        blind = torch.cat([hidden[:, 1:], hidden.new_zeros(len(hidden), len(points))], dim=1)
        looked = self.look(looked, src_key_padding_mask=blind)
        things, seen = looked[:, : MAX_STEPS * ROLES], looked[:, MAX_STEPS * ROLES :]
        found = things.reshape(len(things), MAX_STEPS, ROLES, -1)[:, :, 1:]
        logits = torch.einsum("bsrd,bnd->bsrn", self.query(found), self.key(seen)) / math.sqrt(self.width)
        # What has no name in the words, or is yet to come, is nowhere.
        grounded = torch.from_numpy(words.grounded).to(device)
        maps = logits.float().softmax(dim=-1).to(logits.dtype) * grounded[..., None]
        shape = (len(latents), MAX_STEPS, 2, *size)
        context = SpatialContext(
            self.norm(torch.cat([nothing, things], dim=1)), hidden, maps.reshape(shape), logits.reshape(shape),
            None, size,
        )  # fmt: skip
        if not self.parts.read:
            return context
        soft = silhouettes(_by_read(maps))  # (b, reads, n), as the sources are
        where = surest(context.maps).by_read() if context.maps is not None else None
        assert where is not None
        if self.parts.paste and pixels is not None:
            outlined = self._outlined(words, found, seen, soft, pixels, size)
            context = replace(context, outlined=outlined)
            where = located(covered(outlined, len(latents) * READS)).over(where)  # finer than the maps
        if alone:
            return context
        masks = None
        if truth is not None:
            masks = located(truth.before).by_read(), located(truth.after).by_read()
            where = masks[0].over(where)
        middles = torch.unflatten(where.middle, 0, (len(latents), 2, MAX_STEPS))
        subject, reference = middles.unbind(1)
        sources, targets = worded(words, self.beside, subject, reference, points)
        landings = None
        if self.parts.land:
            landed = self._landed(words, found, seen, soft, sources, targets, points, size)
            sources, rows, middles = onto(sources, where, landed, words, points, size, masks)
            landed = replace(landed, placed=rows, middles=middles)
            # What was found lands as it is read, what is new as it is drawn.
            drawn = silhouettes(landed.maps).to(soft.dtype)
            landings = torch.zeros_like(soft).flatten(0, 1).index_copy(0, landed.rows, drawn)
            arriving = as_picture(soft.flatten(0, 1)[rows][..., None], size)
            arrived = sampled(arriving, sources.flatten(0, 1)[rows])[..., 0]
            landings = landings.index_copy(0, rows, arrived).reshape(soft.shape)
            picture = landings.reshape(len(latents), READS, *size)
            context = replace(context, landings=picture, landed=landed)
        read, taken = self._read(words, sources, soft, landings, seen, latents)
        if self.parts.paste and pixels is not None:
            there = present[:, None] & torch.from_numpy(np.stack([words.present, words.swaps], 1)).to(device)
            told = there.flatten(1)
            spoken = self._told(words, phrases, things)
            places = self._places(seen, taken, latents, landings, outlined, size)
            true = None if truth is None else truth.before.transpose(1, 2).flatten(1, 2)
            maps_ = taken[..., latents.shape[1]]
            shares = self._brought(words, size, sources, maps_, pixels, outlined, told, true)
            paste = self.share(*places, spoken, pixels, shares)
            context = replace(context, paste=cast(Paste, paste))
        return replace(context, read=as_picture(read, size))

    def drafted(self, context: SpatialContext, draft: Tensor) -> SpatialContext:
        """Told what the picture will be as far as it is known. draft: (b, c, h, w), the latents of `Paste.expected`,
        without the scaling."""
        assert context.paste is not None and context.read is not None
        paste = replace(context.paste, draft=draft.detach().float() * self.scaling)
        assert paste.draft is not None
        spoken = (~context.hidden[:, 1:]).any(dim=1)[:, None, None, None]
        known = torch.cat([paste.draft, paste.known().detach()], dim=1)
        told = F.silu(self.expect(known.movedim(1, -1))).movedim(-1, 1) * spoken
        return replace(context, paste=paste, read=context.read + told)

    def shares(self, features: Tensor) -> Tensor:
        """(b, 1, h, w), logits: where the UNet would paste. features: (b, unet_width, h, w), that it predicts from."""
        return cast(Tensor, self.gate_unet(features.movedim(1, -1))).movedim(-1, 1)

    def _tokens(self, words: WordArrays, phrases: Tensor, device: torch.device) -> Tensor:
        """(b, s, roles, d)."""
        ids = torch.from_numpy(words.ids).to(device)
        numbers = torch.from_numpy(words.numbers).to(device)
        operation = sum(table(ids[..., n]) for n, table in enumerate(self.fields)) + self.numbers(
            fourier(numbers)
        )
        spoken = torch.cat([self.phrase(phrases), phrases.new_zeros(1, self.width)])  # the last is "none"
        things = spoken[torch.from_numpy(words.phrases).to(device)]
        reference = things[:, :, 1] + things[:, :, 2]
        operation = operation + things[:, :, 3]
        return torch.stack([operation, operation + things[:, :, 0], operation + reference], dim=2) + self.role

    def _outlined(
        self,
        words: WordArrays,
        found: Tensor,
        seen: Tensor,
        soft: Tensor,
        pixels: Tensor,
        size: tuple[int, int],
    ) -> Outlined:
        rows = torch.from_numpy(np.flatnonzero(words.grounded.transpose(0, 2, 1))).to(seen.device)
        of, kind = rows // READS, rows % READS
        things = found[of, kind % MAX_STEPS, kind // MAX_STEPS]
        return Outlined(rows, self.outline(seen, pixels, of, things, soft.flatten(0, 1)[rows], size))

    def _landed(
        self,
        words: WordArrays,
        found: Tensor,
        seen: Tensor,
        soft: Tensor,
        sources: Tensor,
        targets: Tensor,
        points: Tensor,
        size: tuple[int, int],
    ) -> Landed:
        """Of the reads of things that will be somewhere. Told of each: where it is, where the words would put it, where
        the other thing of its step is, and the point that the words mean."""
        rows = torch.from_numpy(np.flatnonzero(words.lands.transpose(0, 2, 1))).to(seen.device)
        of, kind = rows // READS, rows % READS
        own, other = soft.flatten(0, 1)[rows], soft[of, (kind + MAX_STEPS) % READS]
        guess = sampled(as_picture(own[..., None], size), sources.flatten(0, 1)[rows])[..., 0]
        away = (points - targets.flatten(0, 1)[rows][:, None]).square().sum(dim=-1)
        hints = torch.stack([own, guess, other, torch.exp(-away / (2 * _NEAR**2))], dim=-1)
        tokens = found[of, kind % MAX_STEPS, kind // MAX_STEPS]
        logits, grows, shift = self.land(seen[of], tokens, hints, size)
        return Landed(rows, logits, logits.float().softmax(dim=-1), grows, shift)

    def _read(
        self,
        words: WordArrays,
        sources: Tensor,
        soft: Tensor,
        landings: Tensor | None,
        seen: Tensor,
        latents: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What each place takes from elsewhere. The first, (b, n, d), over all reads: what was seen there, with the
        second. The second, (b, reads, n, c + 3 or 4): the latents as they are, which is what a thing that only moves
        looks like where it goes, the silhouette there and here, and as it will be, and whether there is in the picture.
        """
        present = np.concatenate([words.present, words.present & words.swaps], axis=1).reshape(-1)
        reads = torch.from_numpy(np.flatnonzero(present)).to(latents.device)  # most examples have one
        of, kind = reads // READS, reads % READS
        sources = sources.flatten(0, 1)[reads]
        soft = soft.flatten(0, 1)[reads, :, None]
        values = torch.cat([self.value(seen), latents.flatten(2).transpose(1, 2)], dim=-1)
        pictures = as_picture(torch.cat([values[of], soft], dim=-1), (latents.shape[-2], latents.shape[-1]))
        inside = ((sources >= 0) & (sources <= 1)).all(dim=-1, keepdim=True)
        shapes = [soft] if landings is None else [soft, landings.flatten(0, 1)[reads, :, None]]
        taken = torch.cat([sampled(pictures, sources), *shapes, inside.to(soft.dtype)], dim=-1)
        made = F.silu(self.taken(taken) + self.of_read[kind, None])
        read = torch.zeros_like(seen).index_add(0, of, made.to(seen.dtype))
        each = taken.new_zeros(len(present), *taken.shape[1:]).index_copy(0, reads, taken)
        return read, torch.unflatten(each[..., self.width :], 0, (len(seen), READS))

    def _told(self, words: WordArrays, phrases: Tensor, things: Tensor) -> tuple[Tensor, Tensor]:
        """(b, s, d), what is to be done, and (b, s, text_width), by which value; zeros where there is no step."""
        present = torch.from_numpy(words.present).to(things.device)[..., None]
        todo = things.reshape(len(things), MAX_STEPS, ROLES, -1)[:, :, 0] * present
        spoken = torch.cat([phrases, phrases.new_zeros(1, phrases.shape[-1])])  # the last is "none"
        return todo.detach(), spoken[torch.from_numpy(words.phrases[..., 3]).to(things.device)]

    def _places(
        self,
        seen: Tensor,
        taken: Tensor,
        latents: Tensor,
        landings: Tensor | None,
        outlined: Outlined,
        size: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """What is known of each cell, (b, places, h, w), and (b, s, 2, h, w): where each step finds its subject, and
        where that will be. What finds things is not taught by what is made of it: it would find them worse."""
        known = torch.cat(
            [seen, latents.flatten(2).transpose(1, 2), taken.transpose(1, 2).flatten(2)], dim=-1
        )
        count = len(seen)
        here = F.avg_pool2d(covered(outlined, count * READS), FINE).reshape(count, READS, *size)
        there = torch.zeros_like(here) if landings is None else landings.reshape(here.shape)
        spots = torch.stack([here, there.to(here.dtype)], dim=2)[:, :MAX_STEPS]
        return as_picture(known, size).detach(), spots.detach()

    def _brought(
        self,
        words: WordArrays,
        size: tuple[int, int],
        sources: Tensor,
        maps: Tensor,
        pixels: Tensor,
        outlined: Outlined,
        told: Tensor,
        true: Tensor | None,
    ) -> Brought:
        def by_read(some: np.ndarray) -> Tensor:
            return torch.from_numpy(some.transpose(0, 2, 1).reshape(told.shape)).to(told.device)

        frames = np.stack([words.frames, np.zeros_like(words.frames)], axis=2)
        there = words.grounded | np.stack([words.of_frame, np.zeros_like(words.of_frame)], axis=2)
        spoken = told.any(dim=1)
        told = told & by_read(there)  # what is yet to come is not brought
        carries, leaves, vacates, framed = (
            by_read(some) for some in (words.carries, words.leaves, words.vacates, frames)
        )
        follows = by_read(np.stack([words.follows, np.full_like(words.follows, -1)], axis=2))
        does = Does(told, carries, leaves, vacates, framed, follows)
        return bring(pixels, sources, maps, outlined, does, size, spoken, true)


def _by_read(maps: Tensor) -> Tensor:
    """(b, s, 2, n) to (b, reads, n), subjects first."""
    return maps.transpose(1, 2).flatten(1, 2)

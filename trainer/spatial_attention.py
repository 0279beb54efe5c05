"""What makes an editor know where: typed tokens of the instruction, grounded in the picture, and a read from elsewhere.

Four parts, each with a switch, all behind gates, projections that start at zero (as the zero convolutions of Zhang et
al. 2023), so that a new model is the plain one. One number for a gate, times a projection drawn at random, hardly
opened in 2,500 steps: what such a projection gives is at first of use by chance alone.

- *tokens*: image tokens, which know their own coordinates by Fourier features (Tancik et al. 2020), attend to tokens of
  the operation, its subject and its references;
- *grounding*: a soft map over the source picture for each subject and reference: where is it? Taught by masks, and
  read by the image tokens, here and where the thing will be;
- *warped read*: the image token at `p` reads the source at `c + (p - t) / scale`, where its content comes from;
- *paste*: what the reads bring, and the source where nothing changes, is blended into the prediction (`trainer.paste`).

The first two depend on the picture and the words alone, not on the step of sampling, so `SpatialEncoder` is run once an
edit and `SpatialProcessor` at each layer of each step, as an attention processor of diffusers'.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from spatial.instruction import RELATIONS
from trainer.paste import Paste
from trainer.words import BY_SHIFT, FIELD_SIZES, MAX_STEPS, NUMBERS, TO_POINT, TO_REFERENCE, WordArrays

ROLES = 3  # tokens of a step: the operation, its subject, its reference
READS = 2 * MAX_STEPS  # of each step one for the subject, one for a reference that is swapped
_BANDS = 6
_RELATION = 5  # place of the relation among the fields of a step
# Where a relation puts things, from where the reference is: shares of the picture, to be learned on from here.
_BESIDE = {
    "left_of": (-0.25, 0.0), "right_of": (0.25, 0.0), "in_front_of": (0.0, 0.15), "behind": (0.0, -0.12),
    "on": (0.0, -0.18), "next_to": (0.2, 0.0), "between": (0.15, 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts are there. Each needs those before it."""

    tokens: bool = True
    grounding: bool = True
    read: bool = True
    paste: bool = False

    def __post_init__(self) -> None:
        ordered = (self.tokens, self.grounding, self.read, self.paste)
        if any(later and not earlier for earlier, later in itertools.pairwise(ordered)):
            raise ValueError(
                "parts: paste needs the warped read, that needs grounding, and grounding needs tokens"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SpatialContext:
    """What the layers need of an edit. tokens: (b, 1 + s roles, d), the first a token that means nothing. hidden:
    (b, 1 + s roles) bool, tokens that are not there. maps: (b, s, 2, h, w), each of sum 1, of subject and reference, or
    None. logits: the maps before their softmax. read: (b, d, h, w), or None. size: (h, w) of the latents. paste: what
    is blended into predictions, or None."""

    tokens: Tensor
    hidden: Tensor
    maps: Tensor | None
    logits: Tensor | None
    read: Tensor | None
    size: tuple[int, int]
    paste: Paste | None = None

    def of(self, rows: Sequence[int] | Tensor) -> SpatialContext:
        """The context of some of the samples, in this order; repeats are allowed."""
        picked: dict[str, Any] = {
            field.name: value[rows]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **picked, paste=None if self.paste is None else self.paste.of(rows))

    def silenced(self, rows: Tensor, blind: Tensor | None = None) -> SpatialContext:
        """As if these samples, (b,) bool, had no words: one token that means nothing, no maps, no read; the source may
        be pasted where it is, but not of the samples that are `blind`, (b,) bool: they see no source."""
        silent = rows.to(self.tokens.device)
        hidden = self.hidden.clone()
        hidden[:, 1:] |= silent[:, None]
        keep = (~silent).to(self.tokens.dtype)[:, None, None, None]
        return replace(
            self,
            hidden=hidden,
            maps=None if self.maps is None else self.maps * keep[..., None],
            read=None if self.read is None else self.read * keep,
            paste=None if self.paste is None else self.paste.silenced(silent, blind),
        )


def coordinates(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(h w, 2) float32: (x, y) of the middles of the cells, from 0 to 1, row by row."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)


def fourier(values: Tensor, bands: int = _BANDS) -> Tensor:
    """(..., n) to (..., n (1 + 2 bands)): the values, and sines and cosines of pi 2^k times them."""
    angles = values[..., None] * (math.pi * 2.0 ** torch.arange(bands, device=values.device))
    return torch.cat([values[..., None], angles.sin(), angles.cos()], dim=-1).flatten(-2)


def pull_back(points: Tensor, centre: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Where what is at `points` came from. points: (n, 2). centre, target, scale: (..., 2). Returns (..., n, 2)."""
    return centre[..., None, :] + (points - target[..., None, :]) / scale[..., None, :]


def sampled(picture: Tensor, points: Tensor) -> Tensor:
    """(b, c, h, w) read at (b, n, 2) points (x, y) of 0 to 1, bilinear, zero outside: (b, n, c)."""
    grid = (2 * points - 1)[:, :, None].to(picture.dtype)
    return F.grid_sample(picture, grid, align_corners=False)[..., 0].transpose(1, 2)


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
    ) -> None:
        """text_width: of the text encoder's states. channels: of the latents. width: of tokens, a multiple of 32.
        depth: layers in which words and picture look at each other before things are found. unet_width: of the features
        that the UNet predicts from, which say at each step what is to be pasted."""
        super().__init__()
        self.parts = parts or Parts()
        self.width = width
        self.fields = nn.ModuleList(nn.Embedding(size, width) for size in FIELD_SIZES)
        self.numbers = nn.Linear(len(NUMBERS) * (1 + 2 * _BANDS), width)
        self.phrase = nn.Linear(text_width, width)
        self.role = nn.Parameter(torch.randn(MAX_STEPS, ROLES, width) * 0.02)
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))
        self.norm = nn.LayerNorm(width)
        if not self.parts.grounding:
            return
        self.see = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            _Residual(width),
            _Residual(width),
            nn.GroupNorm(8, width),
        )
        self.where = nn.Linear(2 * (1 + 2 * _BANDS), width)
        layer = nn.TransformerEncoderLayer(
            width, width // 32, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.look = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        if self.parts.read:
            beside = torch.tensor([(0.0, 0.0), *(_BESIDE[name] for name in RELATIONS)])
            self.beside = nn.Parameter(beside)  # by relation, 0 for none
            self.value = nn.Linear(width, width)
            self.taken = nn.Linear(width + channels + 3, width)
            self.of_read = nn.Parameter(torch.randn(READS, width) * 0.02)
        if self.parts.paste:
            self.weigh = nn.Linear(2 * width + 3 * READS, width)
            self.gate_paste = closed(width, 1 + READS)
            self.gate_still = nn.Parameter(torch.zeros(1))
            self.gate_unet = closed(unet_width, 1 + READS)

    def forward(self, words: WordArrays, phrases: Tensor, latents: Tensor) -> SpatialContext:
        """phrases: (texts, text_width), the mean of each phrase's states over its words. latents: (b, c, h, w) of the
        source, the posterior's mode without the scaling factor."""
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
        seen = self.see(latents).flatten(2).transpose(1, 2) + self.where(fourier(points))
        looked = torch.cat([tokens.flatten(1, 2), seen], dim=1)
        blind = torch.cat([hidden[:, 1:], hidden.new_zeros(len(hidden), len(points))], dim=1)
        looked = self.look(looked, src_key_padding_mask=blind)
        things, seen = looked[:, : MAX_STEPS * ROLES], looked[:, MAX_STEPS * ROLES :]
        found = things.reshape(len(things), MAX_STEPS, ROLES, -1)[:, :, 1:]
        logits = torch.einsum("bsrd,bnd->bsrn", self.query(found), self.key(seen)) / math.sqrt(self.width)
        # What has no name in the words, or is yet to come, is nowhere.
        grounded = torch.from_numpy(words.grounded).to(device)
        maps = logits.softmax(dim=-1) * grounded[..., None]
        shape = (len(latents), MAX_STEPS, 2, *size)
        context = SpatialContext(
            self.norm(torch.cat([nothing, things], dim=1)), hidden, maps.reshape(shape), logits.reshape(shape),
            None, size,
        )  # fmt: skip
        if not self.parts.read:
            return context
        soft = silhouettes(maps.transpose(1, 2).flatten(1, 2))  # (b, reads, n), as the sources are
        read, taken = self._read(words, maps, soft, seen, latents, points)
        context = replace(context, read=_as_picture(read, size))
        if self.parts.paste:
            there = present[:, None] & torch.from_numpy(np.stack([words.present, words.swaps], 1)).to(device)
            told = there.flatten(1).to(latents.dtype)[..., None, None]
            context = replace(context, paste=self._paste(size, seen, read, soft, taken, latents, told))
        return context

    def shares(self, features: Tensor) -> Tensor:
        """(b, 1 + reads, h, w): what the UNet would paste. features: (b, unet_width, h, w), that it predicts from."""
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
        return torch.stack([operation, operation + things[:, :, 0], operation + reference], dim=2) + self.role

    def _read(
        self, words: WordArrays, maps: Tensor, soft: Tensor, seen: Tensor, latents: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each place takes from elsewhere. The first, (b, n, d), over all reads: what was seen there, with the
        second. The second, (b, reads, n, c + 3): the latents as they are, which is what a thing that only moves looks
        like where it goes, the silhouette there and here, and whether there is in the picture."""
        subject, reference = (maps @ points).unbind(2)  # the middles of what was found
        present = np.concatenate([words.present, words.present & words.swaps], axis=1).reshape(-1)
        reads = torch.from_numpy(np.flatnonzero(present)).to(latents.device)  # most examples have one
        of, kind = reads // READS, reads % READS
        sources = self._sources(words, subject, reference, points).flatten(0, 1)[reads]
        soft = soft.flatten(0, 1)[reads, :, None]
        values = torch.cat([self.value(seen), latents.flatten(2).transpose(1, 2)], dim=-1)
        pictures = _as_picture(torch.cat([values[of], soft], dim=-1), (latents.shape[-2], latents.shape[-1]))
        inside = ((sources >= 0) & (sources <= 1)).all(dim=-1, keepdim=True)
        taken = torch.cat([sampled(pictures, sources), soft, inside.to(soft.dtype)], dim=-1)
        made = F.silu(self.taken(taken) + self.of_read[kind, None])
        read = torch.zeros_like(seen).index_add(0, of, made.to(seen.dtype))
        each = taken.new_zeros(len(present), *taken.shape[1:]).index_copy(0, reads, taken)
        return read, torch.unflatten(each[..., self.width :], 0, (len(seen), READS))

    def _paste(
        self,
        size: tuple[int, int],
        seen: Tensor,
        read: Tensor,
        soft: Tensor,
        taken: Tensor,
        latents: Tensor,
        told: Tensor,
    ) -> Paste:
        """Of each place a share of the source, and one of what each read brings."""
        channels = latents.shape[1]
        landing = taken[..., channels].transpose(1, 2), taken[..., -1].transpose(1, 2)  # silhouettes, inside
        known = torch.cat([seen, read, soft.transpose(1, 2), *landing], dim=-1)
        stay, shares = self.gate_paste(F.silu(self.weigh(known))).split([1, READS], dim=-1)  # (b, n, ...)
        brought = torch.unflatten(taken[..., :channels].transpose(2, 3), -1, size)  # (b, reads, c, h, w)
        still = self.gate_still.expand(len(latents), 1, 1, 1)
        seeing = torch.ones_like(still)
        return Paste(
            latents, _as_picture(stay, size), brought, _as_picture(shares, size), still, seeing, told
        )

    def _sources(self, words: WordArrays, subject: Tensor, reference: Tensor, points: Tensor) -> Tensor:
        """(b, reads, n, 2): where each place takes its content from; subjects' reads first."""
        device = points.device
        kind = torch.from_numpy(words.target).to(device)[..., None]
        numbers = torch.from_numpy(words.numbers).to(device)
        scale = torch.from_numpy(words.scale).to(device)
        framed = torch.from_numpy(words.of_frame).to(device)[..., None]
        centre = torch.where(framed, torch.full_like(subject, 0.5), subject)
        shift = numbers[..., 1:3]
        beside = self.beside[torch.from_numpy(words.ids[..., _RELATION]).to(device)]
        target = torch.where(kind == BY_SHIFT, centre + shift, centre)
        target = torch.where(kind == TO_POINT, numbers[..., 5:7], target)
        target = torch.where(kind == TO_REFERENCE, reference + beside, target)
        there = pull_back(points, centre, target, scale)
        back = pull_back(points, reference, subject, torch.ones_like(scale))
        return torch.cat([there, back], dim=1)


class _Residual(nn.Module):
    """As in a ResNet, with norms before (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, seen: Tensor) -> Tensor:
        return seen + cast(Tensor, self.steps(seen))


def _as_picture(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, n, c) to (b, c, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[-1], *size)


def silhouettes(maps: Tensor) -> Tensor:
    """(..., n) maps of sum 1 as masks: 1 where they are largest."""
    return maps / maps.amax(dim=-1, keepdim=True).clamp_min(1e-6)


def grounding_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of the maps with the masks that they should be, mean over those that are not empty; 0 for none.

    logits: (b, s, 2, h, w). masks: the same shape, 0 to 1, shares of each cell that the thing covers.
    """
    wanted = masks.flatten(3)
    total = wanted.sum(dim=-1)
    losses = -(wanted / total.clamp_min(1e-6)[..., None] * logits.float().flatten(3).log_softmax(dim=-1)).sum(
        dim=-1
    )
    known = total > 0
    return torch.where(known, losses, losses.new_zeros(())).sum() / known.sum().clamp_min(1)


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What goes into a UNet as `encoder_hidden_states`. text: (b, l, text_width). context: of the same samples."""

    text: Tensor
    context: SpatialContext


class SpatialProcessor(nn.Module):
    """Cross-attention to the text as it was, and what the spatial context adds, through gates."""

    def __init__(self, width: int, token_width: int, heads: int, parts: Parts) -> None:
        """width: of the layer's image tokens, which `heads` divides."""
        super().__init__()
        self.plain, self.heads, self.parts = AttnProcessor2_0(), heads, parts
        self.to_q = nn.Linear(width + 2 * (1 + 2 * _BANDS), width, bias=False)
        self.to_k = nn.Linear(token_width, width, bias=False)
        self.to_v = nn.Linear(token_width, width, bias=False)
        self.gate = closed(width, width)
        if parts.grounding:
            self.gate_maps = closed(READS, width)
        if parts.read:
            self.gate_read = closed(token_width, width)

    def forward(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Conditions | Tensor | None = None,
        **rest: Any,
    ) -> Tensor:
        """As diffusers calls its processors. Without a context the layer is the plain one."""
        if not isinstance(encoder_hidden_states, Conditions):
            return cast(Tensor, self.plain(attn, hidden_states, encoder_hidden_states, **rest))
        text, context = encoder_hidden_states.text, encoder_hidden_states.context
        result = cast(Tensor, self.plain(attn, hidden_states, text, **rest))
        size = level(context.size, hidden_states.shape[1])
        result = result + self.gate(self._attended(hidden_states, context, size))
        if self.parts.grounding and context.maps is not None:
            maps = silhouettes(context.maps.flatten(3).flatten(1, 2)).reshape(len(text), READS, *context.size)
            result = result + self.gate_maps(_resized(maps, size))
        if self.parts.read and context.read is not None:
            result = result + self.gate_read(_resized(context.read, size))
        return cast(Tensor, result)

    def _attended(self, hidden: Tensor, context: SpatialContext, size: tuple[int, int]) -> Tensor:
        where = fourier(coordinates(*size, hidden.device)).to(hidden.dtype).expand(len(hidden), -1, -1)
        query, key, value = (
            part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (
                self.to_q(torch.cat([hidden, where], dim=-1)), self.to_k(context.tokens), self.to_v(context.tokens),
            )
        )  # fmt: skip
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=~context.hidden[:, None, None])
        return seen.transpose(1, 2).flatten(2)


def closed(width: int, out: int) -> nn.Linear:
    """A gate that lets nothing through yet."""
    gate = nn.Linear(width, out)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate


def level(size: tuple[int, int], count: int) -> tuple[int, int]:
    """(h, w) of the layer with so many image tokens: latents halved, rounding up, until it fits.

    Raises ValueError where none does.
    """
    height, width = size
    while height * width > count:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != count:
        raise ValueError(f"{count} image tokens are no level of latents of {size[0]} x {size[1]}")
    return height, width


def _resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, c, h, w) at the layer's size, as tokens (b, n, c)."""
    if pictures.shape[-2:] != size:
        pictures = F.interpolate(pictures, size, mode="area")
    return pictures.flatten(2).transpose(1, 2)

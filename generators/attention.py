"""Attention control: what of the first picture's attention the second one takes over.

Written as attention processors of diffusers, for any `UNet2DConditionModel` with transformer blocks (Stable Diffusion
1.x and 2.x, the starter). Two controls, which go together:

- self-attention: the second picture's pixels look where the first one's look, A1 = softmax(Q0 K0'), which keeps layout
  and shapes. This is what InstructPix2Pix's generator does (Brooks et al. 2023, section 3.1.2 and its released code).
- cross-attention: words of the second caption look where the first one's look (Hertz et al. 2022, "Prompt-to-Prompt
  Image Editing with Cross Attention Control", section 3.2): a word replaced, a phrase refined, a word's weight changed.

No map is ever made for either, so fused attention stays fused. With A0 the first picture's map over the first caption's
tokens, a control is A1' = A0 W + A1 diag(w), and the attention's output A1' V1 = A0 (W V1) + A1 (w V1): two calls of
scaled-dot-product attention with other values. W and w say it all: replacement has W a mapping of tokens and w = 0;
refinement W a mapping of those that both captions have and w = 1 for the others; reweighting scales both by the token.

Only local blend looks at maps, of the words that it is asked for and at the layers that it is asked for.

A batch of S pairs is 4 S samples, ordered (half, pair, picture): half 0 without the caption, half 1 with it; the
pictures before and after. What is controlled, and how much, is each pair's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class NotControllable(ValueError):
    """The UNet has no attention that these processors know; one line that says what it needs."""


@dataclass(eq=False)
class Blend:
    """Which words' maps are gathered, and what was gathered in one pass.

    words: (S, 2, T) float, 1 for tokens of each picture's words. tokens: of a layer's map, width x height; layers of
    other sizes are passed over. maps: of each layer that was looked at, (S, 2, tokens) float32, mean over heads, sum
    over the words.
    """

    words: Tensor
    tokens: int
    maps: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The controls of S pairs in one pass of the UNet.

    inject: (S,) bool, whether picture 1 takes picture 0's self-attention. mapped: (S, T, T) float, W above, tokens of
    caption 0 by tokens of caption 1. own: (S, T) float, w above. None: no pair has that control in this pass, and
    nothing is spent on it. max_tokens: layers with more pixels than this keep their own self-attention.
    """

    inject: Tensor | None = None
    mapped: Tensor | None = None
    own: Tensor | None = None
    blend: Blend | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if (self.mapped is None) != (self.own is None):
            raise ValueError("mapped and own come together: A1' = A0 mapped + A1 diag(own)")


class ControlledAttention:
    """A processor for self- and cross-attention of transformer blocks.

    Called by the UNet with `cross_attention_kwargs={"control": Control(...)}`; without a control it is plain attention.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        control: Control | None = None,
    ) -> Tensor:
        """hidden_states: (4 S, pixels, channels). encoder_hidden_states: (4 S, T, width), None for self-attention."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = (_heads(part, attn.heads) for part in (attn.to_q(hidden_states), attn.to_k(context)))
        value = _heads(attn.to_v(context), attn.heads)
        if control is None:
            out = F.scaled_dot_product_attention(query, key, value)
        elif encoder_hidden_states is None:
            out = _self_attention(query, key, value, control)
        else:
            out = _cross_attention(query, key, value, control)
        merged = out.transpose(1, 2).flatten(2).to(hidden_states.dtype)
        found: Tensor = attn.to_out[1](attn.to_out[0](merged))
        return found


def install(unet: Any) -> int:
    """Puts `ControlledAttention` at every transformer block of the UNet. How many attentions that are.

    Raises NotControllable for a UNet without cross-attention, or with attention that needs more than queries, keys and
    values (added projections, norms of queries, residual connections inside).
    """
    blocks = [(name, m) for name, m in unet.named_modules() if name.endswith((".attn1", ".attn2"))]
    if not any(name.endswith(".attn2") for name, _ in blocks):
        raise NotControllable(
            f"{type(unet).__name__} has no cross-attention: Prompt-to-Prompt needs a text-to-image UNet, as Stable "
            "Diffusion's"
        )
    for name, attn in blocks:
        odd = [
            what
            for what in ("spatial_norm", "group_norm", "norm_q", "norm_k", "norm_cross", "add_k_proj")
            if getattr(attn, what, None) not in (None, False)
        ]
        if odd or attn.residual_connection or attn.rescale_output_factor != 1:
            raise NotControllable(
                f"{name} has {odd[0] if odd else 'its own residual'}, which is not supported"
            )
        attn.set_processor(ControlledAttention())
    return len(blocks)


def _heads(states: Tensor, heads: int) -> Tensor:
    """(b, n, heads * width) to (b, heads, n, width)."""
    return states.view(*states.shape[:-1], heads, -1).transpose(1, 2)


def _pairs(states: Tensor) -> Tensor:
    """(4 S, ...) to (half, pair, picture, ...)."""
    return states.view(2, -1, 2, *states.shape[1:])


def _self_attention(query: Tensor, key: Tensor, value: Tensor, control: Control) -> Tensor:
    small = control.max_tokens is None or query.shape[2] <= control.max_tokens
    if control.inject is not None and small:
        query, key = (_of_picture_0(states, control.inject) for states in (query, key))
    return F.scaled_dot_product_attention(query, key, value)


def _of_picture_0(states: Tensor, inject: Tensor) -> Tensor:
    """The states with those of picture 1 exchanged for picture 0's, where `inject` says so."""
    pairs = _pairs(states)  # (half, pair, picture, heads, pixels, width)
    second = torch.where(inject.view(1, -1, 1, 1, 1), pairs[:, :, 0], pairs[:, :, 1])
    return torch.stack([pairs[:, :, 0], second], dim=2).flatten(0, 2)


def _cross_attention(query: Tensor, key: Tensor, value: Tensor, control: Control) -> Tensor:
    if control.blend is not None and query.shape[2] == control.blend.tokens:
        _gather(query, key, control, control.blend)
    if control.mapped is None or control.own is None:
        return F.scaled_dot_product_attention(query, key, value)
    # Only the half with captions is controlled: without one both pictures have the same words, none.
    q, k, v = (_pairs(states)[1] for states in (query, key, value))
    second = v[:, 1]  # (S, heads, T, width): V1
    mapped, own = control.mapped.to(v.dtype), control.own.to(v.dtype)
    moved = mapped[:, None] @ second
    rest = torch.stack([v[:, 0], second * own[:, None, :, None]], dim=1).flatten(0, 1)
    values = torch.cat([value[: len(value) // 2], rest])
    out = F.scaled_dot_product_attention(query, key, values)
    taken = F.scaled_dot_product_attention(q[:, 0], k[:, 0], moved)
    halves = _pairs(out)
    controlled = torch.stack([halves[1, :, 0], halves[1, :, 1] + taken], dim=1).flatten(0, 1)
    return torch.cat([out[: len(out) // 2], controlled])


def _gather(query: Tensor, key: Tensor, control: Control, blend: Blend) -> None:
    """The words' maps as they are after the control, of the half with captions."""
    q, k = (_pairs(states)[1].float() for states in (query, key))
    maps = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)  # (S, 2, heads, pixels, T)
    first, second = maps[:, 0], maps[:, 1]
    if control.mapped is not None and control.own is not None:
        second = first @ control.mapped[:, None].float() + second * control.own[:, None, None].float()
    both = torch.stack([first, second], dim=1).mean(dim=2)  # (S, 2, pixels, T)
    blend.maps.append((both @ blend.words[..., None].float()).squeeze(-1))

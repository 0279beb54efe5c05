"""How the spatial context reaches the layers of a UNet: as attention processors of diffusers', run at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.maps import BANDS, closed, coordinates, fourier, level, resized, silhouettes
from trainer.spatial_attention import READS, Parts, SpatialContext


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
        self.to_q = nn.Linear(width + 2 * (1 + 2 * BANDS), width, bias=False)
        self.to_k = nn.Linear(token_width, width, bias=False)
        self.to_v = nn.Linear(token_width, width, bias=False)
        self.gate = closed(width, width)
        if parts.grounding:
            self.gate_maps = closed(READS * (1 + parts.land), width)
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
            if context.landings is not None:
                maps = torch.cat([maps, context.landings], dim=1)
            result = result + self.gate_maps(resized(maps, size))
        if self.parts.read and context.read is not None:
            result = result + self.gate_read(resized(context.read, size))
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

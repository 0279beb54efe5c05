"""Attention control as the papers write it, with every map made: slow, and what the fused one must equal."""

from __future__ import annotations

import torch


class MapAttention:
    """Samples ordered (half, pair, picture). inject: (S,) bool. edit: per pair None, or a function from the maps of the
    pictures with captions, (heads, pixels, T) each, to the map that the second is to have. maps: what words' maps were,
    of layers with so many pixels."""

    def __init__(self, inject, edit, tokens=0):
        self.inject, self.edit, self.tokens, self.maps = inject, edit, tokens, []

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            part.view(*part.shape[:2], attn.heads, -1).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        maps = maps.view(2, -1, 2, *maps.shape[1:]).clone()
        for pair in range(maps.shape[1]):
            if encoder_hidden_states is None:
                if self.inject[pair]:
                    maps[:, pair, 1] = maps[:, pair, 0]
            elif self.edit[pair] is not None:
                maps[1, pair, 1] = self.edit[pair](maps[1, pair, 0], maps[1, pair, 1])
        if encoder_hidden_states is not None and maps.shape[-2] == self.tokens:
            self.maps.append(maps[1].mean(dim=2))
        out = (maps.flatten(0, 2) @ v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def replaced(mapper):
    """Hertz et al. 2022: A0 times the mapping of tokens."""
    return lambda first, second: torch.einsum("hpw,wn->hpn", first, mapper)


def refined(mapper, alphas):
    """Tokens that both captions have from A0, by the mapping; the others from A1."""
    return lambda first, second: torch.einsum("hpw,wn->hpn", first, mapper) * alphas + second * (1 - alphas)


def reweighted(edit, scale):
    """Columns scaled after another control."""
    return lambda first, second: edit(first, second) * scale

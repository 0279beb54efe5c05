"""Local blend: outside of the words' places the second picture is the first (Hertz et al. 2022, section 4).

Where an edit names a thing, attention to its words says where that is. Maps are summed over layers and steps; smoothed,
scaled to their largest value and cut at a threshold they are a mask, and outside of both pictures' masks the second
picture's latents are set to the first one's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

START = 0.2  # share of the steps before the first blend, as in the authors' code: earlier maps say little


class LocalBlend:
    """Maps of a batch of pairs. size: of the layer's maps, (height, width). threshold: 0..1, of the largest value."""

    def __init__(self, pairs: int, size: tuple[int, int], threshold: float, device: torch.device) -> None:
        self._size, self._threshold = size, threshold
        self.maps = torch.zeros(pairs, 2, *size, device=device)

    def clear(self, place: int) -> None:
        """For a new pair at this place."""
        self.maps[place] = 0

    def add(self, places: Tensor, found: list[Tensor]) -> None:
        """found: of each layer, (len(places), 2, tokens)."""
        for layer in found:
            self.maps[places] += layer.view(*layer.shape[:2], *self._size).to(self.maps.dtype)

    def blended(self, places: Tensor, latents: Tensor, begun: Tensor) -> Tensor:
        """latents: (n, 2, channels, h, w) of these places. begun: (n,) bool, pairs past the start. Pairs without a map,
        whose captions share all words, stay as they are."""
        maps = F.max_pool2d(self.maps[places].flatten(0, 1)[:, None], 3, stride=1, padding=1)
        maps = F.interpolate(maps, size=latents.shape[-2:]).view(-1, 2, *latents.shape[-2:])
        largest = maps.amax(dim=(-1, -2), keepdim=True)
        mask = ((maps > self._threshold * largest) & (largest > 0)).any(dim=1)  # (n, h, w)
        mask = mask | ~((largest > 0).any(dim=1)) | ~begun.view(-1, 1, 1)
        first, second = latents[:, 0], latents[:, 1]
        return torch.stack([first, torch.where(mask[:, None], second, first)], dim=1)

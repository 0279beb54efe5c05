"""DDIM without noise (Song et al. 2021, "Denoising Diffusion Implicit Models", eq. 12 with sigma 0), there and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trainer.objective import Objective

Predict = Callable[[Tensor, Tensor], Tensor]
"""Of latents (b, c, h, w) at steps (b,) what the model says."""


def there(last: int, count: int) -> Iterator[tuple[int, int]]:
    """Pairs of a step and the next, from the clean picture to `last`. It counts as the state of the first step: it has
    next to no noise."""
    return itertools.pairwise(torch.linspace(0, last, count + 1).round().long().tolist())


def back(last: int, count: int) -> Iterator[tuple[int, int]]:
    """The same from `last` to the clean picture."""
    return itertools.pairwise(torch.linspace(last, 0, count + 1).round().long().tolist())


def moved(
    predict: Predict, objective: Objective, state: Tensor, step: int, following: int
) -> tuple[Tensor, Tensor]:
    """The state at the following step, either way, and the clean latents that the model sees in it."""
    at, after = (torch.full((len(state),), one, device=state.device) for one in (step, following))
    clean = objective.clean(predict(state, at), state, at)
    if following == 0:
        return clean, clean
    signal, noise = objective.shares(at, state)
    return objective.noised(clean, (state - signal * clean) / noise, after), clean

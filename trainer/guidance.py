"""Guidance of an editor: how far the prediction is pushed towards the words and towards the picture.

The base is the two-way classifier-free guidance of InstructPix2Pix (Brooks et al. 2023, equation 3). On it stand three
kinds of dynamic guidance, each of which can be used alone:

- the scale for the text follows from the instruction (`text_scale`);
- Dynamic Negative Guidance (Koulischer et al., ICLR 2025): a negative prompt counts as much as the trajectory so far
  makes it likely (`Posterior`);
- the same against *copying the input*: the copy's denoised picture is known, so its likelihood costs no forward
  (`copied`), and it acts only where the subject is.

Everything is a function of latents (b, c, h, w) in the model's own parametrisation of noise, epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.words import Words

TEXT, IMAGE = 7.5, 1.5  # scales of InstructPix2Pix's defaults


def two_way(
    with_both: Tensor, with_image: Tensor, with_none: Tensor, text: Tensor | float, image: Tensor | float
) -> Tensor:
    """e(0,0) + image (e(I,0) - e(0,0)) + text (e(I,T) - e(I,0)). text, image: a number, or (b,)."""
    return (
        with_none
        + _wide(image, with_none) * (with_image - with_none)
        + _wide(text, with_none) * (with_both - with_image)
    )


def _wide(scale: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(scale, dtype=like.dtype, device=like.device).reshape(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True, slots=True)
class TextScale:
    """How the scale for the text follows from an instruction. base: of an edit without numbers. step: for each further
    step of a sequence. precise: where an amount or a region is asked for. moved: for kinds that change where things
    are. free: of words that have no typed step. most: never more."""

    base: float = TEXT
    step: float = 0.5
    precise: float = 1.0
    moved: float = 1.0
    free: float = TEXT
    most: float = 12.0

    def __call__(self, words: Words) -> float:
        if not words.steps:
            return min(self.free, self.most)
        scale = self.base + self.step * (len(words.steps) - 1)
        if any(any(step.numbers) for step in words.steps):
            scale += self.precise
        if any(step.kind in _MOVING for step in words.steps):
            scale += self.moved
        return min(scale, self.most)


_MOVING = frozenset({"move", "place", "relate", "swap", "align", "orbit", "pan", "zoom", "mirror"})


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Settings of a posterior. scale: how hard a certain one pushes. prior: p before the first step. temperature,
    offset: of the evidence. least, most: bounds of p; most is below 1."""

    scale: float = 1.0
    prior: float = 0.01
    temperature: float = 1.0
    offset: float = 0.0
    least: float = 1e-3
    most: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.prior <= self.most < 1:
            raise ValueError("guidance: 0 < least <= prior <= most < 1 must hold")


class Posterior:
    """How likely it is that a trajectory is one of the negative's, followed from step to step.

    Bayes with the sampler's own transition, a Gaussian of mean mu and spread sigma_up: with the next state x',
    log p <- log p + (offset - temperature (|x' - mu_neg|^2 - |x' - mu_base|^2)) / (2 sigma_up^2). It has no meaning for
    deterministic samplers, whose transition is no Gaussian: a step with sigma_up = 0 is skipped, and a sampler that has
    only such steps is refused.
    """

    def __init__(self, settings: Dynamic, samples: int, device: torch.device | None = None) -> None:
        self.settings = settings
        self.log_p = torch.full((samples,), settings.prior, device=device).log()
        self._spread = False

    @property
    def p(self) -> Tensor:
        """(b,), within the bounds."""
        return self.log_p.exp()

    @property
    def weight(self) -> Tensor:
        """(b,): scale p / (1 - p), what the difference of the predictions is taken times."""
        return self.settings.scale * self.p / (1 - self.p)

    def pushed(
        self, predicted: Tensor, negative: Tensor, base: Tensor, where: Tensor | None = None
    ) -> Tensor:
        """The prediction, away from the negative. where: (b, 1, h, w), 0 to 1: there alone."""
        push = _wide(self.weight, predicted) * (negative - base)
        return predicted - (push if where is None else where * push)

    def update(
        self,
        after: Tensor,
        mean_negative: Tensor,
        mean_base: Tensor,
        sigma_up: float,
        where: Tensor | None = None,
    ) -> None:
        """After a step. after: the state that was drawn. means: of the transition, had either predicted it. where: as
        for `pushed`; states count there alone."""
        if sigma_up <= 0:
            return
        self._spread = True
        squared = (after - mean_negative).square() - (after - mean_base).square()
        distance = (squared if where is None else squared * where).flatten(1).sum(dim=1)
        settings = self.settings
        log_p = self.log_p + (settings.offset - settings.temperature * distance) / (2 * sigma_up**2)
        least, most = torch.tensor([settings.least, settings.most], device=log_p.device).log()
        self.log_p = log_p.clamp(least, most)

    def check(self) -> None:
        """After sampling. Raises ValueError where no step had a spread."""
        if not self._spread:
            raise ValueError(
                "dynamic negative guidance needs an ancestral sampler: this one's steps have no spread to judge by; "
                "use euler_ancestral, or static guidance"
            )


def ancestral(sigma: float, following: float) -> tuple[float, float]:
    """(sigma_down, sigma_up) of Euler's ancestral step (Karras et al. 2022, as k-diffusion has it)."""
    if following == 0 or sigma == 0:
        return following, 0.0
    up = min(following, (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5)
    return (following**2 - up**2) ** 0.5, up


def transition_mean(state: Tensor, clean: Tensor, sigma: float, following: float) -> Tensor:
    """Mean of an ancestral step from `state` = clean + sigma noise, for a predicted clean picture."""
    down, _ = ancestral(sigma, following)
    return clean + (state - clean) * (down / sigma)


def copied(state: Tensor, source: Tensor, sigma: float) -> Tensor:
    """The noise that a model would predict that copies the source: no forward, since what it denoises to is known.
    state, source: (b, c, h, w) in the sampler's scale."""
    return (state - source) / sigma

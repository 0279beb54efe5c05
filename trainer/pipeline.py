"""Edits of pictures by instruction, with what `train` left: `SpatialPixPipeline.from_pretrained(folder)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor

from shards.images import Pixels
from trainer.frozen import Frozen
from trainer.guidance import IMAGE, TEXT, TextScale, ancestral, transition_mean, two_way
from trainer.model import SpatialEditor
from trainer.words import Words, arrays, read

_MULTIPLE = 8  # pixels of a latent's side


@dataclass(frozen=True, slots=True)
class Sampling:
    """steps: of Euler's ancestral sampler. text: the scale for the text, or how it follows from the words. image: the
    scale for the picture."""

    steps: int = 25
    text: float | TextScale = TEXT
    image: float = IMAGE

    def text_of(self, words: Words) -> float:
        return self.text(words) if isinstance(self.text, TextScale) else self.text


class SpatialPixPipeline:
    """An editor and what it stands on."""

    def __init__(
        self, editor: SpatialEditor, frozen: Frozen, scheduler: EulerAncestralDiscreteScheduler
    ) -> None:
        self.editor, self.frozen, self.scheduler = editor.eval(), frozen, scheduler

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> SpatialPixPipeline:
        """A folder that `train` left, with spatial layers or without. Raises OSError."""
        folder = Path(folder)
        return cls(
            SpatialEditor.load(folder).to(device), Frozen.load(folder).to(device),
            EulerAncestralDiscreteScheduler.from_pretrained(folder, subfolder="scheduler"),
        )  # fmt: skip

    def __call__(
        self, image: Pixels, instruction: str, seed: int = 0, sampling: Sampling | None = None
    ) -> Pixels:
        """(h, w, 3) uint8 edited as the instruction says, English or Vietnamese; the same size."""
        return self.batch([image], [instruction], [seed], sampling)[0]

    @torch.no_grad()
    def batch(
        self,
        images: Sequence[Pixels],
        instructions: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
    ) -> list[Pixels]:
        """Several at once, all of one size. Each result depends on its own seed alone. Raises ValueError for pictures
        of different sizes."""
        sampling = sampling or Sampling()
        if len({image.shape for image in images}) != 1:
            raise ValueError("pictures of a batch must be of one size")
        height, width = images[0].shape[:2]
        padding = ((0, -height % _MULTIPLE), (0, -width % _MULTIPLE), (0, 0))
        pixels = self.frozen.pixels([np.pad(image, padding, mode="edge") for image in images])
        words = [read(text) for text in instructions]
        latents = self._sampled(self.frozen.source(pixels), words, list(seeds), sampling)
        edited = self.frozen.decode(latents).cpu().numpy()
        return [np.ascontiguousarray(picture[:height, :width]) for picture in edited]

    def _sampled(self, source: Tensor, words: list[Words], seeds: list[int], sampling: Sampling) -> Tensor:
        """Scaled latents. Of each sample three: told both, told the picture, told nothing."""
        count, device = len(words), source.device
        scheduler = EulerAncestralDiscreteScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(sampling.steps)
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]

        def noise() -> Tensor:
            return torch.stack([torch.randn(source.shape[1:], generator=one) for one in drawn]).to(source)

        text = self.frozen.text([one.text for one in words])
        null = self.frozen.text([""]).expand(count, -1, -1)
        texts, sources = torch.cat([text, null, null]), torch.cat([source, source, torch.zeros_like(source)])
        context = self.editor.context(words, self.frozen.phrases(arrays(words).texts), source)
        if context is not None:
            silent = torch.arange(3 * count, device=device) >= count
            context = context.of(torch.arange(count, device=device).repeat(3)).silenced(silent)
        scales = torch.tensor([sampling.text_of(one) for one in words], device=device)
        state = noise() * scheduler.init_noise_sigma
        for step in scheduler.timesteps:
            scaled = scheduler.scale_model_input(state, step)
            steps = step.to(device).long().expand(3 * count)
            said = self.editor(scaled.repeat(3, 1, 1, 1), steps, texts, sources, context)
            both, pictured, none = said.chunk(3)
            guided = two_way(both, pictured, none, scales, sampling.image)
            state = _stepped(scheduler, guided, step, state, noise())
        return cast(Tensor, state)


def _stepped(
    scheduler: EulerAncestralDiscreteScheduler, said: Tensor, step: Tensor, state: Tensor, noise: Tensor
) -> Tensor:
    """One step of Euler's ancestral sampler with our own noise, whose draws do not depend on the batch."""
    if scheduler.step_index is None:
        scheduler._init_step_index(step)
    place = scheduler.step_index
    sigma, following = scheduler.sigmas[place].item(), scheduler.sigmas[place + 1].item()
    if scheduler.config.prediction_type == "epsilon":
        clean = state - sigma * said
    else:  # v, of the state scaled by 1 / sqrt(sigma^2 + 1)
        clean = said * (-sigma / (sigma**2 + 1) ** 0.5) + state / (sigma**2 + 1)
    scheduler._step_index = place + 1
    return transition_mean(state, clean, sigma, following) + ancestral(sigma, following)[1] * noise

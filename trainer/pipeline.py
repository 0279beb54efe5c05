"""Edits of pictures by instruction, with what `train` left: `SpatialPixPipeline.from_pretrained(folder)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor

from shards.images import Pixels
from trainer.frozen import Frozen, as_bytes
from trainer.guidance import (
    IMAGE,
    TEXT,
    Dynamic,
    Posterior,
    TextScale,
    ancestral,
    copied,
    transition_mean,
    two_way,
)
from trainer.maps import silhouettes
from trainer.model import SpatialEditor
from trainer.paste import Shown, fading
from trainer.spatial_attention import SpatialContext
from trainer.words import Words, arrays, read

_MULTIPLE, _LEAST = 8, 16  # pixels of a latent's side, and of a picture's
Told = Callable[[int, int], None]
"""Hears how many of how many steps are done."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """steps: of Euler's ancestral sampler. text: the scale for the text, or how it follows from the words. image: the
    scale for the picture. negative: words to be guided away from, as far as the trajectory makes them likely; a fourth
    forward. copying: guides away from leaving a thing that is to go where it was; no forward, and of editors with
    grounding alone. sharp: as of `trainer.paste.Shown`."""

    steps: int = 25
    text: float | TextScale = TEXT
    image: float = IMAGE
    negative: str | None = None
    dynamic: Dynamic = field(default_factory=Dynamic)
    copying: Dynamic | None = None
    sharp: float = 1.0

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
        frozen = Frozen.load(folder).to(device)
        return cls(
            SpatialEditor.load(folder, frozen.pasting).to(device), frozen,
            EulerAncestralDiscreteScheduler.from_pretrained(folder, subfolder="scheduler"),
        )  # fmt: skip

    def __call__(
        self,
        image: Pixels,
        instruction: str,
        seed: int = 0,
        sampling: Sampling | None = None,
        told: Told | None = None,
    ) -> Pixels:
        """(h, w, 3) uint8 edited as the instruction says, English or Vietnamese; the same size."""
        return self.batch([image], [instruction], [seed], sampling, told)[0]

    @torch.no_grad()
    def batch(
        self,
        images: Sequence[Pixels],
        instructions: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        told: Told | None = None,
    ) -> list[Pixels]:
        """Several at once, all of one size. Each result depends on its own seed alone. told: hears of each step. Raises
        ValueError for pictures of different sizes, and for guidance that this editor, or so few steps, cannot give."""
        sampling = sampling or Sampling()
        if len({image.shape for image in images}) != 1:
            raise ValueError("pictures of a batch must be of one size")
        height, width = images[0].shape[:2]
        padding = (*((0, max(-side % _MULTIPLE, _LEAST - side)) for side in (height, width)), (0, 0))
        pixels = self.frozen.pixels([np.pad(image, padding, mode="edge") for image in images])
        words = [read(text) for text in instructions]
        edited = as_bytes(self._sampled(pixels, words, list(seeds), sampling, told)).cpu().numpy()
        return [np.ascontiguousarray(picture[:height, :width]) for picture in edited]

    def _sampled(
        self,
        pixels: Tensor,
        words: list[Words],
        seeds: list[int],
        sampling: Sampling,
        told_of: Told | None = None,
    ) -> Tensor:
        """(b, 3, h, w), about -1 to 1, as pixels. Of each sample three: told both, told the picture, told nothing."""
        source = self.frozen.source(pixels)
        count, device = len(words), source.device
        scheduler = EulerAncestralDiscreteScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(sampling.steps)
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]

        def noise() -> Tensor:
            return torch.stack([torch.randn(source.shape[1:], generator=one) for one in drawn]).to(source)

        null = self.frozen.text([""]).expand(count, -1, -1)
        texts = [self.frozen.text([one.text for one in words]), null, null]
        sources = [source, source, torch.zeros_like(source)]
        if sampling.negative is not None:
            texts.append(self.frozen.text([sampling.negative]).expand(count, -1, -1))
            sources.append(source)
        times = len(texts)
        said_to, shown = torch.cat(texts), torch.cat(sources)
        told = context = self.editor.context(
            words,
            self.frozen.phrases(arrays(words).texts),
            source,
            Shown(pixels, self.frozen.source, sampling.sharp),
        )
        if told is not None:
            place = torch.arange(times * count, device=device) // count
            context = told.of(torch.arange(count, device=device).repeat(times)).silenced(place > 0)
        if sampling.copying is not None and (told is None or told.maps is None):
            raise ValueError("guidance away from copying needs an editor with grounding: set copying to None")
        negative = Posterior(sampling.dynamic, count, device) if sampling.negative is not None else None
        where = None if sampling.copying is None or told is None else leaving(words, told)
        copy = Posterior(sampling.copying, count, device) if sampling.copying and where is not None else None
        scaling = float(self.frozen.vae.config.scaling_factor)
        copied_from = source * scaling
        scales = torch.tensor([sampling.text_of(one) for one in words], device=device)
        sigmas = scheduler.sigmas.tolist()
        state = noise() * scheduler.init_noise_sigma
        laid: Tensor | None = None  # what the UNet says of pasting, at last
        walk = zip(scheduler.timesteps, sigmas, sigmas[1:], strict=False)
        for done, (step, sigma, following) in enumerate(walk, start=1):
            scaled = (state / (sigma**2 + 1) ** 0.5).repeat(times, 1, 1, 1)
            at = step.to(device).long().expand(times * count)
            said, features = self.editor.painted(scaled, at, said_to, shown, context)
            both, pictured, none, *more = self._noise(said, state.repeat(times, 1, 1, 1), sigma).chunk(times)
            guided = two_way(both, pictured, none, scales, sampling.image)
            means: dict[Posterior, tuple[Tensor, Tensor | None]] = {}
            if negative is not None:
                guided = negative.pushed(guided, more[0], pictured)
                means[negative] = more[0], None
            if copy is not None:
                copying = copied(state, copied_from, sigma)
                guided = copy.pushed(guided, copying, pictured, where)
                means[copy] = copying, where
            clean = state - sigma * guided
            if told is not None and told.paste is not None and features is not None:
                # What is painted is guided; what is pasted is known.
                faded = fading(sigma / (sigma**2 + 1) ** 0.5)
                laid = features[:count]
                clean = told.paste.blended(clean, faded, laid)
            _, up = ancestral(sigma, following)
            after = transition_mean(state, clean, sigma, following) + up * noise()
            for posterior, (other, mask) in means.items():
                posterior.update(
                    after, transition_mean(state, state - sigma * other, sigma, following),
                    transition_mean(state, state - sigma * pictured, sigma, following), up, mask,
                )  # fmt: skip
            state = after
            if told_of is not None:
                told_of(done, len(scheduler.timesteps))
        for asked in (negative, copy):
            if asked is not None:
                asked.check()
        painted = self.frozen.decoded(state)
        return painted if told is None or told.paste is None else told.paste.over(painted, laid)

    def _noise(self, said: Tensor, state: Tensor, sigma: float) -> Tensor:
        """The noise that a prediction stands for, whatever the model predicts. state: clean + sigma noise."""
        if self.scheduler.config.prediction_type == "epsilon":
            return said
        if self.scheduler.config.prediction_type == "sample":
            return (state - said) / sigma
        # v, of the state scaled by 1 / sqrt(sigma^2 + 1)
        clean = state / (sigma**2 + 1) - said * (sigma / (sigma**2 + 1) ** 0.5)
        return cast(Tensor, (state - clean) / sigma)


LEAVING = frozenset({"move", "place", "relate", "swap", "align", "remove"})
"""Kinds after which a thing is not where it was."""


def leaving(words: Sequence[Words], context: SpatialContext) -> Tensor | None:
    """(b, 1, h, w), 0 to 1: where something is that is to go; None without grounding."""
    if context.maps is None:
        return None
    soft = silhouettes(context.maps.flatten(3)).reshape(context.maps.shape)
    goes = torch.zeros(soft.shape[:3], dtype=soft.dtype)
    for row, one in enumerate(words):
        for place, step in enumerate(one.steps):
            goes[row, place, 0] = step.kind in LEAVING
            goes[row, place, 1] = step.swaps
    return (soft * goes.to(soft.device)[..., None, None]).amax(dim=(1, 2))[:, None]

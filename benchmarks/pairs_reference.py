"""InstructPix2Pix's way to make pairs, small and plain: python -m benchmarks.pairs_reference [--pairs 100].

One pair at a time: two pictures from the same noise, each with and without its caption, Euler ancestral, 100 steps,
classifier-free guidance, the first picture's self-attention maps copied into the second while share > step /
(steps - 1) (Brooks et al. 2023, section 3.1.2, and the code that they released). 100 such draws a prompt, a filter, the
best four. Written with diffusers' scheduler and with every map made, and never used but here: to check the pair engine
against, and to time.

The table says how far the engine's pictures are from these, of the same draws, in single precision and before rounding.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import diffusers.schedulers.scheduling_euler_ancestral_discrete as theirs
import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor

from benchmarks.pairs_data import starter_model
from benchmarks.pairs_yield import REFERENCE
from generators.alignment import tokenized
from generators.batch import Draw
from generators.diffusion import Diffusion
from generators.pairs import Prompt, drawn
from generators.remake import remade, trajectories
from generators.samplers import noise_of
from models.starter.draws import TEST, edits, prompts

EARLY_STEPS, EARLY_BAR, EARLY_PAIRS = 5, 1e-4, 20
BAR, BAR_SHARE = 2 / 255, 0.99


class CopiedSelfAttention:
    """Of samples (without, with) x (before, after): the second picture's self-attention maps are the first one's."""

    copies = False

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part.view(*part.shape[:2], attn.heads, -1).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        if self.copies and encoder_hidden_states is None:
            maps = torch.stack([maps[0], maps[0], maps[2], maps[2]])
        out: Tensor = attn.to_out[1](attn.to_out[0]((maps @ value).transpose(1, 2).flatten(2)))
        return out


class Reference:
    """model: its UNet's attention is exchanged. steps: of Euler ancestral."""

    def __init__(self, model: Diffusion, steps: int = 100) -> None:
        self.model, self.steps = model, steps
        self._attention = CopiedSelfAttention()
        model.unet.set_attn_processor(self._attention)
        known = {key: value for key, value in model.schedule.items() if not key.startswith("_")}
        self._scheduler = EulerAncestralDiscreteScheduler.from_config(known)

    @torch.inference_mode()
    def pair(self, prompt: Prompt, draw: Draw, until: int | None = None) -> Tensor:
        """(2, channels, h, w) latents after `until` steps, by default all."""
        model, scheduler = self.model, self._scheduler
        scheduler.set_timesteps(self.steps)
        tokens = [tokenized(model.tokenizer, text).ids for text in (prompt.before, prompt.after)]
        empty = model.encode(model.empty_ids())
        context = torch.stack([empty, empty, *map(model.encode, tokens)])
        draws = iter(range(1, self.steps + 1))
        drawn_by_theirs = theirs.randn_tensor
        theirs.randn_tensor = lambda shape, **_: noise_of(draw.seed, next(draws), tuple(shape[1:])).expand(
            shape
        )
        first = noise_of(draw.seed, 0, model.latent_shape) * scheduler.init_noise_sigma
        latents = torch.stack([first, first])
        try:
            for number, timestep in enumerate(scheduler.timesteps[:until]):
                self._attention.copies = draw.share > number / (self.steps - 1)
                inputs = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
                plain, told = model.unet(inputs, timestep, context).sample.chunk(2)
                answer = plain + draw.guidance * (told - plain)
                latents = scheduler.step(answer, timestep, latents).prev_sample
        finally:
            theirs.randn_tensor = drawn_by_theirs
        return latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = replace(REFERENCE, steps=options.steps)
    some = [(prompt, drawn(prompt, 0, settings)) for prompt in prompts(edits(options.pairs), TEST)]
    model = starter_model()
    began = time.monotonic()
    ours = remade(model, settings, some, slots=16)
    engine_s = time.monotonic() - began
    begun = trajectories(model, settings, some[:EARLY_PAIRS], slots=16, until=EARLY_STEPS)
    reference = Reference(starter_model(), settings.steps)
    early = []
    for (prompt, draw), mine in zip(some, begun, strict=False):
        plain = reference.pair(prompt, draw, until=EARLY_STEPS)
        early.append((float((mine - plain).abs().max()), float(plain.abs().max())))
    began = time.monotonic()
    plain_pictures = [reference.model.decode(reference.pair(prompt, draw)) for prompt, draw in some]
    plain_s = time.monotonic() - began
    late = np.array([float((a - b).abs().max()) for a, b in zip(plain_pictures, ours, strict=True)])
    print(
        f"{len(some)} pairs, {options.steps} steps of Euler ancestral, fp32, {torch.get_num_threads()} threads"
    )
    worst, largest = max(early)
    print(
        f"after {EARLY_STEPS} steps   latents apart by at most {worst:.1e} (bar {EARLY_BAR:.0e}), of {largest:.1f}"
    )
    print(
        f"after all       {np.mean(late <= BAR):.1%} of the pairs within 2/255 (bar {BAR_SHARE:.0%}); "
        f"median {np.median(late) * 255:.4f}/255, the worst {late.max() * 255:.3f}/255"
    )
    print(f"seconds a pair  plain {plain_s / len(some):.2f}, engine {engine_s / len(some):.2f}")


if __name__ == "__main__":
    main()

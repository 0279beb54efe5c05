"""The starter diffusion model: `diffusers.UNet2DConditionModel` on cached latents, with its text encoder.

v-prediction with zero terminal SNR (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are
Flawed"), a tenth of the captions empty for classifier-free guidance, averaged weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPTextModel

from models.starter.captions import PLACED, Captions, placed
from models.starter.data import Scenes
from models.starter.outlines import Outlines, coverage, outline_loss, outline_targets
from models.starter.text import WIDTH, make_text_encoder
from models.starter.training import Plan, averaged, train
from models.starter.vae import latents_of
from models.starter.world import IMAGE_SIZE
from trainer.objective import Objective

NAME = "diffusion"
LATENT = IMAGE_SIZE // 8
UNET: dict[str, Any] = {
    "sample_size": LATENT,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [64, 96, 128],
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,  # in these blocks the *number* of heads, whatever its name says
    "norm_num_groups": 16,
}
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",  # starts at the last step, where the model was taught pure noise
    "steps_offset": 1,  # unused by this spacing; diffusers warns about anything else
}
PLAN = Plan(steps=24_000, rate=6e-4, warmup=300, last=0.02)
BATCH = 32
EMPTY = 0.1  # share of captions left out
SINGLES_UNTIL = 0.15  # of the plan: so long, pictures of one thing are shown more often than not
TELLING = 0.25  # share of captions drawn from those that say which of two is on the left
NOISIER = 1.5  # 1 draws all noise levels alike; with this a third of them are of the noisiest fifth
OUTLINES = 0.1  # weight of the second task
PLACES = 0.5  # and of the third
OBJECT_WEIGHT = 2.0  # what is added to the loss where an object stands: the rest is floor


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """values: (n, 2, 4, 16, 16) float32, scaled to unit variance; axis 1 is 0 for the picture, 1 for its flip.
    weights: (n, 2, 1, 16, 16) float32, of the loss, mean about 1. factor: what the VAE's latents were
    multiplied with."""

    values: torch.Tensor
    weights: torch.Tensor
    factor: float


class PlainAttention:
    """diffusers' attention as its three products, for `UNet2DConditionModel`'s plain attention only.

    Under autocast to bfloat16 the backward pass of a CPU's fused attention takes four times as long as in single
    precision, and a third of the whole step; the plain products take less than either, and can be compiled.
    """

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:  # fmt: skip
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        found = weights.to(value.dtype) @ value
        out: torch.Tensor = attn.to_out[0](found.transpose(1, 2).flatten(2))
        return out


class Conditioned(nn.Module):
    """UNet and text encoder as one, so that they are trained and saved together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(**UNET)
        self.text = make_text_encoder(vocabulary)

    def forward(self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """noisy: (b, 4, 16, 16). steps: (b,) int64. tokens: (b, LENGTH) int64. The predicted v."""
        states = self.text(tokens).last_hidden_state
        predicted: torch.Tensor = self.unet(noisy, steps, states).sample
        return predicted


class Taught(Conditioned):
    """With heads that say what stands where, for training alone: in fine cells (`models.starter.outlines`), and in the
    middle of the UNet, which has as many cells as the text encoder speaks of, in those. There it can be read off the
    text: without that head the UNet had learned nothing of it after 1,500 steps."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__(vocabulary)
        _, fine, coarse = UNET["block_out_channels"]
        self.outlines = Outlines(fine)
        self.places = nn.Sequential(nn.GroupNorm(16, coarse), nn.SiLU(), nn.Conv2d(coarse, PLACED, 1))
        self._features: list[torch.Tensor] = []
        # The features before the last block have the latents' resolution, and see the whole picture.
        for block in (self.unet.mid_block, self.unet.up_blocks[1]):
            block.register_forward_hook(lambda _, __, out: self._features.append(out))

    def taught(
        self, noisy: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The predicted v, and the heads' logits: (b, CHANNELS, 16, 16) and (b, PLACED, GRID, GRID)."""
        self._features.clear()
        predicted = self(noisy, steps, tokens)
        coarse, fine = self._features
        return predicted, self.outlines(fine), self.places(coarse)


def cached_latents(vae: AutoencoderKL, scenes: Scenes, cache: Path) -> Latents:
    """Made once for this encoder and these pictures, then read from the cache."""
    what = hashlib.sha256("\n".join(scenes.ids).encode())
    for part in (vae.encoder, vae.quant_conv):
        for value in part.state_dict().values():
            what.update(value.numpy().tobytes())
    path = cache / f"latents-{what.hexdigest()[:16]}.pt"
    if not path.exists():
        made = _make_latents(vae, scenes)
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save({"values": made.values, "weights": made.weights, "factor": made.factor}, part)
        part.replace(path)
    return Latents(**torch.load(path, weights_only=True))


def _make_latents(vae: AutoencoderKL, scenes: Scenes) -> Latents:
    pair = [latents_of(vae, scenes.images), latents_of(vae, scenes.images[:, :, ::-1])]
    values = torch.stack(pair, dim=1)
    factor = 1.0 / float(values.std())
    masks = torch.from_numpy(np.stack([coverage(things) for things in scenes.objects]))
    weights = torch.stack([masks, masks.flip(-1)], dim=1)[:, :, None]
    weights = 1 + OBJECT_WEIGHT * weights
    return Latents(values * factor, weights / weights.mean(), factor)


def train_diffusion(
    scenes: Scenes,
    latents: Latents,
    captions: Captions,
    text: CLIPTextModel,
    folder: Path,
    until_s: float | None = None,
    bf16: bool = False,
    unet: UNet2DConditionModel | None = None,
    compiled: bool = False,
    steps: int | None = None,
) -> None:
    """scenes: of the latents and captions. text: the encoder as `models.starter.text` left it; it is trained on
    with the UNet. unet: one to begin with, in place of a new one. compiled: by `torch.compile`, which needs a C++
    compiler and two minutes, and saves a sixth of each step. steps: in place of the plan's."""
    torch.manual_seed(0)
    plan = PLAN if steps is None else replace(PLAN, steps=steps)
    vocabulary = text.config.vocab_size
    model = Taught(vocabulary).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.text.load_state_dict(text.state_dict())
    if unet is not None:
        model.unet.load_state_dict(unet.state_dict())
    model.unet.set_attn_processor(PlainAttention())
    taught = torch.compile(model.taught) if compiled else model.taught
    outlines = outline_targets(scenes)
    objective = Objective.of(DDIMScheduler(**SCHEDULER))
    count, _, forms, length = captions.tokens.shape
    single = np.flatnonzero(captions.number == 1)
    telling = np.argwhere(captions.tells_side)
    empty = _empty(vocabulary, length)

    def loss(step: int, noise: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([2, step])
        chosen = rng.integers(count, size=BATCH)
        if unet is None and step < SINGLES_UNTIL * plan.steps:
            chosen = np.where(rng.random(BATCH) < 0.6, rng.choice(single, BATCH), chosen)
        side, form = rng.integers(2, size=BATCH), rng.integers(forms, size=BATCH)
        if len(telling):
            drawn = telling[rng.integers(len(telling), size=BATCH)].T
            chosen, side, form = np.where(rng.random(BATCH) < TELLING, drawn, [chosen, side, form])
        tokens = captions.tokens[chosen, side, form].astype(np.int64)
        tokens[rng.random(BATCH) < EMPTY] = empty
        clean, weight = latents.values[chosen, side], latents.weights[chosen, side]
        levels = noise_levels(torch.rand(BATCH, generator=noise), len(objective.alphas))
        eps = torch.randn(clean.shape, generator=noise)
        said, logits, places = taught(objective.noised(clean, eps, levels), levels, torch.from_numpy(tokens))
        error = (said.float() - objective.target(clean, eps, levels)).square()
        second = outline_loss(logits.float(), outlines[chosen, side].float() / 255)
        target = torch.from_numpy(placed(captions.layout[chosen, side])).float()
        third = nn.functional.binary_cross_entropy_with_logits(places.float(), target, 1 + 8 * target)
        figures = {"plain": error.detach().mean(), "outlines": second.detach(), "places": third.detach()}
        value = (error * weight).mean() + OUTLINES * second + PLACES * third
        return value, {name: float(figure) for name, figure in figures.items()}

    train(NAME, model, loss, plan, folder, ema_decay=0.999, until_s=until_s, bf16=bf16)


def noise_levels(drawn: torch.Tensor, levels: int) -> torch.Tensor:
    """(n,) int64 steps of 0..levels - 1, from (n,) draws in 0..1: one from each of n equal parts, which varies less
    than independent draws, and more of them where there is more noise: there it is settled what stands where."""
    parts = (torch.arange(len(drawn)) + drawn) / len(drawn)
    return ((1 - (1 - parts) ** NOISIER) * levels).long().clamp(max=levels - 1)  # rounding reaches 1


def load_diffusion(vocabulary: int, folder: Path) -> Conditioned:
    """The averaged model of the checkpoint, in eval mode."""
    model = Conditioned(vocabulary)
    heads = ("outlines.", "places.")
    kept = {key: value for key, value in averaged(NAME, folder)[0].items() if not key.startswith(heads)}
    model.load_state_dict(kept)
    return model.eval()


def _empty(vocabulary: int, length: int) -> NDArray[np.int64]:
    """The tokens of an empty text: start, then the end to the last."""
    tokens = np.full(length, vocabulary - 1, np.int64)
    tokens[0] = vocabulary - 2
    return tokens

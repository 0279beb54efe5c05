"""A decoder of CLIP's embeddings of pictures, made of the starter diffusion model: what `evaluation.unclip` edits with.

The UNet begins as the diffusion model's; the projection of the embedding, which is added to that of the time, ends in
zeros. It is taught on a published dataset's pictures, told no words, a tenth of them without embedding. Not committed:
it is there to be compared with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from torch import Tensor, nn

from filters.clip import ClipJudge
from models.starter.diffusion import noise_levels
from models.starter.training import Plan, train
from shards.dataset import open_dataset
from shards.images import decode
from shards.tables import opened
from trainer.embedded import NORMALIZER, UNET, conditions
from trainer.examples import squeezed
from trainer.frozen import Frozen, text_to_image

NAME = "unclip"
PLAN = Plan(steps=3_000, rate=3e-4, warmup=200, last=0.02)
BATCH = 16
EMPTY = 0.1  # share of pictures that it is told nothing of
_AT_ONCE = 64


def decoder_of(unet: UNet2DConditionModel, width: int) -> UNet2DConditionModel:
    """The UNet with a projection of embeddings of `width` numbers and of a noise level, which says nothing yet."""
    config: dict[str, Any] = dict(unet.config)
    config |= {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 2 * width}
    made = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(config))
    missing = made.load_state_dict(unet.state_dict(), strict=False).missing_keys
    if any(not name.startswith("class_embedding.") for name in missing):
        raise ValueError(f"the UNet lacks {missing[0]}")
    last = cast(Any, made.class_embedding).linear_2
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return made


@torch.no_grad()
def encoded(uri: str, split: str, side: int, frozen: Frozen, clip: ClipJudge) -> tuple[Tensor, Tensor]:
    """Of both pictures of each pair: scaled latents (n, c, h, w), and embeddings (n, d), each of length 1. Raises
    StorageError."""
    latents, embeddings = [], []
    dataset = open_dataset(uri)
    for file in dataset.files("data", split):
        with opened(dataset.storage, file.path) as parquet:
            for part in parquet.iter_batches(_AT_ONCE // 2, columns=["original_image", "edited_image"]):
                shown = [squeezed(decode(one.as_py()), side) for column in part.columns for one in column]
                pixels = frozen.pixels(shown)
                latents.append(frozen.source(pixels) * float(frozen.vae.config.scaling_factor))
                embeddings.append(clip.embed_pixels((pixels + 1) / 2))
    if not latents:
        raise ValueError(f"{uri} has no pairs in its split {split!r}")
    return torch.cat(latents), torch.cat(embeddings)


def train_unclip(
    latents: Tensor,
    embeddings: Tensor,
    model: str,
    checkpoints: Path,
    out: Path,
    steps: int | None = None,
    until_s: float | None = None,
) -> None:
    """Teaches `model`'s UNet, a folder, and writes the decoder to `out`, as far as it has come by then."""
    torch.manual_seed(0)
    frozen = Frozen.load(model)
    plan = PLAN if steps is None else replace(PLAN, steps=steps)
    unet = decoder_of(text_to_image(model), embeddings.shape[1])
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=embeddings.shape[1])
    with torch.no_grad():
        normalizer.mean.copy_(embeddings.mean(dim=0, keepdim=True))
        normalizer.std.copy_(embeddings.std(dim=0, keepdim=True).clamp_min(1e-4))
    told = conditions(embeddings, normalizer).detach()
    null, objective = frozen.text([""]), frozen.objective

    def loss(step: int, noise: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = torch.randint(len(latents), (BATCH,), generator=noise)
        clean = latents[chosen]
        levels = noise_levels(torch.rand(BATCH, generator=noise), len(objective.alphas))
        eps = torch.randn(clean.shape, generator=noise)
        silent = torch.rand(BATCH, 1, generator=noise) < EMPTY
        labels = torch.where(silent, 0.0, told[chosen])
        words = null.expand(BATCH, -1, -1)
        noisy = objective.noised(clean, eps, levels)
        said = unet(noisy, levels, encoder_hidden_states=words, class_labels=labels).sample
        return (said - objective.target(clean, eps, levels)).square().mean(), {}

    about = f"{len(latents)} pictures, {plan}"
    average = train(NAME, unet, loss, plan, checkpoints, until_s=until_s, about=about)
    unet.load_state_dict(average)
    unet.save_pretrained(out / UNET, safe_serialization=True)
    normalizer.save_pretrained(out / NORMALIZER, safe_serialization=True)

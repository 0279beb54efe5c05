"""The trained parts as folders that plain diffusers and transformers load."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from models.starter.diffusion import SCHEDULER, Conditioned


def assemble(
    vae: AutoencoderKL, model: Conditioned, tokenizer: Path, factor: float
) -> StableDiffusionPipeline:
    """A `StableDiffusionPipeline` of the parts. factor: what latents are multiplied with for the UNet."""
    vae.register_to_config(scaling_factor=factor)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model.text,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        unet=model.unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """As `StableDiffusionPipeline.from_pretrained(folder)` reads it, in half precision."""
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)

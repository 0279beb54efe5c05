"""The trained parts as folders that plain diffusers and transformers load."""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
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
        # With noise, on 40 validation prompts, 7 had their sides right, without (DDIM) 2; little else differed.
        scheduler=EulerAncestralDiscreteScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """As `StableDiffusionPipeline.from_pretrained(folder)` reads it: halves on disk, single precision once loaded.

    The configurations keep saying float32: transformers loads a model in the precision that its own says, diffusers
    in single, and a pipeline of both would not run. Whoever wants halves asks for them with `dtype`.
    """
    pipeline.save_pretrained(folder, safe_serialization=True)
    for file in folder.rglob("*.safetensors"):
        tensors = load_file(file)
        halves = {
            name: value.half() if value.is_floating_point() else value for name, value in tensors.items()
        }
        save_file(halves, file, metadata={"format": "pt"})

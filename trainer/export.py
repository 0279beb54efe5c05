"""An editor as a folder that diffusers knows: `unet`, `vae`, `text_encoder` and so on, and `model_index.json`.

The plain editor's folder loads in diffusers' `StableDiffusionInstructPix2PixPipeline`; with spatial layers there is
`spatial` beside them, and `trainer.pipeline.SpatialPixPipeline` loads both.
"""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
from diffusers import EulerAncestralDiscreteScheduler

from trainer.frozen import Frozen

_CLASS = "StableDiffusionInstructPix2PixPipeline"


def export(frozen: Frozen, model: str | Path, folder: Path, revision: str | None = None) -> None:
    """Writes all but the editor's own weights, which `SpatialEditor.save` or `Learner.averaged` put there. model: where
    `frozen` came from, for its noise schedule."""
    frozen.vae.save_pretrained(folder / "vae", safe_serialization=True)
    frozen.text_encoder.save_pretrained(folder / "text_encoder", safe_serialization=True)
    frozen.tokenizer.save_pretrained(folder / "tokenizer")
    scheduler = EulerAncestralDiscreteScheduler.from_pretrained(
        model, subfolder="scheduler", revision=revision
    )
    scheduler.save_pretrained(folder / "scheduler")
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
    }
    index = {"_class_name": _CLASS, "_diffusers_version": diffusers.__version__, **parts}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

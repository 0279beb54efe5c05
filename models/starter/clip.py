"""The starter CLIP: a small open_clip model (ResNet and transformer), trained on the starter world's captions.

Contrastive as CLIP, with hard negatives as NegCLIP (Yuksekgonul et al. 2023, "When and Why Vision-Language Models
Behave like Bags-of-Words"): beside the other captions of the batch each picture must refuse its own caption with
one attribute changed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from models.starter.captions import Captions
from models.starter.tokenizer import LENGTH
from models.starter.training import Plan, averaged, train
from models.starter.vae import as_tensor
from models.starter.world import IMAGE_SIZE

NAME = "clip"
PLAN = Plan(steps=2_300, rate=1.2e-3, warmup=150)
BATCH = 96
PREPROCESS = {
    "size": IMAGE_SIZE,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def config(vocabulary: int) -> dict[str, Any]:
    """open_clip's `model_cfg`."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
        "text_cfg": {
            "context_length": LENGTH,
            "vocab_size": vocabulary,
            "width": 128,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": "tokenizer",  # from a local folder it is read from there, whatever the name
            "tokenizer_kwargs": {"clean": "whitespace"},
        },
    }


def make_clip(vocabulary: int) -> open_clip.CLIP:
    settings = config(vocabulary)
    return open_clip.CLIP(
        settings["embed_dim"],
        open_clip.CLIPVisionCfg(**settings["vision_cfg"]),
        open_clip.CLIPTextCfg(**settings["text_cfg"]),
    )


def train_clip(
    images: NDArray[np.uint8],
    captions: Captions,
    vocabulary: int,
    folder: Path,
    until_s: float | None = None,
    bf16: bool = False,
) -> None:
    """images: (n, 128, 128, 3) uint8, those of the captions, in their order."""
    torch.manual_seed(0)
    model = make_clip(vocabulary).to(memory_format=torch.channels_last)
    count, _, forms, _ = captions.tokens.shape
    truth = torch.arange(BATCH)

    def loss(step: int, _: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([3, step])
        chosen = rng.choice(count, size=BATCH, replace=False)
        side, form = rng.integers(2, size=BATCH), rng.integers(forms, size=BATCH)
        pictures = np.stack([images[i, :, ::-1] if flip else images[i] for i, flip in zip(chosen, side)])
        seen = model.encode_image(_jitter(as_tensor(pictures), rng), normalize=True)
        right = captions.tokens[chosen, side, form]
        wrong = captions.wrong[chosen, side, form]
        texts = torch.from_numpy(np.concatenate([right, wrong]).astype(np.int64))
        said = model.encode_text(texts, normalize=True)
        with torch.autocast("cpu", enabled=False):  # the temperature magnifies what bfloat16 would round
            logits = (
                model.logit_scale.exp().clamp(max=100) * seen.float() @ said.float().T
            )  # (BATCH, 2 BATCH)
        # A caption that fits two pictures of the batch would teach a falsehood: equal texts count once.
        same = (texts[:BATCH, None] == texts[None]).all(-1)
        same[truth, truth] = False
        logits = logits.masked_fill(same, -1e4)
        to_text = nn.functional.cross_entropy(logits, truth)
        to_image = nn.functional.cross_entropy(logits[:, :BATCH].T, truth)
        with torch.no_grad():
            told = logits[truth, truth] > logits[truth, truth + BATCH]
        return (to_text + to_image) / 2, {"told": float(told.float().mean())}

    train(NAME, model, loss, PLAN, folder, ema_decay=0.999, weight_decay=0.05, until_s=until_s, bf16=bf16)


def save_clip(vocabulary: int, tokenizer: Path, checkpoints: Path, folder: Path) -> None:
    """The averaged model as `open_clip.create_model_and_transforms("local-dir:...")` loads it."""
    model = make_clip(vocabulary)
    model.load_state_dict(averaged(NAME, checkpoints)[0])
    folder.mkdir(parents=True, exist_ok=True)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder / file.name)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    about = {"model_cfg": config(vocabulary), "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(about, indent=2) + "\n")


def _jitter(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A little gain, offset and noise, so that the model looks at shapes and colours, not at pixels."""
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(pixels), 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.05, 0.05, (len(pixels), 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 0.02, pixels.shape).astype(np.float32))
    return (pixels * gain + shift + noise).to(memory_format=torch.channels_last)

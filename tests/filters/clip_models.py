"""A tiny open_clip model with random weights, in a folder as open_clip loads it: real in all but size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from filters.clip import Pair

SIZE, LENGTH = 32, 12
WORDS = ("a", "red", "blue", "green", "ball", "cube", "mug", "cat", "left", "right", "of", "the", "on", "and")
PREPROCESS = {"size": SIZE, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "resize_mode": "shortest"}


def settings(**text: Any) -> dict[str, Any]:
    return {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
            "text_cfg": {
                "context_length": LENGTH, "vocab_size": len(WORDS) + 4, "width": 32, "heads": 2, "layers": 2,
                "hf_tokenizer_name": "tokenizer", "tokenizer_kwargs": {"clean": "whitespace"}, **text,
            },
        },
        "preprocess_cfg": dict(PREPROCESS),
    }  # fmt: skip


def save(folder: Path, seed: int = 0) -> Path:
    """Writes configuration, weights and tokenizer; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(settings()))
    config = settings()["model_cfg"]
    torch.manual_seed(seed)
    model = open_clip.CLIP(
        config["embed_dim"], config["vision_cfg"], open_clip.CLIPTextCfg(**config["text_cfg"])
    )
    with torch.no_grad():
        for parameter in model.parameters():  # larger than at the start of a training: embeddings spread
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors"
    )
    return folder


def tokenizer(folder: Path) -> None:
    words = ["<pad>", "<unk>", *WORDS, "<start>", "<end>"]  # the last has the largest id: CLIP pools there
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, words.index(word)) for word in ("<start>", "<end>")]
    plain.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(folder)


def pairs(count: int, size: int = 40, seed: int = 0) -> list[Pair]:
    """Noise and random words, before and after different."""
    rng = np.random.default_rng(seed)

    def caption(number: int) -> str:  # the number's digits make captions differ
        return " ".join([*rng.choice(WORDS, 4), WORDS[number % len(WORDS)], WORDS[number // len(WORDS)]])

    def picture() -> np.ndarray:
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        return np.kron(coarse, np.ones((size // 5, size // 5, 1), np.uint8))

    return [Pair(picture(), picture(), caption(2 * n), caption(2 * n + 1)) for n in range(count)]

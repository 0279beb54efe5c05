"""The starter text encoder: `transformers.CLIPTextModel`, first taught what captions say of places.

Which colour belongs to which thing is what small diffusion models learn last. A text encoder can learn it alone,
thousands of captions a second: from the last token's state a throw-away head must say which kind and which colour
stand in which cell of the picture, and which kind has which colour. Then the UNet is trained together with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from models.starter.captions import Captions, Tokens
from models.starter.tokenizer import LENGTH
from models.starter.training import Plan, averaged, train

NAME = "text"
WIDTH = 192
PLAN = Plan(steps=3_000, rate=1e-3, warmup=200)
BATCH = 128


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    """vocabulary: the tokenizer's size; its last two tokens are start and end, the end also fills up."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=WIDTH,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


class LayoutModel(nn.Module):
    """The text encoder with its throw-away head. forward: (b, LENGTH) int64 to (b, targets) logits."""

    def __init__(self, vocabulary: int, targets: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary)
        self.head = nn.Sequential(nn.Linear(WIDTH, 512), nn.GELU(), nn.Linear(512, targets))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(tokens).pooler_output)
        return logits


def train_text(
    captions: Captions, vocabulary: int, folder: Path, until_s: float | None = None, bf16: bool = False
) -> None:
    torch.manual_seed(0)
    model = LayoutModel(vocabulary, captions.layout.shape[-1])
    count, _, forms, _ = captions.tokens.shape

    def loss(step: int, _: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([1, step])
        chosen, side, form = (
            rng.integers(count, size=BATCH),
            rng.integers(2, size=BATCH),
            rng.integers(forms, size=BATCH),
        )
        tokens = without_end(captions.tokens[chosen, side, form], vocabulary)
        target = torch.from_numpy(captions.layout[chosen, side]).float()
        # Most cells are empty: what is there must weigh as much as what is not.
        weight = 1 + 8 * target
        value = nn.functional.binary_cross_entropy_with_logits(model(tokens).float(), target, weight)
        return value, {}

    train(NAME, model, loss, PLAN, folder, until_s=until_s, bf16=bf16)


def without_end(tokens: Tokens, vocabulary: int) -> torch.Tensor:
    """(b, longest) int64: texts without what fills all of them up. Attention is causal: what comes before the
    end knows nothing of what comes after."""
    longest = int((tokens != vocabulary - 1).sum(axis=1).max()) + 1
    return torch.from_numpy(tokens[:, :longest].astype(np.int64))


def load_text(vocabulary: int, folder: Path) -> CLIPTextModel:
    """The averaged text encoder of the checkpoint, without the head."""
    weights = averaged(NAME, folder)[0]
    encoder = make_text_encoder(vocabulary)
    encoder.load_state_dict(
        {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    )
    return encoder

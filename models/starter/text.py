"""The starter text encoder: `transformers.CLIPTextModel`, first taught what captions say of places.

Which colour belongs to which thing is what small diffusion models learn last. A text encoder can learn it alone,
thousands of captions a second: from the last token's state a throw-away head must say which kind and which colour
stand in which cell of the picture, which kind has which colour, and which of two is on the left. Then the UNet is
trained together with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from models.starter.captions import SIDES, Captions, Tokens
from models.starter.tokenizer import LENGTH
from models.starter.training import Plan, averaged, train

NAME = "text"
WIDTH = 192
PLAN = Plan(steps=2_000, rate=7e-4, warmup=200)
BATCH = 128
TELLING = (
    0.75  # share of a batch that says left or right. Among captions that do not, sides are not learned at all
)
SIDES_WEIGHT = 0.2
NEAR = 24  # captions of a batch, and
NEAR_WEIGHT = 0.1  # the weight, of staying near the encoder that was begun with
_entropy = nn.functional.binary_cross_entropy_with_logits


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
    """The text encoder with its throw-away heads. forward: (b, LENGTH) int64 to (b, layout) and (b, SIDES) logits."""

    def __init__(self, vocabulary: int, layout: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary)
        self.layout = layout
        self.head = nn.Sequential(nn.Linear(WIDTH, 512), nn.GELU(), nn.Linear(512, layout + SIDES))

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(self.encoder(tokens).pooler_output)
        return logits[:, : self.layout], logits[:, self.layout :]


def train_text(
    captions: Captions,
    vocabulary: int,
    folder: Path,
    until_s: float | None = None,
    bf16: bool = False,
    start: CLIPTextModel | None = None,
) -> None:
    """start: an encoder that a UNet was trained with, to begin with and to stay near to, so that the UNet
    goes on understanding it."""
    torch.manual_seed(0)
    model = LayoutModel(vocabulary, captions.layout.shape[-1])
    if start is not None:
        model.encoder.load_state_dict(start.state_dict())
    count, _, forms, _ = captions.tokens.shape
    known = captions.tells_side
    telling = np.argwhere(known)

    def loss(step: int, _: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([1, step])
        which = np.stack([rng.integers(size, size=BATCH) for size in (count, 2, forms)])
        if len(telling):
            which[:, : round(TELLING * BATCH)] = telling[
                rng.integers(len(telling), size=round(TELLING * BATCH))
            ].T
        picture, side, form = which
        layout, sides = model(without_end(captions.tokens[picture, side, form], vocabulary))
        target = torch.from_numpy(captions.layout[picture, side]).float()
        # Most cells are empty: what is there must weigh as much as what is not.
        value = _entropy(layout.float(), target, 1 + 8 * target)
        figures = {}
        told = known[picture, side, form][:, None]
        said = torch.from_numpy(np.where(told, captions.sides[picture, side], -1))
        if (there := said >= 0).any():
            guessed, right = sides.float()[there], said[there].float()
            value = value + SIDES_WEIGHT * _entropy(guessed, right)
            figures["sides"] = float(((guessed.detach() > 0) == (right > 0)).float().mean())
        if start is not None:
            tokens = torch.from_numpy(
                captions.tokens[picture[-NEAR:], side[-NEAR:], form[-NEAR:]].astype(np.int64)
            )
            with torch.no_grad():
                before = start(tokens).last_hidden_state.float()
            apart = (model.encoder(tokens).last_hidden_state.float() - before).square().mean()
            figures["apart"] = float(apart.detach())
            value = value + NEAR_WEIGHT * apart
        return value, figures

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

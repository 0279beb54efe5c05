"""The starter text encoder: `transformers.CLIPTextModel`, first taught what captions say of places.

Which colour belongs to which thing is what small diffusion models learn last. A text encoder can learn it alone,
thousands of captions a second: from the last token's state a throw-away head must say which kind and which colour
stand in which cell of the picture, which kind has which colour, and which of two is on the left. What the UNet is to
do with that is hard to learn from one state for the whole picture; so the last tokens, which no caption fills with
words, each say what stands in one cell, and where to look follows from the place alone. Then the UNet is trained
together with the encoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from models.starter.captions import GRID, PLACED, SIDES, Captions, placed
from models.starter.tokenizer import LENGTH
from models.starter.training import Plan, averaged, train

NAME = "text"
WIDTH = 192
PLAN = Plan(steps=2_000, rate=7e-4, warmup=200)
BATCH = 96
CELLS = GRID**2  # last tokens, where nothing but the end is said: each says what stands in one cell
TELLING = 0.75  # share of a batch that says left or right: drawn from all captions, sides stay at chance
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
    """The text encoder with its throw-away heads. forward: (b, LENGTH) int64 to (b, layout), (b, SIDES) and
    (b, CELLS, PLACED) logits, the last of what each of the last CELLS tokens says of its cell."""

    def __init__(self, vocabulary: int, layout: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary)
        self.layout = layout
        self.head = nn.Sequential(nn.Linear(WIDTH, 512), nn.GELU(), nn.Linear(512, layout + SIDES))
        self.cell = nn.Linear(WIDTH, PLACED)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        said = self.encoder(tokens)
        logits = self.head(said.pooler_output)
        cells = self.cell(said.last_hidden_state[:, -CELLS:])
        return logits[:, : self.layout], logits[:, self.layout :], cells


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
        tokens = torch.from_numpy(captions.tokens[picture, side, form].astype(np.int64))
        layout, sides, cells = model(tokens)
        target = torch.from_numpy(captions.layout[picture, side]).float()
        # Most cells are empty: what is there must weigh as much as what is not.
        value = _entropy(layout.float(), target, 1 + 8 * target)
        figures = {}
        free = tokens[:, -CELLS:] == vocabulary - 1  # of few captions the words reach so far
        shown = torch.from_numpy(placed(captions.layout[picture, side])).float().flatten(2).transpose(1, 2)
        second = _entropy(cells.float(), shown, (1 + 8 * shown) * free[..., None])
        value, figures["cells"] = value + second, float(second.detach())
        told = known[picture, side, form][:, None]
        said = torch.from_numpy(np.where(told, captions.sides[picture, side], -1))
        if (there := said >= 0).any():
            guessed, right = sides.float()[there], said[there].float()
            value = value + SIDES_WEIGHT * _entropy(guessed, right)
            figures["sides"] = float(((guessed.detach() > 0) == (right > 0)).float().mean())
        if start is not None:
            with torch.no_grad():
                before = start(tokens[-NEAR:]).last_hidden_state[:, :-CELLS].float()
            after = model.encoder(tokens[-NEAR:]).last_hidden_state[:, :-CELLS].float()
            apart = (after - before).square().mean()
            figures["apart"] = float(apart.detach())
            value = value + NEAR_WEIGHT * apart
        return value, figures

    train(NAME, model, loss, PLAN, folder, until_s=until_s, bf16=bf16)


def load_text(vocabulary: int, folder: Path) -> CLIPTextModel:
    """The averaged text encoder of the checkpoint, without the head."""
    weights = averaged(NAME, folder)[0]
    encoder = make_text_encoder(vocabulary)
    encoder.load_state_dict(
        {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    )
    return encoder

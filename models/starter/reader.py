"""Training the reader: `python -m models.starter reader-train`, which goes on exactly where it stopped.

Every draw comes from the seed and the number of the step alone, so a run that was killed and one that was not
end in the same weights (on the same machine with the same number of threads).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load as safetensors_read
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from torch.nn import functional

from filters.reader import CONFIG as CONFIG_FILE
from filters.reader import WEIGHTS, to_tensor, write_config
from filters.reader_net import STRIDE, Dense, Looks, ReaderConfig, ReaderNet, iou
from models.starter.reader_data import CONFIG, Labelled, Things, varied
from models.starter.training import Plan, averaged, train
from models.starter.world import SEED

NAME = "reader"


@dataclass(frozen=True, slots=True)
class Recipe:
    """steps, batch: pictures seen are their product. rate: the highest learning rate; it rises over `warmup` steps
    and falls to zero as a cosine. average: decay of the weights' moving average, which is what is kept.
    round_trip_share: of pictures taken through the VAE, where there is one. bf16: convolutions in bfloat16:
    faster on a CPU with AVX-512 BF16, slower than float32 on one without."""

    steps: int = 8000
    batch: int = 32
    rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.03
    average: float = 0.998
    round_trip_share: float = 0.4
    bf16: bool = False
    seed: int = SEED


def train_reader(
    data: Labelled,
    recipe: Recipe,
    folder: Path,
    config: ReaderConfig = CONFIG,
    until_s: float | None = None,
    start: Path | None = None,
) -> None:
    """To the recipe's last step, from folder/reader.pt where that is. data: at least one thing in each picture.

    start: folder of weights to begin from, of the same configuration; None: from nothing.
    Raises ValueError for the checkpoint of another recipe, network, VAE, beginning or set of pictures.
    """
    cv2.setNumThreads(1)  # one small picture at a time: more threads only wait for each other
    torch.manual_seed(recipe.seed)
    net = ReaderNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    about = _about(data, recipe, config)
    if start is not None:
        weights = (start / WEIGHTS).read_bytes()
        net.load_state_dict(safetensors_read(weights))
        about += hashlib.sha256(weights).hexdigest()
    draw = batches(data, recipe)

    def loss(step: int, _: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pictures, things, owner = draw(step)
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout and the boxes' jitter
        parts = losses(net, pictures, things, owner)
        return torch.stack(list(parts.values())).sum(), {
            name: float(part.detach()) for name, part in parts.items()
        }

    train(
        NAME,
        net,
        loss,
        Plan(recipe.steps, recipe.rate, recipe.warmup, last=0.0),
        folder,
        ema_decay=recipe.average,
        weight_decay=recipe.weight_decay,
        clip=5.0,
        bf16=recipe.bf16,
        every_s=60.0,
        until_s=until_s,
        about=about,
    )


def batches(data: Labelled, recipe: Recipe) -> Callable[[int], tuple[Tensor, Things, Tensor]]:
    """What a step learns from: pictures (n, 3, h, h) in 0..1, their things, and (m,) int64, each thing's picture.

    Every picture comes once an epoch, in an order of the epoch's own.
    """
    order: tuple[int, Any] = (-1, None)

    def draw(step: int) -> tuple[Tensor, Things, Tensor]:
        nonlocal order
        images, rows, counts = [], [], []
        for place in range(step * recipe.batch, (step + 1) * recipe.batch):
            epoch, position = divmod(place, len(data))
            if order[0] != epoch:
                order = (epoch, np.random.default_rng([recipe.seed, epoch]).permutation(len(data)))
            picture = int(order[1][position])
            rng = np.random.default_rng([recipe.seed, place, 1])
            worn = data.round_trips is not None and rng.random() < recipe.round_trip_share
            source = data.round_trips if worn and data.round_trips is not None else data.images
            image, things = varied(source[picture], data.of(picture), rng)
            images.append(image)
            rows.append(things)
            counts.append(len(things))
        pictures = to_tensor(np.stack(images)).contiguous(memory_format=torch.channels_last)
        owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return pictures, _joined(rows), owner

    return draw


def _about(data: Labelled, recipe: Recipe, config: ReaderConfig) -> str:
    digest = hashlib.sha256("\n".join(data.ids).encode())
    if data.round_trips is not None:
        digest.update(np.ascontiguousarray(data.round_trips[0]).data)
    network = json.loads(write_config(config))
    return json.dumps({"recipe": asdict(recipe), "config": network, "data": digest.hexdigest()})


def _joined(rows: list[Things]) -> Things:
    return Things(
        np.concatenate([row.boxes for row in rows]),
        np.concatenate([row.centres for row in rows]),
        np.concatenate([row.kinds for row in rows]),
        np.concatenate([row.colors for row in rows]),
        np.concatenate([row.materials for row in rows]),
        np.concatenate([row.yaws for row in rows]),
        np.concatenate([row.lopsided for row in rows]),
    )


# --- losses -------------------------------------------------------------------------------------------------


def losses(net: ReaderNet, pictures: Tensor, things: Things, owner: Tensor) -> dict[str, Tensor]:
    """The weighted parts of the loss. pictures: (n, 3, size, size). owner: (m,) int64, each thing's picture."""
    boxes = torch.from_numpy(things.boxes)
    dense = net.dense(pictures)
    first, guesses = _dense_boxes(dense, boxes, owner)
    looked_at = _boxes_to_look_at(boxes, guesses)
    looks = net.look(dense, looked_at, owner)
    heat = heat_target(boxes, owner, len(pictures), dense.heat.shape[1])
    return {
        "heat": _focal(dense.heat, heat) / len(boxes),
        "box": first,
        **_look_losses(looks, looked_at, boxes, things),
    }


def heat_target(boxes: Tensor, owner: Tensor, pictures: int, cells: int) -> Tensor:
    """(pictures, cells, cells): 1 at the cell of each box's middle, falling off as a Gaussian as wide as the box."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE
    cell = middle.floor().clamp(0, cells - 1)
    spread = ((boxes[:, 2:] - boxes[:, :2]) / STRIDE / 7).clamp(min=0.6)
    steps = torch.arange(cells, dtype=boxes.dtype)
    x = torch.exp(-(((steps[None] - cell[:, :1]) / spread[:, :1]) ** 2) / 2)
    y = torch.exp(-(((steps[None] - cell[:, 1:]) / spread[:, 1:]) ** 2) / 2)
    each = y[:, :, None] * x[:, None, :]
    target = torch.zeros(pictures, cells, cells)
    return target.scatter_reduce(0, owner[:, None, None].expand_as(each), each, "amax")


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """CenterNet's penalty-reduced focal loss, summed."""
    p = logits.sigmoid()
    peak = (1 - p) ** 2 * functional.logsigmoid(logits)
    rest = (1 - target) ** 4 * p**2 * functional.logsigmoid(-logits)
    return -torch.where(target == 1, peak, rest).sum()


def _dense_boxes(dense: Dense, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the boxes given by the nine cells about each middle, and the middle cell's boxes (m, 4)."""
    cells = dense.heat.shape[1]
    cell = ((boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE).long()
    around = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2))
    near = (cell[:, None] + around[None]).clamp(0, cells - 1)  # (m, 9, 2)
    given = dense.boxes[owner[:, None], near[..., 1], near[..., 0]]
    loss = functional.smooth_l1_loss(given / 8, boxes[:, None].expand_as(given) / 8, beta=0.1)
    return loss, given[:, 4].detach()


def _boxes_to_look_at(boxes: Tensor, guesses: Tensor) -> Tensor:
    """What the second look is trained on: half the network's own guesses, where they are any good, half the
    right boxes with trembling edges, as the corrected ones are."""
    span = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    trembling = boxes + torch.randn_like(boxes) * 0.04 * span
    good = iou(guesses, boxes).diagonal() > 0.5
    return torch.where((good & (torch.rand(len(boxes)) < 0.5))[:, None], guesses, trembling)


def _look_losses(looks: Looks, looked_at: Tensor, boxes: Tensor, things: Things) -> dict[str, Tensor]:
    span = (looked_at[:, 2:] - looked_at[:, :2]).clamp(min=1)
    edges = functional.smooth_l1_loss(
        looks.boxes / span.repeat(1, 2) * 10, boxes / span.repeat(1, 2) * 10, beta=0.1
    )
    centres = functional.smooth_l1_loss(
        looks.centres / span * 10, torch.from_numpy(things.centres) / span * 10, beta=0.1
    )
    parts = {
        "edges": edges,
        "centre": 0.5 * centres,
        "kind": functional.cross_entropy(looks.kind, torch.from_numpy(things.kinds)),
        "color": functional.cross_entropy(looks.color, torch.from_numpy(things.colors)),
        "material": functional.cross_entropy(looks.material, torch.from_numpy(things.materials)),
    }
    turned = torch.from_numpy(np.isfinite(things.yaws))
    angle = torch.deg2rad(torch.from_numpy(np.nan_to_num(things.yaws)))
    # Squared error: the best answer to an angle in doubt is the mean direction, which is short.
    miss = (looks.turn - torch.stack([angle.sin(), angle.cos()], dim=1)).square().sum(dim=1)
    parts["turn"] = 2 * (miss * turned).sum() / turned.sum().clamp(min=1)
    return parts


def save(checkpoints: Path, folder: Path, config: ReaderConfig = CONFIG) -> None:
    """The averaged weights as fp16, and their configuration: what `filters.reader.Reader.load` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in averaged(NAME, checkpoints)[0].items()
    }
    (folder / WEIGHTS).write_bytes(safetensors_bytes(halves))
    (folder / CONFIG_FILE).write_bytes(write_config(config))

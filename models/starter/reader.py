"""Training the reader: `python -m models.starter reader-train`, which goes on exactly where it stopped.

Every draw comes from the seed and the number of the step alone, so a run that was killed and one that was not
end in the same weights (on the same machine with the same number of threads).
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from torch.nn import functional

from filters.reader import CONFIG as CONFIG_FILE
from filters.reader import WEIGHTS, to_tensor, write_config
from filters.reader_net import STRIDE, Dense, Looks, ReaderConfig, ReaderNet, iou
from models.starter.reader_data import CONFIG, Labelled, Things, varied
from models.starter.world import SEED
from shards.storage import NotFound, Storage

CHECKPOINT = "checkpoints/reader.pt"


@dataclass(frozen=True, slots=True)
class Recipe:
    """steps, batch: pictures seen are their product. rate: the highest learning rate; it rises over `warmup` steps
    and falls to zero as a cosine. average: decay of the weights' moving average, which is what is kept.
    round_trip_share: of pictures taken through the VAE, where there is one. bf16: convolutions in bfloat16: 1.7
    times the speed on a CPU with AVX-512 BF16, slower than float32 on one without."""

    steps: int = 9000
    batch: int = 32
    rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.03
    average: float = 0.998
    round_trip_share: float = 0.4
    bf16: bool = False
    seed: int = SEED


class Trainer:
    """A network on its way. `step` counts the steps done; `average` is the state whose weights are kept.

    data: at least one picture with at least one thing in each.
    """

    def __init__(self, data: Labelled, recipe: Recipe, config: ReaderConfig = CONFIG) -> None:
        torch.manual_seed(recipe.seed)
        self.data, self.recipe, self.config = data, recipe, config
        self.net = ReaderNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.average = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self._order: tuple[int, Any] = (-1, None)

    def advance(self) -> dict[str, float]:
        """One step. Returns the parts of the loss."""
        began = time.monotonic()
        recipe = self.recipe
        pictures, things, owner = self._batch()
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)  # dropout and the boxes' jitter
        self.net.train()
        rise = min(1.0, (self.step + 1) / recipe.warmup)
        fall = 0.5 * (1 + np.cos(np.pi * self.step / recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * rise * float(fall)
        parts = losses(self.net, pictures, things, owner, recipe.bf16)
        total = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        decay = min(recipe.average, self.step / (self.step + 10))
        for name, tensor in self.net.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)
        self.seconds += time.monotonic() - began
        return {name: float(part.detach()) for name, part in parts.items()}

    def _batch(self) -> tuple[Tensor, Things, Tensor]:
        recipe, data = self.recipe, self.data
        images, rows, counts = [], [], []
        for place in range(self.step * recipe.batch, (self.step + 1) * recipe.batch):
            epoch, position = divmod(place, len(data))
            if self._order[0] != epoch:
                self._order = (epoch, np.random.default_rng([recipe.seed, epoch]).permutation(len(data)))
            picture = int(self._order[1][position])
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

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "about": self.about(),
            "ids": list(self.data.ids),
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }

    def about(self) -> str:
        """What must be the same for a run to go on."""
        digest = hashlib.sha256("\n".join(self.data.ids).encode())
        if self.data.round_trips is not None:
            digest.update(np.ascontiguousarray(self.data.round_trips[0]).data)
        config = json.loads(write_config(self.config))
        return json.dumps({"recipe": asdict(self.recipe), "config": config, "data": digest.hexdigest()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for the checkpoint of another recipe, network or set of pictures."""
        if state["about"] != self.about():
            raise ValueError(
                "the checkpoint was made with another recipe, network, VAE or other pictures: "
                "repeat the command that began it, or start anew with --fresh"
            )
        self.net.load_state_dict(state["net"])
        self.average = {name: tensor.clone() for name, tensor in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


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


def losses(
    net: ReaderNet, pictures: Tensor, things: Things, owner: Tensor, bf16: bool = False
) -> dict[str, Tensor]:
    """The weighted parts of the loss. pictures: (n, 3, size, size). owner: (m,) int64, each thing's picture."""
    boxes = torch.from_numpy(things.boxes)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
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


# --- the run ------------------------------------------------------------------------------------------------


def saved_ids(cache: Storage) -> list[str] | None:
    """The pictures that an unfinished run learns from, so that it goes on with the same while more are made."""
    state = _checkpoint(cache)
    return None if state is None else list(state["ids"])


def _checkpoint(cache: Storage) -> dict[str, Any] | None:
    try:
        data = cache.read(CHECKPOINT)
    except NotFound:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    return state


def train(trainer: Trainer, cache: Storage, every: float = 60.0) -> Trainer:
    """Runs to the recipe's last step from the checkpoint in the cache, if there is one; saves every so many
    seconds. Raises ValueError for the checkpoint of another recipe."""
    cv2.setNumThreads(1)  # one small picture at a time: more threads only wait for each other
    state = _checkpoint(cache)
    if state is not None:
        trainer.restore(state)
        print(f"goes on from step {trainer.step}", flush=True)
    saved = reported = time.monotonic()
    seen = trainer.step
    while trainer.step < trainer.recipe.steps:
        parts = trainer.advance()
        now = time.monotonic()
        if now - reported >= 20:
            rate = (trainer.step - seen) * trainer.recipe.batch / (now - reported)
            text = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
            print(f"step {trainer.step}/{trainer.recipe.steps} {rate:.0f} images/s {text}", flush=True)
            reported, seen = now, trainer.step
        if now - saved >= every or trainer.step == trainer.recipe.steps:
            buffer = io.BytesIO()
            torch.save(trainer.state(), buffer)
            cache.write(CHECKPOINT, buffer.getvalue())
            saved = now
    return trainer


def save(trainer: Trainer, folder: Path) -> None:
    """The averaged weights as fp16, and their configuration: what `filters.reader.Reader.load` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in trainer.average.items()
    }
    (folder / WEIGHTS).write_bytes(safetensors_bytes(halves))
    (folder / CONFIG_FILE).write_bytes(write_config(trainer.config))


def chosen(data: Labelled, ids: list[str]) -> Labelled:
    """The pictures of these ids, in this order. Raises ValueError where one is missing."""
    place = {name: number for number, name in enumerate(data.ids)}
    if not place.keys() >= set(ids):
        raise ValueError("pictures that the checkpoint learned from are gone from the cache: use --fresh")
    rows = [place[name] for name in ids]
    if rows == list(range(len(data))):
        return data
    starts = np.cumsum([0, *(len(data.of(row)) for row in rows)])
    return replace(
        data,
        ids=tuple(ids),
        images=data.images[rows],
        things=_joined([data.of(row) for row in rows]),
        starts=starts,
        round_trips=None if data.round_trips is None else data.round_trips[rows],
    )

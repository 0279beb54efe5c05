"""What every recipe needs: checkpoints that survive a kill, averaged weights, a schedule, and lines of progress.

A checkpoint holds everything that a step depends on, and batches are drawn from (seed, step): a run that was
stopped anywhere goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Tensors = Mapping[str, torch.Tensor]


class Ema:
    """An exponential moving average of a model's parameters and buffers.

    decay: of the old average at each step, reached by a warm-up so that the first steps do not linger.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)


@dataclass(frozen=True, slots=True)
class Plan:
    """steps: in all. rate: the largest learning rate, after `warmup` steps; it ends at `last` times that."""

    steps: int
    rate: float
    warmup: int = 500
    last: float = 0.02

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then a half cosine."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.rate * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * share)))


def train(
    name: str,
    model: nn.Module,
    loss: Callable[[int, torch.Generator], tuple[torch.Tensor, Mapping[str, float]]],
    plan: Plan,
    folder: Path,
    *,
    ema_decay: float = 0.999,
    weight_decay: float = 0.01,
    clip: float = 1.0,
    bf16: bool = False,
    every_s: float = 120.0,
    until_s: float | None = None,
    about: str = "",
) -> dict[str, torch.Tensor]:
    """Trains `model` in place with AdamW to the plan's end, without decay of biases and norms. The averaged weights.

    loss: of one step, from its number and a generator seeded by it; also figures to print. folder: where
    `<name>.pt` is kept, written every `every_s` seconds and at the end. until_s: stop, resumable, after so many
    seconds of this call. bf16: the loss is computed under autocast to bfloat16, which on a CPU pays only where
    that has AVX-512 BF16. about: what must be the same for a checkpoint to be gone on from: settings, a digest of
    the data; ValueError where it is not.
    """
    path = folder / f"{name}.pt"
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=plan.rate, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True
    )
    ema = Ema(model, ema_decay)
    step, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        if "model" not in state or state.get("about") != about:  # adopted weights have no run to go on with
            raise ValueError(
                f"{path} was made with other settings or pictures: repeat the command that began it, or delete it"
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.average = state["ema"]
        step, spent = state["step"], state["seconds"]
        print(f"{name}: goes on from step {step} of {plan.steps}, {spent / 3600:.2f} h so far", flush=True)
    began = saved = time.monotonic()
    sums: dict[str, float] = {}
    since = 0

    def save() -> None:
        values: dict[str, Any] = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ema": ema.average,
            "step": step,
            "about": about,
            "seconds": spent + time.monotonic() - began,
        }
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(values, part)
        part.replace(path)

    model.train()
    while step < plan.steps:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), _attention(bf16):
            value, figures = loss(step, torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        if torch.isfinite(norm):
            optimizer.step()
        ema.update(model, step)
        step, since = step + 1, since + 1
        for key, figure in {"loss": float(value.detach()), "norm": float(norm), **figures}.items():
            sums[key] = sums.get(key, 0.0) + figure
        now = time.monotonic()
        over = until_s is not None and now - began >= until_s
        if now - saved >= every_s or over or step == plan.steps:
            rate = since / (now - saved)
            told = " ".join(f"{key} {total / since:.4f}" for key, total in sums.items())
            left = (plan.steps - step) / rate / 3600
            print(
                f"{name}: step {step}/{plan.steps} {told} | {rate:.2f} steps/s, {left:.2f} h left", flush=True
            )
            save()
            sums, since, saved = {}, 0, time.monotonic()
        if over:
            break
    return ema.average


def _attention(bf16: bool) -> AbstractContextManager[None]:
    """In bfloat16 the backward pass of a CPU's fused attention is slower than that of its three plain products."""
    return sdpa_kernel(SDPBackend.MATH) if bf16 else nullcontext()


def averaged(name: str, folder: Path) -> tuple[dict[str, torch.Tensor], int, float]:
    """The checkpoint's averaged weights, its step, and the seconds that it took.

    Raises FileNotFoundError, saying which recipe makes it.
    """
    path = folder / f"{name}.pt"
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint {path}: train {name!r} first (python -m models.starter --help)"
        )
    state = torch.load(path, weights_only=True)
    return state["ema"], int(state["step"]), float(state["seconds"])


def adopt(name: str, folder: Path, weights: Tensors) -> None:
    """Puts weights that were made elsewhere where `averaged` finds them, as a run of no steps that is over."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"ema": dict(weights), "step": 0, "seconds": 0.0}, folder / f"{name}.pt")

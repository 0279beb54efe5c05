"""The loop: batches in, an editor out, a checkpoint now and then that a killed training goes on from, to the step."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.examples import Example
from trainer.frozen import Frozen
from trainer.latents import OpenLatents
from trainer.lora import adapt, merged
from trainer.model import SpatialEditor, is_spatial
from trainer.order import Stretch
from trainer.parallel import Parallel, fitted
from trainer.step import (
    Batch,
    Losses,
    StepSettings,
    Trained,
    batch_of,
    draws,
    finding_loss_of,
    loss_of,
    nothing,
    sought_of,
)
from trainer.stream import Stream

_PROGRESS, _STATE, _EMA = "progress.json", "optimizer.safetensors", "ema.safetensors"
_LEARNED = "learned.safetensors"  # of an editor with adapters, whose other weights are the model's


class Diverged(Exception):
    """The loss is no number; the message names the pairs of the batch."""


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """samples: examples to learn from in all, over all ranks. find: with the first of them, as many, the encoder alone
    learns to find (`trainer.finding`). rate: the learning rate after `warmup` steps. fall: the share of `samples`, the
    last of them, over which it falls to nothing. spatial: what the rate of the spatial layers is times that, since they
    begin at random. ema: decay of the averaged weights. clip: of the gradient's norm, of the spatial layers and of all
    others each. accumulate: batches a step. every: steps between checkpoints. bf16: arithmetic in bfloat16, weights and
    sums stay in float32. recompute: activations of the UNet anew in the backward pass (gradient checkpointing): less
    memory, more time. lora: the rank of adapters, as `trainer.lora`; None for all weights."""

    samples: int
    find: int = 0
    rate: float = 1e-4
    spatial: float = 3.0
    warmup: int = 200
    fall: float = 0.2
    decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    accumulate: int = 1
    every: int = 500
    seed: int = 0
    bf16: bool = False
    recompute: bool = False
    lora: int | None = None
    step: StepSettings = field(default_factory=StepSettings)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is. step: taken. seen: examples, over all ranks. past: of the epoch, with how many ranks. found:
    steps of finding alone."""

    step: int = 0
    seen: int = 0
    epoch: int = 0
    past: tuple[Stretch, ...] = ()
    found: int = 0

    def after(self, ranks: int, batch: int, examples: int) -> Progress:
        """After a batch of each rank. batch: what each was to have; examples: what all had."""
        last = self.past[-1] if self.past else None
        if last is not None and (last.ranks, last.batch) == (ranks, batch):
            past = (*self.past[:-1], replace(last, steps=last.steps + 1))
        else:
            past = (*self.past, Stretch(ranks, 1, batch))
        return replace(self, seen=self.seen + examples, past=past)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        values = json.loads(text)
        return cls(**values | {"past": tuple(Stretch(**stretch) for stretch in values["past"])})


@dataclass(frozen=True, slots=True)
class Line:
    """What a step was. waited: share of the time that data was waited for. finding: it taught that alone, and `loss` is
    0."""

    step: int
    seen: int
    loss: float
    grounding: float
    rate: float
    samples_per_second: float
    waited: float
    finding: bool = False


@dataclass(slots=True, eq=False)
class Learner:
    """An editor being taught, with all that the next step depends on.

    parallel: the ranks that learn together. kept: where latents are put.
    """

    editor: SpatialEditor
    frozen: Frozen
    settings: LearnSettings
    parallel: Parallel = field(default_factory=Parallel)
    kept: OpenLatents | None = None
    progress: Progress = Progress()
    _learned: dict[str, nn.Parameter] = field(init=False)
    _average: dict[str, Tensor] = field(init=False)
    _optimizer: torch.optim.AdamW = field(init=False)
    _model: nn.Module = field(init=False)
    _null: Tensor = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        if settings.lora is not None:
            adapt(self.editor, settings.lora, settings.seed)
        if settings.recompute:
            self.editor.unet.enable_gradient_checkpointing()
        self._model = self.parallel.wrapped(Trained(self.editor))
        self._learned = {name: p for name, p in self.editor.named_parameters() if p.requires_grad}
        spatial = [p for name, p in self._learned.items() if is_spatial(name)]
        plain = [p for name, p in self._learned.items() if not is_spatial(name)]
        groups: list[dict[str, Any]] = [{"params": plain, "times": 1.0}]
        if spatial:
            groups.append({"params": spatial, "times": settings.spatial})
        # In one go for all weights. Sharded ones are dealt with tensor by tensor.
        fused = not self.parallel.sharded
        self._optimizer = torch.optim.AdamW(groups, settings.rate, weight_decay=settings.decay, fused=fused)
        self._average = {name: value.detach().clone() for name, value in self._learned.items()}
        self._null = self.frozen.text([""])

    @property
    def finding(self) -> bool:
        """Whether the next step is one of finding alone: its stream is to be one that says what is sought."""
        return self.progress.seen < min(self.settings.find, self.settings.samples)

    @property
    def pastes(self) -> bool:
        """Whether examples must have their pictures, too: `Seen.pixels`."""
        return self.editor.parts is not None and self.editor.parts.paste

    def run(self, stream: Stream, told: Callable[[Line], None], saved: Callable[[Learner], None]) -> None:
        """Learns until `samples` were seen, or, if it begins by finding, `find` of them: then it is to be called again,
        with a stream for editing. told: each step. saved: every `every` steps and at the end, on all ranks alike; it
        may write a checkpoint. Raises Diverged, RowError, StorageError."""
        self.editor.train()
        batches = self._batches(stream)
        before, finding = self.progress.step, self.finding
        while self.progress.seen < self.settings.samples and self.finding == finding:
            told(self._step(batches, stream.settings.batch))
            if self.progress.step % self.settings.every == 0:
                saved(self)
                before = self.progress.step
        if self.progress.step != before:
            saved(self)

    def _batches(self, stream: Stream) -> Iterator[tuple[list[Example], bool]]:
        """Examples, and whether the epoch ends with them."""
        for epoch in count(self.progress.epoch):
            past = self.progress.past if epoch == self.progress.epoch else ()
            rank, ranks = self.parallel.rank, self.parallel.ranks
            left = stream.steps(epoch, ranks, past)
            for number, examples in enumerate(stream.batches(epoch, rank, ranks, past), start=1):
                yield examples, number == left

    def _step(self, batches: Iterator[tuple[list[Example], bool]], size: int) -> Line:
        settings, began, waited = self.settings, time.perf_counter(), 0.0
        seen, totals, finding = 0, torch.zeros(3, dtype=torch.float64), self.finding
        for part in range(settings.accumulate):
            asked = time.perf_counter()
            examples, last = next(batches)
            waited += time.perf_counter() - asked
            totals += self._learn(examples, part, finding)
            together = int(self._summed(torch.tensor([float(len(examples))])).item())
            seen += together
            self.progress = self.progress.after(self.parallel.ranks, size, together)
            if last:
                self.progress = replace(self.progress, epoch=self.progress.epoch + 1, past=())
        totals = self._summed(totals)
        rate = self._update(seen, finding)
        self.progress = replace(
            self.progress, step=self.progress.step + 1, found=self.progress.found + int(finding)
        )
        took = time.perf_counter() - began
        loss, grounding = (totals[:2] / totals[2].clamp_min(1)).tolist()
        at = self.progress.step, self.progress.seen
        return Line(*at, loss, grounding, rate, seen / took, waited / took, finding)

    def _learn(self, examples: list[Example], part: int, finding: bool) -> Tensor:
        """Adds the gradients of the batch. The sums of both losses, and how many examples there were."""
        drawn = draws(
            self.settings.seed, self.progress.step * self.settings.accumulate + part, self.parallel.rank
        )
        # Where there are no examples others still have some: what is learned there counts 0 times.
        pastes = self.pastes
        spatial = self.editor.spatial is not None
        batch = (
            batch_of(examples, self.frozen, self.kept, pastes, spatial)
            if examples
            else nothing(self.frozen, pastes)
        )
        also = sought_of(batch, examples, self.frozen) if finding else None
        with torch.autocast(self.frozen.device.type, torch.bfloat16, enabled=self.settings.bf16):
            if also is not None:
                losses = self._found(batch, also, drawn)
            else:
                losses = loss_of(
                    self._model,
                    self.frozen.objective,
                    batch,
                    self._null,
                    self.settings.step,
                    drawn,
                    self._encoded,
                )
        total = float(losses.total.detach())
        if examples and not math.isfinite(total):
            names = ", ".join(one.pair_id for one in examples)
            raise Diverged(f"the loss of step {self.progress.step + 1} is {total}; pairs: {names}")
        torch.autograd.backward(losses.total * len(examples))
        return torch.tensor([float(losses.noise), float(losses.grounding), 1.0], dtype=torch.float64) * len(
            examples
        )

    def _found(self, batch: Batch, sought: Batch, drawn: torch.Generator) -> Losses:
        losses = finding_loss_of(self._model, batch, sought, self.settings.step, drawn)
        if self.parallel.ranks == 1 or self.parallel.sharded:
            return losses
        # DDP waits for a gradient of each weight; those that finding does not need get zeros, left out in the update.
        nothing_of = sum(0.0 * value.sum() for value in self._learned.values())
        return replace(losses, total=losses.total + nothing_of)

    def _encoded(self, pixels: Tensor) -> Tensor:
        """The autoencoder is given what it was given when latents were kept, whatever the editor's arithmetic."""
        with torch.autocast(self.frozen.device.type, enabled=False):
            return self.frozen.source(pixels.float())

    def _summed(self, value: Tensor) -> Tensor:
        return self.parallel.summed(value, self.frozen.device)

    def _update(self, seen: int, finding: bool) -> float:
        """One step by the mean over all examples of all ranks."""
        settings, step = self.settings, self.progress.step
        since = step if finding else step - self.progress.found  # what edits begins anew
        if since == 0 and self.progress.found and not finding:
            self._optimizer.state.clear()  # of another loss, which counts a twentieth from now on
        rate = settings.rate * min(1.0, (since + 1) / max(1, settings.warmup), self._left(seen))
        if finding and self.parallel.ranks > 1 and not self.parallel.sharded:
            for value in self._learned.values():
                if value.grad is not None and not value.grad.any():
                    value.grad = None
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["times"]
        # Ranks' gradients are averaged by their wrapper, so the sum over examples is `ranks` times what is there.
        fast = None if self.parallel.sharded else True  # torch's own choice for shares
        gradients = [value.grad for value in self._learned.values() if value.grad is not None]
        torch._foreach_mul_(gradients, self.parallel.ranks / max(1, seen))
        for (
            group
        ) in self._optimizer.param_groups:  # what is large in one is not to make the other's steps small
            nn.utils.clip_grad_norm_(group["params"], settings.clip, foreach=fast)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        decay = min(settings.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            average = [self._average[name] for name in self._learned]
            torch._foreach_lerp_(average, [value.detach() for value in self._learned.values()], 1 - decay)
        return rate

    def _left(self, seen: int) -> float:
        """What share of the rate the end leaves. seen: examples of this step, which are counted already."""
        last = self.settings.fall * self.settings.samples
        return max(0, self.settings.samples - self.progress.seen + seen) / last if last else 1.0

    def average(self) -> SpatialEditor | None:
        """An editor of the averaged weights, adapters merged, to be used until the next step. All ranks take part, the
        first is given it."""
        weights = self.parallel.whole(self.editor.state_dict() | self._average)
        return self.editor.like(merged(weights)).to(self.frozen.device) if weights else None

    def averaged(self, folder: Path) -> None:
        """Saves the averaged weights, as `SpatialEditor.load` reads them. All ranks take part, the first writes."""
        editor = self.average()
        if editor is not None:
            editor.save(folder)

    def save(self, folder: Path) -> None:
        """All that the next step depends on, alike for any number of ranks. All take part, the first writes. folder:
        one that is empty."""
        own = self._learned if self.settings.lora is not None else self.editor.state_dict()
        weights, average = self.parallel.whole(own), self.parallel.whole(self._average)
        flat = {
            f"{number}.{key}": torch.as_tensor(value)
            for number, state in self._optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        flat = self.parallel.whole(flat)
        if self.parallel.rank:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.settings.lora is None:
            self.editor.like(weights).save(folder)
        else:
            _write(weights, folder / _LEARNED)
        _write(average, folder / _EMA)
        _write(flat, folder / _STATE)
        (folder / _PROGRESS).write_text(self.progress.to_json())

    def restore(self, folder: Path) -> None:
        """What `save` left, into a learner of the same settings. Raises OSError."""
        if self.settings.lora is None:
            weights = SpatialEditor.load(folder, self.editor.pasting).state_dict()
        else:
            weights = load_file(folder / _LEARNED)
            if weights.keys() != self._learned.keys():
                raise OSError(f"{folder} is of other layers or adapters than this version's, train anew")
        average, flat = load_file(folder / _EMA), load_file(folder / _STATE)
        with torch.no_grad():
            for name, value in self._learned.items():
                value.copy_(fitted(weights[name], value))
                self._average[name].copy_(fitted(average[name], value))
        state = self._optimizer.state_dict()
        state["state"] = {}
        values = [value for group in self._optimizer.param_groups for value in group["params"]]
        for name, kept in flat.items():
            number, _, key = name.partition(".")
            part = kept if key == "step" else fitted(kept, values[int(number)])
            state["state"].setdefault(int(number), {})[key] = part
        self._optimizer.load_state_dict(state)
        self.progress = Progress.from_json((folder / _PROGRESS).read_text())


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)

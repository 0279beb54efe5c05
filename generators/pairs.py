"""The pair engine: continuous batching for diffusion.

A fixed number of slots, each the trajectory of one pair of pictures, with its own prompt, noise, timestep, guidance and
shares of attention control. When a slot ends, or its prompt needs no more, the next takes its place: the batch is
always full, across prompts.

Noise is a function of (seed, step), drawn on the CPU and shared by the pair's two pictures. What a pair looks like
therefore depends on its own numbers alone, but for rounding, and any pair can be made again from its row.
Which draws of a prompt count does not depend on slots either: those up to the one that was the last needed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from generators.alignment import Alignment, CaptionError, Mode, align, tokenized
from generators.batch import FORWARDS, Batch, Draw, Slot
from generators.budget import Budget
from generators.diffusion import Diffusion, Pixels, rounded
from generators.samplers import SamplerName, make_sampler
from shards.guard import BrokenEngine
from shards.units import seed_for

Range = tuple[float, float]
Verdict = Literal["accepted", "rejected", "failed"]
DEFAULT_BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What shapes pairs, beside the model.

    guidance: classifier-free guidance, uniform in the range (InstructPix2Pix: 7.5 to 15). share: of the steps in which
    the second picture takes the first one's self-attention, uniform (InstructPix2Pix: 0.1 to 0.9). cross: the same for
    cross-attention (Prompt-to-Prompt: 0.8), 0 for none, which is InstructPix2Pix's way. mode: what cross-attention
    control does with words that are exchanged. max_tokens: layers with more pixels keep their self-attention; None for
    all layers. blend: threshold of local blend (Prompt-to-Prompt: 0.3), None for none.
    """

    sampler: SamplerName = "dpmpp_2m"
    steps: int = 20
    guidance: Range = (7.5, 15.0)
    share: Range = (0.1, 0.9)
    cross: Range = (0.0, 0.0)
    mode: Mode = "refine"
    max_tokens: int | None = None
    blend: float | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Captions before and after. kind: of edit, for the judge. seed: all draws of this prompt descend from it."""

    id: str
    before: str
    after: str
    kind: str
    seed: int


def drawn(prompt: Prompt, number: int, settings: PairSettings) -> Draw:
    """Draw `number` of the prompt: the same for the same seed and ranges."""
    rng = np.random.default_rng(seed_for(prompt.seed, "draw", number, "settings"))
    guidance, share, cross = (
        float(low + (high - low) * rng.random())
        for low, high in (settings.guidance, settings.share, settings.cross)
    )
    return Draw(number, seed_for(prompt.seed, "draw", number, "noise"), guidance, share, cross)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A pair to be judged. before, after: (h, w, 3) uint8. preview: of latents part-way."""

    prompt: Prompt
    draw: Draw
    before: Pixels
    after: Pixels
    preview: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """reason: why not accepted, or why it could not be judged. scores: by name. rank: the best have the highest."""

    verdict: Verdict
    reason: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)
    rank: float = 0.0


Judge = Callable[[Sequence[Candidate]], Sequence[Judged]]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A draw that was judged. pictures: before and after, None where they are not kept. preview: what was thought of it
    part-way. forwards: sample-forwards of the UNet."""

    draw: Draw
    judged: Judged
    pictures: tuple[Pixels, Pixels] | None
    forwards: int
    preview: Judged | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """All that came of a prompt. draws: in order, up to the last that was needed. forwards: of these, and of those that
    were under way when no more was needed. reason, message: why there are none, "" else."""

    prompt: Prompt
    draws: tuple[Made, ...] = ()
    forwards: int = 0
    reason: str = ""
    message: str = ""

    @property
    def accepted(self) -> list[Made]:
        return [made for made in self.draws if made.judged.verdict == "accepted"]


@dataclass(slots=True)
class Clock:
    """Where the time went, in seconds, and how full the batch was. used, offered: slots, summed over steps."""

    total: float = 0.0
    unet: float = 0.0
    vae: float = 0.0
    judge: float = 0.0
    text: float = 0.0
    steps: int = 0
    used: int = 0
    offered: int = 0

    @property
    def occupancy(self) -> float:
        """Share of the computed slots that held a pair."""
        return self.used / self.offered if self.offered else float("nan")

    @property
    def outside(self) -> float:
        """Share of the time that went neither to the UNet nor to the VAE, the judge or the text encoder."""
        inside = self.unet + self.vae + self.judge + self.text
        return 1 - inside / self.total if self.total else float("nan")


@dataclass(frozen=True, slots=True)
class Preview:
    """A look at the clean latents that the model predicts after `at` of the steps. drop: end those that the judge
    rejects; else the look is only noted, to measure how often it errs."""

    at: float
    drop: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.at < 1:
            raise ValueError(f"a preview is after a share of the steps in 0..1, not {self.at}")


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A prompt as the batch takes it. context: (2, T, width)."""

    prompt: Prompt
    context: Tensor
    alignment: Alignment


@dataclass(eq=False, slots=True)
class _Active:
    """A prompt under way. results: of its draws, by number."""

    ready: Ready
    launched: int = 0
    results: dict[int, Made] = field(default_factory=dict)
    previews: dict[int, Judged] = field(default_factory=dict)
    forwards: int = 0
    over: bool = False


class PairEngine:
    """slots: pairs in a batch, of four samples each. judge: says which pairs are accepted. decode_batch: pairs that are
    decoded and judged at a time. keep: pictures of which pairs are kept with them, by their `Judged`. shrink: see
    `Batch`. Raises ScheduleError for a model that the sampler cannot sample from."""

    def __init__(
        self,
        model: Diffusion,
        settings: PairSettings,
        judge: Judge,
        *,
        slots: int = 16,
        budget: Budget = DEFAULT_BUDGET,
        preview: Preview | None = None,
        decode_batch: int = 8,
        keep: Callable[[Judged], bool] = lambda judged: judged.verdict == "accepted",
        shrink: bool = True,
    ) -> None:
        self.model, self.settings = model, settings
        self.sampler = make_sampler(settings.sampler, settings.steps, model.schedule)
        self.clock = Clock()
        self._judge, self._budget, self._preview = judge, budget, preview
        self._preview_step = max(1, round(preview.at * settings.steps)) if preview else 0
        self._decode_batch, self._keep = decode_batch, keep
        self.batch = Batch(
            model,
            self.sampler,
            model.encode(model.empty_ids()),
            slots,
            max_tokens=settings.max_tokens,
            blend=settings.blend,
            shrink=shrink,
        )
        self._active: list[_Active] = []
        self._again: deque[Slot] = deque()  # had to make room, and begin again
        self._looks: deque[tuple[Slot, Tensor]] = deque()
        self._ended: deque[tuple[Slot, Tensor]] = deque()

    def run(self, prompts: Iterable[Prompt]) -> Iterator[Outcome]:
        """One outcome for each prompt, in the order in which they are done.

        Raises BrokenEngine where the device breaks, or has no memory for a single pair.
        """
        waiting = iter(prompts)
        while True:
            began = time.monotonic()
            failed = self._fill(waiting)
            busy = bool(self.batch.slots)
            if busy:
                self._step()
            self._judge_some(everything=not self.batch.slots)
            over = [one for one in self._active if one.over]
            for one in over:
                self._active.remove(one)
                self._let_go(one)
            self.clock.total += time.monotonic() - began
            yield from failed
            for one in over:
                draws = tuple(one.results[number] for number in sorted(one.results))
                yield Outcome(one.ready.prompt, draws, one.forwards)
            if not busy and not failed and not over:
                return

    # --- slots ----------------------------------------------------------------------------------------------

    def _fill(self, waiting: Iterator[Prompt]) -> list[Outcome]:
        """Puts a pair into every free slot, while there are any to be made. Prompts that cannot be."""
        failed = []
        while self.batch.free:
            slot = self._next_slot()
            if slot is None:
                prompt = next(waiting, None)
                if prompt is None:
                    break
                try:
                    self._active.append(_Active(self.ready(prompt)))
                except CaptionError as error:
                    failed.append(Outcome(prompt, reason=error.reason, message=str(error)))
                continue
            ready = slot.owner.ready
            self.batch.put(slot, ready.context, ready.alignment)
        return failed

    def _next_slot(self) -> Slot | None:
        """Of the first prompt that may have another pair under way."""
        if self._again:
            return self._again.popleft()
        for one in self._active:
            judged, accepted = _counted(one)
            under_way = one.launched - judged
            if one.launched < self._budget.most and under_way < self._budget.at_once(judged, accepted):
                one.launched += 1
                return Slot(one, drawn(one.ready.prompt, one.launched - 1, self.settings))
        return None

    def ready(self, prompt: Prompt) -> Ready:
        began = time.monotonic()
        before, after = (tokenized(self.model.tokenizer, text) for text in (prompt.before, prompt.after))
        found = align(before, after, self.settings.mode)
        context = torch.stack([self.model.encode(tokens.ids) for tokens in (before, after)])
        self.clock.text += time.monotonic() - began
        return Ready(prompt, context, found)

    def _let_go(self, one: _Active) -> None:
        """Frees what is still under way of a prompt that needs no more."""
        for slot in self.batch.slots:
            if slot.owner is one:
                one.forwards += slot.forwards
                self.batch.remove(slot)
        one.forwards += sum(slot.forwards for slot, _ in self._ended if slot.owner is one)
        self._ended = deque(pair for pair in self._ended if pair[0].owner is not one)
        self._looks = deque(pair for pair in self._looks if pair[0].owner is not one)
        self._again = deque(slot for slot in self._again if slot.owner is not one)

    # --- a step, and what comes of it -----------------------------------------------------------------------

    def _step(self) -> None:
        began, clock, used = time.monotonic(), self.clock, len(self.batch.slots)
        try:
            offered = self.batch.step()
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error).lower():
                raise BrokenEngine(
                    f"the UNet on {self.model.device}: {str(error).splitlines()[0]}"
                ) from error
            self._make_room()
            return
        clock.unet += time.monotonic() - began
        clock.steps, clock.used, clock.offered = clock.steps + 1, clock.used + used, clock.offered + offered
        if self._preview_step:
            self._looks.extend(self.batch.clean_at(self._preview_step))
        self._ended.extend(self.batch.ended())

    def _make_room(self) -> None:
        """Half of the slots; the pairs of the other half begin again, and come out the same."""
        if self.batch.size == 1:
            raise BrokenEngine(
                f"no memory on {self.model.device} for a single pair: take half precision or a smaller model"
            )
        for slot in self.batch.halve():
            slot.owner.forwards += slot.forwards
            slot.step = 0
            self._again.append(slot)
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _judge_some(self, *, everything: bool) -> None:
        """Previews and whole pairs, in batches. everything: those that do not fill a batch too."""
        size = self._decode_batch
        while len(self._looks) >= size or (
            self._looks and (everything or len(self._ended) >= size)
        ):  # before the whole pairs: what is dropped counts as dropped, however late it is looked at
            self._look(_popped(self._looks, size))
        while len(self._ended) >= size or (self._ended and everything):
            self._finish(_popped(self._ended, size))

    def _look(self, some: Sequence[tuple[Slot, Tensor]]) -> None:
        assert self._preview is not None
        for (slot, _), judged in zip(some, self._answers(some, preview=True)[0], strict=True):
            if self._preview.drop and judged.verdict != "accepted":
                spent = FORWARDS * self._preview_step
                if slot in self.batch.slots:
                    spent = slot.forwards
                    self.batch.remove(slot)
                self._ended = deque(pair for pair in self._ended if pair[0] is not slot)
                self._record(slot, Judged("rejected", "preview", judged.scores), None, spent, judged)
            else:
                slot.owner.previews[slot.draw.number] = judged

    def _finish(self, some: Sequence[tuple[Slot, Tensor]]) -> None:
        whole = []
        for slot, latents in some:
            if bool(torch.isfinite(latents).all()):
                whole.append((slot, latents))
            else:
                self._record(slot, Judged("failed", "not_finite"), None, slot.forwards, None)
        for (slot, _), judged, pictures in zip(whole, *self._answers(whole, preview=False), strict=True):
            kept = pictures if self._keep(judged) else None
            self._record(slot, judged, kept, slot.forwards, slot.owner.previews.get(slot.draw.number))

    def _answers(
        self, some: Sequence[tuple[Slot, Tensor]], *, preview: bool
    ) -> tuple[Sequence[Judged], list[tuple[Pixels, Pixels]]]:
        if not some:
            return [], []
        began = time.monotonic()
        flat = rounded(self.model.decode(torch.stack([latents for _, latents in some]).flatten(0, 1)))
        pictures = [(flat[place], flat[place + 1]) for place in range(0, len(flat), 2)]
        decoded = time.monotonic()
        answers = self._judge(
            [
                Candidate(slot.owner.ready.prompt, slot.draw, *two, preview)
                for (slot, _), two in zip(some, pictures, strict=True)
            ]
        )
        self.clock.vae += decoded - began
        self.clock.judge += time.monotonic() - decoded
        return answers, pictures

    def _record(
        self,
        slot: Slot,
        judged: Judged,
        pictures: tuple[Pixels, Pixels] | None,
        forwards: int,
        preview: Judged | None,
    ) -> None:
        one: _Active = slot.owner
        one.forwards += forwards
        if one.over:
            return
        one.results[slot.draw.number] = Made(slot.draw, judged, pictures, forwards, preview)
        judged_so_far = accepted = 0
        while (made := one.results.get(judged_so_far)) is not None:
            judged_so_far += 1
            accepted += made.judged.verdict == "accepted"
            if self._budget.over(judged_so_far, accepted):
                # What was judged beyond is no part of the result, however many slots there are.
                one.over = True
                one.results = {n: kept for n, kept in one.results.items() if n < judged_so_far}


def _counted(one: _Active) -> tuple[int, int]:
    """Draws judged without a gap from the first on, and how many of them were accepted."""
    judged = accepted = 0
    while (made := one.results.get(judged)) is not None:
        judged += 1
        accepted += made.judged.verdict == "accepted"
    return judged, accepted


def _popped(queue: deque[tuple[Slot, Tensor]], number: int) -> list[tuple[Slot, Tensor]]:
    return [queue.popleft() for _ in range(min(number, len(queue)))]

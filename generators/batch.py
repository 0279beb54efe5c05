"""The batch of the pair engine: slots, each the trajectory of one pair, at a step of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generators.alignment import Alignment
from generators.attention import Blend, Control
from generators.blend import START, LocalBlend
from generators.diffusion import Diffusion
from generators.samplers import Sampler, noise_of

HALVES = 2  # without and with the caption
FORWARDS = 2 * HALVES  # sample-forwards of a pair in a step


@dataclass(frozen=True, slots=True)
class Draw:
    """One pair to be made: number `number` of its prompt. seed: of its noise. guidance: of classifier-free guidance.
    share, cross: of the steps under self- and cross-attention control, 0..1."""

    number: int
    seed: int
    guidance: float
    share: float
    cross: float


@dataclass(eq=False, slots=True)
class Slot:
    """A trajectory. owner: whose it is; the batch does not look into it. step: steps behind it."""

    owner: Any
    draw: Draw
    step: int = 0

    @property
    def forwards(self) -> int:
        return FORWARDS * self.step


class Batch:
    """`size` slots. empty: (T, width), the text states of no caption. shrink: while half of the slots or more are idle,
    compute half of the batch; else the shape never changes, and what a slot gives is bitwise the same on a CPU
    whatever stands in the others."""

    def __init__(
        self,
        model: Diffusion,
        sampler: Sampler,
        empty: Tensor,
        size: int,
        *,
        max_tokens: int | None = None,
        blend: float | None = None,
        shrink: bool = True,
    ) -> None:
        self.size = size
        self._model, self._sampler = model, sampler
        self._max_tokens, self._shrink = max_tokens, shrink
        device, (tokens, _) = model.device, empty.shape
        self._slots: list[Slot | None] = [None] * size
        self._latents = torch.zeros(size, 2, *model.latent_shape, device=device)
        self._clean = torch.zeros_like(self._latents)
        self._context = empty.expand(HALVES, size, 2, *empty.shape).clone()
        self._mapped = torch.zeros(size, tokens, tokens, device=device)
        self._own = torch.zeros(size, tokens, device=device)
        self._changed = torch.zeros(size, 2, tokens, device=device)
        _, height, width = model.latent_shape
        self._blend = None
        if blend is not None:
            self._blend = LocalBlend(size, _map_size(height, width), blend, device)

    # --- slots ----------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        return self._slots.count(None)

    @property
    def slots(self) -> list[Slot]:
        """Those under way."""
        return [slot for slot in self._slots if slot is not None]

    def put(self, slot: Slot, context: Tensor, alignment: Alignment) -> None:
        """Into the first free place, at its first step. context: (2, T, width), captions before and after."""
        place = self._slots.index(None)
        slot.step = 0
        self._slots[place] = slot
        noise = noise_of(slot.draw.seed, 0, self._model.latent_shape)
        self._latents[place] = (noise * self._sampler.first_sigma).to(self._latents.device)
        self._clean[place] = 0
        self._context[1, place] = context
        for target, values in (
            (self._mapped, alignment.mapped), (self._own, alignment.own), (self._changed, alignment.changed),
        ):  # fmt: skip
            target[place] = torch.from_numpy(values).to(target.device)
        if self._blend is not None:
            self._blend.clear(place)

    def remove(self, slot: Slot) -> None:
        self._slots[self._slots.index(slot)] = None

    def ended(self) -> list[tuple[Slot, Tensor]]:
        """Slots past their last step, which become free, with their latents, (2, channels, h, w) float32."""
        found = []
        for place, slot in enumerate(self._slots):
            if slot is not None and slot.step == self._sampler.steps:
                found.append((slot, self._latents[place].clone()))
                self._slots[place] = None
        return found

    def at(self, step: int) -> list[tuple[Slot, Tensor]]:
        """Slots with just so many steps behind them, with their latents."""
        return [
            (slot, self._latents[place].clone())
            for place, slot in enumerate(self._slots)
            if slot is not None and slot.step == step
        ]

    def clean_at(self, step: int) -> list[tuple[Slot, Tensor]]:
        """Slots with just so many steps behind them, with the clean latents that the model predicts there."""
        return [
            (slot, self._clean[place].clone())
            for place, slot in enumerate(self._slots)
            if slot is not None and slot.step == step
        ]

    def halve(self) -> list[Slot]:
        """Keeps half of the places. The slots of the other half, to begin again elsewhere."""
        keep = self.size // 2
        moved = [slot for slot in self._slots[keep:] if slot is not None]
        self._slots = self._slots[:keep]
        for name in ("_latents", "_clean", "_mapped", "_own", "_changed"):
            setattr(self, name, getattr(self, name)[:keep].clone())
        self._context = self._context[:, :keep].clone()
        if self._blend is not None:
            self._blend.maps = self._blend.maps[:keep].clone()
        self.size = keep
        return moved

    # --- a step ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self) -> int:
        """One step of every slot. How many pairs were computed, idle ones too."""
        places = self._places()
        at = torch.tensor(places, device=self._latents.device)
        rows = [self._slots[place] for place in places]
        steps = torch.tensor([slot.step if slot else 0 for slot in rows])
        inwards, skip, out, keep, new, old, noise = (
            column.to(self._latents.device) for column in self._sampler.rows(steps)
        )
        control = self._control(rows, steps, at)
        latents = self._latents[at]
        said = self._said(latents * inwards, steps, at, control)
        guidance = torch.tensor([slot.draw.guidance if slot else 1.0 for slot in rows], device=latents.device)
        plain, told = said.float().view(HALVES, len(places), 2, *said.shape[1:])
        answer = plain + guidance.view(-1, 1, 1, 1, 1) * (told - plain)
        clean = skip * latents + out * answer
        after = keep * latents + new * clean + old * self._clean[at]
        if self._sampler.draws_noise:
            after = after + noise * self._noise(rows).to(latents.device)
        if self._blend is not None and control.blend is not None:
            self._blend.add(at, control.blend.maps)
            after = self._blend.blended(at, after, (steps > START * self._sampler.steps).to(after.device))
        self._latents[at], self._clean[at] = after, clean
        for slot in rows:
            if slot is not None:
                slot.step += 1
        return len(places)

    def _places(self) -> list[int]:
        """Of the slots to compute: all, or while few are used those, and idle ones up to half, a quarter, ..."""
        used = [place for place, slot in enumerate(self._slots) if slot is not None]
        size = self.size
        while self._shrink and size % 2 == 0 and len(used) <= size // 2:
            size //= 2
        if size == self.size:
            return list(range(self.size))
        idle = [place for place, slot in enumerate(self._slots) if slot is None]
        return sorted(used + idle[: size - len(used)])

    def _control(self, rows: list[Slot | None], steps: Tensor, at: Tensor) -> Control:
        last = max(self._sampler.steps - 1, 1)
        share, cross = (
            torch.tensor([getattr(slot.draw, name) if slot else 0.0 for slot in rows])
            for name in ("share", "cross")
        )
        inject = share > steps / last  # as in InstructPix2Pix's generator
        mapped_now = cross > steps / last
        device = at.device
        mapped = own = None
        if mapped_now.any():
            on = mapped_now.to(device)
            mapped = self._mapped[at] * on.view(-1, 1, 1)
            own = torch.where(on.view(-1, 1), self._own[at], 1.0)
        blend = None
        if self._blend is not None:
            blend = Blend(self._changed[at], self._blend.maps.shape[-1] * self._blend.maps.shape[-2])
        return Control(inject.to(device) if inject.any() else None, mapped, own, blend, self._max_tokens)

    def _said(self, inputs: Tensor, steps: Tensor, at: Tensor, control: Control) -> Tensor:
        """The UNet's answers, (4 S, channels, h, w), ordered (half, pair, picture)."""
        dtype, device = self._model.dtype, inputs.device
        samples = inputs.to(dtype).expand(HALVES, *inputs.shape).flatten(0, 2)
        samples = samples.contiguous(memory_format=torch.channels_last)
        timesteps = self._sampler.timesteps[steps].to(device)
        timesteps = timesteps.view(1, -1, 1).expand(HALVES, -1, 2).flatten()
        context = self._context[:, at].flatten(0, 2)
        found: Tensor = self._model.unet(
            samples, timesteps, context, cross_attention_kwargs={"control": control}
        ).sample
        return found

    def _noise(self, rows: list[Slot | None]) -> Tensor:
        """(S, 1, channels, h, w): the same for both pictures."""
        shape = self._model.latent_shape
        drawn = [
            torch.zeros(shape) if slot is None else noise_of(slot.draw.seed, slot.step + 1, shape)
            for slot in rows
        ]
        return torch.stack(drawn)[:, None]


def _map_size(height: int, width: int) -> tuple[int, int]:
    """Of the layers whose maps are looked at: 16 a side as in the paper, or half the latents where those are small."""
    factor = max(2, height // 16)
    return height // factor, width // factor

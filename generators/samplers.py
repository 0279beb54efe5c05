"""Samplers as tables of coefficients, so that every row of a batch can be at a step of its own.

With x the latents in the variance-exploding scale (x = clean + sigma * noise) and D the clean latents that the model's
answer stands for, a step of any sampler here is linear::

    D      = skip * x + out * F(in * x, timestep)              # F: the UNet; Karras et al. 2022, eq. 7
    x_next = keep * x + new * D + old * D_before + noise * n     # D_before: the D of the step before

Sigmas and timesteps are diffusers' own, read from the model's scheduler: prediction type, spacing of timesteps, and a
terminal sigma that is clamped where the schedule has no signal at its end (4096). Coefficients are computed in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SamplerName = Literal["euler_ancestral", "dpmpp_2m"]
_DERIVED = ("_class_name", "_diffusers_version", "_use_default_values")


class ScheduleError(ValueError):
    """The model's scheduler cannot be sampled with; one line that says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """timesteps: (steps,) float32, as the UNet is told. first_sigma: what the initial noise is multiplied with. table:
    (steps, 7) float32, the columns in, skip, out, keep, new, old, noise as above. sigmas: (steps + 1,)."""

    name: SamplerName
    timesteps: Tensor
    first_sigma: float
    table: Tensor
    sigmas: NDArray[np.float64]

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    @property
    def draws_noise(self) -> bool:
        """Whether any step but the start draws noise."""
        return bool((self.table[:, -1] != 0).any())

    def rows(self, steps: Tensor) -> tuple[Tensor, ...]:
        """The coefficients of each pair's step: of (S,) int64, seven times (S, 1, 1, 1, 1) float32."""
        return tuple(column.view(-1, 1, 1, 1, 1) for column in self.table[steps].unbind(1))


def make_sampler(name: SamplerName, steps: int, schedule: Mapping[str, Any]) -> Sampler:
    """schedule: the configuration of the model's scheduler, as diffusers writes it.

    "euler_ancestral": Karras et al. 2022 with fresh noise, as in k-diffusion and InstructPix2Pix. "dpmpp_2m":
    DPM-Solver++ (Lu et al. 2022), second order, multistep, midpoint, first order at its ends.
    Raises ScheduleError.
    """
    prediction = schedule.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise ScheduleError(f"prediction_type {prediction!r} is not one of epsilon, v_prediction")
    if name not in get_args(SamplerName):
        raise ScheduleError(f"sampler {name!r} is not one of {', '.join(get_args(SamplerName))}")
    if steps < 2:
        raise ScheduleError(f"steps {steps}: at least 2")
    if prediction == "epsilon" and schedule.get("rescale_betas_zero_snr"):
        raise ScheduleError(
            "the scheduler predicts epsilon and has no signal at its last step: nothing can be sampled"
        )
    timesteps, sigmas = _schedule(name, steps, schedule)
    ancestral = name == "euler_ancestral"
    moves = _ancestral(sigmas) if ancestral else _multistep(sigmas)
    sigma = sigmas[:-1]
    size = np.sqrt(sigma**2 + 1)
    if prediction == "epsilon":
        skip, out = np.ones_like(sigma), -sigma
    else:
        skip, out = 1 / size**2, -sigma / size
    table = np.stack([1 / size, skip, out, *moves], axis=1)
    # Euler's schedulers start from pure noise of the largest sigma, unless "leading" leaves some signal at the start.
    leading = schedule.get("timestep_spacing", "linspace") == "leading"
    first = float(size[0]) if leading or not ancestral else float(sigmas[0])
    return Sampler(
        name, torch.from_numpy(timesteps), first, torch.from_numpy(table.astype(np.float32)), sigmas
    )


def _schedule(
    name: SamplerName, steps: int, schedule: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Timesteps (steps,) and sigmas (steps + 1,), the last 0, as diffusers' scheduler of this name sets them."""
    from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

    kind = EulerAncestralDiscreteScheduler if name == "euler_ancestral" else DPMSolverMultistepScheduler
    kept = {key: value for key, value in schedule.items() if key not in _DERIVED}
    scheduler = kind.from_config(kept)
    scheduler.set_timesteps(steps)
    sigmas = np.asarray(scheduler.sigmas, np.float64)
    if not np.isfinite(sigmas).all() or not (np.diff(sigmas) < 0).all():
        raise ScheduleError(f"{kind.__name__} makes sigmas that do not fall: {sigmas[:3]} ...")
    return np.asarray(scheduler.timesteps, np.float32), sigmas


def _ancestral(sigmas: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    now, then = sigmas[:-1], sigmas[1:]
    up = np.sqrt(then**2 * (now**2 - then**2) / now**2)
    down = np.sqrt(then**2 - up**2)
    return [down / now, 1 - down / now, np.zeros_like(now), up]


def _multistep(sigmas: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """In the variance-exploding scale alpha is 1 and lambda is -log sigma."""
    now, then = sigmas[:-1], sigmas[1:]
    keep = then / now
    new = 1 - keep  # -(exp(-h) - 1)
    old = np.zeros_like(now)
    steps = len(now)
    # The first step has no step before; the last goes to sigma 0, where h is infinite.
    for step in range(1, steps - 1):
        ratio = np.log(sigmas[step - 1] / now[step]) / np.log(now[step] / then[step])
        half = new[step] / (2 * ratio)
        new[step], old[step] = new[step] + half, -half
    return [keep, new, old, np.zeros_like(now)]


def noise_of(seed: int, step: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, float32 on the CPU: a function of (seed, step) and of nothing else.

    step: 0 for the initial noise, n + 1 for what is added after step n. Philox (Salmon et al. 2011) is counter-based:
    no stream is walked along, so any draw can be made at any time, on any machine.
    """
    bits = np.random.Philox(key=np.array([seed, step], np.uint64))
    return torch.from_numpy(np.random.Generator(bits).standard_normal(shape, np.float32))

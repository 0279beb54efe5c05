"""A table of coefficients is what diffusers' scheduler does, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

from generators.samplers import ScheduleError, make_sampler, noise_of
from tests.generators.diffusion_models import STARTER

STABLE = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "timestep_spacing": "leading", "steps_offset": 1,
}  # fmt: skip
SCHEDULES = {
    "starter": json.loads(Path(f"{STARTER}/scheduler/scheduler_config.json").read_text()),
    "sd21-base": STABLE | {"prediction_type": "epsilon"},
    "sd21": STABLE | {"prediction_type": "v_prediction"},
    "linspace": STABLE | {"prediction_type": "epsilon", "timestep_spacing": "linspace"},
}
THEIRS = {"euler_ancestral": EulerAncestralDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}
SHAPE = (1, 2, 4, 8, 8)


def answer(latents, timestep):
    """In a UNet's place: anything that depends on both."""
    return torch.tanh(0.7 * latents + float(timestep) / 5000)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("steps", [5, 20, 100])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_samples_what_diffusers_samples(name, steps, schedule, monkeypatch):
    config = SCHEDULES[schedule]
    scheduler = THEIRS[name].from_config({k: v for k, v in config.items() if not k.startswith("_")})
    scheduler.set_timesteps(steps)
    drawn = iter(range(1, steps + 1))
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor",
        lambda shape, **_: noise_of(3, next(drawn), tuple(shape)),
    )
    theirs = noise_of(3, 0, SHAPE) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        inputs = scheduler.scale_model_input(theirs, timestep)
        theirs = scheduler.step(answer(inputs, timestep), timestep, theirs).prev_sample

    sampler = make_sampler(name, steps, config)
    ours, clean = noise_of(3, 0, SHAPE) * sampler.first_sigma, torch.zeros(SHAPE)
    for step in range(steps):
        inwards, skip, out, keep, new, old, noise = sampler.rows(torch.tensor([step]))
        now = skip * ours + out * answer(inwards * ours, sampler.timesteps[step])
        ours, clean = keep * ours + new * now + old * clean + noise * noise_of(3, step + 1, SHAPE), now
    assert torch.allclose(ours, theirs, atol=2e-5 * float(theirs.abs().max()))


def test_the_terminal_sigma_is_clamped_where_no_signal_is_left():
    assert make_sampler("euler_ancestral", 20, SCHEDULES["starter"]).first_sigma == pytest.approx(4096)
    assert make_sampler("dpmpp_2m", 20, SCHEDULES["starter"]).first_sigma == pytest.approx(4096, rel=1e-3)


def test_noise_depends_on_seed_and_step_alone():
    again = [noise_of(7, step, (4, 8, 8)) for step in (5, 0, 5)]
    assert torch.equal(again[0], again[2]) and not torch.equal(again[0], again[1])
    assert not torch.equal(noise_of(8, 5, (4, 8, 8)), again[0])
    assert again[0].dtype == torch.float32
    many = noise_of(2**63 - 1, 3, (100_000,)).numpy()
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02
    # The bits themselves: another library's stream would make other pictures of the same rows.
    assert np.allclose(noise_of(1, 2, (3,)).numpy(), WANTED, atol=1e-6)


WANTED = [-0.3608265817165375, -0.20863281190395355, -0.1206943541765213]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prediction_type": "sample"}, "prediction_type 'sample'"),
        ({"prediction_type": "epsilon", "rescale_betas_zero_snr": True}, "no signal at its last step"),
    ],
)
def test_a_schedule_that_cannot_be_sampled_is_refused(changed, said):
    with pytest.raises(ScheduleError, match=said):
        make_sampler("dpmpp_2m", 20, STABLE | changed)
    with pytest.raises(ScheduleError, match="at least 2"):
        make_sampler("dpmpp_2m", 1, SCHEDULES["sd21"])

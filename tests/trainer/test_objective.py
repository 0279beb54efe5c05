"""The target comes from the scheduler: production's two models and the starter's, each as it was trained."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from models.starter.diffusion import SCHEDULER
from trainer.objective import Objective

SD = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
# As the three models' own scheduler_config.json say.
SD_21_BASE = {**SD, "prediction_type": "epsilon"}
SD_21 = {**SD, "prediction_type": "v_prediction"}
ALL = {"sd-2.1-base": SD_21_BASE, "sd-2.1": SD_21, "starter": {**SCHEDULER, "clip_sample": False}}


def drawn(count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    steps = torch.linspace(0, 950, count).long()
    return torch.randn(count, 4, 8, 8), torch.randn(count, 4, 8, 8), steps


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_forward_process_and_target_are_those_of_diffusers(config):
    scheduler = DDIMScheduler(**config)
    clean, noise, steps = drawn()
    objective = Objective.of(scheduler)
    assert torch.allclose(
        objective.noised(clean, noise, steps), scheduler.add_noise(clean, noise, steps), atol=1e-5
    )
    expected = (
        noise if config["prediction_type"] == "epsilon" else scheduler.get_velocity(clean, noise, steps)
    )
    assert torch.allclose(objective.target(clean, noise, steps), expected, atol=1e-5)


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_one_step_with_the_perfect_answer_lands_on_the_clean_latents(config):
    """A target of the wrong kind would be refused by diffusers' own sampler, from any step but the last."""
    scheduler = DDIMScheduler(**config)
    scheduler.set_timesteps(10)
    clean, noise, _ = drawn(1)
    objective = Objective.of(scheduler)
    for step in scheduler.timesteps[2:]:
        steps = step[None]
        noisy, said = objective.noised(clean, noise, steps), objective.target(clean, noise, steps)
        assert torch.allclose(scheduler.step(said, step, noisy).pred_original_sample, clean, atol=1e-3)
        assert torch.allclose(objective.clean(said, noisy, steps), clean, atol=1e-3)


def test_only_the_starter_model_starts_from_pure_noise():
    found = {name: Objective.of(DDIMScheduler(**config)) for name, config in ALL.items()}
    assert {name for name, one in found.items() if one.zero_terminal_snr} == {"starter"}
    clean, noise, _ = drawn(1)
    last = torch.tensor([999])
    assert torch.allclose(found["starter"].noised(clean, noise, last), noise, atol=1e-3)
    left = found["sd-2.1-base"].noised(clean, 0 * noise, last) / clean
    assert 0.05 < float(left.mean()) < 0.09  # what Lin et al. call the flaw: 0.068 of the picture


def test_other_schedulers_of_the_same_configuration_give_the_same_objective():
    clean, noise, steps = drawn()
    ddim = Objective.of(DDIMScheduler(**SD_21))
    euler = Objective.of(EulerAncestralDiscreteScheduler.from_config(SD_21))
    assert torch.allclose(ddim.target(clean, noise, steps), euler.target(clean, noise, steps), atol=1e-5)
    # Euler keeps a trace of the signal, or its sigma would be infinite: there is none to speak of all the same.
    assert Objective.of(EulerAncestralDiscreteScheduler(**SCHEDULER)).zero_terminal_snr


def test_noise_prediction_without_signal_at_the_end_is_refused():
    config = {**SCHEDULER, "prediction_type": "epsilon"}
    with pytest.raises(ValueError, match="set prediction_type to v_prediction"):
        Objective.of(DDIMScheduler(**config))


def test_a_scheduler_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="has no alphas_cumprod"):
        Objective.of(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ValueError, match="prediction_type"):
        Objective.of(DDIMScheduler(**{**SD, "prediction_type": "flow"}))


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_papers_formula_in_each_parametrisation(config, gamma):
    objective = Objective.of(DDIMScheduler(**config))
    steps = torch.arange(0, 990, 33)
    alphas = objective.alphas[steps].double()
    snr = alphas / (1 - alphas)
    capped = torch.minimum(snr, torch.full_like(snr, gamma))
    wanted = capped / snr if objective.prediction == "epsilon" else capped / (snr + 1)
    assert torch.allclose(objective.loss_weights(steps, gamma).double(), wanted, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_weights_are_finite_where_nothing_of_the_picture_is_left_and_keep_their_floor(prediction):
    config = {
        **SD,
        "prediction_type": prediction,
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    }
    objective = Objective.of(DDIMScheduler(**config))
    assert objective.zero_terminal_snr
    weights = objective.loss_weights(torch.tensor([0, 500, 999]), 5.0, floor=0.3)
    assert torch.isfinite(weights).all() and weights.min() >= 0.3 and weights[2] == pytest.approx(0.3)
    assert objective.loss_weights(torch.tensor([0, 999]), None).tolist() == [1, 1]

"""Guidance: InstructPix2Pix's formula, scales that follow from the words, and a posterior that is Bayes' own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from trainer.guidance import Dynamic, Posterior, TextScale, ancestral, copied, transition_mean, two_way
from trainer.words import read


def test_scales_of_one_give_the_prediction_itself():
    both, image, none = torch.randn(3, 2, 4, 5, 5)
    assert torch.allclose(two_way(both, image, none, 1.0, 1.0), both, atol=1e-6)
    assert torch.allclose(two_way(both, image, none, 0.0, 0.0), none)
    assert torch.allclose(two_way(both, image, none, 0.0, 1.0), image, atol=1e-6)


def test_scales_are_each_samples_own():
    both, image, none = torch.randn(3, 2, 4, 5, 5)
    whole = two_way(both, image, none, torch.tensor([7.5, 3.0]), torch.tensor([1.5, 1.0]))
    for row, (text, image_scale) in enumerate([(7.5, 1.5), (3.0, 1.0)]):
        alone = two_way(*(t[row : row + 1] for t in (both, image, none)), text, image_scale)
        assert torch.allclose(whole[row : row + 1], alone)


def test_more_that_is_asked_for_asks_for_more_guidance():
    scale = TextScale()
    free, recolor, vague, exact, two = (
        scale(read(text))
        for text in (
            "make it autumn",
            "make the ball red",
            "move the ball forward",
            "move the ball 10% to the left",
            "move the ball 10% to the left, then rotate it by 90 degrees clockwise",
        )
    )
    assert free == recolor < vague < exact < two <= scale.most
    assert TextScale(base=40)(read("make the ball red")) == 12


# --- a mixture of two Gaussians in one dimension, where everything is known -------------------------------------

MEANS, WEIGHTS, SPREAD = (-2.0, 2.0), (0.25, 0.75), 0.5  # the first is the negative


def density(x: float, mean: float, sigma: float) -> float:
    variance = SPREAD**2 + sigma**2
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(variance)


def posterior(x: float, sigma: float) -> float:
    """p(negative | x at noise sigma), by Bayes."""
    parts = [weight * density(x, mean, sigma) for mean, weight in zip(MEANS, WEIGHTS, strict=True)]
    return parts[0] / sum(parts)


def denoised_of(x: torch.Tensor, mean: float, sigma: float) -> torch.Tensor:
    return mean + SPREAD**2 / (SPREAD**2 + sigma**2) * (x - mean)


def denoised(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Of the whole mixture: what a model that knows both would say."""
    p = torch.tensor([posterior(float(value), sigma) for value in x.flatten()], dtype=x.dtype).reshape(
        x.shape
    )
    return p * denoised_of(x, MEANS[0], sigma) + (1 - p) * denoised_of(x, MEANS[1], sigma)


SIGMAS = [*np.geomspace(20.0, 0.05, 400).tolist()]


def test_the_posterior_is_that_of_the_mixture():
    """The base is the mixture, so p is p(negative | trajectory): at every noise level what Bayes says of the state."""
    torch.manual_seed(0)
    settings = Dynamic(prior=WEIGHTS[0], least=1e-6, most=1 - 1e-6)
    state = SIGMAS[0] * torch.randn(64, 1, 1, 1, dtype=torch.float64)
    found = Posterior(settings, len(state))
    found.log_p = torch.tensor(
        [math.log(posterior(float(x), SIGMAS[0])) for x in state.flatten()], dtype=torch.float64
    )
    errors = []
    for sigma, following in pairwise(SIGMAS):
        base, negative = denoised(state, sigma), denoised_of(state, MEANS[0], sigma)
        mean_base = transition_mean(state, base, sigma, following)
        mean_negative = transition_mean(state, negative, sigma, following)
        _, up = ancestral(sigma, following)
        state = mean_base + up * torch.randn_like(state)
        found.update(state, mean_negative, mean_base, up)
        wanted = torch.tensor([posterior(float(x), following) for x in state.flatten()], dtype=torch.float64)
        errors.append((found.p - wanted).abs().mean().item())
    assert max(errors) < 0.05, max(errors)
    assert ((found.p > 0.5) == (state.flatten() < 0)).float().mean() > 0.95


def test_guided_away_hardly_anything_ends_in_the_negative():
    torch.manual_seed(1)

    def ended(guided: bool) -> float:
        state = SIGMAS[0] * torch.randn(128, 1, 1, 1, dtype=torch.float64)
        found = Posterior(Dynamic(prior=WEIGHTS[0], least=1e-6, most=0.999), len(state))
        for sigma, following in pairwise(SIGMAS):
            base, negative = denoised(state, sigma), denoised_of(state, MEANS[0], sigma)
            noise_base, noise_negative = copied(state, base, sigma), copied(state, negative, sigma)
            noise = found.pushed(noise_base, noise_negative, noise_base) if guided else noise_base
            _, up = ancestral(sigma, following)
            drawn = transition_mean(state, state - sigma * noise, sigma, following) + up * torch.randn_like(
                state
            )
            found.update(
                drawn, transition_mean(state, negative, sigma, following),
                transition_mean(state, base, sigma, following), up,
            )  # fmt: skip
            state = drawn
        return (state < 0).float().mean().item()

    assert ended(guided=False) == pytest.approx(WEIGHTS[0], abs=0.1)
    assert ended(guided=True) < 0.03


def test_a_sampler_without_spread_is_refused():
    found = Posterior(Dynamic(), 2)
    state = torch.randn(2, 4, 3, 3)
    found.update(state, state + 1, state, 0.0)
    assert torch.allclose(found.p, torch.tensor(0.01))
    with pytest.raises(ValueError, match="needs an ancestral sampler"):
        found.check()
    found.update(state, state + 1, state, 0.5)
    found.check()
    assert (
        (found.p == pytest.approx(1e-3)) if found.p.ndim == 0 else torch.allclose(found.p, torch.tensor(1e-3))
    )


def test_p_stays_within_its_bounds():
    found = Posterior(Dynamic(most=0.9), 1)
    state = torch.zeros(1, 4, 8, 8)
    for _ in range(50):
        found.update(state, state, state + 1, 0.3)
    assert found.p.item() == pytest.approx(0.9) and torch.isfinite(found.weight).all()
    with pytest.raises(ValueError, match="most < 1"):
        Dynamic(most=1.0)


def test_copying_is_pushed_away_where_the_subject_is_and_nowhere_else():
    state, source = torch.randn(2, 1, 4, 6, 6)
    where = torch.zeros(1, 1, 6, 6)
    where[..., 2:4, 2:4] = 1
    found = Posterior(Dynamic(prior=0.5), 1)
    predicted = torch.randn(1, 4, 6, 6)
    pushed = found.pushed(predicted, copied(state, source, 2.0), predicted, where)
    assert torch.equal(pushed[..., :2, :], predicted[..., :2, :])
    assert not torch.allclose(pushed[..., 2:4, 2:4], predicted[..., 2:4, 2:4])
    assert torch.allclose(state - 2.0 * copied(state, source, 2.0), source, atol=1e-5)
    outside = state.clone()
    outside[..., 0, 0] += 100
    found.update(outside, state, state + where, 1.0, where)
    assert found.p.item() == pytest.approx(0.95)


def test_an_ancestral_step_keeps_the_noise_it_should_have():
    down, up = ancestral(3.0, 2.0)
    assert down**2 + up**2 == pytest.approx(4.0)
    assert ancestral(3.0, 0.0) == (0.0, 0.0)

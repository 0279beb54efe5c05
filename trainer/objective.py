"""What a diffusion model is asked to predict, read from its scheduler and never assumed.

Models differ: Stable Diffusion 2.1-base predicts the noise at 512 px, 2.1 predicts v at 768 px, both with an
ordinary signal-to-noise ratio at the last step; the starter model predicts v with none. A recipe that takes one
for the other trains without an error and makes grey pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch

Prediction = Literal["epsilon", "v_prediction", "sample"]
_NO_SIGNAL = 1e-3  # sqrt(alpha) below this: nothing of the picture is left (Euler clamps alpha at 2**-24)


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The forward process of a scheduler and the model's target in it.

    prediction: "epsilon", the noise; "v_prediction", sqrt(alpha) noise - sqrt(1 - alpha) clean (Salimans & Ho
    2022, "Progressive Distillation", eq. 11); "sample", the clean latents. alphas: (steps,) float32, the
    cumulative products that the scheduler goes by, rescaled where it asks for zero terminal SNR (Lin et al. 2023,
    "Common Diffusion Noise Schedules and Sample Steps are Flawed").
    """

    prediction: Prediction
    alphas: torch.Tensor

    @classmethod
    def of(cls, scheduler: Any) -> Objective:
        """scheduler: any of diffusers' with `alphas_cumprod`.

        Raises ValueError for another kind of scheduler or prediction, and for a noise-predicting one without any
        signal at its last step: there the noise says nothing about the picture, and nothing can be sampled.
        """
        alphas = getattr(scheduler, "alphas_cumprod", None)
        if alphas is None:
            raise ValueError(
                f"{type(scheduler).__name__} has no alphas_cumprod: use DDIM, DDPM, Euler or DPM++"
            )
        prediction = scheduler.config.prediction_type
        if prediction not in get_args(Prediction):
            raise ValueError(
                f"prediction_type {prediction!r} is not one of {', '.join(get_args(Prediction))}"
            )
        objective = cls(cast(Prediction, prediction), alphas.detach().float().cpu())
        if objective.zero_terminal_snr and prediction == "epsilon":
            raise ValueError(
                "the scheduler predicts epsilon and has no signal at its last step: set prediction_type to "
                "v_prediction, or rescale_betas_zero_snr to false"
            )
        return objective

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether the last step is pure noise."""
        return bool(self.alphas[-1].sqrt() < _NO_SIGNAL)

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Latents after `steps` of the forward process. clean, noise: (b, ...) float. steps: (b,) int64."""
        signal, spread = self.shares(steps, clean)
        return signal * clean + spread * noise

    def target(self, clean: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """What the model should say of `noised(clean, noise, steps)`; shaped as clean."""
        signal, spread = self.shares(steps, clean)
        if self.prediction == "epsilon":
            return noise
        return clean if self.prediction == "sample" else signal * noise - spread * clean

    def clean(self, said: torch.Tensor, noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """The clean latents that a model's answer stands for: the inverse of `target`."""
        signal, spread = self.shares(steps, noisy)
        if self.prediction == "epsilon":
            return (noisy - spread * said) / signal
        return said if self.prediction == "sample" else signal * noisy - spread * said

    def loss_weights(self, steps: torch.Tensor, gamma: float | None, floor: float = 0.0) -> torch.Tensor:
        """(b,) float32, what each sample's squared error counts. gamma: None for all alike; else min-SNR (Hang et al.
        2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"): min(snr, gamma) / snr for noise,
        min(snr, gamma) / (snr + 1) for v, min(snr, gamma) for the clean latents. floor: never less, so that high noise,
        where it is decided what stands where, keeps its say. Finite also where nothing of the picture is left.
        """
        if gamma is None:
            return torch.ones(len(steps), device=steps.device)
        alphas = self.alphas.to(steps.device)[steps].double()
        # With a = snr / (snr + 1): no division by a vanishing snr, or by a vanishing noise.
        capped = torch.minimum(alphas, gamma * (1 - alphas))  # min(snr, gamma) / (snr + 1)
        if self.prediction == "epsilon":
            weights = torch.where(alphas > 0, capped / alphas.clamp_min(1e-12), torch.ones_like(alphas))
        elif self.prediction == "v_prediction":
            weights = capped
        else:
            weights = torch.minimum(alphas / (1 - alphas).clamp_min(1e-12), torch.full_like(alphas, gamma))
        return weights.clamp_min(floor).float()

    def shares(self, steps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the picture and of the noise, sqrt(alpha) and sqrt(1 - alpha), to be multiplied with `like`."""
        alphas = self.alphas.to(like.device)[steps].view(-1, *[1] * (like.ndim - 1))
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)

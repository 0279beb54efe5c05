"""The starter VAE: `diffusers.AutoencoderKL`, 128 x 128 pixels to 16 x 16 x 4 latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import nn

from models.starter.training import Plan, averaged, train
from models.starter.world import IMAGE_SIZE

Pixels = NDArray[np.uint8]  # (n, h, w, 3)

NAME = "vae"
CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 64, 64],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": IMAGE_SIZE,
    "mid_block_add_attention": True,
}
PLAN = Plan(steps=6_500, rate=1.5e-3, warmup=300, last=0.01)
CROP, BATCH = 64, 16
WHOLE_FROM, WHOLE_BATCH = 5_500, 4  # the last steps see whole pictures, as the models that use it will
KL_WEIGHT = 1e-6
DECODER = "decoder"
DECODER_PLAN = Plan(steps=2_000, rate=5e-4, warmup=100, last=0.01)
DECODER_BATCH = 4


def train_vae(images: Pixels, folder: Path, until_s: float | None = None, bf16: bool = False) -> None:
    """Trains on crops, then on whole pictures. images: (n, 128, 128, 3) uint8."""
    torch.manual_seed(0)
    vae = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)

    def loss(step: int, noise: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        whole = step >= WHOLE_FROM
        pixels = _crops(images, WHOLE_BATCH if whole else BATCH, IMAGE_SIZE if whole else CROP, step)
        posterior = vae.encode(pixels).latent_dist
        seen = vae.decode(posterior.sample(noise)).sample.float()
        error = seen - pixels
        squared = error.square().mean()
        # Absolute error keeps edges; squared error is what PSNR counts.
        total = error.abs().mean() + 2 * squared + KL_WEIGHT * posterior.kl().mean()
        return total, {"psnr": _psnr(squared)}

    train(NAME, vae, loss, PLAN, folder, ema_decay=0.999, weight_decay=0.0, until_s=until_s, bf16=bf16)


class Decoder(nn.Module):
    """The half of an autoencoder that comes after the latents. forward: (b, 4, h, w) to (b, 3, 8h, 8w) in -1..1."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.decoder, self.post_quant_conv = vae.decoder, vae.post_quant_conv

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        pixels: torch.Tensor = self.decoder(self.post_quant_conv(latents))
        return pixels


def train_decoder(
    latents: torch.Tensor, images: Pixels, folder: Path, until_s: float | None = None, bf16: bool = False
) -> None:
    """Trains the decoder on, alone and for squared error: other models may already use the latents.

    latents: (n, 2, 4, 16, 16) as `load_vae`'s encoder makes them, of the pictures and their flips; images: the
    pictures, (n, 128, 128, 3) uint8.
    """
    decoder = Decoder(_autoencoder(folder)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(step: int, _: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([4, step])
        chosen, side = rng.integers(len(images), size=DECODER_BATCH), rng.integers(2, size=DECODER_BATCH)
        pixels = np.stack([images[i, :, ::-1] if flip else images[i] for i, flip in zip(chosen, side)])
        seen = decoder(latents[chosen, side]).float()
        squared = (seen - as_tensor(pixels)).square().mean()
        return squared, {"psnr": _psnr(squared)}

    train(DECODER, decoder, loss, DECODER_PLAN, folder, weight_decay=0.0, until_s=until_s, bf16=bf16)


def load_vae(folder: Path) -> AutoencoderKL:
    """The averaged model of the checkpoint, with the decoder as it was trained on if it was, in eval mode."""
    vae = _autoencoder(folder)
    if (folder / f"{DECODER}.pt").exists():
        Decoder(vae).load_state_dict(averaged(DECODER, folder)[0])
    return vae.eval()


def _autoencoder(folder: Path) -> AutoencoderKL:
    vae = AutoencoderKL(**CONFIG)
    vae.load_state_dict(averaged(NAME, folder)[0])
    return vae


@torch.no_grad()
def latents_of(vae: AutoencoderKL, images: Pixels, batch: int = 32) -> torch.Tensor:
    """(n, 4, 16, 16) float32: the posterior's mode, not scaled. images: (n, 128, 128, 3) uint8."""
    found = [
        vae.encode(as_tensor(images[at : at + batch])).latent_dist.mode()
        for at in range(0, len(images), batch)
    ]
    return torch.cat(found)


@torch.no_grad()
def round_trip(vae: AutoencoderKL, images: Pixels, batch: int = 32) -> Pixels:
    """What is left of pictures that went through the latents. (n, 128, 128, 3) uint8, in and out."""
    seen = []
    for at in range(0, len(images), batch):
        latents = vae.encode(as_tensor(images[at : at + batch])).latent_dist.mode()
        seen.append(as_pixels(vae.decode(latents).sample))
    return np.concatenate(seen)


def psnr(one: Pixels, other: Pixels) -> NDArray[np.float64]:
    """(n,) dB of pairs of pictures."""
    error = (one.astype(np.float64) - other) / 255
    return np.asarray(-10 * np.log10(np.maximum((error**2).mean(axis=(1, 2, 3)), 1e-12)))


def as_tensor(images: Pixels) -> torch.Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def as_pixels(tensor: torch.Tensor) -> Pixels:
    """The inverse of `as_tensor`, clamped and rounded."""
    scaled = tensor.add(1).mul(127.5).round().clamp(0, 255)
    return np.asarray(scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())


def _crops(images: Pixels, number: int, size: int, step: int) -> torch.Tensor:
    """Random crops, half of them flipped; the same for the same step."""
    rng = np.random.default_rng([0, step])
    chosen = rng.integers(len(images), size=number)
    tops, lefts = rng.integers(IMAGE_SIZE - size + 1, size=(2, number))
    crops = [images[i, y : y + size, x : x + size] for i, y, x in zip(chosen, tops, lefts)]
    flipped = [crop[:, ::-1] if flip else crop for crop, flip in zip(crops, rng.random(number) < 0.5)]
    return as_tensor(np.stack(flipped)).to(memory_format=torch.channels_last)


def _psnr(squared: torch.Tensor) -> float:
    return float(-10 * torch.log10(squared.detach() / 4))  # the range -1..1 is 2 wide

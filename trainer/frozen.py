"""What an editor stands on and does not learn: the autoencoder, the text encoder, the noise schedule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel

from shards.images import Pixels
from trainer.objective import Objective
from trainer.paste import Pasting

_IN_CACHE = 4 * 128 * 128  # pixels
_MOST_PHRASES = 20_000


class Frozen(nn.Module):
    """Parts of a Stable Diffusion model: a folder of diffusers' form, or a name on the Hub."""

    def __init__(
        self, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: Any, objective: Objective
    ) -> None:
        super().__init__()
        self.vae, self.text_encoder = (
            vae.requires_grad_(False).eval(),
            text_encoder.requires_grad_(False).eval(),
        )
        self.tokenizer, self.objective = tokenizer, objective
        self._known: dict[str, Tensor] = {}  # phrases that were met, on the CPU: few, and met again and again

    @classmethod
    def load(cls, model: str | Path, revision: str | None = None) -> Frozen:
        """Safetensors alone. Raises OSError where the model, or a part of it, is not there."""
        common: dict[str, Any] = {"revision": revision, "use_safetensors": True}
        return cls(
            AutoencoderKL.from_pretrained(model, subfolder="vae", **common),
            CLIPTextModel.from_pretrained(model, subfolder="text_encoder", **common),
            AutoTokenizer.from_pretrained(model, subfolder="tokenizer", revision=revision),
            Objective.of(DDPMScheduler.from_pretrained(model, subfolder="scheduler", revision=revision)),
        )

    @property
    def device(self) -> torch.device:
        return cast(torch.device, next(self.vae.parameters()).device)

    @property
    def pasting(self) -> Pasting:
        """What an editor that pastes must know of these."""
        return Pasting(self.objective, float(self.vae.config.scaling_factor))

    def identity(self) -> str:
        """Of the autoencoder: its settings and weights. The same latents come of the same identity."""
        config = {
            name: value for name, value in self.vae.config.items() if not name.startswith("_")
        }  # no paths
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for name, value in sorted(self.vae.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def latents_of(self, side: int) -> tuple[int, int, int]:
        """(c, h, w) of a picture's latents. side: pixels, a multiple of 8."""
        cells = side // 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.latent_channels, cells, cells

    def pixels(self, pictures: Sequence[Pixels]) -> Tensor:
        """(h, w, 3) uint8 each, to (b, 3, h, w) float, -1 to 1."""
        whole = torch.from_numpy(np.stack(pictures)).to(self.device)
        return whole.permute(0, 3, 1, 2).to(next(self.vae.parameters()).dtype) / 127.5 - 1

    @torch.no_grad()
    def source(self, pixels: Tensor) -> Tensor:
        """(b, c, h / 8, w / 8): the mode of the posterior, *without* the scaling factor, as diffusers' InstructPix2Pix
        pipeline feeds it. Times that factor it is what is to be learned: not a sample, since the posterior is narrow,
        and what is kept must not differ from what is not."""
        modes = [
            self.vae.encode(some).latent_dist.mode() for some in torch.split(pixels, self._at_once(pixels))
        ]
        return torch.cat(modes)

    def _at_once(self, pixels: Tensor) -> int:
        """How many pictures are encoded together. On a CPU few, whose features stay in its cache: 32 of 128 pixels
        together take twice as long as four at a time."""
        if self.device.type != "cpu":
            return max(1, len(pixels))
        return max(1, _IN_CACHE // (pixels.shape[-2] * pixels.shape[-1]))

    @torch.no_grad()
    def decoded(self, latents: Tensor) -> Tensor:
        """Scaled latents to (b, 3, h, w) float32, about -1 to 1."""
        return cast(Tensor, self.vae.decode(latents / self.vae.config.scaling_factor).sample.float())

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to (b, h, w, 3) uint8."""
        return as_bytes(self.decoded(latents))

    @torch.no_grad()
    def text(self, texts: Sequence[str]) -> Tensor:
        """(b, l, d): the text encoder's states, padded as the model was taught."""
        tokens = self._tokens(texts)
        return cast(Tensor, self.text_encoder(tokens["input_ids"]).last_hidden_state)

    @torch.no_grad()
    def phrases(self, texts: Sequence[str]) -> Tensor:
        """(n, d): of each phrase the mean of the states over its words, without begin, end and padding."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > _MOST_PHRASES:
            self._known, new = {}, list(dict.fromkeys(texts))
        self._known |= dict(zip(new, self._phrases(new).float().cpu(), strict=True))
        if not texts:
            return torch.zeros(0, self.text_encoder.config.hidden_size, device=self.device)
        return torch.stack([self._known[text] for text in texts]).to(self.device)

    def _phrases(self, texts: Sequence[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self.text_encoder.config.hidden_size)
        tokens = self._tokens(texts)
        states = self.text_encoder(tokens["input_ids"]).last_hidden_state
        special = torch.tensor(self.tokenizer.all_special_ids, device=self.device)
        words = (tokens["attention_mask"] > 0) & ~torch.isin(tokens["input_ids"], special)
        weights = words.to(states.dtype) / words.sum(dim=1, keepdim=True).clamp_min(1)
        return torch.einsum("nl,nld->nd", weights, states)

    def _tokens(self, texts: Sequence[str]) -> Any:
        length = self.tokenizer.model_max_length
        return self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)


def as_bytes(pixels: Tensor) -> Tensor:
    """(b, 3, h, w), -1 to 1, to (b, h, w, 3) uint8."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def text_to_image(model: str | Path, revision: str | None = None) -> UNet2DConditionModel:
    """The UNet that an editor begins as."""
    return UNet2DConditionModel.from_pretrained(
        model, subfolder="unet", revision=revision, use_safetensors=True
    )

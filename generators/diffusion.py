"""A text-to-image model as the pair engine uses it: text, UNet and decoder of Stable Diffusion, checked on loading."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generators.attention import NotControllable, install

Pixels = NDArray[np.uint8]
Precision = Literal["fp32", "fp16", "bf16"]
_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TEXTS_KEPT = 4096


class ModelError(ValueError):
    """The model cannot be used; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """model: a folder in diffusers' layout, or a name on the Hub with `revision`. device: "auto" takes a GPU where this
    process has one. compiled: the UNet by `torch.compile`, which needs a C++ compiler on a CPU and pays after some
    minutes."""

    model: str
    revision: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    compiled: bool = False


class Diffusion:
    """A model, loaded. schedule: its scheduler's configuration. latent_shape: (channels, height, width).

    pipeline: one of diffusers that is in memory already, in place of `settings.model`. Raises ModelError for what is
    not a text-to-image model of Stable Diffusion's kind, and for a missing device.
    """

    def __init__(self, settings: ModelSettings, pipeline: Any = None) -> None:
        self.device = _device(settings)
        self.dtype = _TYPES[settings.precision]
        pipeline = pipeline if pipeline is not None else _loaded(settings)
        _check(pipeline, settings.model)
        self.schedule: dict[str, Any] = dict(pipeline.scheduler.config)
        self.tokenizer = pipeline.tokenizer
        self._text = pipeline.text_encoder.to(self.device).eval().requires_grad_(False)
        self._vae = pipeline.vae.to(self.device).eval().requires_grad_(False)
        self._vae.to(memory_format=torch.channels_last)
        self.unet = pipeline.unet.to(self.device).eval().requires_grad_(False)
        self.unet.to(memory_format=torch.channels_last)
        try:
            install(self.unet)
        except NotControllable as error:
            raise ModelError(f"{settings.model}: {error}") from None
        if settings.compiled:
            self.unet.compile()
        size = int(self.unet.config.sample_size)
        self.latent_shape = (int(self.unet.config.in_channels), size, size)
        self._texts: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        stages = len(self._vae.config.block_out_channels)
        return int(self.latent_shape[1] * 2 ** (stages - 1))

    @torch.inference_mode()
    def encode(self, ids: Sequence[int]) -> Tensor:
        """(T, width) on the device, of a caption's padded tokens; each caption is encoded once, and alone, so that its
        states do not depend on what is encoded beside it."""
        key = tuple(ids)
        if key not in self._texts:
            tokens = torch.tensor([key], device=self.device)
            self._texts[key] = self._text(tokens).last_hidden_state[0]
            while len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]

    def empty_ids(self) -> tuple[int, ...]:
        """Tokens of no caption, for classifier-free guidance."""
        length = self.tokenizer.model_max_length
        return tuple(self.tokenizer("", padding="max_length", max_length=length)["input_ids"])

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """(n, channels, h, w), scaled as the UNet's, to (n, H, W, 3) float32 in 0..1 on the CPU; not rounded."""
        values = latents.to(self.device, self.dtype, memory_format=torch.channels_last)
        pictures = self._vae.decode(values / self._vae.config.scaling_factor).sample
        found: Tensor = (pictures.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu()
        return found


def rounded(pictures: Tensor) -> Pixels:
    """0..1 to uint8, to the nearest."""
    return (pictures * 255).round().to(torch.uint8).numpy()


def _device(settings: ModelSettings) -> torch.device:
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise ModelError("device is cuda, and this process has no GPU: give pools.pairs a num_gpus")
    device = torch.device("cuda" if there and settings.device != "cpu" else "cpu")
    if settings.precision == "fp16" and device.type == "cpu":
        raise ModelError("precision fp16 needs a GPU: use fp32 or bf16 on the CPU")
    return device


def _loaded(settings: ModelSettings) -> Any:
    from diffusers import DiffusionPipeline

    path = Path(settings.model).expanduser()
    where: dict[str, Any] = {"local_files_only": True} if path.is_dir() else {"revision": settings.revision}
    try:
        return DiffusionPipeline.from_pretrained(
            str(path) if path.is_dir() else settings.model,
            dtype=_TYPES[settings.precision],
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
            **where,
        )
    except Exception as error:  # of many libraries; whatever it is, this model does not load
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{settings.model} does not load: {said}; it must be a Stable Diffusion model in diffusers' layout, as "
            "safetensors"
        ) from error


def _check(pipeline: Any, name: str) -> None:
    """That it makes pictures from text alone."""
    parts = [part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
             if getattr(pipeline, part, None) is None]  # fmt: skip
    if parts:
        raise ModelError(
            f"{name} is a {type(pipeline).__name__} without {parts[0]}: Prompt-to-Prompt needs a text-to-image model "
            "as Stable Diffusion 1.x or 2.x"
        )
    config: Mapping[str, Any] = pipeline.unet.config
    latent = pipeline.vae.config.latent_channels
    if config["in_channels"] != latent or config["out_channels"] != latent:
        raise ModelError(
            f"{name}: its UNet takes {config['in_channels']} channels and the latents have {latent}; models that edit "
            "or fill in pictures cannot make them from text: take a text-to-image model"
        )
    width = pipeline.text_encoder.config.hidden_size
    if config["cross_attention_dim"] != width:
        raise ModelError(
            f"{name}: its UNet reads text {config['cross_attention_dim']} wide, and its text encoder writes {width}"
        )

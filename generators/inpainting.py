"""What fills the hole that a thing leaves in a photo: one call, three ways to do it.

OpenCV needs no weights and runs anywhere; it smears, which shows in large holes. A diffusion model, or LaMa, is for
those who have a GPU and weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import Mask, Pixels

_RADIUS = 5  # pixels around a point that Telea's method looks at
_GRAIN = 12  # pixels around a hole whose grain it gets
_FLOOR = 8  # side of the latent grid in pixels: sizes that diffusion models take


class InpaintingError(Exception):
    """The method cannot be used here; the message is one line that says what to do."""


class Inpainter(Protocol):
    """identity: what the rows depend on, for fingerprints and provenance."""

    identity: str

    def __call__(self, rgb: Pixels, hole: Mask, seed: int) -> Pixels:
        """(h, w, 3) uint8 with (h, w) bool filled; pixels outside the hole are those of `rgb`, to the bit."""


class OpenCv:
    """Telea, "An image inpainting technique based on the fast marching method" (2004), or Navier-Stokes.

    Works on the hole and its surroundings alone: the method's reach is a few pixels.
    """

    def __init__(self, method: Literal["telea", "ns"] = "telea") -> None:
        self.identity = f"opencv-{method}-grain"
        self._method = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS

    def __call__(self, rgb: Pixels, hole: Mask, seed: int) -> Pixels:
        if not hole.any():
            return rgb.copy()
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        margin = 4 * _RADIUS
        area = (
            slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
            slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
        )
        part, inside = np.ascontiguousarray(rgb[area]), hole[area].astype(np.uint8)
        filled = _with_grain(cv2.inpaint(part, inside, _RADIUS, self._method), inside, seed)
        result = rgb.copy()
        result[area][hole[area]] = filled[hole[area]]
        return result


def _with_grain(filled: Pixels, inside: NDArray[np.uint8], seed: int) -> Pixels:
    """The fill with as much noise as its surroundings have: a smooth patch in a grainy photo is seen at once."""
    around = cv2.dilate(inside, np.ones((2 * _GRAIN + 1, 2 * _GRAIN + 1), np.uint8)).astype(bool) & (
        inside == 0
    )
    if not around.any():
        return filled
    fine = filled.astype(np.float32) - cv2.GaussianBlur(filled, (0, 0), 1.5).astype(np.float32)
    # The median of deviations: edges of things are few and large, and no grain.
    spread = 1.48 * np.median(np.abs(fine[around]), axis=0)
    noise = np.random.default_rng(seed).standard_normal(filled.shape[:2]).astype(np.float32)
    grainy = np.clip(np.rint(filled + noise[..., None] * spread), 0, 255).astype(np.uint8)
    return np.where(inside[..., None].astype(bool), grainy, filled)


class Diffusers:
    """A diffusers inpainting pipeline, such as SD 2 inpainting: a folder, or a name on the Hub with its revision."""

    def __init__(self, model: str, revision: str | None, device: str, steps: int = 25) -> None:
        """Raises InpaintingError where the model cannot be loaded."""
        import torch
        from diffusers import AutoPipelineForInpainting

        self.identity = (
            f"diffusers-{Path(model).name if Path(model).is_dir() else model}@{revision or 'local'}"
        )
        half = torch.float16 if device == "cuda" else torch.float32
        try:
            self._pipeline = AutoPipelineForInpainting.from_pretrained(
                model, revision=revision, dtype=half, use_safetensors=True
            ).to(device)
        except (OSError, ValueError, ImportError) as error:
            raise InpaintingError(f"inpainting.model {model}: {str(error).splitlines()[0]}") from None
        self._pipeline.set_progress_bar_config(disable=True)
        self._steps = steps

    def __call__(self, rgb: Pixels, hole: Mask, seed: int) -> Pixels:
        import torch
        from PIL import Image

        height, width = (-(-side // _FLOOR) * _FLOOR for side in hole.shape)
        padding = ((0, height - hole.shape[0]), (0, width - hole.shape[1]))
        whole = np.pad(rgb, (*padding, (0, 0)), mode="edge")
        made: Any = self._pipeline(
            prompt="background, empty surface",
            negative_prompt="object, person, animal, text",
            image=Image.fromarray(whole),
            mask_image=Image.fromarray(np.pad(hole, padding).astype(np.uint8) * 255),
            height=height,
            width=width,
            num_inference_steps=self._steps,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        result = rgb.copy()
        result[hole] = np.asarray(made.convert("RGB"))[: hole.shape[0], : hole.shape[1]][hole]
        return result


class Lama:
    """LaMa (Suvorov et al., "Resolution-robust large mask inpainting with Fourier convolutions", 2022) as an ONNX file
    of one's own with inputs (1, 3, 512, 512) in 0..1 and (1, 1, 512, 512): nothing in such a file is run but its
    graph."""

    _SIDE = 512

    def __init__(self, file: str, sha256: str) -> None:
        """Raises InpaintingError without onnxruntime, or where the file is not the one that `sha256` names."""
        import hashlib

        path = Path(file)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise InpaintingError(
                f"inpainting.file {file}: is not there, or not the file of inpainting.sha256"
            )
        try:
            import onnxruntime
        except ImportError:
            raise InpaintingError(
                "inpainting.method lama: needs onnxruntime; install the extra `photos`"
            ) from None
        self.identity = f"lama-sha256:{sha256}"
        try:
            self._session = onnxruntime.InferenceSession(str(path))
        except Exception as error:  # its own kinds share no base but this
            said = str(error).splitlines()[0]
            raise InpaintingError(
                f"inpainting.file {file}: is no ONNX graph that can be run: {said}"
            ) from None

    def __call__(self, rgb: Pixels, hole: Mask, seed: int) -> Pixels:
        side = (self._SIDE, self._SIDE)
        small = cv2.resize(rgb, side, interpolation=cv2.INTER_AREA)
        inside = cv2.resize(hole.astype(np.uint8), side, interpolation=cv2.INTER_NEAREST)
        names = [put.name for put in self._session.get_inputs()]
        values = (small.transpose(2, 0, 1)[None] / np.float32(255), inside[None, None].astype(np.float32))
        (made,) = self._session.run(None, dict(zip(names, values, strict=True)))
        scale = 1 if made.max() > 2 else 255  # exports differ in it
        picture = np.clip(made[0].transpose(1, 2, 0) * scale, 0, 255).astype(np.uint8)
        large = cv2.resize(picture, hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
        result = rgb.copy()
        result[hole] = large[hole]
        return result

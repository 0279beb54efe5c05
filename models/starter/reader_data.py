"""What the reader learns from: pictures with flat arrays of what they show, and how they are varied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.reader import mirrored_yaw, seen_yaw, to_tensor
from filters.reader_net import ReaderConfig
from models.starter.data import Scenes
from models.starter.world import COLORS, IMAGE_SIZE, KINDS, MATERIALS
from renderers.shapes import ProceduralShapes
from spatial import geometry

CONFIG = ReaderConfig(
    kinds=KINDS,
    colors=COLORS,
    materials=MATERIALS,
    turnable=tuple(kind for kind in KINDS if ProceduralShapes().turnable(kind)),
    lopsided=("mug",),
    size=IMAGE_SIZE,
)

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """m things of one picture or of many. boxes: (m, 4) float32 xyxy pixels, visible part. centres: (m, 2)
    float32 pixels, of the whole outline. kinds, colors, materials: (m,) int64, positions in the configuration.
    yaws: (m,) float32 degrees, NaN where a kind has none. lopsided: (m,) bool, as in `mirrored_yaw`."""

    boxes: Floats
    centres: Floats
    kinds: NDArray[np.int64]
    colors: NDArray[np.int64]
    materials: NDArray[np.int64]
    yaws: Floats
    lopsided: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: slice) -> Things:
        return Things(
            self.boxes[rows], self.centres[rows], self.kinds[rows], self.colors[rows],
            self.materials[rows], self.yaws[rows], self.lopsided[rows],
        )  # fmt: skip

    def moved(self, boxes: Floats, centres: Floats, yaws: Floats) -> Things:
        return Things(boxes, centres, self.kinds, self.colors, self.materials, yaws, self.lopsided)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """n pictures. ids: unique. images: (n, h, h, 3) uint8. things: of all pictures, one after the other; those of
    picture i are starts[i] to starts[i + 1]. round_trips: the same pictures through a VAE, or None."""

    ids: tuple[str, ...]
    images: Picture
    things: Things
    starts: NDArray[np.int64]
    round_trips: Picture | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, picture: int) -> Things:
        return self.things[slice(int(self.starts[picture]), int(self.starts[picture + 1]))]


def labelled(scenes: Scenes, config: ReaderConfig = CONFIG) -> Labelled:
    """Raises ValueError where a scene shows what the configuration does not name."""
    shapes = ProceduralShapes()
    boxes, centres, names, yaws, counts = [], [], [], [], []
    for scene, rows in zip(scenes.scenes, scenes.objects, strict=True):
        counts.append(len(rows))
        for thing, row in zip(scene.objects, rows, strict=True):
            boxes.append(row["box"])
            centres.append(geometry.centre(thing, scene.camera, shapes))
            names.append((thing.noun, thing.color or "", thing.material or ""))
            yaws.append(seen_yaw(thing, scene.camera) if thing.noun in config.turnable else np.nan)
    kinds, colors, materials = zip(*names, strict=True)
    things = Things(
        np.array(boxes, np.float32),
        np.array(centres, np.float32),
        _positions(kinds, config.kinds),
        _positions(colors, config.colors),
        _positions(materials, config.materials),
        np.array(yaws, np.float32),
        np.isin(kinds, config.lopsided),
    )
    return Labelled(scenes.ids, scenes.images, things, np.cumsum([0, *counts]))


def _positions(names: tuple[str, ...], known: tuple[str, ...]) -> NDArray[np.int64]:
    unknown = set(names) - set(known)
    if unknown:
        raise ValueError(f"the reader has no output for {sorted(unknown)}: it knows {', '.join(known)}")
    return np.array([known.index(name) for name in names], np.int64)


def round_trips(images: Picture, vae: Path | str, batch: int = 32) -> Picture:
    """The pictures encoded to latents (their mean) and decoded again, uint8 as before.

    vae: a folder of diffusers' `AutoencoderKL`. Raises FileNotFoundError where there is none.
    """
    if not (Path(vae) / "config.json").is_file():
        raise FileNotFoundError(f"no VAE in {vae}: name the folder that holds its config.json")
    import torch
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(str(vae), local_files_only=True, low_cpu_mem_usage=False)
    model = model.float().eval()
    out = np.empty_like(images)
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pictures = to_tensor(images[start : start + batch]) * 2 - 1
            decoded = model.decode(model.encode(pictures).latent_dist.mode()).sample
            pixels = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            out[start : start + batch] = pixels.permute(0, 2, 3, 1).numpy()
    return out


# --- variation ----------------------------------------------------------------------------------------------


def varied(image: Picture, things: Things, rng: np.random.Generator) -> tuple[Picture, Things]:
    """One picture of (h, h, 3) uint8 flipped, reframed, dimmed and worn, each by chance; labels go along."""
    if rng.random() < 0.5:
        image, things = flipped(image, things)
    if rng.random() < 0.6:
        image, things = reframed(image, things, rng)
    return _worn(_lit(image, rng), rng), things


def flipped(image: Picture, things: Things) -> tuple[Picture, Things]:
    """Left and right exchanged."""
    width = image.shape[1]
    boxes = things.boxes.copy()
    boxes[:, [0, 2]] = width - things.boxes[:, [2, 0]]
    centres = things.centres.copy()
    centres[:, 0] = width - centres[:, 0]
    yaws = [
        mirrored_yaw(float(yaw), bool(odd)) for yaw, odd in zip(things.yaws, things.lopsided, strict=True)
    ]
    return np.ascontiguousarray(image[:, ::-1]), things.moved(boxes, centres, np.array(yaws, np.float32))


def reframed(image: Picture, things: Things, rng: np.random.Generator) -> tuple[Picture, Things]:
    """Nearer or further by up to a fifth, with every thing whole in the frame; as it is where that cannot be."""
    size = image.shape[0]
    scale = float(np.exp(rng.uniform(np.log(0.85), np.log(1.2))))
    window = size / scale
    low = np.maximum(things.boxes[:, 2:].max(axis=0) + 1 - window, min(0.0, size - window))
    high = np.minimum(things.boxes[:, :2].min(axis=0) - 1, max(0.0, size - window))
    share = rng.random(2)
    if np.any(low > high):
        return image, things
    corner = (low + share * (high - low)).astype(np.float32)
    # OpenCV puts a pixel's middle at whole numbers; ours is at one half.
    shift = (0.5 - corner) * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    moved = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    boxes = (things.boxes - np.tile(corner, 2)) * np.float32(scale)
    centres = (things.centres - corner) * np.float32(scale)
    return moved.astype(np.uint8), things.moved(boxes, centres, things.yaws)


def _lit(image: Picture, rng: np.random.Generator) -> Picture:
    """Brighter or darker by a fifth; each channel by 4% at most, or pink would become purple."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.96, 1.04, size=3)
    gamma = rng.uniform(0.9, 1.1)
    levels = (np.arange(256) / 255.0) ** gamma
    table = np.clip(levels[:, None] * gain * 255, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[:, None, :]), np.uint8)


def _worn(image: Picture, rng: np.random.Generator) -> Picture:
    """Blurred, scaled down and up, noisy or from a JPEG: what generated pictures look like."""
    size = image.shape[0]
    worn = image
    if rng.random() < 0.2:
        worn = np.asarray(cv2.GaussianBlur(worn, (0, 0), rng.uniform(0.3, 1.1)), np.uint8)
    if rng.random() < 0.2:
        small = round(size / rng.uniform(1.2, 2.2))
        down = cv2.resize(worn, (small, small), interpolation=cv2.INTER_AREA)
        up = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        worn = np.asarray(cv2.resize(down, (size, size), interpolation=up), np.uint8)
    if rng.random() < 0.2:
        noise = rng.standard_normal(worn.shape, np.float32) * rng.uniform(2, 9)
        worn = np.clip(worn + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = int(rng.integers(35, 92))
        _, jpeg = cv2.imencode(".jpg", worn, [cv2.IMWRITE_JPEG_QUALITY, quality])
        worn = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return worn

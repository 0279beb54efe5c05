"""The reader: says what stands in a picture of the starter world. Every later figure is measured with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from filters.reader_net import Dense, Looks, ReaderConfig, ReaderNet, distinct, peaks
from spatial import geometry
from spatial.scene import Camera, SceneObject

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_BATCH = 64  # pictures at once: about 200 MB

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing in a picture.

    kind, color, material: keys into the lexicon. box: xyxy pixels of the part that is seen. centre: pixels, the
    centroid of its outline as if nothing stood before it. yaw: degrees in (-180, 180], see `seen_yaw`; None for
    kinds that look alike from all sides. confidence: 0..1, that something stands there. kind_confidence,
    color_confidence, material_confidence: 0..1, that the key named is the right one. yaw_confidence: 0..1, how
    narrow the angle is (the length of the mean direction); None where yaw is.
    """

    kind: str
    color: str
    material: str
    box: Box
    centre: tuple[float, float]
    yaw: float | None
    confidence: float
    kind_confidence: float
    color_confidence: float
    material_confidence: float
    yaw_confidence: float | None


def seen_yaw(thing: SceneObject, camera: Camera) -> float:
    """Degrees in (-180, 180] about world z from the camera's heading to the object's front, counterclockwise from
    above: 0 faces away from the viewer, 90 to the picture's left, 180 the viewer, -90 to the right."""
    front = geometry.front(thing)
    away, right = geometry.away_axis(camera), geometry.right_axis(camera)
    angle = float(np.degrees(np.arctan2(-front @ right, front @ away)))
    return 180.0 if angle <= -180.0 else angle


def mirrored_yaw(yaw: float, lopsided: bool) -> float:
    """The yaw that is read in the flipped picture, degrees in (-180, 180].

    Of a thing whose left and right are alike the angle changes its sign. A mug's front and back are alike and
    its handle is on its left: flipped it looks like an ordinary mug turned to 180 - yaw.
    """
    angle = (180.0 - yaw if lopsided else -yaw) % 360.0
    return angle - 360.0 if angle > 180.0 else angle


class Reader:
    """Reads pictures in batches.

    Each is read together with its mirror image, and the two readings are averaged: who judges left and right
    must not know one side better than the other, and is a little surer for looking twice.

    >>> reader = Reader.load(Path("models/starter/weights/reader"))
    >>> for sightings in reader.read(images): ...
    """

    def __init__(self, net: ReaderNet, device: str = "cpu") -> None:
        self.config = net.config
        self.device = torch.device(device)
        # Channels last is the layout that CPU convolutions are fast in.
        self._net = net.float().eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> Reader:
        """From config.json and model.safetensors.

        Raises FileNotFoundError where one is missing, ValueError where the configuration is wrong, or the
        weights are not such a network's or not finite.
        """
        folder = Path(folder)
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"no {name} in {folder}: make the reader with 'python -m models.starter reader-train'"
                )
        net = ReaderNet(read_config(folder / CONFIG))
        try:
            weights = load_file(folder / WEIGHTS)
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS} is not a whole safetensors file: {error}") from error
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise ValueError(f"{folder / WEIGHTS} holds NaN or infinity in {broken[0]!r}: make it again")
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG} beside it: {error}") from error
        return cls(net, device)

    def read(self, images: NDArray[np.uint8]) -> list[tuple[Sighting, ...]]:
        """What stands in each picture, the surest first; lengths are in the picture's own pixels.

        images: (n, h, h, 3) uint8 sRGB, of any size; they are resized to the network's. n may be 0.
        Raises ValueError for another shape or dtype.
        """
        if (
            images.ndim != 4
            or images.shape[1] != images.shape[2]
            or images.shape[3] != 3
            or not images.shape[1]
        ):
            raise ValueError(f"pictures are (n, h, h, 3), square, not {images.shape}")
        if images.dtype != np.uint8:
            raise ValueError(
                f"pictures are uint8 from 0 to 255, not {images.dtype}: check for NaN, then scale, round and cast"
            )
        found: list[tuple[Sighting, ...]] = []
        for start in range(0, len(images), _BATCH):
            found += self._batch(images[start : start + _BATCH])
        return found

    @torch.inference_mode()
    def _batch(self, images: NDArray[np.uint8]) -> list[tuple[Sighting, ...]]:
        size = self.config.size
        pictures = to_tensor(images).to(self.device)
        if pictures.shape[2] != size:
            pictures = functional.interpolate(
                pictures, size=(size, size), mode="bilinear", align_corners=False, antialias=True
            )
        seen = self._net.dense(pictures.contiguous(memory_format=torch.channels_last))
        mirror = self._net.dense(pictures.flip(3).contiguous(memory_format=torch.channels_last))
        heat = (seen.heat + mirror.heat.flip(2)) / 2
        boxes = (seen.boxes + _flipped(mirror.boxes.flip(2), size)) / 2
        peak = peaks(heat, boxes, self.config.threshold)
        if not len(peak.picture):
            return [()] * len(images)
        # Twice: sampled across a corrected box, a thing is framed as in training.
        looks = self._look(seen, mirror, peak.boxes, peak.picture)
        looks = self._look(seen, mirror, looks.boxes, peak.picture)
        keep = distinct(looks.boxes, peak.score, peak.picture, self.config.overlap)
        rows: list[list[Sighting]] = [[] for _ in images]
        sightings = self._sightings(looks, peak.score, images.shape[1] / size)
        for number, kept, sighting in zip(peak.picture.tolist(), keep.tolist(), sightings, strict=True):
            if kept:
                rows[number].append(sighting)
        return [tuple(row) for row in rows]

    def _look(self, seen: Dense, mirror: Dense, boxes: Tensor, picture: Tensor) -> Looks:
        """The mean of what is read in the pictures and in their mirror images, in terms of the pictures."""
        size = self.config.size
        boxes = boxes.clamp(0, size)
        one = self._net.look(seen, boxes, picture)
        other = self._net.look(mirror, _flipped(boxes, size), picture)
        kind, color, material = (
            (getattr(one, part).log_softmax(dim=1) + getattr(other, part).log_softmax(dim=1)) / 2
            for part in ("kind", "color", "material")
        )
        lopsided = torch.tensor([name in self.config.lopsided for name in self.config.kinds])
        # `mirrored_yaw`: the sine changes its sign, and of a lopsided thing the cosine.
        signs = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])[lopsided[kind.argmax(dim=1).cpu()].long()]
        middles = torch.stack([size - other.centres[:, 0], other.centres[:, 1]], dim=1)
        return Looks(
            (one.boxes + _flipped(other.boxes, size)) / 2,
            (one.centres + middles) / 2,
            kind,
            color,
            material,
            (one.turn + other.turn * signs.to(self.device)) / 2,
        )

    def _sightings(self, looks: Looks, score: Tensor, scale: float) -> list[Sighting]:
        """scale: the picture's own pixels per pixel of the network."""
        config = self.config
        boxes = (looks.boxes.clamp(0, config.size) * scale).tolist()
        centres = (looks.centres * scale).tolist()
        sure, named = zip(
            *(part.softmax(dim=1).max(dim=1) for part in (looks.kind, looks.color, looks.material))
        )
        angles = torch.rad2deg(torch.atan2(looks.turn[:, 0], looks.turn[:, 1])).tolist()
        narrow = looks.turn.norm(dim=1).clamp(max=1).tolist()
        kinds, colors, materials = (part.tolist() for part in named)
        surenesses = torch.stack(sure, dim=1).tolist()
        sightings = []
        for index, confidence in enumerate(score.tolist()):
            kind = config.kinds[kinds[index]]
            turnable = kind in config.turnable
            sightings.append(
                Sighting(
                    kind=kind,
                    color=config.colors[colors[index]],
                    material=config.materials[materials[index]],
                    box=_four(boxes[index]),
                    centre=(centres[index][0], centres[index][1]),
                    yaw=angles[index] if turnable else None,
                    confidence=confidence,
                    kind_confidence=surenesses[index][0],
                    color_confidence=surenesses[index][1],
                    material_confidence=surenesses[index][2],
                    yaw_confidence=narrow[index] if turnable else None,
                )
            )
        return sightings


def _flipped(boxes: Tensor, size: int) -> Tensor:
    """(..., 4) xyxy pixels of a picture `size` wide, in its mirror image."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([size - x1, y0, size - x0, y1], dim=-1)


def read_config(path: Path) -> ReaderConfig:
    """Raises ValueError, naming the field, for anything but a reader's configuration."""
    try:
        return _configs().validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is not a reader's configuration: {error}") from error


def write_config(config: ReaderConfig) -> bytes:
    return _configs().dump_json(config, indent=1) + b"\n"


def _configs() -> TypeAdapter[ReaderConfig]:
    return TypeAdapter(ReaderConfig)


def to_tensor(images: NDArray[Any]) -> Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _four(values: list[float]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1

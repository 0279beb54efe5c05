"""The reader's network: finds things by their middles, then looks at each found box to say what it is.

Middles and first boxes come from a heatmap, as in CenterNet (Zhou et al. 2019, "Objects as Points"). What a
thing is, is read from features sampled across its box, and from the pixels of the box at an even size: grain
of wood is a pixel wide, and dense features that keep it would cost more than all of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4  # pixels per cell of the heatmap
POINTS = 6  # features are sampled across a box at POINTS x POINTS points
CROP = 32  # ... and pixels at CROP x CROP
MARGIN = 0.1  # both reach this share of the box's size beyond it: an edge is known by both its sides
DETECTIONS = 12  # peaks per picture, three times as many as the starter world's scenes hold
_REACH = 16.0  # pixels: unit of the dense head's distances, so that its outputs are about 1
_SHIFT = 0.1  # unit of the second look's corrections: shares of the box's size

Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """What a reader's weights were trained for.

    size: pixels, of the square pictures that the network sees. kinds, colors, materials: keys into the
    lexicon, in the order of the outputs. turnable: the kinds whose yaw can be read; lopsided: those of them
    whose two sides differ but whose front and back are alike (a mug, by its handle).
    widths: channels at strides 2, 4, 8 and 16; neck: of what heatmap and boxes are read from; crop: of what is
    made of a box's pixels, at first, second and last; hidden: of what is said of a box.
    threshold: least height of a peak. overlap: a peak whose box has a larger IoU with that of a higher peak is
    the same thing seen twice.
    """

    kinds: tuple[Name, ...]
    colors: tuple[Name, ...]
    materials: tuple[Name, ...]
    turnable: tuple[Name, ...]
    lopsided: tuple[Name, ...]
    size: int = 128
    widths: tuple[int, int, int, int] = (24, 32, 80, 128)
    neck: int = 48
    crop: tuple[int, int, int] = (24, 48, 80)
    hidden: int = 224
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.6

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 16:
            raise ValueError(f"size {self.size} is not a multiple of 16 from 32 on")
        if not set(self.lopsided) <= set(self.turnable) <= set(self.kinds):
            raise ValueError("lopsided kinds must be among the turnable ones, and those among all kinds")


class Dense(NamedTuple):
    """heat: (n, size/4, size/4) logits. boxes: (n, size/4, size/4, 4) xyxy pixels, one for each cell.
    detail: (n, neck, size/4, size/4), overview: (n, widths[3]) and images: what the second look reads from."""

    heat: Tensor
    boxes: Tensor
    images: Tensor
    detail: Tensor
    overview: Tensor


class Looks(NamedTuple):
    """What k boxes hold. boxes: (k, 4) xyxy pixels, corrected. centres: (k, 2) pixels, of the outline as if
    nothing stood before it. kind, color, material: (k, number of keys) logits. turn: (k, 2) sine and cosine of the
    yaw; shorter than 1 where it is uncertain."""

    boxes: Tensor
    centres: Tensor
    kind: Tensor
    color: Tensor
    material: Tensor
    turn: Tensor


class Detections(NamedTuple):
    """k peaks, in the order of pictures. picture: (k,) int64. score: (k,) 0..1. boxes: (k, 4) xyxy pixels."""

    picture: Tensor
    score: Tensor
    boxes: Tensor


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.norm(self.second(self.first(x))))


class ReaderNet(nn.Module):
    """`dense` for whole pictures, then `look` at boxes. About 1.2 million parameters at the default widths."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        stem, fine, middle, coarse = config.widths
        neck, hidden = config.neck, config.hidden
        self.stem = _conv(3, stem, 2)
        self.fine = nn.Sequential(_conv(stem, fine, 2), _Residual(fine))
        self.middle = nn.Sequential(_conv(fine, middle, 2), _Residual(middle))
        self.coarse = nn.Sequential(_conv(middle, coarse, 2), _Residual(coarse))
        self.from_coarse = nn.Conv2d(coarse, neck, 1)
        self.from_middle = nn.Conv2d(middle, neck, 1)
        self.from_fine = nn.Conv2d(fine, neck, 1)
        self.merge_middle = _conv(neck, neck)
        self.merge_fine = _conv(neck, neck)
        self.found = nn.Sequential(_conv(neck, neck, kernel=1), nn.Conv2d(neck, 5, 1))
        # Rare peaks: a bias that starts at 1% keeps the first steps from being spent on empty cells.
        nn.init.constant_(_bias(self.found[-1])[:1], -4.6)
        self.points = nn.Sequential(nn.Conv2d(neck, neck, 3), nn.ReLU(inplace=True))
        small, large, last = config.crop
        self.crop = nn.Sequential(
            _conv(3, small),
            _conv(small, large, 2),
            _conv(large, large, 2),
            _Residual(large),
            _conv(large, last, 2),
        )
        # The place in the picture tells from which side a thing is seen; the overview, in what light.
        flat = neck * (POINTS - 2) ** 2 + last * (CROP // 8) ** 2 + coarse + 4
        self.trunk = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(inplace=True), nn.Dropout(0.1))
        self._parts = (4, 2, len(config.kinds), len(config.colors), len(config.materials), 2)
        self.say = nn.Linear(hidden, sum(self._parts))

    def dense(self, images: Tensor) -> Dense:
        """images: (n, 3, size, size) float, 0..1."""
        fine = self.fine(self.stem(images * 4 - 2))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        neck = self.merge_middle(_twice(self.from_coarse(coarse)) + self.from_middle(middle))
        detail = self.merge_fine(_twice(neck) + self.from_fine(fine))
        # Under autocast too: sixteen bits are too few for an edge's place in 128 pixels.
        found = self.found(detail).float().permute(0, 2, 3, 1)
        reach = functional.softplus(found[..., 1:]) * _REACH
        middles = cell_middles(found.shape[1], images.device)
        boxes = torch.cat([middles - reach[..., :2], middles + reach[..., 2:]], dim=-1)
        return Dense(found[..., 0], boxes, images, detail.float(), coarse.float().mean(dim=(2, 3)))

    def look(self, dense: Dense, boxes: Tensor, picture: Tensor) -> Looks:
        """boxes: (k, 4) xyxy pixels. picture: (k,) int64, index of each box's picture in `dense`."""
        size = self.config.size
        features = self.points(sampled(dense.detail, boxes / size, picture, POINTS)).flatten(1)
        crop = self.crop(sampled(dense.images, boxes / size, picture, CROP) * 4 - 2).flatten(1)
        place = boxes / (size / 2) - 1
        hidden = self.trunk(torch.cat([features, crop, dense.overview[picture], place], dim=1))
        step, centre, kind, color, material, turn = self.say(hidden).float().split(self._parts, dim=1)
        span = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return Looks(
            boxes + step * _SHIFT * torch.cat([span, span], dim=1),
            middle + centre * _SHIFT * span,
            kind,
            color,
            material,
            turn,
        )


def _bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    return layer.bias.data


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def cell_middles(cells: int, device: torch.device | None = None) -> Tensor:
    """(cells, cells, 2): x and y in pixels of the middle of every cell of a heatmap."""
    steps = (torch.arange(cells, device=device) + 0.5) * STRIDE
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)


def sampled(features: Tensor, boxes: Tensor, picture: Tensor, points: int) -> Tensor:
    """(k, c, points, points): features (n, c, h, w) across boxes (k, 4) given in shares of the picture."""
    steps = torch.linspace(-MARGIN, 1 + MARGIN, points, device=boxes.device)
    low, span = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    along = (low + steps[None, :, None] * span) * 2 - 1  # (k, points, 2): grid_sample's -1..1
    x = along[:, None, :, 0].expand(-1, points, -1)
    y = along[:, :, None, 1].expand(-1, -1, points)
    grid = torch.stack([x, y], dim=-1)
    # Picture by picture: features[picture] would copy every map as often as it has boxes.
    found = [(picture == number).nonzero()[:, 0] for number in range(len(features))]
    parts = [
        functional.grid_sample(
            features[number : number + 1],
            grid[rows].flatten(0, 1)[None],  # one tall grid of all boxes
            padding_mode="border",
            align_corners=False,
        )[0].reshape(features.shape[1], len(rows), points, points)
        for number, rows in enumerate(found)
        if len(rows)
    ]
    if not parts:
        return features.new_zeros(0, features.shape[1], points, points)
    return torch.cat(parts, dim=1).transpose(0, 1)[torch.argsort(torch.cat(found))]


def peaks(heat: Tensor, boxes: Tensor, threshold: float) -> Detections:
    """The heatmap's peaks, highest first within a picture, `DETECTIONS` at most.

    heat: (n, cells, cells) logits. boxes: (n, cells, cells, 4) xyxy pixels. A peak is no lower than its eight
    neighbours and not below `threshold`.
    """
    score = heat.sigmoid()
    highest = functional.max_pool2d(score[:, None], 3, stride=1, padding=1)[:, 0]
    kept = torch.where((score == highest) & (score >= threshold), score, -1.0).flatten(1)
    top, where = kept.topk(min(DETECTIONS, kept.shape[1]), dim=1)
    picture, rank = torch.nonzero(top >= 0, as_tuple=True)
    return Detections(picture, top[picture, rank], boxes.flatten(1, 2)[picture, where[picture, rank]])


def iou(a: Tensor, b: Tensor) -> Tensor:
    """(k, m): intersection over union of every box of a (k, 4) with every one of b (m, 4), xyxy."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=-1) for box in (a, b))
    return shared / (area_a[:, None] + area_b[None, :] - shared).clamp(min=1e-6)


def distinct(boxes: Tensor, score: Tensor, picture: Tensor, overlap: float) -> Tensor:
    """(k,) bool: boxes that are not a repetition of one in the same picture with a higher score."""
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    same = (iou(boxes, boxes) > overlap) & (picture[:, None] == picture[None, :])
    for index in torch.argsort(score, descending=True).tolist():
        if keep[index]:
            again = same[index] & keep
            again[index] = False
            keep &= ~again
    return keep

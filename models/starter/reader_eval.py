"""How often the reader is right: against scenes whose content is known, as rendered and through a VAE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from filters.reader import Reader, Sighting
from filters.reader_net import ReaderConfig, iou
from models.starter.reader_data import Labelled, Picture, Things

MATCH = 0.5  # least IoU of a sighting's box with the thing that it is a sighting of
BARS = {"renders": 0.97, "round trips": 0.93}  # least accuracy of each attribute
EDGE_BAR = 0.03  # most mean error of a box's edges, share of the width


@dataclass(frozen=True, slots=True)
class Figures:
    """A reader against n pictures.

    found: share of the things that a sighting's box fits. kind, color, material: share of the things that are
    found and named rightly; whole: rightly in all three. *_of_found: of those found. edge_*, centre_*: errors of
    box edges (pixels off, each of the four) and of centres (distance), as shares of the picture's width.
    yaw_median: degrees off; yaw_within_20: share of the found things with a yaw; yaw_by_kind: that, for each kind.
    false_sightings: per picture. confidence: mean of each attribute's own among those found, to be held against
    *_of_found. confused: for each attribute how often (truth, said) was wrong, the most frequent first; said is
    "" where the thing was missed.
    """

    pictures: int
    things: int
    found: float
    kind: float
    color: float
    material: float
    whole: float
    kind_of_found: float
    color_of_found: float
    material_of_found: float
    edge_mean: float
    edge_95: float
    centre_mean: float
    centre_95: float
    yaw_median: float
    yaw_within_20: float
    yaw_by_kind: Mapping[str, float]
    false_sightings: float
    confidence: Mapping[str, float]
    confused: Mapping[str, Sequence[tuple[str, str, int]]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN: None stands for what could not be measured."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


ATTRIBUTES = ("kind", "color", "material")


def evaluate(reader: Reader, data: Labelled, images: Picture | None = None) -> Figures:
    """images: (n, h, h, 3) uint8 to read in place of the data's own, for example their round trips.

    Raises ValueError where there is nothing to be found.
    """
    if not len(data.things):
        raise ValueError("the pictures hold no things: there is nothing to measure")
    width = data.images.shape[2]
    seen = reader.read(data.images if images is None else images)
    rights: list[tuple[bool, bool, bool]] = []
    edges: list[NDArray[np.float64]] = []
    centres: list[float] = []
    turns: list[tuple[str, float]] = []
    sure: list[tuple[float, float, float]] = []
    confused: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in ATTRIBUTES}
    false = 0
    for picture, sightings in enumerate(seen):
        things = data.of(picture)
        pairs = matched(things, sightings)
        false += len(sightings) - len(pairs)
        for number in range(len(things)):
            truth = _names(things, number, reader.config)
            sighting = pairs.get(number)
            said = ("", "", "") if sighting is None else (sighting.kind, sighting.color, sighting.material)
            for name, is_so, answer in zip(ATTRIBUTES, truth, said, strict=True):
                if is_so != answer:
                    confused[name][is_so, answer] += 1
            if sighting is None:
                continue
            rights.append((truth[0] == said[0], truth[1] == said[1], truth[2] == said[2]))
            sure.append((sighting.kind_confidence, sighting.color_confidence, sighting.material_confidence))
            edges.append(np.abs(np.subtract(sighting.box, things.boxes[number])) / width)
            centres.append(float(np.hypot(*np.subtract(sighting.centre, things.centres[number]))) / width)
            yaw = float(things.yaws[number])
            if np.isfinite(yaw):
                # A thing taken for one without a front has no angle: as wrong as can be.
                missed = 180.0 if sighting.yaw is None else abs((sighting.yaw - yaw + 180) % 360 - 180)
                turns.append((truth[0], missed))
    total = len(data.things)
    right = np.array(rights, float).reshape(-1, 3)
    off = np.array([angle for _, angle in turns])
    kinds = sorted({kind for kind, _ in turns})
    of_found = [_mean(right[:, column]) for column in range(3)]
    return Figures(
        pictures=len(data),
        things=total,
        found=len(right) / total,
        kind=float(right[:, 0].sum()) / total,
        color=float(right[:, 1].sum()) / total,
        material=float(right[:, 2].sum()) / total,
        whole=float(right.all(axis=1).sum()) / total,
        kind_of_found=of_found[0],
        color_of_found=of_found[1],
        material_of_found=of_found[2],
        edge_mean=_mean(np.array(edges)),
        edge_95=_percentile(np.array(edges), 95),
        centre_mean=_mean(np.array(centres)),
        centre_95=_percentile(np.array(centres), 95),
        yaw_median=_percentile(off, 50),
        yaw_within_20=_mean(off <= 20),
        yaw_by_kind={k: _mean(np.array([a <= 20 for kind, a in turns if kind == k])) for k in kinds},
        false_sightings=false / len(data),
        confidence=dict(zip(ATTRIBUTES, (_mean(np.array(column)) for column in zip(*sure)), strict=False)),
        confused={
            name: [(truth, said, count) for (truth, said), count in counts.most_common()]
            for name, counts in confused.items()
        },
    )


def matched(things: Things, sightings: Sequence[Sighting]) -> dict[int, Sighting]:
    """By position in `things`, the sighting of it: one to one, with the largest sum of IoUs, each at least MATCH."""
    if not sightings or not len(things):
        return {}
    said = torch.tensor([sighting.box for sighting in sightings], dtype=torch.float32)
    overlaps = iou(torch.from_numpy(things.boxes), said).numpy()
    # What is below MATCH counts nothing, or two poor matches might be preferred to one that is good.
    rows, columns = linear_sum_assignment(np.where(overlaps >= MATCH, overlaps, 0.0), maximize=True)
    return {int(r): sightings[int(c)] for r, c in zip(rows, columns, strict=True) if overlaps[r, c] >= MATCH}


def _names(things: Things, number: int, config: ReaderConfig) -> tuple[str, str, str]:
    return (
        config.kinds[int(things.kinds[number])],
        config.colors[int(things.colors[number])],
        config.materials[int(things.materials[number])],
    )


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _percentile(values: NDArray[Any], percent: float) -> float:
    return float(np.percentile(values, percent)) if values.size else float("nan")


# --- how they are shown -------------------------------------------------------------------------------------

_ROWS = (
    ("found", "found", "{:.1%}"),
    ("kind right", "kind", "{:.1%}"),
    ("colour right", "color", "{:.1%}"),
    ("material right", "material", "{:.1%}"),
    ("all three right", "whole", "{:.1%}"),
    ("box edges off, mean, share of the width", "edge_mean", "{:.2%}"),
    ("box edges off, 95th percentile", "edge_95", "{:.2%}"),
    ("centre off, mean, share of the width", "centre_mean", "{:.2%}"),
    ("yaw off, median, degrees", "yaw_median", "{:.1f}"),
    ("yaw within 20 degrees", "yaw_within_20", "{:.1%}"),
    ("false sightings per picture", "false_sightings", "{:.3f}"),
    ("pictures", "pictures", "{}"),
    ("things", "things", "{}"),
)


def table(figures: Mapping[str, Figures]) -> str:
    """Markdown, one column for each kind of picture."""
    lines = ["| | " + " | ".join(figures) + " |", "|---|" + "---:|" * len(figures)]
    for title, field, form in _ROWS:
        values = (form.format(getattr(figure, field)) for figure in figures.values())
        lines.append(f"| {title} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def confusions(figures: Figures, most: int = 5) -> str:
    """One line for each attribute: what is most often taken for what."""
    lines = []
    for name in ATTRIBUTES:
        worst = (
            f"{truth} as {said or 'nothing'} {count}" for truth, said, count in figures.confused[name][:most]
        )
        lines.append(f"- {name}: " + (", ".join(worst) or "none"))
    return "\n".join(lines)


def below_bar(figures: Mapping[str, Figures]) -> list[str]:
    """What misses its bar, in words."""
    faults = []
    for title, figure in figures.items():
        for name in ATTRIBUTES:
            value = getattr(figure, name)
            if title in BARS and value < BARS[title]:
                faults.append(f"{title}: {name} {value:.1%}, below {BARS[title]:.0%}")
        if not figure.edge_mean <= EDGE_BAR:
            faults.append(f"{title}: box edges {figure.edge_mean:.1%} of the width off, above {EDGE_BAR:.0%}")
    return faults

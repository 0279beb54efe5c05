"""A few pairs of a published dataset to look at, the same ones each time: sentences, and a sheet of pictures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import ImageFont

from ray_jobs.gallery import Cell, contact_sheet, enlarged
from shards.dataset import SPLITS, Dataset
from shards.images import Pixels, decode
from shards.markup import one_line
from shards.statistics import Figures
from shards.tables import read_batches, read_row_group

_PLACE = ("edit_kind", "language", "edit_prompt", "file", "row_group", "row")
_PICTURES = ("original_image", "edited_image")
_LONGEST = 28  # letters of a word on the sheet


@dataclass(frozen=True, slots=True)
class Sample:
    """A pair, and where its pictures are."""

    kind: str
    language: str
    sentence: str
    file: str
    row_group: int
    row: int


def pick(dataset: Dataset, figures: Figures) -> list[Sample]:
    """The first pair of each kind and language, most frequent kinds first; reads small columns of the indices, as far
    as it must."""
    totals = Counter[str]()
    wanted = set()
    for (kind, language), rows in figures.by("kind", "language").items():
        totals[kind] += rows
        wanted.add((kind, language))
    found: dict[tuple[str, str], Sample] = {}
    for sample in _indexed(dataset):
        found.setdefault((sample.kind, sample.language), sample)
        if found.keys() >= wanted:
            break
    return sorted(found.values(), key=lambda sample: (-totals[sample.kind], sample.kind, sample.language))


def for_sheet(samples: Sequence[Sample], most: int = 12) -> list[Sample]:
    """One pair of each kind, languages by turns."""
    chosen = []
    for number, (_, group) in enumerate(groupby(samples, key=lambda sample: sample.kind)):
        some = list(group)
        chosen.append(some[number % len(some)])
    return chosen[:most]


def sheet(dataset: Dataset, samples: Sequence[Sample], side: int = 224) -> bytes:
    """A JPEG of the pairs, each picture at most `side` pixels wide and high, with its sentence. Reads only the row
    groups that they are in.

    Raises ValueError for no samples, and as `read_row_group` does.
    """
    if not samples:
        raise ValueError("a sheet needs at least one pair")
    cells = []
    for sample in samples:
        where = (sample.file, sample.row_group, [sample.row])
        (row,) = read_row_group(dataset.storage, *where, _PICTURES).to_pylist()
        before, after = (enlarged(decode(row[name]), side) for name in _PICTURES)
        cells.append(Cell(before, after, _breakable(sample.sentence), sample.kind))
    shapes = [rgb.shape for cell in cells for rgb in (cell.before, cell.after)]
    size = max(width for _, width, _ in shapes), max(height for height, _, _ in shapes)
    cells = [
        replace(cell, before=in_the_middle(cell.before, *size), after=in_the_middle(cell.after, *size))
        for cell in cells
    ]
    buffer = io.BytesIO()
    drawn = contact_sheet(cells, plain_font(15), columns=2, margin=24)
    drawn.save(buffer, "JPEG", quality=84, optimize=True, subsampling=0)
    return buffer.getvalue()


def plain_font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib and has Vietnamese letters, laid out the same way everywhere."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _indexed(dataset: Dataset) -> Iterator[Sample]:
    for file in (file for split in SPLITS for file in dataset.files("index", split)):
        for batch in read_batches(dataset.storage, file.path, _PLACE, 1024):
            for row in batch.to_pylist():
                yield Sample(
                    kind=row["edit_kind"] or "unknown",
                    language=row["language"] or "unknown",
                    sentence=row["edit_prompt"] or "",
                    file=row["file"],
                    row_group=row["row_group"],
                    row=row["row"],
                )


def in_the_middle(rgb: Pixels, width: int, height: int) -> Pixels:
    """On a white ground of this size."""
    ground = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - rgb.shape[0]) // 2, (width - rgb.shape[1]) // 2
    ground[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return ground


def _breakable(sentence: str) -> str:
    """Without words that no line could hold."""
    words = one_line(sentence).split()
    return " ".join(word if len(word) <= _LONGEST else f"{word[: _LONGEST - 1]}…" for word in words)

"""What lies beside a dataset's Parquet files: its card with plots and samples, and its description for machines."""

from __future__ import annotations

import math
from dataclasses import replace

from filters.bias import spread, words_of_space
from ray_jobs.report_page import REASONS
from ray_jobs.samples import for_sheet, pick, sheet
from shards import plots
from shards.card import CardText, Example, Extras, render_card, whole_licence
from shards.croissant import describe
from shards.dataset import Dataset
from shards.statistics import Figures, count
from spatial.instruction import DIRECTIONS, KINDS, LANGUAGES, REGIONS, RELATIONS

_SAMPLES = "assets/samples.jpg"


def around(dataset: Dataset, about: CardText) -> dict[str, bytes]:
    """{path: content} of README.md, croissant.json and assets/*; the same dataset and words give the same bytes.

    dataset: its manifest as far as it is known, with all files under "data" and "index". Raises StorageError where
    those cannot be read.
    """
    figures = count(dataset)
    about = replace(about, licence=about.licence or whole_licence(figures))
    samples = pick(dataset, figures)
    assets = plots.draw(figures, dataset.manifest.survival)
    if samples:
        assets[_SAMPLES] = sheet(dataset, for_sheet(samples))
    extras = Extras(
        assets=tuple(assets),
        examples=[Example(sample.kind, sample.language, sample.sentence) for sample in samples],
        balance=balance(figures),
        meanings=REASONS,
    )
    return {
        **assets,
        "README.md": render_card(dataset.manifest, figures, about, extras).encode(),
        "croissant.json": describe(dataset.manifest, about),
    }


def balance(figures: Figures) -> dict[str, float]:
    """`spread` of what the vocabulary has a closed list of; without what a dataset says nothing of."""
    words = words_of_space()
    counted = {
        "kinds": ({kind: rows for (kind,), rows in figures.by("kind").items()}, len(KINDS)),
        "languages": ({name: rows for (name,), rows in figures.by("language").items()}, len(LANGUAGES)),
        "directions": (figures.directions, len(DIRECTIONS)),
        "regions": (figures.regions, len(REGIONS)),
        "relations": (figures.relations, len(RELATIONS)),
        "objects": (figures.nouns, len(set(words["objects"].values()))),
        "colours": (figures.colours, len(set(words["colours"].values()))),
    }
    spreads = {name: spread(counts, max(most, len(counts))) for name, (counts, most) in counted.items()}
    return {name: value for name, value in spreads.items() if not math.isnan(value)}

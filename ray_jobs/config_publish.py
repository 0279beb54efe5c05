"""How a dataset is published: one YAML file, or nothing but defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_jobs.config_base import ConfigError, Model, Share, check, overridden, read_yaml

Factor = Annotated[float, Field(ge=1, le=1000)]


class Splits(Model):
    """Shares of the components (scenes, captions, photos) that each split gets; they add up to 1.

    held_out: share of the combinations of asset and colour ("mug/red") that only `test` shows.
    """

    train: Share = 0.9
    validation: Share = 0.05
    test: Share = 0.05
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.02

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"add up to {self.train + self.validation + self.test:g}, not to 1")
        return self


class Duplicates(Model):
    """What counts as said twice. exact: equal pixels before and after, in one language. near_bits: bits of 64 in which
    the perceptual hashes of each picture may differ, for edits of one kind and direction; null: not looked for.
    cosine: least cosine between CLIP embeddings of both pictures; null: not looked for."""

    exact: bool = True
    near_bits: Annotated[int, Field(ge=0, le=3)] | None = 1
    cosine: Annotated[float, Field(ge=0.8, le=1)] | None = None


class Balance(Model):
    """For each column, how many times the median a value may be frequent at most; null: as it comes."""

    edit_kind: Factor | None = None
    language: Factor | None = None
    direction: Factor | None = None
    region: Factor | None = None
    value: Factor | None = None


class Sample(Model):
    """For each column, the share of the pairs of a value that stays; all of those that are not named. For sets that are
    skewed on purpose, to see what that does."""

    edit_kind: dict[str, Share] = Field(default_factory=dict)
    language: dict[str, Share] = Field(default_factory=dict)
    direction: dict[str, Share] = Field(default_factory=dict)
    region: dict[str, Share] = Field(default_factory=dict)
    value: dict[str, Share] = Field(default_factory=dict)


class Card(Model):
    """What the dataset card says besides what is counted.

    summary: a paragraph; the card's own where there is none. licence: of the collection as a whole, an SPDX expression;
    none: all that the pairs carry. date: of publication, 2026-11-26. limits: known ones, a sentence each. citation:
    BibTeX. notes: what is new in this version, for CHANGELOG.md.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")] = "spatialpix"
    title: Annotated[str, Field(min_length=1, max_length=120)] = "Spatial edits"
    summary: Annotated[str, Field(max_length=2000)] | None = None
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .()+-]{0,199}$")] | None = None
    homepage: Annotated[str, Field(pattern=r"^https?://[^\s<>()\[\]\"'`\\|]+$")] | None = None
    authors: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    limits: tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...] = ()
    citation: Annotated[str, Field(max_length=4000)] | None = None
    notes: Annotated[str, Field(max_length=4000)] | None = None


class Publish(Model):
    """file_mb, row_group_mb: sizes aimed at, in 10^6 bytes of memory. inverse: pairs the other way round, too.
    sources: of the runs' pairs; null: all. most: pairs at most, by chance, inverses not counted; null: all."""

    splits: Splits = Splits()
    duplicates: Duplicates = Duplicates()
    sample: Sample = Sample()
    balance: Balance = Balance()
    most: Annotated[int, Field(ge=1)] | None = None
    inverse: bool = True
    sources: list[Literal["blender", "p2p", "coco", "open_images", "manual"]] | None = None
    file_mb: Annotated[float, Field(gt=0, le=2000)] = 500.0
    row_group_mb: Annotated[float, Field(gt=0, le=100)] = 100.0
    card: Card = Card()


def load_publish(path: str | None, overrides: Sequence[str] = ()) -> Publish:
    """The settings in a file, or the defaults, with "a.b=c" applied. Raises ConfigError."""
    values = read_yaml(Path(path)) if path is not None else {}
    return check(Publish, overridden(values, overrides), path or "publish")


__all__ = ["ConfigError", "Publish", "load_publish"]

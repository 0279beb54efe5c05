"""The part of a run's configuration that is about pairs of pictures made from edits in words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from filters.profiles import ClipThresholds
from ray_jobs.config_base import Model, Share

Between = Annotated[tuple[float, float], Field(min_length=2, max_length=2)]


class DiffusionModel(Model):
    """A text-to-image model: a folder in diffusers' layout, or a name on the Hub with `revision`. compiled: by
    `torch.compile`."""

    model: str = Field(min_length=1)
    revision: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    compiled: bool = False


class PairKeys(Model):
    """How pairs are drawn; `generators.pairs.PairSettings` says what each key is."""

    sampler: Literal["euler_ancestral", "dpmpp_2m"] = "dpmpp_2m"
    steps: Annotated[int, Field(ge=2, le=1000)] = 20
    guidance: Between = (7.5, 15.0)
    share: Between = (0.0, 0.6)
    cross: Between = (0.3, 1.0)
    mode: Literal["refine", "replace"] = "refine"
    max_tokens: PositiveInt | None = None
    blend: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> PairKeys:
        for key, low, high in (("guidance", 0.0, 100.0), ("share", 0.0, 1.0), ("cross", 0.0, 1.0)):
            first, last = getattr(self, key)
            if not low <= first <= last <= high:
                raise ValueError(f"{key}: [{first:g}, {last:g}] is not a range within [{low:g}, {high:g}]")
        return self


class BudgetKeys(Model):
    """want: pairs to accept of an edit; null draws all `most`. most: draws of an edit at most. least_odds: no further
    draw where the odds that it is accepted are below."""

    want: PositiveInt | None = 4
    most: Annotated[int, Field(ge=1, le=1000)] = 100
    least_odds: Annotated[Share, Field(lt=1)] = 0.02


class PairsRoute(Model):
    """Pairs of the edits that `routes.edits` writes.

    preview_at: share of the steps after which a pair is looked at, and dropped where no limit of `filters.p2p`, lowered
    by preview_slack, is met; 0 for never. slots: pairs in a batch. decode_batch: pairs decoded and judged at a time.
    floor: pictures are kept of pairs with these similarities too, though they are not accepted; null for none.
    """

    model: DiffusionModel
    pairs: PairKeys = PairKeys()
    budget: BudgetKeys = BudgetKeys()
    preview_at: Annotated[Share, Field(lt=1)] = 0.0
    preview_slack: Annotated[float, Field(ge=0, le=2)] = 0.15
    slots: Annotated[int, Field(ge=1, le=1024)] = 16
    decode_batch: Annotated[int, Field(ge=1, le=1024)] = 8
    floor: ClipThresholds | None = None

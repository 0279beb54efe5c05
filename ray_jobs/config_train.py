"""The configuration of `train`."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from ray_jobs.config import Model
from ray_jobs.config_base import Share
from ray_jobs.training import Workers
from spatial.instruction import KINDS


class SpatialLayers(Model):
    """Which parts of the spatial layers there are; all off is the plain editor, InstructPix2Pix's. width: of tokens."""

    tokens: bool = True
    grounding: bool = True
    read: bool = True
    land: bool = True
    paste: bool = True
    width: Annotated[int, Field(ge=32, le=1024, multiple_of=32)] = 128

    @model_validator(mode="after")
    def _together(self) -> SpatialLayers:
        ordered = (self.tokens, self.grounding, self.read, self.land)
        if any(later and not earlier for earlier, later in pairwise(ordered)) or (
            self.paste and not self.read
        ):
            raise ValueError(
                "landing and paste need the warped read, that needs grounding, and grounding needs tokens"
            )
        return self


MODEL_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""Folders of a diffusion model, and of an editor."""


def _kinds(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in KINDS:
            near = get_close_matches(name, KINDS, 1)
            raise ValueError(
                f"{name!r} is no kind of edit" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return names


class Data(Model):
    """batch: examples of a worker's batch. side: pixels. per_block: row groups whose rows are mixed. mirror: share of
    pairs seen in a mirror, words said anew. workers: processes that decode pictures. kinds: of edits to learn from;
    none for all. phrasings: as `trainer.examples.Seen`. latents: a folder on each machine's own disk, where what the
    autoencoder made of pictures is kept."""

    split: str = "train"
    batch: PositiveInt = 16
    side: Annotated[int, Field(ge=64, le=2048, multiple_of=64)] = 256
    per_block: PositiveInt = 8
    mirror: Share = 0.5
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    kinds: Annotated[tuple[str, ...], AfterValidator(_kinds)] = ()
    phrasings: Literal["as_written", "train", "canonical"] = "as_written"
    latents: str | None = None


class Learn(Model):
    """As `trainer.learn.LearnSettings` and `trainer.step.StepSettings`."""

    samples: PositiveInt
    find: Annotated[int, Field(ge=0)] = 0
    rate: PositiveFloat = 1e-4
    spatial: PositiveFloat = 3.0
    warmup: Annotated[int, Field(ge=0)] = 200
    fall: Annotated[float, Field(ge=0, le=1)] = 0.2
    decay: Annotated[float, Field(ge=0)] = 0.01
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    clip: PositiveFloat = 1.0
    accumulate: PositiveInt = 1
    every: PositiveInt = 500
    drop: Annotated[float, Field(ge=0, lt=0.33)] = 0.05
    gamma: PositiveFloat | None = None
    floor: Annotated[float, Field(ge=0)] = 0.0
    grounding: Annotated[float, Field(ge=0)] = 0.05
    shuffled: bool = False
    bf16: bool = False
    recompute: bool = False
    lora: PositiveInt | None = None


class Validation(Model):
    """every: steps between two looks; 0 for none. edits: how many are tried, of as many kinds as there are. split: of
    the dataset. reader: a folder of `filters.reader`, which says what is in a picture. templates: how edits are worded.
    steps: of the sampler. text, image: scales of guidance."""

    every: Annotated[int, Field(ge=0)] = 0
    edits: PositiveInt = 64
    split: str = "validation"
    reader: str = "models/starter/weights/reader"
    templates: Literal["all", "train", "held_out"] = "all"
    steps: PositiveInt = 12
    text: Annotated[float, Field(ge=0)] = 7.5
    image: Annotated[float, Field(ge=0)] = 1.5


class Track(Model):
    """tensorboard: event files beside the checkpoints. wandb: a project of Weights & Biases. every: steps between two
    points of a curve."""

    tensorboard: bool = False
    wandb: Annotated[str, Field(min_length=1)] | None = None
    every: PositiveInt = 10


class EditorWorkers(Workers):
    """sharded: each of several has a share of what is learned, instead of all of it."""

    sharded: bool = False


class TrainConfig(Model):
    """dataset: a published dataset's folder, or one version's. model: the text-to-image model to begin with, or an
    editor of InstructPix2Pix's form: a folder, or a name on the Hub with `revision`."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    out: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    model: str = Field(min_length=1)
    revision: str | None = None
    layers: SpatialLayers = SpatialLayers()
    data: Data = Data()
    learn: Learn
    validation: Validation = Validation()
    track: Track = Track()
    workers: EditorWorkers = EditorWorkers()

    @model_validator(mode="after")
    def _finds_by_maps(self) -> TrainConfig:
        if self.learn.find and not self.layers.grounding:
            raise ValueError("learn.find: needs layers.grounding, which is what learns to find")
        return self

"""One YAML file per run, checked to the last key before anything starts.

`load` turns whatever is wrong into a `ConfigError` of one line that names the key and says what is allowed.
Only what is meant for people is written here; how it reaches the stages is in `recipes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from filters.thresholds import GeometryThresholds
from ray_jobs.config_base import (
    ConfigError,
    Model,
    Share,
    Weights,
    check,
    known,
    one_line,
    overridden,
    read_yaml,
)
from ray_jobs.config_pairs import PairsRoute
from ray_jobs.config_photos import PhotosRoute
from ray_jobs.config_stock import Stock
from ray_jobs.config_text import EditsRoute, Llm
from spatial.instruction import KINDS, LANGUAGES

__all__ = ["ConfigError", "Model", "check", "one_line", "overridden", "read_yaml"]

StageName = Literal["pairs", "scores", "verdicts", "captions", "edits", "unique"]
PoolName = StageName | Literal["p2p", "photos"]  # pairs from words want a GPU, those from scenes many cores

# What scenes can show. The two other kinds are edits of pictures that no renderer made.
RENDERED_KINDS = tuple(kind for kind in KINDS if kind not in ("replace", "style"))


class Render(Model):
    """How Blender draws. None of it changes where things stand."""

    engine: Literal["cycles", "eevee"] = "cycles"
    device: Literal["auto", "cpu", "cuda", "optix"] = "auto"
    samples: Annotated[int, Field(ge=1, le=4096)] = 16
    denoise: bool = True
    threads: Annotated[int, Field(ge=0, le=1024, description="0: all cores that the worker may use")] = 0


class Objects(Model):
    """How many things stand in a scene before the edit."""

    min: Annotated[int, Field(ge=1, le=12)] = 2
    max: Annotated[int, Field(ge=1, le=12)] = 5

    @model_validator(mode="after")
    def _ordered(self) -> Objects:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Recycle(Model):
    """When a Blender process makes room for a fresh one: Blender leaks from scene to scene."""

    scenes: PositiveInt = 200
    memory_mb: Annotated[int, Field(ge=256)] = 4096


Range = tuple[PositiveFloat, PositiveFloat]


class ViewRange(Model):
    """Where scenes are looked at from. pitch: degrees below level. distance: metres. inner: share of the frame
    that objects stand in. wall: share of scenes with a wall. least_area: share of the picture that an object
    covers at least."""

    pitch: Range
    distance: Range
    inner: Share = 0.84
    wall: Share = 0.25
    least_area: Share = 0.008


class BlenderRoute(Model):
    """Scenes sampled, edited, rendered, judged.

    units x unit_size pairs are tried. kinds, languages: relative weights, or a list for equal ones.
    image_size: pixels, both sides. max_tries: fresh scenes per row before it is rejected.
    assets: a catalogue (YAML) of meshes beside the procedural ones. view: None looks as each kind of edit needs.
    """

    units: Annotated[int, Field(ge=0, le=10_000_000)]
    unit_size: Annotated[int, Field(ge=1, le=1024)] = 16
    kinds: Annotated[Weights, known(RENDERED_KINDS)] = Field(
        default_factory=lambda: dict.fromkeys(RENDERED_KINDS, 1.0)
    )
    languages: Annotated[Weights, known(LANGUAGES)] = Field(
        default_factory=lambda: dict.fromkeys(LANGUAGES, 1.0)
    )
    image_size: Annotated[int, Field(ge=32, le=4096)] = 512
    objects: Objects = Objects()
    max_tries: Annotated[int, Field(ge=1, le=1000)] = 30
    render: Render = Render()
    recycle: Recycle = Recycle()
    assets: str | None = None
    stock: Stock = Stock()
    view: ViewRange | None = None


class Routes(Model):
    """What is made: pairs from scenes, edits in words, pairs from those, and pairs from photos."""

    blender: BlenderRoute | None = None
    edits: EditsRoute | None = None
    p2p: PairsRoute | None = None
    photos: PhotosRoute | None = None


ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Filters(Model):
    """Thresholds under a name. Another profile makes other verdicts; images and scores stay as they are.

    profile: what verdicts say decided. geometry: limits of masks, depth and pixels. clip: the profile of
    CLIP's similarities (`filters.profiles`) for renders; "none" leaves all to geometry. p2p: the profile for pairs made
    from words, of which CLIP alone knows anything.
    """

    profile: ProfileName = "default"
    geometry: GeometryThresholds = GeometryThresholds()
    clip: ProfileName = "none"
    p2p: ProfileName = "paper"


class Clip(Model):
    """The model that scores pairs.

    model: "ViT-L-14/openai", an architecture and a tag of open_clip, or "local-dir:PATH". weights: a local
    file with a named model's weights, instead of a download. batch: pairs at a time. The GPU share of a
    worker is `pools.scores.num_gpus`.
    """

    model: str
    weights: str | None = None
    preprocessing: Literal["ip2p", "open_clip"] = "ip2p"
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"


class Pool(Model):
    """The workers of one stage.

    size: how many; None takes what the cluster has room for at the start. A cluster that grows gets nodes for
    so many. max_size: grow up to it while units wait and the nodes that are there have room. num_cpus,
    num_gpus: what one worker reserves. memory_mb: heap that one worker reserves; Ray accounts for its object
    store alone unless told. labels: only nodes with these labels. queue: units that wait inside a busy worker:
    more than 0 pays only where a unit takes well under a second.
    """

    size: PositiveInt | None = None
    max_size: PositiveInt | None = None
    num_cpus: Annotated[float, Field(ge=0)] = 1.0
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_mb: PositiveInt | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    queue: Annotated[int, Field(ge=0, le=16)] = 0

    @model_validator(mode="after")
    def _schedulable(self) -> Pool:
        if self.max_size is not None and self.max_size < (self.size or 1):
            raise ValueError(f"max_size {self.max_size} is below size {self.size or 1}")
        if self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(f"num_gpus {self.num_gpus} is above 1 and not whole; no node can place that")
        if 0 < self.num_gpus < 1 and abs(1 / self.num_gpus - round(1 / self.num_gpus)) > 1e-6:
            raise ValueError(f"num_gpus {self.num_gpus} does not divide one GPU; use 0.5, 0.25, 0.2, ...")
        return self


class Limits(Model):
    """When something is given up.

    failed_share: of all rows; more of them failed, and the run as a whole has failed.
    unit_slowdown, unit_floor_s, unit_first_s: a unit's time limit is `unit_slowdown` times the median of its
    stage, at least unit_floor_s; unit_first_s until there is a median. Past it the worker ends itself and the
    unit counts as attempted.
    failures_in_a_row: whole units that fail one after the other before the run stops; the cause is elsewhere.
    """

    failed_share: Share = 0.05
    unit_slowdown: Annotated[float, Field(gt=1)] = 10.0
    unit_floor_s: PositiveFloat = 120.0
    unit_first_s: PositiveFloat = 3600.0
    failures_in_a_row: PositiveInt = 10
    wave: Annotated[int, Field(ge=1, le=5000, description="units that Ray holds at a time")] = 5000


class Prices(Model):
    """What a node costs an hour. nodes: by its label `spatialpix/role`; other: of one without a role, or of one that is
    not named. Looked at while a run goes; nothing is made of them."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    nodes: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    other: Annotated[float, Field(ge=0)] = 0.0

    def of(self, role: str | None) -> float:
        return self.nodes.get(role or "", self.other)


class Config(Model):
    """A run. seed: every random draw descends from it. out: a path or s3://bucket/prefix.

    clip: null for a run without CLIP scores. llm: writes the edits; null for a run without.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    out: str = Field(min_length=1)
    routes: Routes
    clip: Clip | None = None
    llm: Llm | None = None
    filters: Filters = Filters()
    pools: dict[PoolName, Pool] = Field(default_factory=dict)
    limits: Limits = Limits()
    prices: Prices | None = None

    @model_validator(mode="after")
    def _has_a_writer(self) -> Config:
        if self.routes.edits is not None and self.llm is None:
            raise ValueError(
                "llm: is missing, and routes.edits needs a language model: set llm.vllm or llm.endpoint"
            )
        return self

    @model_validator(mode="after")
    def _can_make_pairs(self) -> Config:
        if self.routes.p2p is not None:
            if self.routes.edits is None:
                raise ValueError("routes.edits: is missing, and routes.p2p makes pairs of its edits")
            if self.clip is None:
                raise ValueError(
                    "clip: is missing, and routes.p2p needs CLIP to judge its pairs: set clip.model"
                )
        return self


def load(path: str | Path, overrides: Iterable[str] = (), **replaced: Any) -> Config:
    """Reads, overrides, checks. overrides: "a.b=c", c being a YAML value. replaced: keys at the top.

    Raises ConfigError.
    """
    values = overridden(read_yaml(Path(path)), overrides)
    values.update({key: value for key, value in replaced.items() if value is not None})
    return check(Config, values, str(path))


def load_filters(path: str | Path) -> Filters:
    """A profile: a YAML file with what stands under `filters` in a configuration. Raises ConfigError."""
    return check(Filters, read_yaml(Path(path)), str(path))

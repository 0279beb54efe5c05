"""The part of a run's configuration that is about words: captions, edits, and the language model that writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from generators.seeds import KINDS
from ray_jobs.config_base import Model, Share, Weights, known
from ray_jobs.config_stock import Words
from spatial.instruction import LANGUAGES


class CaptionSource(Model):
    """Where captions come from. source: "starter" composes them from `stock`; the others read `uri`: LAION-Aesthetics
    metadata, COCO captions, Open Images narratives, or JSON lines, CSV or Parquet of one's own. column: the captions'
    column, for "manual". license: terms to note in place of the source's. share: of the captions, drawn by their
    text."""

    source: Literal["starter", "laion", "coco", "open_images", "manual"]
    uri: str | None = None
    column: str | None = None
    license: str | None = None
    share: Annotated[Share, Field(gt=0)] = 1.0
    stock: Words = Words()

    @model_validator(mode="after")
    def _has_a_file(self) -> CaptionSource:
        if (self.uri is None) != (self.source == "starter"):
            wanted = "needs none" if self.source == "starter" else "is missing: a path or s3://bucket/key"
            raise ValueError(f"uri: {wanted} where source is {self.source}")
        return self


class EditsRoute(Model):
    """Captions, edited by a language model.

    units x unit_size captions are taken, `per_caption` edits tried on each. kinds: relative weights, or a list for
    equal ones, of the kinds that seed edits have. languages: of the instructions. mend: exchange the genders of edits
    in English by the toss of a coin, so that occupations tell nothing of gender.
    """

    captions: CaptionSource
    units: Annotated[int, Field(ge=0, le=10_000_000)]
    unit_size: Annotated[int, Field(ge=1, le=4096)] = 32
    per_caption: Annotated[int, Field(ge=1, le=64)] = 2
    kinds: Annotated[Weights, known(tuple(KINDS))] = Field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    languages: Annotated[Weights, known(LANGUAGES)] = Field(
        default_factory=lambda: dict.fromkeys(LANGUAGES, 1.0)
    )
    mend: bool = True


class SamplingKeys(Model):
    """How words are drawn. max_tokens: of one answer."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 160


class Vllm(Model):
    """vLLM inside the workers. model: a folder, a name on the Hub with `revision`, or "smollm2". adapter: a folder that
    `finetune-llm` left. tensor_parallel: GPUs of one engine; give `pools.edits.num_gpus` as many."""

    model: str = Field(min_length=1)
    revision: str | None = None
    adapter: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_parallel: PositiveInt = 1
    max_length: Annotated[int, Field(ge=128)] = 1024
    memory_share: Annotated[float, Field(gt=0, le=1)] | None = None


class Endpoint(Model):
    """Any endpoint that speaks OpenAI's protocol. key_env: the variable that holds the key, never the key."""

    url: str = Field(pattern=r"^https?://")
    model: str = Field(min_length=1)
    key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    timeout_s: PositiveFloat = 60.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    parallel: PositiveInt = 16


class Llm(Model):
    """The language model: one of the two."""

    vllm: Vllm | None = None
    endpoint: Endpoint | None = None
    sampling: SamplingKeys = SamplingKeys()

    @model_validator(mode="after")
    def _one(self) -> Llm:
        if (self.vllm is None) == (self.endpoint is None):
            raise ValueError("needs one of vllm and endpoint")
        return self

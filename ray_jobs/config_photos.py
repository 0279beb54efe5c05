"""The part of a run's configuration that is about pairs made from annotated photos."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_jobs.config_base import Model, Share, Weights, known
from spatial.instruction import LANGUAGES

# What masks alone allow; `generators.photo_edits` does them.
PHOTO_KINDS = ("remove", "add", "move", "place", "swap", "duplicate", "resize", "mirror", "zoom", "pan")


class PhotoFiles(Model):
    """Where the photos and what is known of them lie; `generators.photo_sources.open_photos` says what each key is."""

    kind: Literal["coco", "open_images", "manual"]
    annotations: list[str] = Field(min_length=1)
    images: list[str] = Field(min_length=1)
    masks: list[str] = Field(default_factory=list)
    licences: list[str] | None = None


class Inpainting(Model):
    """What fills holes. telea, ns: OpenCV's. diffusers: `model`, a folder or a name on the Hub with `revision`. lama:
    an ONNX `file` with its `sha256`."""

    method: Literal["telea", "ns", "diffusers", "lama"] = "telea"
    model: str | None = None
    revision: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    steps: Annotated[int, Field(ge=1, le=1000)] = 25
    file: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Inpainting:
        if self.method == "diffusers" and not self.model:
            raise ValueError("model: is missing, and method diffusers needs it")
        if self.method == "lama" and not (self.file and self.sha256):
            raise ValueError("file: is missing, or sha256 is; method lama needs both")
        return self


class PhotosRoute(Model):
    """Pairs from photos: units x unit_size photos, per_photo edits tried on each.

    image_size: pixels of the longer side. mirror_share: share of the pairs that are shown in a mirror, words said anew;
    never of photos with things that have words on them.
    """

    source: PhotoFiles
    units: Annotated[int, Field(ge=0, le=10_000_000)]
    unit_size: Annotated[int, Field(ge=1, le=1024)] = 16
    per_photo: Annotated[int, Field(ge=1, le=64)] = 4
    kinds: Annotated[Weights, known(PHOTO_KINDS)] = Field(
        default_factory=lambda: dict.fromkeys(PHOTO_KINDS, 1.0)
    )
    languages: Annotated[Weights, known(LANGUAGES)] = Field(
        default_factory=lambda: dict.fromkeys(LANGUAGES, 1.0)
    )
    image_size: Annotated[int, Field(ge=64, le=4096)] = 512
    mirror_share: Share = 0.3
    inpainting: Inpainting = Inpainting()

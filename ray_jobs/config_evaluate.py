"""The configuration of `evaluate`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from ray_jobs.config import Clip, Limits, Model, Pool

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Device = Literal["auto", "cpu", "cuda"]
Folders = Annotated[tuple[str, ...], Field(min_length=1)]
MOST_TRANSFORMATIONS = 16
Transformation = Annotated[
    str, Field(pattern=r"^((recolor|material|lighting|background):[a-z_]+(:[a-z_]+)?|side:(left|right))$")
]


class EditSet(Model):
    """Edits of a published dataset, or of somebody's benchmark in a folder, as `evaluation.benchmarks` reads it; those
    are measured, not judged. words: "written" as they are; "withheld", said anew by the quarter of phrasings that
    `train` leaves out; "canonical", one English wording per meaning; "free", only edits with sentences of people,
    worded by these. judged: false for edits that the reader cannot judge, of photos say, or of light: all are made and
    measured. kinds: of edits; all. side: pixels that longer sides are scaled down to, where nothing is judged. most: of
    each kind. digest: what the set must be, or its beginning; it is printed at the start."""

    dataset: str | None = None
    benchmark: Literal["magicbrush", "emu_edit", "i2ebench", "spatialedit", "portraits"] | None = None
    folder: str | None = None
    side: Annotated[int, Field(ge=64, le=4096)] | None = None
    split: str = "test"
    words: Literal["written", "withheld", "canonical", "free"] = "withheld"
    judged: bool = True
    kinds: tuple[str, ...] = ()
    most: PositiveInt | None = None
    digest: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> EditSet:
        if (self.dataset is None) == (self.benchmark is None) or (self.benchmark is None) != (
            self.folder is None
        ):
            raise ValueError("needs either a dataset, or a benchmark and its folder")
        if self.dataset is not None and self.judged and self.side is not None:
            raise ValueError("side: is for edits that are not judged; pictures that are stay as they are")
        return self


class Bound(Model):
    """Gives the picture back, or the true picture."""

    kind: Literal["identity", "oracle"]


class Decoded(Model):
    """The true picture through the autoencoder of a model: no editor on that can be better."""

    kind: Literal["decoded"]
    model: str
    device: Device = "auto"


class Trained(Model):
    """models: folders, or names on the Hub; several are copies of one editor, trained with other seeds."""

    models: Folders
    revision: str | None = None
    device: Device = "auto"
    steps: PositiveInt = 25


class SpatialPix(Trained):
    """What `train` left. text, image: scales. dynamic, sharp: see docs/editor.md."""

    kind: Literal["spatialpix"]
    text: Annotated[float, Field(ge=0)] = 1.5
    image: Annotated[float, Field(ge=0)] = 1.2
    dynamic: Literal["none", "text", "copy", "both"] = "none"
    sharp: Annotated[float, Field(gt=0)] = 1.0


class InstructPix2Pix(Trained):
    """diffusers' own pipeline (Brooks et al. 2023)."""

    kind: Literal["instruct_pix2pix"]
    text: Annotated[float, Field(ge=0)] = 7.5
    image: Annotated[float, Field(ge=0)] = 1.5


class SdEdit(Trained):
    """Noise and denoise with the caption of the edited picture (Meng et al. 2022). strength: how much noise."""

    kind: Literal["sdedit"]
    text: Annotated[float, Field(ge=0)] = 7.5
    strength: Annotated[float, Field(gt=0, le=1)] = 0.7


class DiffusionClip(Trained):
    """A text-to-image model, tuned once for each transformation (Kim et al. 2022). clip: as of `Clip.model`, what it is
    tuned by. dataset, split: where the pictures to tune on are from. transformations: kind and value, "recolor:red";
    all else cannot be said to it, but for `numeric` of each set's edits that ask for a number, each tuned on its own
    picture, by captions. images, rounds, rate: of tuning. back: the return step, a share of all. invert, steps: of
    DDIM, there and back. keep: what the loss of the picture's change counts."""

    kind: Literal["diffusionclip"]
    clip: str
    dataset: str
    split: str = "train"
    transformations: Annotated[tuple[Transformation, ...], Field(min_length=1)]
    images: PositiveInt = 30
    rounds: PositiveInt = 5
    rate: Annotated[float, Field(gt=0)] = 3e-5
    back: Annotated[float, Field(gt=0, le=1)] = 0.5
    invert: PositiveInt = 40
    steps: PositiveInt = 6
    keep: Annotated[float, Field(ge=0)] = 0.3
    numeric: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _few(self) -> DiffusionClip:
        found = len(self.transformations)
        if found > MOST_TRANSFORMATIONS:
            raise ValueError(
                f"transformations: at most {MOST_TRANSFORMATIONS}, since a model is tuned for each: leave out "
                f"{found - MOST_TRANSFORMATIONS} of these {found}"
            )
        if twice := next((one for one in self.transformations if self.transformations.count(one) > 1), None):
            raise ValueError(f"transformations: {twice} is named twice")
        return self


class UnClip(Trained):
    """A decoder of CLIP's embeddings of pictures (Ramesh et al. 2022), as `python -m models.starter unclip` makes one;
    told the captions before and after. base: the text-to-image model that it was made of. clip: as of `Clip.model`,
    whose embeddings it decodes. angle: how far the picture's embedding is turned to what the captions differ by, a
    share of the way. scale: of guidance by the embedding. invert, steps: of DDIM, there and back."""

    kind: Literal["unclip"]
    base: str
    clip: str
    angle: Annotated[float, Field(gt=0, le=1)] = 0.35
    scale: Annotated[float, Field(ge=0)] = 1.0
    invert: PositiveInt = 40
    steps: PositiveInt = 25


class OfDiffusers(Trained):
    """Any pipeline of diffusers' that takes pictures and words. pipeline: its class. by_captions: it is told the
    caption of the edited picture, in place of the instruction. options: arguments of each call."""

    kind: Literal["diffusers"]
    pipeline: str
    by_captions: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class Hosted(Model):
    """The hosted images-edit API, or one that speaks its protocol. key: the environment variable that holds the key.
    size: pixels of the square that is sent; null for the picture as it is. masked: the object is cleared for painting.
    price: of an edit, in the currency of whoever takes it."""

    kind: Literal["hosted"]
    model: str
    url: str | None = None
    key: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = "OPENAI_API_KEY"
    size: Annotated[int, Field(ge=64, le=4096)] | None = 1024
    masked: bool = False
    price: Annotated[float, Field(ge=0)]


AnyEditor = Annotated[
    Bound | Decoded | SpatialPix | InstructPix2Pix | SdEdit | DiffusionClip | UnClip | OfDiffusers | Hosted,
    Field(discriminator="kind"),
]


class EvaluateConfig(Model):
    """sets, editors: by name; the first editor is what all others are held against. reader: a folder of
    `filters.reader`, which says what is in a picture. clip: null for no figures of CLIP. lpips: a file of AlexNet's
    weights, as torchvision publishes them; null for no LPIPS. inception: a file of Inception-v3's weights, as FIDs are
    taken with; null for no FID. unit: edits of a unit of work. batch: edits that an editor is asked for at once. seed:
    of every edit."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    out: str = Field(min_length=1)
    sets: Annotated[dict[Name, EditSet], Field(min_length=1)]
    editors: Annotated[dict[Name, AnyEditor], Field(min_length=1)]
    reader: str = "models/starter/weights/reader"
    clip: Clip | None = None
    lpips: Annotated[str, Field(min_length=1)] | None = None
    inception: Annotated[str, Field(min_length=1)] | None = None
    unit: PositiveInt = 32
    batch: PositiveInt = 16
    pool: Pool = Pool()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _together(self) -> EvaluateConfig:
        if self.batch > self.unit:
            raise ValueError(f"batch: {self.batch} edits at once do not fit a unit of {self.unit}")
        return self

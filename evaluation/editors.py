"""Editors behind one protocol: ours, other people's, and two that bound every measure.

An editor is told what a user would tell it, and is asked for pictures alone. Captions are there for methods that know
no instructions; the true picture is there for `Oracle`, which says what a perfect editor would be given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.asked import Asked, Edited, EditorMissing
from shards.images import Pixels

_EDGE = 16  # pixels: edges that diffusers' pipelines take are multiples of 8 or 16


class Editor(Protocol):
    """price: what an edit costs, in the currency of whoever takes it; 0 for what runs here."""

    price: float

    def expresses(self, asked: Asked) -> bool:
        """Whether such an edit can be said to it at all; if not it is not asked, and that is no failure."""

    def __call__(self, asked: Sequence[Asked]) -> Sequence[NDArray[Any] | Edited]:
        """Of edits of pictures of one size the edited ones, (h, w, 3) uint8, in order. May raise anything."""


class Identity:
    """Gives the picture back."""

    price = 0.0

    def expresses(self, asked: Asked) -> bool:
        return True

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        return [one.image for one in asked]


class Oracle:
    """Gives the true picture."""

    price = 0.0

    def expresses(self, asked: Asked) -> bool:
        return asked.truth is not None

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        return [one.truth for one in asked if one.truth is not None]


class Decoded:
    """Gives the true picture through an editor's autoencoder: no editor on that can be better."""

    price = 0.0

    def __init__(self, model: str, device: str) -> None:
        """Raises EditorMissing."""
        from trainer.frozen import Frozen

        try:
            self._frozen = Frozen.load(model).to(device)
        except (OSError, ValueError) as error:
            raise EditorMissing(f"{model} holds no autoencoder: {error}") from None
        self._scale = float(self._frozen.vae.config.scaling_factor)

    def expresses(self, asked: Asked) -> bool:
        return asked.truth is not None

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        import torch

        truths = [one.truth for one in asked if one.truth is not None]
        with torch.no_grad():
            latents = self._frozen.source(self._frozen.pixels(truths)) * self._scale
            return list(self._frozen.decode(latents).cpu().numpy())


class SpatialPix:
    """Ours: a folder that `train` left, spatial or plain."""

    price = 0.0

    def __init__(
        self, folder: str, device: str, steps: int, text: float, image: float, dynamic: str, sharp: float
    ) -> None:
        """dynamic: "none", "text": the scale for the text follows from the words, from `text` on, "copy": away from
        copies, "both". sharp: of shares of what is pasted. Raises EditorMissing."""
        from trainer.guidance import Dynamic, TextScale
        from trainer.pipeline import Sampling, SpatialPixPipeline

        try:
            self._pipeline = SpatialPixPipeline.from_pretrained(folder, device)
        except (OSError, ValueError) as error:
            raise EditorMissing(f"{folder} holds no editor: {error}") from None
        self._sampling = Sampling(
            steps,
            TextScale(text) if dynamic in ("text", "both") else text,
            image,
            copying=Dynamic() if dynamic in ("copy", "both") else None,
            sharp=sharp,
        )

    def expresses(self, asked: Asked) -> bool:
        return True

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        return self._pipeline.batch(
            [one.image for one in asked],
            [one.text for one in asked],
            [one.seed for one in asked],
            self._sampling,
        )


class Diffusers:
    """A pipeline of diffusers' that takes pictures and words: InstructPix2Pix's, SDEdit's, today's open editors.

    By captions: it is told what the edited picture shows, and cannot be asked for edits that have no such caption.
    """

    price = 0.0

    def __init__(
        self,
        pipeline: str,
        model: str,
        revision: str | None,
        device: str,
        steps: int,
        by_captions: bool,
        options: Mapping[str, Any],
    ) -> None:
        """pipeline: a class of diffusers'. options: arguments of each call. Raises EditorMissing."""
        import diffusers
        import torch

        kind = getattr(diffusers, pipeline, None)
        if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
            raise EditorMissing(f"diffusers {diffusers.__version__} has no pipeline {pipeline!r}")
        try:
            # Other people's checkers of pictures would blacken some; models without one need not name one.
            rest = {"safety_checker": None, "requires_safety_checker": False}
            parts = inspect.signature(kind).parameters
            self._pipeline = kind.from_pretrained(  # type: ignore[attr-defined]
                model, revision=revision, **{key: value for key, value in rest.items() if key in parts}
            ).to(device)
        except (OSError, ValueError, TypeError) as error:
            raise EditorMissing(f"{model} is no {pipeline}: {str(error).splitlines()[0]}") from None
        self._pipeline.set_progress_bar_config(disable=True)
        self._generator = torch.Generator
        self._device, self._steps, self._by_captions = device, steps, by_captions
        self._options = dict(options)

    def expresses(self, asked: Asked) -> bool:
        return not self._by_captions or bool(asked.caption_after)

    def __call__(self, asked: Sequence[Asked]) -> list[NDArray[Any]]:
        from PIL import Image

        said = [one.caption_after if self._by_captions else one.text for one in asked]
        height, width = asked[0].image.shape[:2]
        fits = max(_EDGE, width // _EDGE * _EDGE), max(_EDGE, height // _EDGE * _EDGE)
        pictures = [Image.fromarray(one.image) for one in asked]
        result = self._pipeline(
            prompt=said,
            image=[picture if picture.size == fits else picture.resize(fits) for picture in pictures],
            generator=[self._generator().manual_seed(one.seed) for one in asked],
            num_inference_steps=self._steps,
            output_type="np",
            **self._options,
        )
        made = [np.rint(picture * 255) for picture in result.images]
        # Some models have a size of their own, whatever they are given.
        return [
            one if one.shape[:2] == (height, width)
            else np.asarray(cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC))
            for one in made
        ]  # fmt: skip


def editor(settings: Mapping[str, Any], copy: int) -> Editor:
    """By the settings of `ray_jobs.config_evaluate`. copy: which of several trainings. Raises EditorMissing."""
    kind = settings["kind"]
    if kind == "identity":
        return Identity()
    if kind == "oracle":
        return Oracle()
    if kind == "hosted":
        from evaluation.hosted import Hosted

        return Hosted(settings)
    device = _device(settings["device"])
    if kind == "decoded":
        return Decoded(settings["model"], device)
    if kind == "spatialpix":
        folder = settings["models"][copy]
        return SpatialPix(
            folder, device, *(settings[key] for key in ("steps", "text", "image", "dynamic", "sharp"))
        )
    model = settings["models"][copy]
    if kind == "diffusionclip":
        return _diffusionclip(settings, model, device)
    if kind == "unclip":
        from evaluation.unclip import UnClip

        numbers = (settings[key] for key in ("angle", "scale", "invert", "steps"))
        return UnClip(model, settings["base"], settings["clip"], device, *numbers)
    if kind == "instruct_pix2pix":
        options = {"guidance_scale": settings["text"], "image_guidance_scale": settings["image"]}
        name, captions = "StableDiffusionInstructPix2PixPipeline", False
    elif kind == "sdedit":
        options = {"guidance_scale": settings["text"], "strength": settings["strength"]}
        name, captions = "StableDiffusionImg2ImgPipeline", True
    else:
        name, captions, options = settings["pipeline"], settings["by_captions"], settings["options"]
    return Diffusers(name, model, settings["revision"], device, settings["steps"], captions, options)


def _diffusionclip(settings: Mapping[str, Any], model: str, device: str) -> Editor:
    from evaluation.diffusionclip import DiffusionClip, Tuning, pictures_to_tune_on
    from evaluation.tuned import TunedModels
    from shards.storage import StorageError, open_storage

    tuning = Tuning(**{field.name: settings[field.name] for field in fields(Tuning)})
    names = settings["transformations"]
    try:
        pictures = pictures_to_tune_on(settings["dataset"], settings["split"], names, tuning.images)
    except StorageError as error:
        raise EditorMissing(f"dataset {settings['dataset']}: {error}") from None
    if missing := [name for name in names if not pictures[name]]:
        raise EditorMissing(
            f"{settings['dataset']} has no picture to tune {missing[0]} on: leave it out of transformations, or name "
            "a dataset with such edits"
        )
    # What `evaluate` knows beside the configuration: which edits that ask for numbers, and where tuned models go.
    kept = None if settings.get("tuned") is None else TunedModels(open_storage(settings["tuned"]))
    numeric = settings.get("numeric_edits", ())
    return DiffusionClip(model, settings["clip"], names, pictures, device, tuning, numeric, kept)


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def checked(picture: NDArray[Any] | None, like: Pixels) -> tuple[Pixels | None, str | None]:
    """The picture as (h, w, 3) uint8, or why it is none: "nothing", "wrong_size", "not_finite"."""
    if picture is None:
        return None, "nothing"
    found = np.asarray(picture)
    if found.shape != like.shape:
        return None, "wrong_size"
    if not np.isfinite(found).all():
        return None, "not_finite"
    return np.ascontiguousarray(np.clip(np.rint(found), 0, 255).astype(np.uint8)), None

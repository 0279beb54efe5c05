"""An editor as a page uses it: opened from a folder, asked one edit at a time, and what it made of the words.

No Gradio here. What a person can mend is `Refused`, or `ConfigError` where it is the command line: one line each.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from ray_jobs.config import ConfigError, one_line
from ray_jobs.config_train import MODEL_PARTS
from ray_jobs.report_page import operation_words
from shards.images import Pixels
from spatial.expressions import say_expression
from spatial.instruction import Expression, Instruction
from spatial.language import parse_any
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from trainer.words import MAX_STEPS, NEW, read

if TYPE_CHECKING:
    from trainer.pipeline import SpatialPixPipeline

SIDES = (64, 2048)  # pixels that `--side` may be
STEPS, SCALES = (2, 100), (0.0, 20.0)
LONGEST = 500  # letters; the text encoder reads no more than 77 tokens
_USUAL, _LATENT = 512, 8
_SHOWN = 1024  # pixels that a side of a shown picture has at most: two of them go to the browser
_LEAST, _MOST = 16, 60_000_000  # pixels of a side; of a picture
# Those of cameras and of the web. Of what else Pillow reads, some starts other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_SEEDS = (0, 2**32 - 1)


class Refused(Exception):
    """An edit that cannot be made; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Settings of an edit. text, image: the scales for the words and for the picture."""

    words: str
    seed: int = 0
    steps: int = 25
    text: float = 7.5
    image: float = 1.5


@dataclass(frozen=True, slots=True)
class Understood:
    """What was made of the words. language: "" where they are not spatial. steps: in short words. left_out: how many
    further steps the editor has no room for. text: what the text encoder reads. two_ways: they can mean two things."""

    words: str
    language: str = ""
    steps: tuple[str, ...] = ()
    left_out: int = 0
    text: str = ""
    two_ways: bool = False


def asked(words: Any, seed: Any, steps: Any, text: Any, image: Any) -> Asked:
    """Whatever a browser sent, as settings. Raises Refused."""
    said = " ".join(str(words or "").split())
    if not said:
        raise Refused("say what is to be done: there are no words yet")
    if len(said) > LONGEST:
        raise Refused(f"the instruction has {len(said)} letters: {LONGEST} at most")
    return Asked(
        said,
        round(_within("seed", seed, *_SEEDS)),
        round(_within("steps", steps, *STEPS)),
        _within("text scale", text, *SCALES),
        _within("image scale", image, *SCALES),
    )


def _within(name: str, value: Any, least: float, most: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= most:  # not for what is no number either
        raise Refused(f"{name}: a number from {least:g} to {most:,.0f}, please")
    return number


def understood(words: str) -> Understood:
    """As `trainer.words.read` takes it, in words for a person."""
    lexicon = Lexicon.default()
    try:
        language, said = parse_any(words, lexicon=lexicon)
    except SpatialError as error:
        return Understood(words, text=words, two_ways=error.reason == "ambiguous_words")
    parts = said.parts()
    steps = tuple(_step(part, lexicon) for part in parts[:MAX_STEPS])
    return Understood(words, language, steps, len(parts) - len(steps), read(words, lexicon).text)


def _step(said: Instruction, lexicon: Lexicon) -> str:
    known = {
        name: getattr(said, name)
        for name in ("kind", "value", "direction", "region", "unit", "amount", "relation")
    }
    things = {
        name: _phrase(getattr(said, name), name == "subject" and said.kind in NEW, lexicon)
        for name in ("subject", "reference", "reference2")
    }
    extent = " a little" if said.vagueness is not None else ""
    return operation_words({**known, **things, "objects": ()}) + extent


def _phrase(words: Expression | None, new: bool, lexicon: Lexicon) -> str | None:
    if words is None:
        return None
    try:
        return say_expression(words, "en", article="plural" if new else "the", lexicon=lexicon)
    except SpatialError:  # it has no phrase of its own
        return words.noun


# --- pictures ---------------------------------------------------------------------------------------------------------


def picture(path: str | Path) -> Pixels:
    """(h, w, 3) uint8 of a file that somebody gave, the way up that its camera says. Raises Refused."""
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height > _MOST:
                raise Refused(f"the picture has {width} × {height} pixels: {_MOST // 10**6} million at most")
            rgb = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except Refused:
        raise
    except Exception:  # whatever a decoder says of bytes from outside
        kinds = ", ".join(_FORMATS[:-1])
        raise Refused(f"the file is no picture that can be read ({kinds} or {_FORMATS[-1]})") from None
    if min(rgb.shape[:2]) < _LEAST:
        raise Refused(f"the picture has {width} × {height} pixels: {_LEAST} a side at least")
    return rgb


def fitted(rgb: Pixels, side: int) -> Pixels:
    """Scaled down so that no side is longer; as it is where none was."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    return _scaled(rgb, max(_LATENT, round(width * scale)), max(_LATENT, round(height * scale)))


def beside(before: Pixels, after: Pixels) -> tuple[Pixels, Pixels]:
    """Both of one size, for a slider: that of the first, but no larger than a screen needs."""
    shown = fitted(before, _SHOWN)
    height, width = shown.shape[:2]
    return shown, after if after.shape == shown.shape else _scaled(after, width, height)


def _scaled(rgb: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


# --- the editor -------------------------------------------------------------------------------------------------------


class Editing:
    """pipeline: makes one edit at a time. folder: where it came from. side: pixels; larger pictures are scaled down."""

    def __init__(self, pipeline: SpatialPixPipeline, folder: Path, side: int) -> None:
        self.pipeline, self.folder, self.side = pipeline, folder, side
        self._one = threading.Lock()
        self.at: tuple[int, int] | None = None  # steps done and steps in all, of the edit that is being made

    @property
    def parts(self) -> tuple[str, ...]:
        """Spatial layers that the editor has; none for the plain one."""
        editor = self.pipeline.editor
        if editor.spatial is None or editor.parts is None:
            return ()
        return tuple(name for name in ("tokens", "grounding", "read") if getattr(editor.parts, name))

    def edit(self, rgb: Pixels, what: Asked) -> Pixels:
        """Of the size that `fitted` gives; `at` says how far it is. Raises Refused."""
        import torch

        from trainer.pipeline import Sampling

        sampling = Sampling(steps=what.steps, text=what.text, image=what.image)
        with self._one:
            try:
                return self.pipeline(fitted(rgb, self.side), what.words, what.seed, sampling, self._told)
            except (MemoryError, torch.OutOfMemoryError):
                raise Refused("memory ran out: start with a smaller --side") from None
            finally:
                self.at = None

    def _told(self, done: int, of: int) -> None:
        self.at = done, of


def open_editor(folder: str, side: int | None = None) -> Editing:
    """A folder that `train` left. side: of pictures; what the editor was made for by default. Raises ConfigError."""
    place = Path(folder)
    if side is not None and not SIDES[0] <= side <= SIDES[1]:
        raise ConfigError(f"--side: {side} is not from {SIDES[0]} to {SIDES[1]}")
    config = _looked(place)
    os.environ["HF_HUB_OFFLINE"] = (
        "1"  # before the libraries are loaded: nobody is asked about a local folder
    )
    try:
        import torch

        from trainer.pipeline import SpatialPixPipeline
    except ImportError as error:
        needed = f"--model needs {error.name or 'torch'}, which is not installed"
        raise ConfigError(f"{needed}: uv pip install -e '.[train]'") from None
    _hush()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        pipeline = SpatialPixPipeline.from_pretrained(place, device)
    except Exception as error:  # whatever three libraries say of files that somebody put there
        raise ConfigError(f"--model: {place} cannot be loaded: {one_line(error)}") from error
    return Editing(pipeline, place, side or _side(config))


def _looked(place: Path) -> Mapping[str, Any]:
    """The UNet's settings. Raises ConfigError for a folder that is no editor's, before torch is loaded."""
    if not place.is_dir():
        raise ConfigError(f"--model: {place} is no folder of this machine")
    if missing := [part for part in MODEL_PARTS if not (place / part).is_dir()]:
        raise ConfigError(f"--model: {place} holds no editor: there is no {missing[0]} in it")
    try:
        config = json.loads((place / "unet" / "config.json").read_text(encoding="utf-8"))
        inputs, latents = int(config["in_channels"]), int(config["out_channels"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--model: {place} holds no editor: its unet/config.json is not one") from None
    if inputs != 2 * latents:
        raise ConfigError(
            f"--model: {place} holds no editor: its UNet does not see the source picture; `train` makes one of it"
        )
    return dict(config)


def _side(config: Mapping[str, Any]) -> int:
    """Pixels that the UNet was made for."""
    size = config.get("sample_size")
    cells = max(size, default=0) if isinstance(size, list) else size
    if not isinstance(cells, int) or cells < 1:
        return _USUAL
    return min(SIDES[1], max(SIDES[0], cells * _LATENT))


def _hush() -> None:
    """The terminal is for the address: loading shows no bars."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()

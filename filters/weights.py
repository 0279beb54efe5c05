"""Which CLIP model judges: its name, where its files lie, and what tells it from every other.

Light: the driver asks for a model's identity before any worker starts, and loads neither torch nor open_clip.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCAL_DIR = "local-dir:"
CONFIG_FILE = "open_clip_config.json"
THRESHOLDS = "thresholds"  # begins the names of files with profiles, which are no part of the model
THRESHOLDS_FILE = f"{THRESHOLDS}.json"
_WEIGHTS = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a folder
# What may be written about a model, beside it, without making it another one.
_ABOUT = {".md", ".txt", ".html", ".png", ".jpg"}


class WeightsError(ValueError):
    """The model cannot be used: files are missing or disagree. One line that says what to do."""


@dataclass(frozen=True, slots=True)
class ClipWeights:
    """An open_clip model.

    model: "ViT-L-14/openai", an architecture and the tag of its weights, or "local-dir:PATH", a folder with
    open_clip_config.json, weights and tokenizer. file: for a named model, a local file with those weights, so
    that nothing is downloaded; the architecture's settings (activation, mean, deviation) stay the tag's.
    """

    model: str
    file: str | None = None

    def __post_init__(self) -> None:
        if self.model.startswith(LOCAL_DIR):
            if not self.model.removeprefix(LOCAL_DIR):
                raise WeightsError(f"{self.model!r} names no folder; write {LOCAL_DIR}PATH")
            if self.file is not None:
                raise WeightsError(f"{self.model} brings its own weights: leave out {self.file}")
        elif not all(self.model.partition("/")) or self.model.count("/") != 1:
            raise WeightsError(f"{self.model!r} is not a model; write ViT-L-14/openai or {LOCAL_DIR}PATH")

    @property
    def folder(self) -> Path | None:
        """The model's folder; None for a named one."""
        if not self.model.startswith(LOCAL_DIR):
            return None
        return Path(self.model.removeprefix(LOCAL_DIR)).expanduser()

    @property
    def architecture(self) -> str:
        """Of a named model, for example "ViT-L-14"."""
        return self.model.partition("/")[0]

    @property
    def tag(self) -> str:
        """Of a named model, for example "openai"."""
        return self.model.partition("/")[2]

    def settings(self) -> dict[str, Any]:
        """What the folder's open_clip_config.json says. Raises WeightsError."""
        folder = self.folder
        assert folder is not None
        path = folder / CONFIG_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["model_cfg"]["vision_cfg"], found["model_cfg"]["text_cfg"]
        except FileNotFoundError:
            raise WeightsError(
                f"{path}: there is no such file; {LOCAL_DIR}PATH wants a folder as open_clip saves it"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{path}: is no configuration of open_clip ({type(error).__name__}: {error})"
            ) from None
        return dict(found)

    def identity(self) -> str:
        """What the rows' `model` column says, the same wherever the files lie.

        "sha256:..." of the folder's files, "ViT-L-14/openai@sha256:..." for a file of weights, and for a tag
        alone the tag, which stands for one publication. Reads the files. Raises WeightsError.
        """
        if self.folder is not None:
            self.settings()
            return f"sha256:{_folder_sha256(self.folder)}"
        if self.file is None:
            return self.model
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise WeightsError(f"{path}: there is no such file; it should hold the weights of {self.model}")
        return f"{self.model}@sha256:{_sha256(path)}"

    def weights_file(self) -> Path | None:
        """The local file with the weights; None where open_clip downloads them. Raises WeightsError."""
        if self.folder is None:
            return None if self.file is None else Path(self.file).expanduser()
        found = [path for path in _files(self.folder) if path.suffix in _WEIGHTS]
        safe = [path for path in found if path.suffix == ".safetensors"]  # open_clip prefers them too
        if len(safe or found) != 1:
            have = ", ".join(path.name for path in found) or "none"
            raise WeightsError(f"{self.folder}: needs one file of weights (model.safetensors), has {have}")
        return (safe or found)[0]


def _folder_sha256(folder: Path) -> str:
    """Of the names and contents of all that the model is made of. Raises WeightsError without weights."""
    ClipWeights(f"{LOCAL_DIR}{folder}").weights_file()
    lines = [f"{path.name} {_sha256(path)}\n" for path in _files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix not in _ABOUT
        and not path.name.startswith(THRESHOLDS)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

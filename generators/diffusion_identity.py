"""Which text-to-image model a run is made with: light, so that the driver can ask before any worker starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_ENDS = 1 << 20  # bytes of each end of a file that are looked at


class ModelMissing(ValueError):
    """The folder holds no model; one line that says what it needs."""


def identity(model: str, revision: str | None) -> str:
    """What tells the weights from others: of a folder, of its parts' files; of a name, name and revision.

    Raises ModelMissing for a folder that holds no model.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return f"{model}@{revision or 'main'}"
    if not (folder / "model_index.json").is_file():
        raise ModelMissing(f"{folder}: holds no model_index.json; give a folder in diffusers' layout")
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted((folder / part).glob("*")):
            if path.suffix not in (".json", ".safetensors", ".txt") or not path.is_file():
                continue
            size = path.stat().st_size
            digest.update(f"{part}/{path.name}:{size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(_ENDS))
                if size > 2 * _ENDS:
                    file.seek(-_ENDS, 2)
                digest.update(file.read(_ENDS))
    return f"sha256:{digest.hexdigest()}"

"""Weights out of a file that the user names, of which nothing is run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from filters.weights import WeightsError


def tensors(path: Path, wanted: str, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Those of the names that are there; all without names. path: of safetensors, by its ending, or as torch writes
    them. wanted: what the user is to name, for errors. Raises WeightsError for what is no file of plain weights."""
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; {wanted}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                there = [name for name in opened.keys() if names is None or name in names]  # noqa: SIM118
                return {name: opened.get_tensor(name) for name in there}
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of what is no such file, any; torch's own message tells to run what is in it
        raise WeightsError(f"{path}: holds no plain weights; {wanted}") from None
    if not isinstance(held, dict):
        raise WeightsError(f"{path}: holds no weights by name; {wanted}")
    some = held if names is None else {name: held[name] for name in names if name in held}
    return {str(name): value for name, value in some.items() if isinstance(value, Tensor)}

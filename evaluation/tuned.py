"""Tuned copies of a model in a folder: whoever goes on, and every other worker, finds them and does not tune again."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from shards.storage import NotFound, Storage

_SECONDS = "seconds"
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class TunedModels:
    """One file of safetensors for each, with the seconds that tuning took. Every call may raise StorageError."""

    folder: Storage

    def of(self, name: str, like: Model) -> tuple[Model, float] | None:
        """The tuned copy of `like`, in evaluation mode, and the seconds; None where there is none, or what is there is
        no such thing. name: such as "recolor:red"."""
        try:
            content = self.folder.read(_key(name))
        except NotFound:
            return None
        found = copy.deepcopy(like)
        try:
            found.load_state_dict(safetensors.torch.load(content))
            length = int.from_bytes(content[:8], "little")  # of the header, which `load` does not give
            seconds = float(json.loads(content[8 : 8 + length])["__metadata__"][_SECONDS])
        except (SafetensorError, RuntimeError, KeyError, ValueError):
            return None
        return found.eval(), seconds

    def keep(self, name: str, tuned: Model, seconds: float) -> tuple[Model, float]:
        """Puts it there. What comes back is what counts: of two that tuned at the same time the first."""
        content = safetensors.torch.save(dict(tuned.state_dict()), {_SECONDS: str(seconds)})
        if not self.folder.create(_key(name), content):
            if (theirs := self.of(name, tuned)) is not None:
                return theirs
            self.folder.write(_key(name), content)  # what lay there was broken
        return tuned, seconds


def _key(name: str) -> str:
    return f"{name.replace(':', '-')}.safetensors"

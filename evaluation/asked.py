"""What editors are asked for, and how one that tunes a model, or cannot be had, answers. Every editor imports this, and
`evaluation.editors` imports every editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.images import Pixels


class EditorMissing(Exception):
    """An editor that cannot be loaded, or cannot do what its settings ask for. One line."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """An edit that is asked for. image, truth: (h, w, 3) uint8. seed: of this edit alone. kind: of the edit. captions:
    of the picture before and after, and the true picture, where there are any. mask: (h, w) bool, the things that the
    edit is about, as they are before; None where that is not known. name: of the edit in its set."""

    image: Pixels
    text: str
    seed: int
    kind: str
    caption_before: str | None
    caption_after: str | None
    truth: Pixels | None
    mask: NDArray[np.bool_] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """A picture from an editor that tunes a model for what is asked. seconds: of this edit, the time of those that were
    made together shared, without tuning. tuned_for: what the model was tuned for. tuned_seconds: what that took, whole,
    whenever it was done."""

    picture: NDArray[Any]
    seconds: float
    tuned_for: str
    tuned_seconds: float

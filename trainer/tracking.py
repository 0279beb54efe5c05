"""Curves and pictures of a training, as TensorBoard's event files or in Weights & Biases.

Whoever teaches tells a `Tracker` numbers and pictures by step; what is done again after a stop takes the place of what
was told before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np

from shards.images import Pixels


class Tracker(Protocol):
    """Numbers and pictures of steps, counted from 1."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, picture: Pixels) -> None: ...

    def flush(self) -> None:
        """All that was told can be read by others."""

    def close(self) -> None: ...


class EventFiles:
    """What TensorBoard reads: python -m tensorboard.main --logdir FOLDER."""

    def __init__(self, folder: Path, done: int) -> None:
        """done: steps that are done. What an earlier process told of later ones is no longer shown."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Pixels) -> None:
        self._writer.add_image(name, np.ascontiguousarray(picture), step, dataformats="HWC")

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of a project; its key is where the library looks for it, in the environment or in ~/.netrc. Without a
    network: WANDB_MODE=offline."""

    def __init__(self, project: str, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        """name: of the training; a training of the same name goes on in the same run. folder: of its own files. Raises
        whatever the library raises, say for a key that is missing."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to the makers of the library
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project, id=hashlib.sha256(name.encode()).hexdigest()[:16], resume="allow", dir=folder,
            config=dict(settings), mode=cast(Any, os.environ.get("WANDB_MODE", "online")),
            settings=wandb.Settings(silent=True, console="off", x_disable_meta=True, disable_git=True),
        )  # fmt: skip
        self._picture = wandb.Image

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Pixels) -> None:
        self._run.log({name: self._picture(picture)}, step=step)

    def flush(self) -> None:
        """It sends what it has when it has it."""

    def close(self) -> None:
        self._run.finish()


class Trackers(AbstractContextManager["Trackers"]):
    """Several at once; none is fine too."""

    def __init__(self, each: Sequence[Tracker]) -> None:
        self._each = tuple(each)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for one in self._each:
            one.numbers(step, values)

    def picture(self, step: int, name: str, picture: Pixels) -> None:
        for one in self._each:
            one.picture(step, name, picture)

    def flush(self) -> None:
        for one in self._each:
            one.flush()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._each:
            one.close()

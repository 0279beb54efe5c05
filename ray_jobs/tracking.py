"""Where the curves of a training go: beside its checkpoints, in Weights & Biases, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from typing import TYPE_CHECKING

from ray_jobs.config import ConfigError, one_line
from ray_jobs.config_train import TrainConfig

if TYPE_CHECKING:
    from pathlib import Path

    from ray_jobs.validation import Figures
    from shards.storage import Storage
    from trainer.learn import Line
    from trainer.tracking import Trackers

FOLDER = "tensorboard"
_NEEDS = {"tensorboard": "tensorboard", "wandb": "wandb"}  # key of `track` -> module


def installed(config: TrainConfig) -> None:
    """Raises ConfigError for a tracker whose library is missing."""
    for key, module in _NEEDS.items():
        if getattr(config.track, key) and util.find_spec(module) is None:
            raise ConfigError(
                f"track.{key}: {module} is not installed; `pip install {module}`, or leave it out"
            )


class Tracked:
    """Tells the trackers of steps and looks. One that is made without trackers does nothing."""

    def __init__(self, trackers: Trackers, every: int, folder: Path | None, storage: Storage) -> None:
        """folder: of event files that have to be put into the storage; None if they are written there."""
        self._trackers, self._every, self._folder, self._storage = trackers, every, folder, storage

    def line(self, line: Line) -> None:
        if line.step % self._every == 0:
            values = {} if line.finding else {"loss/noise": line.loss}
            values |= {
                "loss/grounding": line.grounding, "learn/rate": line.rate,
                "speed/samples_per_second": line.samples_per_second, "speed/waited": line.waited,
                "learn/samples": float(line.seen),
            }  # fmt: skip
            self._trackers.numbers(line.step, values)

    def look(self, figures: Figures, sheet: bytes) -> None:
        from shards.images import decode

        shares = {f"validation/{kind}": good / total for kind, (good, total) in figures.by_kind.items()}
        self._trackers.numbers(figures.step, {"validation/success": figures.success, **shares})
        self._trackers.picture(figures.step, "validation/edits", decode(sheet))

    def flush(self) -> None:
        """With each checkpoint. An event file is replaced as a whole: who is killed here, or reads meanwhile, finds the
        one before. Raises StorageError."""
        self._trackers.flush()
        if self._folder is not None:
            for path in sorted(self._folder.rglob("*")):
                if path.is_file():
                    self._storage.write(path.relative_to(self._folder).as_posix(), path.read_bytes())


@contextmanager
def tracked(config: TrainConfig, storage: Storage, done: int, first: bool) -> Iterator[Tracked]:
    """done: steps. first: whether this worker is the first, which alone tells.

    Raises ConfigError where Weights & Biases refuses."""
    from shards.local import LocalStorage, scratch
    from trainer.tracking import EventFiles, Tracker, Trackers, WeightsAndBiases

    asked, each = config.track, list[Tracker]()
    with scratch("track") as folder:
        place = storage.root if isinstance(storage, LocalStorage) else folder
        if first and asked.wandb is not None:
            settings = config.model_dump(mode="json")
            try:
                each.append(WeightsAndBiases(asked.wandb, config.out, place, settings))
            except Exception as error:  # whatever the library says: a missing key, a network, a name
                raise ConfigError(
                    f"track.wandb: {one_line(error)}; set WANDB_API_KEY, or WANDB_MODE=offline"
                ) from None
        if first and asked.tensorboard:
            each.append(EventFiles(place / FOLDER, done))
        with Trackers(each) as trackers:
            own = folder / FOLDER if place is folder and asked.tensorboard and first else None
            told = Tracked(trackers, asked.every, own, storage.sub(FOLDER))
            try:
                yield told
            finally:  # curves are wanted most where a training went wrong
                told.flush()

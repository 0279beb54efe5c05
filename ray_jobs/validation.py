"""How an editor does while it is being taught: a few held-out edits, judged as `evaluation.spatial` judges, and a sheet
of pictures. Figures and pictures lie under `out`/validation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ray_jobs.config import ConfigError, one_line
from ray_jobs.config_train import TrainConfig, Validation

if TYPE_CHECKING:
    from filters.reader import Reader
    from shards.dataset import Dataset
    from shards.storage import Storage
    from trainer.learn import Learner
    from trainer.model import SpatialEditor

FOLDER = "validation"
_OF = 3  # edits that are looked through for each that is tried


@dataclass(frozen=True, slots=True)
class Figures:
    """edits: how many were tried. success: share of them. unread: edits left out, since the reader could not judge
    their true picture. by_kind: {kind: (successes, edits)}."""

    step: int
    edits: int
    success: float
    unread: int
    by_kind: dict[str, tuple[int, int]]


class Validator:
    """Held-out edits, chosen once, before the editor has learned anything."""

    def __init__(self, config: TrainConfig, dataset: Dataset, storage: Storage) -> None:
        """Raises ConfigError for a reader that is not there, a broken picture, and a split without edits that can be
        judged."""
        from evaluation.trials import by_turns, cases, judgeable

        asked = config.validation
        self._config, self._storage = asked, storage.sub(FOLDER)
        self._side, self._reader = config.data.side, reader_of(asked)
        # Not the whole split, which may be larger than memory.
        some = islice(cases(dataset, asked.split, asked.templates, self._side), _OF * asked.edits)
        try:
            there = list(some)
        except ValueError as error:
            raise ConfigError(f"validation: {one_line(error)}") from None
        chosen = judgeable(there, self._reader)
        self._unread = len(there) - len(chosen)
        self._chosen = by_turns(chosen, asked.edits)
        if not self._chosen:
            raise ConfigError(
                f"validation: split {asked.split!r} has no edits that the reader can judge; set validation.every=0"
            )

    def look(
        self, editor: SpatialEditor, learner: Learner, model: str, revision: str | None
    ) -> tuple[Figures, bytes]:
        """Tries `editor`, the learner's average, and puts figures and a PNG of pictures, which are returned too. Raises
        StorageError."""
        from diffusers import EulerAncestralDiscreteScheduler

        from evaluation.trials import by_kind, tried
        from ray_jobs.edit_sheet import Tried, edit_sheet
        from trainer.pipeline import Sampling, SpatialPixPipeline

        scheduler = EulerAncestralDiscreteScheduler.from_pretrained(
            model, subfolder="scheduler", revision=revision
        )
        sampling, shown, results = (
            Sampling(self._config.steps, self._config.text, self._config.image),
            list[Tried](),
            [],
        )
        pipeline = SpatialPixPipeline(editor, learner.frozen, scheduler)
        for case, made, result in tried(
            lambda before, texts, seeds: pipeline.batch(before, texts, seeds, sampling),
            self._chosen,
            self._reader,
        ):
            results.append(result)
            assert case.truth is not None, "an edit that can be judged has a true picture"
            shown.append(Tried(case.before, made, case.truth, case.text, case.kind, result.reason))
        success = sum(result.success for result in results) / len(results)
        figures = Figures(learner.progress.step, len(results), success, self._unread, by_kind(results))
        name, sheet = f"step-{figures.step:08d}", edit_sheet(shown[:36])
        for key, data in ((f"{name}.json", json.dumps(asdict(figures)).encode()), (f"{name}.png", sheet)):
            self._storage.delete(key)  # of a step that is done again
            self._storage.write(key, data)
        return figures, sheet


def due(asked: Validation, step: int) -> bool:
    return asked.every > 0 and step % asked.every == 0


def reader_of(asked: Validation) -> Reader:
    from filters.reader import Reader

    try:
        return Reader.load(asked.reader)
    except (OSError, ValueError) as error:
        raise ConfigError(f"validation.reader: {one_line(error)}") from None

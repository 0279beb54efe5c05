"""What an evaluation asks of editors that are tuned for transformations: known from the frozen sets, and said, before
anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.transformations import COLUMNS, ENOUGH, Chosen, chosen
from ray_jobs.config_evaluate import DiffusionClip, EvaluateConfig
from shards.tables import read_table

if TYPE_CHECKING:
    from ray_jobs.evaluate_sets import Frozen
    from shards.run import Run


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """set, editor: names. numeric: how many edits that ask for a number were to be tried."""

    set: str
    editor: str
    numeric: int
    chosen: Chosen

    def said(self) -> str:
        """A line, and one for each transformation that comes up too seldom."""
        found, used = self.chosen, sum(self.chosen.uses.values())
        lines = [
            f"editor {self.editor}, set {self.set}: {used} of {found.edits} edits by {len(found.uses)} "
            f"transformations, {len(found.numeric)} by their captions; {found.not_expressible} cannot be said to it"
        ]
        for name, count in found.uses.items():
            if count < ENOUGH:
                lines.append(f"  {name}: {_only(count)}; {ENOUGH} were asked for")
        if len(found.numeric) < self.numeric:
            lines.append(
                f"  numbers: {_only(len(found.numeric))}; {self.numeric} were asked for: of {found.numbers} edits that "
                "ask for a number no more have captions that differ"
            )
        if found.others:
            there = ", ".join(f"{name} ({count})" for name, count in found.others.items())
            lines.append(f"  not among its transformations: {there}")
        return "\n".join(lines)


def _only(count: int) -> str:
    return f"only {count} edit{'' if count == 1 else 's'}" if count else "no edit"


def tuning_plans(run: Run, config: EvaluateConfig, sets: Sequence[Frozen]) -> list[TuningPlan]:
    """One for each set and editor that is tuned. Raises StorageError."""
    tuned = {name: one for name, one in config.editors.items() if isinstance(one, DiffusionClip)}
    found = []
    for one in sets if tuned else ():
        rows = read_table(run.storage, one.key, COLUMNS).to_pylist()
        for name, about in tuned.items():
            of_set = chosen(rows, about.transformations, about.numeric)
            found.append(TuningPlan(one.name, name, about.numeric, of_set))
    return found

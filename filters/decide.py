"""The stage that turns scores into verdicts: reads figures, opens no image, and can be run again at any time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from filters.geometry import Decision, GeometryScores, decide
from filters.thresholds import GeometryThresholds
from shards.guard import RowGuard
from shards.run import Run
from shards.schema import VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport

_COLUMNS = ("pair_id", "edit_kind", "scores", "verdict", "reason")
_FIGURES = tuple(field.name for field in fields(GeometryScores))


class Decide:
    """Stage "verdicts". settings: {"profile": name, "geometry": limits}."""

    name = "verdicts"
    version = 1  # to be raised whenever the same scores and settings would give other verdicts

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._pairs = folder, inputs["pairs"]
        self._profile = str(settings["profile"])
        self._limits = GeometryThresholds(**settings["geometry"])

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        key = self._run.shard_key(self._pairs, unit.id)
        pairs = read_table(self._run.storage, key, _COLUMNS).to_pylist()
        rows, counts = [], Counter[str]()
        for pair in pairs:
            decision = self._decide(pair)
            counts[f"{decision.verdict}:{decision.reason}" if decision.reason else decision.verdict] += 1
            rows.append(
                {
                    "pair_id": pair["pair_id"],
                    "verdict": decision.verdict,
                    "reason": decision.reason or None,
                    "profile": self._profile,
                }
            )
        won = self._run.commit(self._folder, unit, from_rows(rows, VERDICTS), counts)
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won)

    def _decide(self, pair: Mapping[str, Any]) -> Decision:
        if pair["verdict"] is not None:
            return Decision(pair["verdict"], pair["reason"])
        scores = GeometryScores(**{name: pair["scores"][name] for name in _FIGURES})
        return decide(pair["edit_kind"], scores, self._limits)

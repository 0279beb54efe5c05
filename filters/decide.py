"""The stage that turns scores into verdicts: reads figures, opens no image, and can be run again at any time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from filters.geometry import Decision, GeometryScores, decide
from filters.profiles import GEOMETRIC_KINDS, ClipProfile, similarities
from filters.thresholds import GeometryThresholds
from shards.guard import RowGuard
from shards.run import Run
from shards.schema import CLIP_SCORES, VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport

_COLUMNS = ("pair_id", "edit_kind", "scores", "verdict", "reason")
_SCORES = ("pair_id", *CLIP_SCORES, "model", "verdict", "reason")
_FIGURES = tuple(field.name for field in fields(GeometryScores))


class Decide:
    """Stage "verdicts". settings: {"profile": name, "geometry": limits}, and "clip", a `ClipProfile`, where
    CLIP judges too: then the stage "scores" is among the inputs. Geometry's rules come first. "by_pictures": true for
    pairs of which nothing but pictures and captions is known: CLIP alone judges, by the pairs' own scores."""

    name = "verdicts"
    version = 2  # to be raised whenever the same scores and settings would give other verdicts

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._pairs = folder, inputs["pairs"]
        self._profile = str(settings["profile"])
        self._limits = GeometryThresholds(**settings["geometry"])
        clip = settings.get("clip")
        self._clip = ClipProfile.model_validate(clip) if clip is not None else None
        self._by_pictures = bool(settings.get("by_pictures", False))
        self._scores = inputs["scores"] if clip is not None and not self._by_pictures else None

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        key = self._run.shard_key(self._pairs, unit.id)
        pairs = read_table(self._run.storage, key, _COLUMNS).to_pylist()
        scores = self._scores_of(unit)
        rows, counts = [], Counter[str]()
        for pair in pairs:
            decision = self._decide(pair, scores.get(pair["pair_id"]))
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

    def _decide(self, pair: Mapping[str, Any], scored: Mapping[str, Any] | None) -> Decision:
        if pair["verdict"] is not None:
            return Decision(pair["verdict"], pair["reason"])
        kind = pair["edit_kind"]
        if self._by_pictures:
            return self._decide_by_pictures(kind, pair)
        scores = GeometryScores(**{name: pair["scores"][name] for name in _FIGURES})
        decision = decide(kind, scores, self._limits)
        if self._clip is None or decision.reason or kind in GEOMETRIC_KINDS:
            return decision
        if scored is None or scored["verdict"] is not None:
            return Decision("failed", scored["reason"] if scored is not None else "not_scored")
        if not self._clip.fits(scored["model"]):
            raise ValueError(
                f"profile {self._clip.name!r} is for {', '.join(self._clip.models)}, and these scores are of "
                f"{scored['model']}: choose another profile, or score with that model"
            )
        if (found := similarities(scored)) is None:
            return Decision("failed", "not_scored")
        broken = self._clip.first_broken(kind, found)
        return Decision("rejected", broken) if broken else decision

    def _decide_by_pictures(self, kind: str, pair: Mapping[str, Any]) -> Decision:
        assert self._clip is not None
        if (found := similarities(pair["scores"] or {})) is None:
            return Decision("failed", "not_scored")
        broken = self._clip.first_broken_of_picture(kind, found)
        return Decision("rejected", broken) if broken else Decision("accepted")

    def _scores_of(self, unit: Unit) -> dict[str, dict[str, Any]]:
        """The unit's rows of the stage "scores", by pair; none where CLIP does not judge."""
        if self._scores is None:
            return {}
        key = self._run.shard_key(self._scores, unit.id)
        rows = read_table(self._run.storage, key, _SCORES).to_pylist()
        return {row["pair_id"]: row for row in rows}

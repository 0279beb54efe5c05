"""What a run holds, counted row by row from the small columns of its shards; pictures stay where they are."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from shards.run import Run
from shards.schema import CLIP_SCORES
from shards.tables import read_rows, read_table

REJECTS_SHOWN = 16
_READERS = 16
_OF_PAIR = tuple(f"scores.{name}" for name in CLIP_SCORES)
_PAIR = (
    "pair_id",
    "edit_kind",
    "language",
    "image_bytes",
    "verdict",
    "reason",
    "provenance.details",
    *_OF_PAIR,
)
_VERDICT = ("pair_id", "verdict", "reason")
_SCORE = ("pair_id", *CLIP_SCORES, "model", "verdict", "reason")


@dataclass(frozen=True, slots=True)
class Line:
    """A row as far as counting needs it. row: its place in its unit's shard. made: it has pictures.

    verdict: "accepted", "rejected", "failed", or "undecided" where the judge has not seen it yet.
    """

    pair_id: str
    unit_id: str
    row: int
    kind: str
    language: str
    verdict: str
    reason: str
    made: bool
    image_bytes: int
    clip: Clip | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """What CLIP said of a pair. figures: in the order of CLIP_SCORES. failed: why there are none, or ""."""

    figures: tuple[float | None, ...]
    model: str
    failed: str


@dataclass(slots=True)
class Survey:
    """A route's rows, counted.

    cells: by kind, language, verdict. reasons: by verdict, reason, and whether there are pictures.
    examples: the first accepted pair of each kind and language. rejects: the first rejected pair that was
    made, for each of at most REJECTS_SHOWN reasons. failed: all failed rows. clip: the figures of pairs
    scored, by kind, one array per score. clip_failed: by reason. clip_models: rows by the model that scored.
    """

    units: set[str] = field(default_factory=set)
    decided: int = 0
    image_bytes: int = 0
    cells: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], Line] = field(default_factory=dict)
    rejects: dict[str, Line] = field(default_factory=dict)
    failed: list[Line] = field(default_factory=list)
    clip: dict[str, tuple[array[float], ...]] = field(default_factory=dict)
    clip_failed: Counter[str] = field(default_factory=Counter)
    clip_models: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        if line.clip is not None:
            self._add_clip(line.kind, line.clip)
        self.image_bytes += line.image_bytes
        self.cells[line.kind, line.language, line.verdict] += 1
        self.reasons[line.verdict, line.reason, line.made] += 1
        if line.verdict == "accepted":
            self.examples.setdefault((line.kind, line.language), line)
        elif line.verdict == "failed":
            self.failed.append(line)
        elif line.verdict == "rejected" and line.made and len(self.rejects) < REJECTS_SHOWN:
            self.rejects.setdefault(line.reason, line)

    def _add_clip(self, kind: str, clip: Clip) -> None:
        self.clip_models[clip.model] += 1
        if clip.failed:
            self.clip_failed[clip.failed] += 1
            return
        columns = self.clip.setdefault(kind, tuple(array("f") for _ in CLIP_SCORES))
        for column, value in zip(columns, clip.figures, strict=True):
            column.append(float("nan") if value is None else value)

    def rows(self, verdict: str | None = None, made: bool | None = None) -> int:
        """How many rows there are of this verdict, with or without pictures."""
        return sum(
            number
            for (found, _, has_pictures), number in self.reasons.items()
            if verdict in (None, found) and made in (None, has_pictures)
        )


def survey(run: Run, pairs: str, verdicts: str, scores: str | None = None) -> Survey:
    """Counts a route. pairs, verdicts, scores: folders. One small read per shard, several at a time."""
    found = Survey(units=run.done(pairs))
    decided = run.done(verdicts) & found.units
    found.decided = len(decided)
    scored = run.done(scores) if scores is not None else set()

    def read(unit_id: str) -> list[Line]:
        judged = verdicts if unit_id in decided else None
        return list(_lines(run, pairs, judged, scores if unit_id in scored else None, unit_id))

    with ThreadPoolExecutor(_READERS) as pool:
        for lines in pool.map(read, sorted(found.units)):
            for line in lines:
                found.add(line)
    return found


def fetch(
    run: Run, folder: str, lines: Sequence[Line], columns: Sequence[str] | None = None
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The lines' whole rows, or some columns, by unit and row; one unit's in memory at a time."""
    ordered = sorted(lines, key=lambda line: (line.unit_id, line.row))
    for unit_id, group in groupby(ordered, key=lambda line: line.unit_id):
        wanted = list(group)
        key = run.shard_key(folder, unit_id)
        rows = read_rows(run.storage, key, [line.row for line in wanted], columns).to_pylist()
        yield from zip(wanted, rows, strict=True)


def message_of(row: Mapping[str, Any]) -> str:
    """What a failed row's provenance says of its failure; "" where it says nothing."""
    try:
        details = json.loads((row["provenance"] or {}).get("details") or "{}")
    except ValueError:
        return ""
    return str(details.get("message") or "") if isinstance(details, dict) else ""


def _lines(run: Run, pairs: str, verdicts: str | None, scores: str | None, unit_id: str) -> Iterator[Line]:
    rows = read_table(run.storage, run.shard_key(pairs, unit_id), _PAIR).to_pylist()
    decided = _by_pair(run, verdicts, unit_id, _VERDICT)
    scored = _by_pair(run, scores, unit_id, _SCORE)
    for number, row in enumerate(rows):
        judged = decided.get(row["pair_id"], row)
        yield Line(
            pair_id=row["pair_id"],
            unit_id=unit_id,
            row=number,
            kind=row["edit_kind"] or "unknown",
            language=row["language"] or "unknown",
            verdict=judged["verdict"] or "undecided",
            reason=judged["reason"] or "",
            made=row["verdict"] is None and bool(row["image_bytes"]),
            image_bytes=row["image_bytes"] or 0,
            clip=_clip(scored.get(row["pair_id"])) or _own_clip(row),
        )


def _by_pair(
    run: Run, folder: str | None, unit_id: str, columns: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """The unit's rows in this folder; none where there is no folder."""
    if folder is None:
        return {}
    table = read_table(run.storage, run.shard_key(folder, unit_id), columns)
    return {row["pair_id"]: row for row in table.to_pylist()}


def _own_clip(row: Mapping[str, Any]) -> Clip | None:
    """Of a pair that was scored while it was made."""
    scores = row["scores"] or {}
    if scores.get("clip_image") is None:
        return None
    details = json.loads((row["provenance"] or {}).get("details") or "{}")
    return Clip(tuple(scores[name] for name in CLIP_SCORES), str(details.get("clip", "unknown")), "")


def _clip(row: Mapping[str, Any] | None) -> Clip | None:
    if row is None:
        return None
    failed = (row["reason"] or "unknown") if row["verdict"] else ""
    return Clip(tuple(row[name] for name in CLIP_SCORES), row["model"], failed)

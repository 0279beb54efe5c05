"""What became of the edits in words: how many were written, which are good, why the others are not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shards.run import Run
from shards.tables import read_table
from shards.units import UnitReport

_COLUMNS = (
    "edit_id", "original_prompt", "edit_prompt", "edited_prompt", "edit_kind", "language", "verdict", "reason",
)  # fmt: skip
EXAMPLES, REJECTS = 2, 2  # shown of each kind and language; of each reason
ROUTES = ("captions", "edits", "unique")


def text_part(
    run: Run, routes: Mapping[str, Mapping[str, str]], reports: Iterable[UnitReport]
) -> dict[str, Any] | None:
    """The figures of the routes of words; None for a run without. routes: {route: {stage: folder}}."""
    if not {"edits", "unique"} <= routes.keys():
        return None
    folders = {route: routes[route][route] for route in ROUTES if route in routes}
    verdicts, reasons = Counter[str](), Counter[str]()
    cells: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    shown: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    rejects: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _edits(run, folders):
        verdicts[row["verdict"]] += 1
        kind = (row["edit_kind"], row["language"])
        cells[kind]["tried"] += 1
        if row["verdict"] == "accepted":
            cells[kind]["accepted"] += 1
            _keep(shown[kind], row, EXAMPLES)
        else:
            reasons[row["reason"]] += 1
            _keep(rejects[row["reason"]], row, REJECTS)
    spent = [r for r in reports if r.stage == "edits" and not r.skipped and r.unit_id.startswith("edits-")]
    seconds, tokens = sum(r.seconds for r in spent), sum(r.details.get("output_tokens", 0) for r in spent)
    return {
        "folders": folders,
        "captions": run.counts(folders["captions"]),
        "tried": verdicts.total(),
        **{name: verdicts[name] for name in ("accepted", "rejected", "failed")},
        "reasons": dict(reasons.most_common()),
        "by_kind": [
            {"kind": kind, "language": language, **cells[kind, language]} for kind, language in sorted(cells)
        ],
        "output_tokens": int(tokens),
        "tokens_per_second": tokens / seconds if seconds else None,
        "examples": [row for kind in sorted(shown) for row in shown[kind]],
        "rejects": [row for reason in reasons for row in rejects[reason]],
    }


def _edits(run: Run, folders: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every edit with the last word on it, unit by unit."""
    last: dict[str, dict[str, Any]] = {}
    for unit_id in sorted(run.done(folders["unique"])):
        table = read_table(run.storage, run.shard_key(folders["unique"], unit_id))
        last.update({row["edit_id"]: row for row in table.to_pylist()})
    for unit_id in sorted(run.done(folders["edits"])):
        for row in read_table(run.storage, run.shard_key(folders["edits"], unit_id), _COLUMNS).to_pylist():
            yield row | last.get(row["edit_id"], {})


def _keep(rows: list[dict[str, Any]], row: dict[str, Any], most: int) -> None:
    if len(rows) < most:
        rows.append({name: row[name] for name in _COLUMNS if name != "edit_id"})

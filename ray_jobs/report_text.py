"""What became of the edits in words: how many were written, which are good, why the others are not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from filters.bias import Lexicon, Mentions, counted, skew, spread, words_of_space
from generators.unique import TEXTS
from shards.run import Run
from shards.tables import read_table
from shards.units import UnitReport

_COLUMNS = (
    "edit_id", "original_prompt", "edit_prompt", "edited_prompt", "edit_kind", "language", "verdict", "reason",
)  # fmt: skip
FEWEST = 30  # mentions of an occupation beside a gender: of fewer nothing can be told
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
    people = _People()
    cells: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    shown: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    rejects: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _edits(run, folders):
        verdicts[row["verdict"]] += 1
        kind = (row["edit_kind"], row["language"])
        cells[kind]["tried"] += 1
        if row["verdict"] == "accepted":
            cells[kind]["accepted"] += 1
            people.add(row)
            _keep(shown[kind], _as_mended(row), EXAMPLES)
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
        "bias": people.figures(),
        "output_tokens": int(tokens),
        "tokens_per_second": tokens / seconds if seconds else None,
        "examples": [row for kind in sorted(shown) for row in shown[kind]],
        "rejects": [row for reason in reasons for row in rejects[reason]],
    }


def failed_edits(run: Run, routes: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """Rows of the quarantine: edits that failed, with what it takes to ask for them again."""
    folder = routes.get("edits", {}).get("edits")
    if folder is None:
        return
    for unit_id in sorted(run.done(folder)):
        for row in read_table(run.storage, run.shard_key(folder, unit_id), (*_COLUMNS, "seed")).to_pylist():
            if row["verdict"] == "failed":
                yield {
                    "unit_id": unit_id, "edit_id": row["edit_id"], "stage": "edits", "reason": row["reason"],
                    "edit_kind": row["edit_kind"], "language": row["language"],
                    "original_prompt": row["original_prompt"], "seed": row["seed"],
                }  # fmt: skip


def _edits(run: Run, folders: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every edit with the last word on it, unit by unit."""
    last: dict[str, dict[str, Any]] = {}
    for unit_id in sorted(run.done(folders["unique"])):
        table = read_table(run.storage, run.shard_key(folders["unique"], unit_id))
        for row in table.to_pylist():
            words = {f"mended_{name}": row.pop(name) for name in (*TEXTS, "instructions")}
            last[row["edit_id"]] = row | words
    for unit_id in sorted(run.done(folders["edits"])):
        for row in read_table(run.storage, run.shard_key(folders["edits"], unit_id), _COLUMNS).to_pylist():
            yield row | last.get(row["edit_id"], {})


def _as_mended(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the words that stand in place of the edit's own, where there are any: not before `unique` said so."""
    if row.get("mended_original_prompt") is None:
        return row
    return dict(row) | {name: row[f"mended_{name}"] for name in TEXTS}


class _People:
    """How the good edits speak of people, as the model wrote them and as they were mended, and of what else."""

    def __init__(self) -> None:
        judge = Lexicon.named("judge")
        self._lexicon = Lexicon(judge.pairs, judge.occupations + Lexicon.named("mend").occupations)
        self._before: list[str] = []
        self._after: list[str] = []
        self._known = words_of_space()
        self._words: dict[str, Counter[str]] = {name: Counter() for name in self._known}
        self._mended = 0

    def add(self, row: Mapping[str, Any]) -> None:
        before, after = (" | ".join(found[name] for name in TEXTS) for found in (row, _as_mended(row)))
        self._mended += before != after
        for name, counts in counted([after], self._known).items():
            self._words[name] += counts
        if self._lexicon.mentioned(before):  # of the others nothing is to be told
            self._before.append(before)
            self._after.append(after)

    def figures(self) -> dict[str, Any]:
        """As "bias" in `ray_jobs.report`."""
        mentions = [len(Mentions.of(texts, self._lexicon)) for texts in (self._before, self._after)]
        told = min(mentions) >= FEWEST
        return {
            "mended": self._mended,
            "mentions": mentions[0],
            "before": asdict(skew(self._before, self._lexicon)) if told else None,
            "after": asdict(skew(self._after, self._lexicon)) if told else None,
            "spread": {
                name: spread(counts, len(set(self._known[name].values()))) if counts else None
                for name, counts in self._words.items()
            },
        }


def _keep(rows: list[dict[str, Any]], row: Mapping[str, Any], most: int) -> None:
    if len(rows) < most:
        rows.append({name: row[name] for name in _COLUMNS if name != "edit_id"})

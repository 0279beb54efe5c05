"""The run's report: `report.json` for programs, `report.html` for people, `quarantine.jsonl` to look into.

All of it is made from what lies in the run folder: shards' small columns, units' reports, and the pictures
of the few pairs that the page shows. It can be written again at any time.

report.json, version 1. Figures that are not known are null; shares and busy fractions are 0..1.

- version, run_id, written (UTC, ISO 8601), started (of the first job that is counted), wall_seconds (of all
  jobs that are counted).
- totals: tried, made, accepted, rejected, failed, undecided (rows), image_bytes, pairs_per_minute.
- cost: what all jobs' nodes cost by `prices`, killed ones included, to the minute: currency, total, node_hours {role:
  hours}, per_thousand_accepted; null where nothing was kept.
- left: {route: {units, seconds}} of routes that are not whole, seconds at the rate of the jobs that are counted, null
  where there is none.
- routes, by name:
  - folders: {stage: folder}.
  - units: done (pairs committed), decided (verdicts committed), failed (given up in this job).
  - pairs: tried (rows asked for), made (rows with pictures), accepted, rejected, failed, undecided.
  - image_bytes: of all pictures made.
  - reasons: {"rejected": {reason: rows}, "failed": {reason: rows}}; unmade: the same, only rows without
    pictures, that is those given up before rendering.
  - by_kind: a list of {kind, language, accepted, rejected, failed, undecided}.
  - clip: null for a route without the stage "scores", else models ({identity: rows}), failed ({reason: rows})
    and by_kind, a list of {kind, pairs (scored), and for each CLIP score its median and the 5th and 95th
    percentile, null where it applies to no pair}.
  - engine: null for a route without the pair engine, else edits, edits_kept (with a picture at least), forwards (the
    UNet's, a batch of n counts n), slots_in_use (share), unet_seconds, vae_seconds, judge_seconds.
  - scenes: what became of the scenes drawn for the rows: drawn, made, reasons {reason: scenes}, and
    units_reported, the number of units that this is known of.
  - seconds: {stage: unit seconds}; cycles_share: seconds inside Cycles over seconds of the stage "pairs".
  - rates: of all jobs that are counted: wall_seconds, pairs_per_minute (accepted), made_per_minute, busy
    {stage: unit seconds / (wall seconds x workers)}. workers: those a pool started with, so that a pool that
    grew may pass 1.
  - jobs: those that made units here, oldest first: {started, seconds, workers {stage: number}}. A job that was
    killed wrote no report: neither its time nor its units count in the rates.
- text: null for a run without edits in words, else folders, captions ({outcome: rows}), tried, accepted, rejected,
  failed, reasons ({reason: rows}), by_kind (a list of {kind, language, tried, accepted}), output_tokens,
  tokens_per_second (of one worker), bias (mended, good edits whose genders were exchanged; mentions, of an occupation
  beside a gender; before and after mending the skew between them with its 95% interval, null where mentions are too few
  to tell; spread, the normalised entropy of words for objects, colours, contexts, directions and regions), and examples
  and rejects, the first few of each sort.
- failed_units: {unit: {stage, reason, message}}, of this job.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ray_jobs import report_page
from ray_jobs.report_text import failed_edits, text_part
from ray_jobs.spending import spent
from ray_jobs.status import planned_units
from ray_jobs.survey import Line, Survey, fetch, message_of, survey
from ray_jobs.worker import Failure
from shards.run import Run
from shards.schema import CLIP_SCORES
from shards.storage import NotFound
from shards.units import UnitReport
from spatial.instruction import KINDS, LANGUAGES

VERSION = 1
VERDICTS = ("accepted", "rejected", "failed", "undecided")
_QUARANTINE = ("edit_prompt", "seed", "provenance")


@dataclass(frozen=True, slots=True)
class JobTime:
    """What a job spent on a route. started: with a time zone. seconds: wall. workers: by stage, at the start."""

    started: datetime
    seconds: float
    workers: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        started = self.started.astimezone(UTC).isoformat()
        return {"started": started, "seconds": self.seconds, "workers": dict(self.workers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JobTime:
        return cls(datetime.fromisoformat(values["started"]), values["seconds"], values["workers"])


def write(
    run: Run,
    routes: Mapping[str, Mapping[str, str]],
    failures: Mapping[str, Failure] | None = None,
    times: Mapping[str, JobTime] | None = None,
) -> None:
    """Writes the three files over older ones, the page last.

    routes: {route: {stage: folder}}, those of pairs with "pairs", "verdicts" and, where CLIP was run, "scores"; those
    of words with a stage each. failures:
    units that this job gave up, by id. times: what this job spent, by route; without it rates are those of
    earlier jobs, or null.
    Raises StorageError where the run folder cannot be read or written.
    """
    failures, times = failures or {}, times or {}
    everything = _distinct(run.reports())
    words, unwritten = text_part(run, routes, everything), failed_edits(run, routes)
    routes = {name: folders for name, folders in routes.items() if "pairs" in folders}
    earlier = _earlier_jobs(run, routes)
    surveys = {
        route: survey(run, folders["pairs"], folders["verdicts"], folders.get("scores"))
        for route, folders in routes.items()
    }
    parts = {}
    for route, folders in routes.items():
        own = times.get(route)
        # An earlier report of this same job has it already.
        jobs = [job for job in earlier.get(route, ()) if own is None or job.started != own.started]
        jobs += [] if own is None else [own]
        parts[route] = _route(run, route, folders, surveys[route], everything, jobs, failures)
    report = _whole(run, parts, failures) | {"text": words}
    run.write_quarantine(chain(_quarantine(run, routes, surveys, failures), unwritten))
    run.write_report_json(report)
    run.write_report_html(report_page.render(run, report, surveys))


def _route(
    run: Run,
    route: str,
    folders: Mapping[str, str],
    found: Survey,
    everything: Sequence[UnitReport],
    jobs: Sequence[JobTime],
    failures: Mapping[str, Failure],
) -> dict[str, Any]:
    latest = _latest(report for report in everything if _route_of(report) == route)
    here = {key: report for key, report in latest.items() if key[0] in found.units}
    rates, counted = _rates(run, route, jobs, here)
    seconds: defaultdict[str, float] = defaultdict(float)
    details: defaultdict[str, float] = defaultdict(float)
    for (_, stage), report in here.items():
        seconds[stage] += report.seconds
        for name, value in report.details.items():
            details[name] += value
    tries = {name.removeprefix("try:"): int(n) for name, n in details.items() if name.startswith("try:")}
    drawn, scenes_made = sum(tries.values()), tries.pop("made", 0)
    spent = seconds["pairs"] if "cycles_seconds" in details else 0
    return {
        "folders": dict(folders),
        "units": {
            "done": len(found.units),
            "decided": found.decided,
            "failed": sum(unit_id.rpartition("-")[0] == route for unit_id in failures),
        },
        "pairs": {
            "tried": found.rows(),
            "made": found.rows(made=True),
            **{verdict: found.rows(verdict) for verdict in VERDICTS},
        },
        "image_bytes": found.image_bytes,
        "reasons": {verdict: _reasons(found, verdict) for verdict in ("rejected", "failed")},
        "unmade": {verdict: _reasons(found, verdict, made=False) for verdict in ("rejected", "failed")},
        "by_kind": _by_kind(found),
        "clip": _clip(found) if "scores" in folders or found.clip else None,
        "engine": _engine(details),
        "scenes": {
            "drawn": drawn,
            "made": scenes_made,
            "reasons": _sorted(tries),
            "units_reported": sum(stage == "pairs" for _, stage in here),
        },
        "seconds": dict(seconds),
        "cycles_share": details["cycles_seconds"] / spent if spent else None,
        "rates": rates,
        "jobs": [job.to_dict() for job in counted],
    }


def _engine(details: Mapping[str, float]) -> dict[str, float] | None:
    """Of the pair engine, over the units that reported."""
    if "forwards" not in details:
        return None
    edits, kept = details["edits"], details["edits_kept"]
    return {
        "edits": edits,
        "edits_kept": kept,
        "forwards": details["forwards"],
        "slots_in_use": details["slots_used"] / details["slots_offered"] if details["slots_offered"] else 0.0,
        **{f"{part}_seconds": details[f"{part}_seconds"] for part in ("unet", "vae", "judge")},
    }


def _rates(
    run: Run, route: str, jobs: Sequence[JobTime], latest: Mapping[tuple[str, str], UnitReport]
) -> tuple[dict[str, Any], list[JobTime]]:
    """What the jobs did for their time, and the jobs that did anything. latest: reports that still count."""
    counted, made, accepted = [], 0, 0
    busy: defaultdict[str, float] = defaultdict(float)
    capacity: defaultdict[str, float] = defaultdict(float)
    for job in jobs:
        until = job.started + timedelta(seconds=job.seconds)
        stored = [
            report for report in _distinct(run.reports(job.started, until)) if _route_of(report) == route
        ]
        if all(report.skipped for report in stored):
            continue
        counted.append(job)
        for stage, workers in job.workers.items():
            capacity[stage] += job.seconds * workers
            busy[stage] += sum(report.seconds for report in stored if report.stage == stage)
        for report in stored:
            if latest.get((report.unit_id, report.stage)) == report:
                made += report.counts.get("made", 0)
                accepted += report.counts.get("accepted", 0)
    wall = sum(job.seconds for job in counted)
    if not wall:
        return {"wall_seconds": None, "pairs_per_minute": None, "made_per_minute": None, "busy": {}}, []
    return {
        "wall_seconds": wall,
        "pairs_per_minute": accepted / wall * 60,
        "made_per_minute": made / wall * 60,
        "busy": {stage: busy[stage] / capacity[stage] for stage in busy if capacity[stage]},
    }, counted


def _whole(
    run: Run, parts: Mapping[str, Mapping[str, Any]], failures: Mapping[str, Failure]
) -> dict[str, Any]:
    jobs = [job for part in parts.values() for job in part["jobs"]]
    wall = sum(job["seconds"] for job in jobs) if jobs else None
    names = ("tried", "made", *VERDICTS)
    totals: dict[str, Any] = {name: sum(part["pairs"][name] for part in parts.values()) for name in names}
    totals["image_bytes"] = sum(part["image_bytes"] for part in parts.values())
    # Routes run one after the other: what each made in its time, over the sum of their times.
    made = sum(
        (part["rates"]["pairs_per_minute"] or 0) * (part["rates"]["wall_seconds"] or 0)
        for part in parts.values()
    )
    totals["pairs_per_minute"] = made / wall if wall else None
    cost = spent(run)
    return {
        "version": VERSION,
        "run_id": run.id,
        "written": datetime.now(UTC).isoformat(),
        "started": min((job["started"] for job in jobs), default=None),
        "wall_seconds": wall,
        "totals": totals,
        "cost": cost
        and cost
        | {
            "per_thousand_accepted": cost["total"] / totals["accepted"] * 1000 if totals["accepted"] else None
        },
        "left": {name: left for name, part in parts.items() if (left := _left(run, name, part)) is not None},
        "routes": dict(parts),
        "failed_units": {
            unit_id: {"stage": failure.stage, "reason": failure.reason, "message": failure.message}
            for unit_id, failure in sorted(failures.items())
        },
    }


def _left(run: Run, route: str, part: Mapping[str, Any]) -> dict[str, Any] | None:
    """Units of the route that are not decided, and how long they will take; None for a route that is whole."""
    planned, decided = planned_units(run).get(route), part["units"]["decided"]
    if planned is None or planned <= decided:
        return None
    wall, made = part["rates"]["wall_seconds"], decided
    return {
        "units": planned - decided,
        "seconds": (planned - decided) * wall / made if wall and made else None,
    }


def _quarantine(
    run: Run,
    routes: Mapping[str, Mapping[str, str]],
    surveys: Mapping[str, Survey],
    failures: Mapping[str, Failure],
) -> Iterator[dict[str, Any]]:
    """Failed units with their traces, then failed rows with what it takes to try them again."""
    for unit_id, failure in sorted(failures.items()):
        yield {
            "unit_id": unit_id, "pair_id": None, "stage": failure.stage, "reason": failure.reason,
            "message": failure.message, "trace": failure.trace,
        }  # fmt: skip
    for route, folders in routes.items():
        for line, row in fetch(run, folders["pairs"], surveys[route].failed, _QUARANTINE):
            yield {
                "unit_id": line.unit_id, "pair_id": line.pair_id,
                "stage": _failed_at(line), "reason": line.reason,
                "message": message_of(row), "edit_kind": line.kind, "language": line.language,
                "edit_prompt": row["edit_prompt"], "seed": row["seed"],
            }  # fmt: skip


def _earlier_jobs(run: Run, routes: Mapping[str, Mapping[str, str]]) -> dict[str, list[JobTime]]:
    """Jobs that an older report counted, of routes whose pairs are still the same."""
    try:
        old = json.loads(run.storage.read("report.json"))
        if old["version"] != VERSION:
            return {}
        return {
            route: [JobTime.from_dict(job) for job in old["routes"][route]["jobs"]]
            for route, folders in routes.items()
            if route in old["routes"] and old["routes"][route]["folders"]["pairs"] == folders["pairs"]
        }
    except NotFound:
        return {}
    except (
        ValueError,
        KeyError,
        TypeError,
    ):  # somebody edited it: figures of the past, not worth a failed run
        return {}


def _distinct(reports: Iterable[UnitReport]) -> list[UnitReport]:
    """Without those stored twice, as happens when an answer of the storage is lost."""
    return list({json.dumps(report.to_dict(), sort_keys=True): report for report in reports}.values())


def _latest(reports: Iterable[UnitReport]) -> dict[tuple[str, str], UnitReport]:
    """By unit and stage the last report of work that was kept; a new profile reports its units anew."""
    return {(report.unit_id, report.stage): report for report in reports if not report.skipped}


def _route_of(report: UnitReport) -> str:
    return report.unit_id.rpartition("-")[0]


def _reasons(found: Survey, verdict: str, made: bool | None = None) -> dict[str, int]:
    total: Counter[str] = Counter()
    for (of, reason, has_pictures), number in found.reasons.items():
        if of == verdict and made in (None, has_pictures):
            total[reason] += number
    return _sorted(total)


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    """Most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _by_kind(found: Survey) -> list[dict[str, Any]]:
    pairs = sorted({(kind, language) for kind, language, _ in found.cells}, key=_kind_order)
    return [
        {
            "kind": kind,
            "language": language,
            **{verdict: found.cells[kind, language, verdict] for verdict in VERDICTS},
        }
        for kind, language in pairs
    ]


def _clip(found: Survey) -> dict[str, Any]:
    """What CLIP said, by kind of edit."""
    lines = []
    for kind in sorted(found.clip, key=lambda kind: _kind_order((kind, ""))):
        columns = found.clip[kind]
        figures = {name: _percentiles(np.asarray(c)) for name, c in zip(CLIP_SCORES, columns, strict=True)}
        lines.append({"kind": kind, "pairs": len(columns[0]), **figures})
    return {
        "models": dict(sorted(found.clip_models.items())),
        "failed": _sorted(found.clip_failed),
        "by_kind": lines,
    }


def _percentiles(values: NDArray[np.float32]) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    return dict(zip(("p5", "median", "p95"), map(float, np.percentile(known, (5, 50, 95))), strict=True))


def _failed_at(line: Line) -> str:
    """The stage that failed the row."""
    if not line.made:
        return "pairs"
    return "scores" if line.clip is not None and line.clip.failed else "verdicts"


def _kind_order(pair: tuple[str, str]) -> tuple[int, str, int, str]:
    """The vocabulary's order; what it does not know comes last."""
    kind, language = pair
    return (
        KINDS.index(kind) if kind in KINDS else len(KINDS),
        kind,
        LANGUAGES.index(language) if language in LANGUAGES else len(LANGUAGES),
        language,
    )

"""What people said in a survey: figures and a table for everybody, and every vote as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from evaluation import opinions
from evaluation.survey import CHECKS_NEEDED
from ray_jobs.survey_files import editors_of, not_shown, not_shown_lines, questions_of, votes_of
from shards.run import Run
from shards.tables import from_rows, write_table

RESULTS, TABLE = "survey-results.json", "survey-votes.parquet"
_WHY = {
    "unfinished": f"unfinished (fewer than {CHECKS_NEEDED} checks answered)",
    "checks": "for checks",
    "too_fast": "for too fast",
}
VOTES = pa.schema(
    [
        ("rater", pa.int32()),  # a number, and nothing else about them
        ("language", pa.string()),
        ("counts", pa.bool_()),  # false for raters who are left out
        ("task", pa.int32()),
        ("kind", pa.string()),  # pair, rate, check
        ("question", pa.string()),
        ("edit", pa.string()),
        ("scene", pa.string()),
        ("left", pa.string()),  # the editor on the left, or that was rated
        ("right", pa.string()),
        ("value", pa.string()),  # a, equal, b; 1 to 5
        ("at", pa.timestamp("us", "UTC")),
    ]
)


def write(run: Run, url: str | None) -> str:
    """Writes both files into the run, over older ones; the table as text. url: as `survey_files.votes_of`. Raises
    ConfigError."""
    editors, votes = editors_of(run), votes_of(run, url)
    found = votes.all()
    votes.close()
    by_rater: dict[int, list[dict[str, Any]]] = {}
    for vote in found:
        by_rater.setdefault(vote["rater"], []).append(vote)
    counts = {rater: opinions.careless(own) is None for rater, own in by_rater.items()}
    rows = [{**vote, "counts": counts[vote["rater"]]} for vote in found]
    figures = {**opinions.figures(found, editors, questions=questions_of(run)), "not_shown": not_shown(run)}
    run.storage.write(TABLE, write_table(from_rows(rows, VOTES), {}))
    run.storage.write(RESULTS, json.dumps(figures, indent=1).encode())
    return "\n".join(_lines(figures))


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    left_out = ", ".join(f"{number} {_WHY[why]}" for why, number in figures["dropped"].items())
    yield f"{figures['raters']} raters, {figures['votes']} votes that count; left out: {left_out or 'nobody'}"
    yield from not_shown_lines(figures["not_shown"])
    keys = [*figures["alpha"], "all"]
    yield f"{'human evaluation score':<24}" + "".join(f"{key:>24}" for key in keys)
    for editor, scores in figures["score"].items():
        cells = [f"{own['mean']:.1f}{_to(own, '.1f')}" if (own := scores[key]) else "–" for key in keys]
        yield f"  {editor:<22}" + "".join(f"{cell:>24}" for cell in cells)
    yield "ranks, with strengths"
    for editor in figures["score"]:
        cells = [
            f"{own['rank']}: {own['strength']:+.2f}{_between(own)}" if (own := strengths.get(editor)) else "–"
            for strengths in figures["strength"].values()
        ]
        yield f"  {editor:<22}" + "".join(f"{cell:>28}" for cell in cells)
    for question, fit in figures["fits"].items():
        if not fit["fitted"]:
            yield f"  {question}: no strengths, the choices could not be fitted"
        elif fit["failed"]:
            yield (f"  {question}: {fit['failed']} of {fit['draws']} draws could not be fitted and are in no "
                   "interval")  # fmt: skip
    alphas = (
        f"{key} {alpha:.2f}" if alpha is not None else f"{key} –" for key, alpha in figures["alpha"].items()
    )
    yield "agreement (Krippendorff's alpha, ordinal): " + ", ".join(alphas)


def _between(own: Mapping[str, Any]) -> str:
    return _to(own, "+.2f")


def _to(own: Mapping[str, Any], form: str) -> str:
    """Its interval; nothing where there is none."""
    return "" if own["low"] is None else f" ({own['low']:{form}} to {own['high']:{form}})"

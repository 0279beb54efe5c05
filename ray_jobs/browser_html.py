"""What the browser says of a catalogue, as HTML. Instructions and captions are anybody's words: all is escaped here."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from ray_jobs.browse import SCORES, Catalogue, Row, values
from ray_jobs.browse_run import Progress
from ray_jobs.editing import Asked, Understood
from ray_jobs.report_page import LANGUAGES, REASONS, Bar, file_size, measured, operation_words, percent
from ray_jobs.survey import message_of
from ray_jobs.templates import template

_IDS = ("pair_id", "inverse_of", "edit_id", "scene_id", "unit_id", "run_id", "file", "license", "seed")
_VERDICTS = ("accepted", "rejected", "failed", "undecided")


@dataclass(frozen=True, slots=True)
class _Words:
    before: str
    after: str
    operations: list[str]
    measured: str


def head(catalogue: Catalogue, table: pa.Table, progress: Progress | None = None) -> str:
    """Title, place and numbers. progress: of a run."""
    column = "split" if progress is None else "verdict"
    figures = [(len(table), "pairs"), *((count, name) for name, count in values(table, column).items())]
    note, lines = "", tuple[str, ...]()
    if progress is not None:
        lines = progress.troubles[:3]
        if len(progress.troubles) > 3:
            lines += (f"and {len(progress.troubles) - 3} more units that cannot be read",)
        if progress.read + len(progress.troubles) < progress.units:
            note = f"reading the run: {progress.read:,} of {progress.units:,} units so far"
        elif not progress.units:
            note = "this run has no pairs yet"
        elif not progress.finished:
            note = "this run is not finished: what is shown is what it has by now"
    elif not len(table):
        note = "this dataset has no pairs"
    return _part("head", catalogue.title, catalogue.uri, figures, note, lines)


def pair(row: Row, details: Mapping[str, Any], troubles: Sequence[str] = ()) -> str:
    """The words of a pair. details: its columns, {} where they cannot be read."""
    words = _Words(
        details.get("original_prompt") or "",
        details.get("edited_prompt") or "",
        [operation_words(step) for step in details.get("operations") or ()],
        measured(details) if details else "",
    )
    reason = row.get("reason") or ""
    failed = row.get("verdict") == "failed" and details
    return _part(
        "pair", row, words, reason, REASONS.get(reason, ""), message_of(details) if failed else "", troubles
    )


def facts(row: Row, details: Mapping[str, Any]) -> str:
    """Scores and ids of a pair."""
    known = {**row, **details}
    ids = [(name, known[name]) for name in _IDS if known.get(name) not in (None, "")]
    size = f"{known['width']} × {known['height']} px" if known.get("width") else ""
    ids += [("size", size)] if size else []
    return _part("facts", ids, [(name, row[name]) for name in SCORES if row.get(name) is not None])


def shown_range(first: int, last: int, total: int, partial: bool) -> str:
    """first, last: numbers from 1 of the pairs on the page. partial: a run that is being read or made."""
    return _part("range", first, last, total, partial)


def progress(state: Progress, table: pa.Table) -> str:
    """Live figures of a run: verdicts and reasons of the pairs read, units of every stage."""
    return _part("progress", state, verdict_bars(table), len(table))


def verdict_bars(table: pa.Table) -> list[Bar]:
    """A line for each verdict, and below it one for each of its reasons, the commonest first."""
    counted = values(table, "verdict")
    bars = []
    for verdict in _VERDICTS:
        if count := counted.get(verdict, 0):
            bars.append(Bar(verdict, "", count, count / len(table), verdict))
            reasons = values(table.filter(pc.equal(table["verdict"], verdict)), "reason")
            bars += [
                Bar(
                    reason.replace("_", " "),
                    REASONS.get(reason, ""),
                    number,
                    number / len(table),
                    f"{verdict} of",
                )
                for reason, number in reasons.items()
            ]
    return bars


def troubles(lines: Sequence[str]) -> str:
    """A line for each thing that went wrong."""
    return _part("troubles", lines)


def editor_head(folder: str, parts: Sequence[str], side: int) -> str:
    """parts: spatial layers that the editor has. side: pixels beyond which pictures are scaled down."""
    return _part("editor_head", folder, parts, side)


def understood(found: Understood, spatial: bool) -> str:
    """What was made of an instruction. spatial: the editor has layers that use it."""
    return _part("understood", found, spatial)


def made(what: Asked, seconds: float, before: Sequence[int], after: Sequence[int]) -> str:
    """How an edit was made. before, after: shapes of the picture given and of the one edited."""
    scaled = tuple(before[:2]) != tuple(after[:2])
    return _part("made", what, seconds, after[1], after[0], scaled)


def at_step(done: int, of: int) -> str:
    """How far the edit that is being made is."""
    return _part("at_step", done, of)


def css() -> str:
    return _part("css")


def _part(name: str, *arguments: Any) -> str:
    return str(getattr(_parts(), name)(*arguments))


@functools.cache
def _parts() -> Any:
    return template(
        "browser_page.html",
        jinja2.ChainableUndefined,
        percent=percent,
        bytes=file_size,
        language=lambda code: LANGUAGES.get(code, code or "unknown language"),
    ).module

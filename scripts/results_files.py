"""What lies in the folder of results that docs/results.md is made of, and of what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROWS, ABOUT, NOTES = "edits.parquet", "about.json", "notes.md"
DISTANCES, BIAS, SURVEY = "distances.json", "bias.json", "survey.json"
CONFIG = "configs/evaluate.yaml"  # where nothing says which one it was
_TOGETHER = (("digest", "of several sets"), ("rules", "judged by several rules"))
_NUMBERS = ("no", "one", "two", "three", "four", "five")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """All that lies in a folder of results. rows: of `evaluation.table.COLUMNS`, as far as they have them. about: {set:
    {editor: {copy: {"digest", "edits", "oracle", "model", "rules", and where it is known "px", "world", "config"}}}}.
    distances: {set: {evaluation: {"digest", "edits", "copy", "first", "editors": {editor: as
    `ray_jobs.evaluate_distances.compared`}}}}. bias: {"editor": what benchmarks.bias_editor says, "texts": what
    benchmarks.bias says, "run": the "bias" of a run's report}. survey: {"figures": what `evaluate --survey` says, "of":
    {"set", "digest", "edits"}}. The last three are empty where nothing was taken in."""

    rows: list[Json]
    about: Json
    notes: str
    distances: Json = field(default_factory=dict)
    bias: Json = field(default_factory=dict)
    survey: Json = field(default_factory=dict)


def read(results: Path) -> Found:
    """Raises SystemExit where rows or notes are not there, and where rows of a set cannot be one table."""
    for name, how in (
        (ROWS, "take in an evaluation with --add"),
        (NOTES, "write what there is to say there"),
    ):
        if not (results / name).exists():
            raise SystemExit(f"{results / name} is not there: {how}")
    about = read_json(results / ABOUT)
    hold_together(about)
    # Distances of other edits are left from before: none of these.
    distances = {
        name: {which: one for which, one in found.items() if one["digest"] == digest_of(about[name])}
        for name, found in read_json(results / DISTANCES).items()
        if name in about
    }
    return Found(
        pq.read_table(results / ROWS).to_pylist(),
        about,
        (results / NOTES).read_text().strip(),
        {name: found for name, found in distances.items() if found},
        read_json(results / BIAS),
        read_json(results / SURVEY),
    )


def read_json(path: Path) -> Json:
    """Empty where there is none."""
    found: Json = json.loads(path.read_text()) if path.exists() else {}
    return found


def hold_together(about: Mapping[str, Any]) -> None:
    """Raises SystemExit where rows of a set are of several sets, or judged by several rules."""
    for name, of_set in about.items():
        for what, said in _TOGETHER:
            found = all_of(of_set, what)
            if len(found) > 1:
                each = " and ".join(value[:16] for value in found)
                raise SystemExit(f"rows of the set {name} are {said}, {each}: add one's alone")


def all_of(of_set: Mapping[str, Any], what: str) -> list[str]:
    """What is known of a set's editors and copies, each value once."""
    known = (one.get(what) for of_editor in of_set.values() for one in of_editor.values())
    return sorted({str(value) for value in known if value is not None})


def digest_of(of_set: Mapping[str, Any]) -> str:
    return all_of(of_set, "digest")[0]


def of_what(of_set: Mapping[str, Any], edits: str, editors: Sequence[str]) -> str:
    """What a figure is of: "starter world, 128 px, 644 edits of `spatial`, one training each", as far as it is known.
    edits: how many, in words."""
    world, sides = all_of(of_set, "world"), all_of(of_set, "px")
    parts = [*world, *([f"{sides[0]} px"] if len(sides) == 1 else []), edits]
    counts = {name: len(of_set[name]) for name in editors}
    if len(set(counts.values())) == 1:
        parts.append(trainings(len(of_set[editors[0]])) + (" each" if len(editors) > 1 else ""))
    else:
        parts.append(", ".join(f"`{name}` {trainings(count)}" for name, count in counts.items()))
    return ", ".join(parts)


def trainings(count: int) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} training{'' if count == 1 else 's'}"


def made_by(of_set: Mapping[str, Any]) -> str:
    """The commands that make a table of a set."""
    asked = ", ".join(
        f"`python -m ray_jobs evaluate --config {name}`" for name in all_of(of_set, "config") or [CONFIG]
    )
    return f"Made by {asked}, then `python -m scripts.results_page --add RUN`."

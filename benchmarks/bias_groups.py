"""Does an editor do as well, and leave as much alone, for every group of edits? Of any evaluation: the share that is
right, and PSNR outside of the edit, by what a column says, the largest gap between two groups, and how sure it is.

    python -m benchmarks.bias_groups --evaluation runs/evaluation --by value
    python -m benchmarks.bias_groups --evaluation runs/evaluation --by subject.color
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.groups import by_group
from evaluation.results import RIGHT, UNASKED
from ray_jobs.config import ConfigError, one_line
from ray_jobs.evaluate_results import of_one_set, results_of
from shards.run import Run
from shards.schema import OPERATION_STRUCT
from shards.storage import StorageError, open_storage
from shards.tables import read_table

_ROW = ("edit_kind", "language")
_SUBJECT = "subject."  # before a field of the first operation's subject
_FIELDS = ("name", "color", "material")
_STEP = tuple(field.name for field in OPERATION_STRUCT if field.name != "objects")
_COLUMNS = ("pair_id", "judged", "outcome", "psnr")


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--evaluation", required=True, metavar="URI", help="the folder of an evaluation")
    options.add_argument(
        "--set", default=None, metavar="NAME", help="of the evaluation; needed where it has several"
    )
    options.add_argument(
        "--by", required=True, metavar="COLUMN",
        help="what groups are by: edit_kind, language; a column of the first operation, such as value or direction; or "
        "subject.name, subject.color, subject.material",
    )  # fmt: skip
    asked = options.parse_args(argv)
    try:
        run = Run.open(open_storage(asked.evaluation))
        found = figures(run, asked.by, asked.set)
    except (ConfigError, StorageError) as error:
        raise SystemExit(f"error: {one_line(error)}") from None
    key = f"bias-{found['set']}-{asked.by}.json"
    run.storage.write(key, json.dumps(found, indent=1).encode())
    print("\n".join(lines(found)))
    print(f"{run.storage.uri}/{key}")


def figures(run: Run, by: str, edit_set: str | None = None) -> dict[str, Any]:
    """{"set", "digest", "by", "edits", "ungrouped": edits that the column says nothing of, "editors": {name:
    {"success", "psnr"}}}, both as `evaluation.groups.by_group` gives them, None where nothing is judged or kept. Copies
    are averaged edit by edit. Raises ConfigError for an evaluation that is not done, and a set or column that is not
    there."""
    made_of = of_one_set(results_of(run), edit_set)
    ((name, about),) = made_of["sets"].items()
    groups, scenes = _groups(run, about["key"], by)
    editors = {}
    for editor in dict.fromkeys(one["editor"] for one in made_of["results"]):
        folders = [one["folder"] for one in made_of["results"] if one["editor"] == editor]
        success, error = _of_editor(run, folders)
        editors[editor] = {
            "success": by_group(success, groups, scenes) if success else None,
            "psnr": by_group(error, groups, scenes, errors=True) if error else None,
        }
    return {
        "set": name, "digest": about["digest"], "by": by, "edits": len(scenes),
        "ungrouped": len(scenes) - len(groups), "editors": editors,
    }  # fmt: skip


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures as text."""
    left = f", {found['ungrouped']} of which have no {found['by']}" if found["ungrouped"] else ""
    yield f"set {found['set']}: {found['edits']} edits{left}; by {found['by']}"
    for editor, own in found["editors"].items():
        yield f"editor {editor}"
        measures = [(own["success"], "right", 100, "%"), (own["psnr"], "PSNR", 1, " dB")]
        for figure, title, scale, unit in measures:
            if figure is not None:
                yield from of_measure(figure, title, scale, unit)
        if own["success"] is None:
            yield "  nobody judges this set: there is no share that is right"


def of_measure(figure: Mapping[str, Any], title: str, scale: float, unit: str) -> Iterator[str]:
    """Of what `by_group` gave. scale, unit: of what is printed."""
    points = " points" if unit == "%" else unit
    for group, one in figure["groups"].items():
        ends = f"({scale * one['low']:.1f} to {scale * one['high']:.1f})"
        yield f"  {title:<12}{group:<20}{scale * one['mean']:>7.1f}{unit} {ends:<18}{one['edits']:>6} edits"
    if (gap := figure["gap"]) is None:
        yield f"  {title:<12}no two groups have the ten scenes each that a gap needs"
        return
    yield (
        f"  {title:<12}largest gap: {gap['most']} over {gap['least']} by {scale * gap['mean']:.1f}{points} "
        f"({scale * gap['low']:+.1f} to {scale * gap['high']:+.1f}), p {gap['p']:.3g}"
    )
    if figure["few"]:
        yield f"  {title:<12}too few scenes to compare: {', '.join(figure['few'])}"


def _of_editor(run: Run, folders: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """By edit, over copies: how often it is right, where that is known, and the mean squared error outside of the edit.
    Errors are averaged, not decibels, as `evaluation.table` does."""
    success, error = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for folder in folders:
        for unit in sorted(run.done(folder)):
            for row in read_table(run.storage, run.shard_key(folder, unit), _COLUMNS).to_pylist():
                if row["outcome"] == UNASKED:
                    continue
                if row["judged"]:
                    success[row["pair_id"]].append(float(row["outcome"] == RIGHT))
                if row["psnr"] is not None:
                    error[row["pair_id"]].append(float(10 ** (-row["psnr"] / 10)))
    return (
        {edit: float(np.mean(some)) for edit, some in success.items()},
        {edit: float(np.mean(some)) for edit, some in error.items()},
    )


def _groups(run: Run, key: str, by: str) -> tuple[dict[str, str], dict[str, str]]:
    """Of each edit that the column says something of the group, and of each the scene."""
    there = [*_ROW, *_STEP, *(f"{_SUBJECT}{name}" for name in _FIELDS)]
    if by not in there:
        raise ConfigError(f"--by {by}: groups are by one of {', '.join(there)}")
    things = ("objects_before", "objects_after") if by.startswith(_SUBJECT) else ()
    groups: dict[str, str] = {}
    scenes: dict[str, str] = {}
    for row in read_table(
        run.storage, key, ("pair_id", "scene_id", *_ROW, "operations", *things)
    ).to_pylist():
        scenes[row["pair_id"]] = str(row["scene_id"])
        if (said := _said(row, by)) is not None:
            groups[row["pair_id"]] = str(said)
    if not groups:
        raise ConfigError(f"--by {by}: no edit of the set has one")
    return groups, scenes


def _said(row: Mapping[str, Any], by: str) -> Any:
    if by in _ROW:
        return row[by]
    step: Mapping[str, Any] = next(iter(row["operations"] or ()), {})
    if not by.startswith(_SUBJECT):
        return step.get(by)
    # What is added is there after alone.
    things = [*(row["objects_before"] or ()), *(row["objects_after"] or ())]
    thing: Mapping[str, Any] = next((one for one in things if one["id"] == step.get("subject")), {})
    return thing.get(by.removeprefix(_SUBJECT))


if __name__ == "__main__":
    main()

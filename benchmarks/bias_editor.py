"""Does a skew of the data become one of the editor, and does mending the data mend it? Of an evaluation of editors that
were taught by a skewed set, by the same set mended, and of one size: how much more often edits with common values
succeed than those with rare ones.

    python -m benchmarks.bias_editor --evaluation runs/bias --skewed skewed --mended mended --rare purple,pink,white
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.gap import gap, ratio
from evaluation.results import RIGHT, UNASKED
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import results_of
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table

_COLUMNS = ("pair_id", "scene_id", "edit_set", "editor", "outcome")
Tried = dict[str, dict[int, float]]  # by edit and copy


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--evaluation", required=True, metavar="URI", help="the folder of an evaluation")
    options.add_argument("--skewed", default="skewed", help="an editor of it (%(default)s)")
    options.add_argument("--mended", default="mended", help="another one (%(default)s)")
    options.add_argument(
        "--set", default=None, metavar="NAME", help="of the evaluation; needed where it has several"
    )
    options.add_argument("--column", default="value", help="of the first operation (%(default)s)")
    options.add_argument(
        "--rare", required=True, help="its values that the skewed set has few of, comma between"
    )
    asked = options.parse_args(argv)
    run = Run.open(open_storage(asked.evaluation))
    try:
        found = lines(run, asked.skewed, asked.mended, asked.column, set(asked.rare.split(",")), asked.set)
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from None
    print("\n".join(found))


def lines(
    run: Run, skewed: str, mended: str, column: str, rare: set[str], edit_set: str | None = None
) -> list[str]:
    """The table. Raises ConfigError for an evaluation that is not done, sets, editors or values that are not there, and
    too few scenes."""
    made_of = _of_one(results_of(run), edit_set)
    value, scene = _values(run, made_of, column)
    tried = {name: _tried(run, made_of, name) for name in (skewed, mended)}
    copies = {name: {copy for own in tried[name].values() for copy in own} for name in tried}
    edits = sorted(
        edit for edit in value if all(tried[name].get(edit, {}).keys() == copies[name] for name in tried)
    )
    few = np.array([value[edit] in rare for edit in edits], bool)
    if few.all() or not few.any():
        there = ", ".join(sorted(set(value.values())))
        raise ConfigError(f"--rare: of the edits' values some must be rare and some not; there are {there}")
    scenes = [scene[edit] for edit in edits]
    found = [
        f"{len(edits)} edits, {few.sum()} of them rare",
        f"{'editor':<12}{'common':>8}{'rare':>8}{'gap, points':>28}",
    ]
    means = {}
    for name in tried:
        # (copies, edits)
        each = np.array([[tried[name][edit][copy] for edit in edits] for copy in sorted(copies[name])])
        means[name] = each.mean(axis=0)
        shares = means[name][~few].mean(), means[name][few].mean()
        found.append(f"{name:<12}{shares[0]:>8.1%}{shares[1]:>8.1%}{_gap(means[name], few, scenes):>28}")
        gaps = each[:, ~few].mean(axis=1) - each[:, few].mean(axis=1)
        found.append(f"{'':<12}each training: " + ", ".join(f"{100 * one:+.1f}" for one in gaps))
    less = _gap(means[skewed] - means[mended], few, scenes)
    found.append(f"the gap of {mended} is smaller by {less} points")
    part = ratio([*means[skewed]], [*means[mended]], [*few], scenes)
    low, high = (f"{1 - end:.0%}" if np.isfinite(end) else "unbounded" for end in (part.high, part.low))
    found.append(f"that is {1 - part.mean:.0%} of the gap of {skewed} ({low} to {high}); 20% were promised")
    return found


def _of_one(made_of: Mapping[str, Any], edit_set: str | None) -> Mapping[str, Any]:
    """The results of one set: two of the same dataset have edits of the same names."""
    there = sorted(made_of["sets"])
    if edit_set is None and len(there) > 1:
        raise ConfigError(f"--set: the evaluation has several, choose one of {', '.join(there)}")
    name = edit_set or there[0]
    if name not in there:
        raise ConfigError(f"--set {name}: the evaluation has {', '.join(there)}")
    results = [one for one in made_of["results"] if one["set"] == name]
    return {**made_of, "sets": {name: made_of["sets"][name]}, "results": results}


def _gap(values: NDArray[np.float64], few: NDArray[np.bool_], scenes: Sequence[str]) -> str:
    try:
        found = gap([*values], [*few], scenes)
    except ValueError as error:
        raise ConfigError(f"too few edits: {error}") from None
    return f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _values(run: Run, made_of: Mapping[str, Any], column: str) -> tuple[dict[str, str], dict[str, str]]:
    """Of each edit that has one the value, and the scene."""
    value: dict[str, str] = {}
    scene: dict[str, str] = {}
    for one in made_of["sets"].values():
        for row in read_table(run.storage, one["key"], ("pair_id", "scene_id", "operations")).to_pylist():
            step: Mapping[str, Any] = next(iter(row["operations"] or ()), {})
            if step.get(column) is not None:
                value[row["pair_id"]], scene[row["pair_id"]] = str(step[column]), str(row["scene_id"])
    return value, scene


def _tried(run: Run, made_of: Mapping[str, Any], editor: str) -> Tried:
    found: Tried = defaultdict(dict)
    of_editor = [one for one in made_of["results"] if one["editor"] == editor]
    if not of_editor:
        raise ConfigError(f"the evaluation has no editor {editor}")
    for one in of_editor:
        for unit in run.done(one["folder"]):
            for row in read_table(run.storage, run.shard_key(one["folder"], unit), _COLUMNS).to_pylist():
                if row["outcome"] != UNASKED:
                    found[row["pair_id"]][int(one["copy"])] = float(row["outcome"] == RIGHT)
    return found


if __name__ == "__main__":
    main()

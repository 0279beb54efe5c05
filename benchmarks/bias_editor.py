"""Does a skew of the data become one of the editor, and does mending the data mend it? Of an evaluation of editors that
were taught by a skewed set, by the same set mended, and of one size: how much more often edits with common values
succeed than those with rare ones.

    python -m benchmarks.bias_editor --evaluation runs/bias --skewed skewed --mended mended --rare purple,pink,white
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.gap import gap
from evaluation.results import RIGHT, UNASKED
from ray_jobs.evaluate import MADE_OF
from shards.run import Run
from shards.storage import NotFound, open_storage
from shards.tables import read_table

_COLUMNS = ("pair_id", "scene_id", "edit_set", "editor", "outcome")
Tried = dict[str, dict[int, float]]  # by edit and copy


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--evaluation", required=True, metavar="URI", help="the folder of an evaluation")
    options.add_argument("--skewed", default="skewed", help="an editor of it (%(default)s)")
    options.add_argument("--mended", default="mended", help="another one (%(default)s)")
    options.add_argument("--column", default="value", help="of the first operation (%(default)s)")
    options.add_argument(
        "--rare", required=True, help="its values that the skewed set has few of, comma between"
    )
    asked = options.parse_args(argv)
    run = Run.open(open_storage(asked.evaluation))
    try:
        made_of = json.loads(run.storage.read(MADE_OF))
    except NotFound:
        raise SystemExit(
            f"{asked.evaluation} has no results yet: submit 'evaluate' until it is done"
        ) from None
    print(
        "\n".join(lines(run, made_of, asked.skewed, asked.mended, asked.column, set(asked.rare.split(","))))
    )


def lines(
    run: Run, made_of: Mapping[str, Any], skewed: str, mended: str, column: str, rare: set[str]
) -> list[str]:
    """The table. Raises SystemExit for editors or values that are not there."""
    value, scene = _values(run, made_of, column)
    tried = {name: _tried(run, made_of, name) for name in (skewed, mended)}
    edits = sorted(value.keys() & tried[skewed].keys() & tried[mended].keys())
    few = [value[edit] in rare for edit in edits]
    if not any(few) or all(few):
        there = ", ".join(sorted(set(value.values())))
        raise SystemExit(f"--rare: of the edits' values some must be rare and some not; there are {there}")
    scenes = [scene[edit] for edit in edits]
    found = [
        f"{len(edits)} edits, {sum(few)} of them rare",
        f"{'editor':<12}{'common':>8}{'rare':>8}{'gap, points':>24}",
    ]
    means = {name: [float(np.mean([*tried[name][edit].values()])) for edit in edits] for name in tried}
    for name, each in means.items():
        whole = gap(each, few, scenes)
        shares = [
            np.mean([v for v, is_rare in zip(each, few, strict=True) if is_rare == which])
            for which in (False, True)
        ]
        found.append(
            f"{name:<12}{shares[0]:>8.1%}{shares[1]:>8.1%}{_said(whole.mean, whole.low, whole.high):>24}"
        )
        copies = sorted({copy for edit in edits for copy in tried[name][edit]})
        gaps = [
            gap([tried[name][edit].get(copy, 0.0) for edit in edits], few, scenes, draws=1).mean
            for copy in copies
        ]
        found.append(f"{'':<12}each training: " + ", ".join(f"{100 * one:+.1f}" for one in gaps))
    both = [a - b for a, b in zip(means[skewed], means[mended], strict=True)]
    less = gap(both, few, scenes)
    found.append(f"the gap of {mended} is smaller by {_said(less.mean, less.low, less.high)} points")
    return found


def _said(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


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
        raise SystemExit(f"the evaluation has no editor {editor}")
    for one in of_editor:
        for unit in run.done(one["folder"]):
            for row in read_table(run.storage, run.shard_key(one["folder"], unit), _COLUMNS).to_pylist():
                if row["outcome"] != UNASKED:
                    found[row["pair_id"]][int(one["copy"])] = float(row["outcome"] == RIGHT)
    return found


if __name__ == "__main__":
    main()

"""Does a skew of the data become one of the editor, and does mending the data mend it? Of an evaluation of editors that
were taught by a skewed set, by the same set mended, and of one size: how much more often edits with common values
succeed than those with rare ones.

    python -m benchmarks.bias_editor --evaluation runs/bias --skewed skewed --mended mended --rare purple,pink,white

With --out the figures go into a file, too, that `python -m scripts.results_page --bias FILE` takes in.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.gap import gap, ratio
from evaluation.results import RIGHT, UNASKED
from ray_jobs.config import ConfigError, one_line
from ray_jobs.evaluate_results import of_one_set, results_of
from shards.run import Run
from shards.storage import StorageError, open_storage
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
    options.add_argument("--out", type=Path, default=None, metavar="FILE", help="the figures as JSON")
    asked = options.parse_args(argv)
    try:
        run = Run.open(open_storage(asked.evaluation))
        found = figures(run, asked.skewed, asked.mended, asked.column, set(asked.rare.split(",")), asked.set)
    except (ConfigError, StorageError) as error:
        raise SystemExit(f"error: {one_line(error)}") from None
    print("\n".join(_said(found)))
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def lines(
    run: Run, skewed: str, mended: str, column: str, rare: set[str], edit_set: str | None = None
) -> list[str]:
    """The table. Raises as `figures`."""
    return [*_said(figures(run, skewed, mended, column, rare, edit_set))]


def figures(
    run: Run, skewed: str, mended: str, column: str, rare: set[str], edit_set: str | None = None
) -> dict[str, Any]:
    """Plain JSON values: {"what": "editor", "set", "digest", "column", "rare": its values, "edits", "rare_edits",
    "skewed", "mended", "editors": {name: {"common", "rare": shares that succeed, "gap", "copies": gap of each
    training}}, "narrower": by how much smaller the gap is, "less": by what share, None where no share is bounded}; gaps
    are shares, with "mean", "low", "high" of 95%. Raises ConfigError for an evaluation that is not done, sets, editors
    or values that are not there, and too few scenes."""
    made_of = of_one_set(results_of(run), edit_set)
    ((name_of_set, about),) = made_of["sets"].items()
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
    editors, means = {}, {}
    for name in tried:
        # (copies, edits)
        each = np.array([[tried[name][edit][copy] for edit in edits] for copy in sorted(copies[name])])
        means[name] = each.mean(axis=0)
        gaps = each[:, ~few].mean(axis=1) - each[:, few].mean(axis=1)
        editors[name] = {
            "common": float(means[name][~few].mean()), "rare": float(means[name][few].mean()),
            "gap": _gap(means[name], few, scenes), "copies": [float(one) for one in gaps],
        }  # fmt: skip
    part = ratio([*means[skewed]], [*means[mended]], [*few], scenes)
    ends = {"mean": part.mean, "low": part.high, "high": part.low}
    return {
        "what": "editor", "set": name_of_set, "digest": about["digest"], "column": column, "rare": sorted(rare),
        "edits": len(edits), "rare_edits": int(few.sum()), "skewed": skewed, "mended": mended, "editors": editors,
        "narrower": _gap(means[skewed] - means[mended], few, scenes),
        "less": {end: float(1 - share) if np.isfinite(share) else None for end, share in ends.items()},
    }  # fmt: skip


def _said(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures as text."""
    yield f"{found['edits']} edits, {found['rare_edits']} of them rare"
    yield f"{'editor':<12}{'common':>8}{'rare':>8}{'gap, points':>28}"
    for name, own in found["editors"].items():
        yield f"{name:<12}{own['common']:>8.1%}{own['rare']:>8.1%}{_points(own['gap']):>28}"
        yield f"{'':<12}each training: " + ", ".join(f"{100 * one:+.1f}" for one in own["copies"])
    yield f"the gap of {found['mended']} is smaller by {_points(found['narrower'])} points"
    share, low, high = (
        "unbounded" if (one := found["less"][end]) is None else f"{one:.0%}"
        for end in ("mean", "low", "high")
    )
    yield f"that is {share} of the gap of {found['skewed']} ({low} to {high}); 20% were promised"


def _gap(values: NDArray[np.float64], few: NDArray[np.bool_], scenes: Sequence[str]) -> dict[str, float]:
    try:
        return asdict(gap([*values], [*few], scenes))
    except ValueError as error:
        raise ConfigError(f"too few edits: {error}") from None


def _points(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


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

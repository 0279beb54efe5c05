"""Makes the picture of docs/editor.md: edits of an evaluation as they came, right and wrong.

    python -m scripts.edits_picture --evaluation runs/evaluation

Of each kind the first that is right and the first that is wrong, in the order of their names. Nothing else chooses.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ray_jobs.config import ConfigError
from ray_jobs.edit_sheet import Tried, edit_sheet
from ray_jobs.evaluate_results import results_of
from shards.images import decode
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table

_PICTURES = ("pair_id", "original_image", "edited_image")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--evaluation", required=True, metavar="URI", help="what `evaluate` left")
    options.add_argument("--editor", default="full", metavar="NAME")
    options.add_argument("--out", default="docs/edits.jpg", metavar="FILE", type=Path)
    arguments = options.parse_args()
    run = Run.open(open_storage(arguments.evaluation))
    try:
        made_of = results_of(run)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    mine = [one for one in made_of["results"] if one["editor"] == arguments.editor and one["copy"] == 0]
    if not mine:
        there = ", ".join(sorted({one["editor"] for one in made_of["results"]}))
        sys.exit(f"error: {arguments.evaluation} has no results of {arguments.editor}, but of {there}")
    rows = chosen(
        row
        for unit in sorted(run.done(mine[0]["folder"]))
        for row in read_table(run.storage, run.shard_key(mine[0]["folder"], unit)).to_pylist()
    )
    edits = read_table(run.storage, made_of["sets"][mine[0]["set"]]["key"], _PICTURES).to_pylist()
    tried = shown(rows, {edit["pair_id"]: edit for edit in edits})
    sheet = Image.open(io.BytesIO(edit_sheet(tried, columns=4))).convert("RGB")
    sheet.save(arguments.out, quality=86, optimize=True)
    print(f"{arguments.out}: {len(tried)} edits, {arguments.out.stat().st_size / 1e6:.1f} MB")


def chosen(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each kind the first right and the first wrong one, kinds by name."""
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: str(row["pair_id"])):
        if row["outcome"] in ("right", "wrong") and row["edited"] is not None:
            first.setdefault((row["edit_kind"], row["outcome"]), row)
    return [first[which] for which in sorted(first)]


def shown(rows: Iterable[Mapping[str, Any]], edits: Mapping[str, Mapping[str, Any]]) -> list[Tried]:
    found = []
    for row in rows:
        before, truth = (decode(edits[row["pair_id"]][name]) for name in _PICTURES[1:])
        made = decode(row["edited"])
        found.append(Tried(before, made, truth, row["text"], row["edit_kind"], row["reason"]))
    return found


if __name__ == "__main__":
    main()

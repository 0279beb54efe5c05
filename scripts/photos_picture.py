"""Makes the picture of docs/photos.md: pairs of photos as they came, good and bad.

    python -m ray_jobs generate --config configs/photos.yaml --out runs/photos
    python -m scripts.photos_picture --run runs/photos

The first pair of each kind, those that were refused, the first of each kind of each photo. Nothing else chooses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray_jobs.gallery import Cell, contact_sheet, enlarged
from ray_jobs.samples import in_the_middle, plain_font
from shards.images import decode
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table

COLUMNS = ("pair_id", "scene_id", "original_image", "edited_image", "edit_prompt", "edit_kind", "image_bytes")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--run", required=True, metavar="URI", help="a run with a route of photos, complete")
    options.add_argument("--out", default="docs/photos.jpg", metavar="FILE", type=Path)
    options.add_argument("--pairs", default=12, type=int, metavar="N", help="how many pairs to show")
    options.add_argument("--side", default=256, type=int, metavar="PIXELS", help="longer side of one picture")
    arguments = options.parse_args()
    cells = [_cell(row, arguments.side) for row in _chosen(list(_rows(arguments.run)), arguments.pairs)]
    if not cells:
        sys.exit(f"error: {arguments.run} has no pairs of photos to show; is the run complete?")
    side = arguments.side
    cells = [
        replace(
            cell, before=in_the_middle(cell.before, side, side), after=in_the_middle(cell.after, side, side)
        )
        for cell in cells
    ]
    contact_sheet(cells, plain_font(16), columns=2, margin=24).save(arguments.out, quality=84, optimize=True)
    print(f"{arguments.out}: {len(cells)} pairs, {arguments.out.stat().st_size / 1e6:.1f} MB")


def _rows(uri: str) -> Iterator[dict[str, Any]]:
    """Rows that have pictures, in their order, with "says": "accepted" or the reason."""
    run = Run.open(open_storage(uri))
    folders = run.current().get("photos", {})
    for unit in sorted(run.done(folders["pairs"])) if folders else ():
        verdicts = read_table(run.storage, run.shard_key(folders["verdicts"], unit)).to_pylist()
        says = {row["pair_id"]: row["reason"] or row["verdict"] for row in verdicts}
        for row in read_table(run.storage, run.shard_key(folders["pairs"], unit), COLUMNS).to_pylist():
            if row["image_bytes"]:
                yield {**row, "says": says[row["pair_id"]]}


def _chosen(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    by_kind: dict[str, dict[str, Any]] = {}
    by_photo: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        by_kind.setdefault(row["edit_kind"], row)
        by_photo.setdefault((row["scene_id"], row["edit_kind"]), row)
    refused = [row for row in rows if row["says"] != "accepted"]
    first = [*by_kind.values(), *refused, *by_photo.values(), *rows]
    unique = {row["pair_id"]: row for row in first}
    return list(unique.values())[:most]


def _cell(row: dict[str, Any], side: int) -> Cell:
    before, after = (enlarged(decode(row[name]), side) for name in ("original_image", "edited_image"))
    return Cell(before, after, str(row["edit_prompt"]), str(row["says"]))


if __name__ == "__main__":
    main()

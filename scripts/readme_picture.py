"""Makes the README's picture: accepted pairs of a run, outlined, with their sentences.

    python -m scripts.readme_picture --run runs/demo --out docs/pairs.png

The font is Inter (SIL Open Font License), which comes with Blender's module and has Vietnamese letters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ray_jobs.gallery import Cell, contact_sheet, enlarged, marks, outlined, sheet_font
from ray_jobs.survey import Line, fetch, survey
from shards.images import decode
from shards.run import Run
from shards.storage import open_storage

COLUMNS = ("original_image", "edited_image", "edit_prompt", "operations", "objects_before", "objects_after")
# What a stranger understands at once comes first; languages alternate.
WANTED = (
    ("move", "en"), ("place", "vi"), ("relate", "en"), ("swap", "vi"), ("add", "en"), ("resize", "vi"),
    ("orbit", "en"), ("move", "vi"), ("rotate", "en"), ("remove", "vi"), ("sequence", "en"), ("relate", "vi"),
    ("align", "en"), ("recolor", "vi"), ("lighting", "en"), ("background", "vi"),
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--run", required=True, metavar="URI", help="a run folder that is complete")
    options.add_argument("--out", default="docs/pairs.png", metavar="FILE", type=Path)
    options.add_argument("--pairs", default=10, type=int, metavar="N", help="how many pairs to show")
    options.add_argument("--side", default=320, type=int, metavar="PIXELS", help="side of one picture")
    arguments = options.parse_args()
    run = Run.open(open_storage(arguments.run))
    cells = [cell for folders in run.current().values() for cell in _cells(run, folders, arguments)]
    if not cells:
        sys.exit(f"error: {arguments.run} has no accepted pairs to show; is the run complete?")
    shown = cells[: arguments.pairs] if len(cells) >= arguments.pairs else cells[: len(cells) // 2 * 2 or 1]
    contact_sheet(shown, sheet_font(21)).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(shown)} pairs, {arguments.out.stat().st_size / 1e6:.1f} MB")


def _cells(run: Run, folders: dict[str, str], arguments: argparse.Namespace) -> list[Cell]:
    examples = survey(run, folders["pairs"], folders["verdicts"]).examples
    chosen = [examples[key] for key in WANTED if key in examples][: arguments.pairs]
    rows = dict(fetch(run, folders["pairs"], chosen, COLUMNS))
    return [_cell(line, rows[line], arguments.side) for line in chosen]


def _cell(line: Line, row: dict[str, Any], side: int) -> Cell:
    pictures = [
        outlined(enlarged(decode(row[column]), side), found)
        for column, found in zip(("original_image", "edited_image"), marks(row), strict=True)
    ]
    return Cell(pictures[0], pictures[1], str(row["edit_prompt"]), line.kind)


if __name__ == "__main__":
    main()

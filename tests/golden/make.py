"""Writes the golden files of the stages' present versions: `python -m tests.golden.make`.

A file that stands is never changed: rows of a version that others may have on disk stay what they are. Raise
the stage's `version` first; the older version's file goes then.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from filters.decide import Decide
from renderers.stage import RenderScenes
from tests.golden import golden, stages
from tests.renderers.stage_rows import Bench, covering_units


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Bench.set_up(Path(folder) / "pairs") as bench:
            rows = bench.rows(covering_units())
        _write("pairs-blender", RenderScenes.version, stages.pairs(rows))
        _write("verdicts", Decide.version, stages.verdicts(Path(folder) / "verdicts"))


def _write(stage: str, version: int, rows: golden.Rows) -> None:
    file = golden.path(stage, version)
    if file.exists():
        problem = golden.difference(stage, version, rows)
        if problem:
            sys.exit(problem)
        print(f"{file.name} stays as it is")
        return
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    for other in file.parent.glob(f"{stage}-v*.json"):
        if other != file:
            other.unlink()
    print(f"{file.name} written")


if __name__ == "__main__":
    main()

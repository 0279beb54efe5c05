"""Evaluations as `evaluate` leaves them, without an editor or a reader: small pictures, made-up results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evaluation.edit_sets import written
from evaluation.results import RESULTS, TOLERANCES
from evaluation.trials import cases, digest
from ray_jobs.evaluate_results import MADE_OF
from shards.dataset import open_dataset
from shards.images import encode
from shards.run import Run
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit
from tests.datasets import pair, publish

UNIT = 4
EDITORS = ("first", "second")


def hand_made_evaluation(
    folder: Path,
    edits: int = 12,
    text: str = "move the mug <25%> to the right",
    editors: Sequence[str] = EDITORS,
    more: Callable[[str, int], dict[str, Any]] = lambda editor, number: {},
) -> Run:
    """Half of the edits in each language. The first editor makes true pictures, others give the source back. more:
    columns of an editor's row of an edit."""
    rows = [pair(n, edit_prompt=text, language="vi" if n % 2 else "en") for n in range(edits)]
    publish(open_storage(str(folder / "data")), {"test": rows})
    chosen = list(cases(open_dataset(str(folder / "data"))))
    config = {
        "sets": {"spatial": {"dataset": str(folder / "data")}}, "unit": UNIT,
        "editors": {name: {"kind": "spatialpix", "models": ["a"]} for name in editors} | {"oracle": {"kind": "oracle"}},
    }  # fmt: skip
    run = Run.create_or_open(open_storage(str(folder / "run")), config)
    key = "sets/spatial-00000000.parquet"
    run.storage.write(key, written(chosen, UNIT))
    about = {"name": "spatial", "key": key, "digest": digest(chosen), "edits": edits, "looked_at": edits}
    about |= {"left_out": {}, "oracle": 0.975, "sha256": "0" * 64}
    run.storage.write("sets/spatial-00000000.json", json.dumps(about).encode())
    run.storage.write(
        "sets/spatial-ffffffff.json", json.dumps(about | {"key": "sets/of-other-data"}).encode()
    )
    results = []
    for editor in editors:
        route = f"spatial_{editor}"
        stage = Run.folder("edits", route, "0" * 8)
        for index in range(-(-edits // UNIT)):
            unit = Unit(route, index, UNIT)
            some = [result(chosen[n], editor) | more(editor, n) for n in unit.rows if n < edits]
            run.commit(stage, unit, from_rows(some, RESULTS), {"right": len(some)})
        run.set_current({route: {"edits": stage}})
        results.append(
            {"set": "spatial", "editor": editor, "copy": 0, "model": f"of {editor}", "folder": stage}
        )
    made_of = {"sets": {"spatial": about}, "results": results, "rules": "a" * 64, "missing": 0}
    run.storage.write(MADE_OF, json.dumps(made_of).encode())
    return run


def result(case, editor: str) -> dict:
    right = editor == "first"
    return {
        "pair_id": case.row["pair_id"], "scene_id": case.row["scene_id"], "edit_kind": case.kind,
        "language": case.row["language"], "edit_set": "spatial", "editor": editor, "copy": 0, "text": case.text,
        "judged": True,
        "edited": encode(case.truth if right else case.before), "outcome": "right" if right else "wrong",
        "reason": None if right else "named_off", "within": [right] * len(TOLERANCES), "psnr": 30.0, "ssim": 0.9,
        "seconds": 1.0, "memory_mb": 10.0, "price": 0.0,
    }  # fmt: skip

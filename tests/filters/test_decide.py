"""The stage that judges again without opening an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filters.decide import Decide
from shards.guard import RowGuard
from shards.run import Run
from shards.schema import PAIRS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit

UNIT = Unit("blender", 0, 4)


class NoMarks:
    def begin_row(self, unit_id: str, row: int) -> int:
        return 1

    def end_row(self, unit_id: str, row: int) -> None: ...


def pair(number: int, **fields: Any) -> dict[str, Any]:
    scores = {"centre_error": 0.004, "change_inside": 0.2}
    return {"pair_id": f"pair-{number}", "edit_kind": "move", "scores": scores, **fields}


def judged(folder: Path, geometry: dict[str, float]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    run = Run.create_or_open(open_storage(str(folder)), {"seed": 0})
    rows = [
        pair(0),
        pair(1, scores={"centre_error": 0.02, "change_inside": 0.2}),
        pair(2, scores=None, verdict="failed", reason="blender_crashed"),
        pair(3, scores=None, verdict="rejected", reason="no_layout"),
    ]
    run.commit("pairs-blender-0", UNIT, from_rows(rows, PAIRS), {"made": 2})
    name = f"verdicts-blender-{len(geometry)}"
    stage = Decide(
        run_uri=str(folder), folder=name, inputs={"pairs": "pairs-blender-0"},
        settings={"profile": "strict", "geometry": geometry},
    )  # fmt: skip
    report = stage(UNIT, RowGuard(NoMarks(), UNIT.id, 1))
    return report.counts, read_table(run.storage, run.shard_key(name, UNIT.id)).to_pylist()


def test_every_row_gets_a_verdict_and_rows_not_made_keep_their_reason(tmp_path: Path) -> None:
    counts, verdicts = judged(tmp_path, {})
    assert counts == {
        "accepted": 1, "rejected:wrong_place": 1, "failed:blender_crashed": 1, "rejected:no_layout": 1,
    }  # fmt: skip
    assert verdicts[0] == {"pair_id": "pair-0", "verdict": "accepted", "reason": None, "profile": "strict"}
    assert [row["verdict"] for row in verdicts] == ["accepted", "rejected", "failed", "rejected"]


def test_wider_limits_accept_more_of_the_same_pairs(tmp_path: Path) -> None:
    assert judged(tmp_path, {"centre_error": 0.05})[0]["accepted"] == 2

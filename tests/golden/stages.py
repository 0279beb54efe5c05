"""The rows that the golden files hold: small, and without what depends on a processor's last digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filters.decide import Decide
from filters.thresholds import GeometryThresholds
from shards.guard import RowGuard
from shards.images import decode
from shards.run import Run
from shards.schema import GEOMETRY_SCORES, PAIRS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit
from tests.golden.golden import Rows
from tests.renderers.stage_rows import NoMarks


def pairs(rows: Rows) -> Rows:
    """What is said, done and shown; not single pixels, masks and scores."""
    return [_pair(row) for row in rows]


def _pair(row: dict[str, Any]) -> dict[str, Any]:
    names = ("pair_id", "edit_kind", "language", "verdict", "reason", "edit_prompt", "original_prompt",
             "edited_prompt")  # fmt: skip
    before, after = (
        [_thing(thing) for thing in row[f"objects_{when}"] or ()] for when in ("before", "after")
    )
    return {name: row[name] for name in names if row[name] is not None} | {
        "operations": [_short(step) for step in row["operations"] or ()],
        "before": before,
        "changed": [thing for thing in after if thing not in before],
        "cameras": [_camera(row[side]) for side in ("camera_before", "camera_after")],
        "colors": [_color(row[side]) for side in ("original_image", "edited_image")],
    }


def _short(step: dict[str, Any]) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in step.items() if value not in (None, [])}


def _thing(thing: dict[str, Any]) -> list[Any]:
    pose = thing["pose"]
    words = " ".join(thing[name] for name in ("id", "name", "color", "material"))
    return [words, *_rounded([*pose["position"], *pose["quaternion"], *pose["size"]])]


def _camera(camera: dict[str, Any] | None) -> list[float] | None:
    """Focal length, then where the world's origin lies."""
    return camera and _rounded([camera["fx"], *(row[3] for row in camera["world_to_camera"][:3])])


def _color(picture: dict[str, Any] | None) -> list[float] | None:
    """The mean red, green and blue, 0..1: what single pixels say depends on the processor, this does not."""
    return picture and _rounded((decode(picture) / 255).mean(axis=(0, 1)).tolist())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def verdicts(folder: Path) -> Rows:
    """The default profile's verdicts: per kind and figure, what each of VALUES leads to; and rows not made."""
    unit = Unit("blender", 0, 64)
    run = Run.create_or_open(open_storage(str(folder)), {"seed": 7})
    run.commit("pairs-blender-0", unit, from_rows(_scored(), PAIRS), {})
    stage = Decide(
        run_uri=str(folder), folder="verdicts-blender-0", inputs={"pairs": "pairs-blender-0"},
        settings={"profile": "default", "geometry": GeometryThresholds().model_dump(mode="json")},
    )  # fmt: skip
    stage(unit, RowGuard(NoMarks(), unit.id, 1))
    found: dict[str, list[str]] = {}
    for row in read_table(run.storage, run.shard_key("verdicts-blender-0", unit.id)).to_pylist():
        outcome = ":".join(part for part in (row["verdict"], row["reason"]) if part)
        found.setdefault(row["pair_id"].partition("=")[0], []).append(outcome)
    return [{"of": name, "outcomes": outcomes} for name, outcomes in found.items()]


VALUES = (0.0, 0.005, 0.015, 0.05, 0.5, 0.9, 0.94, 0.97, 1.0, 2.0, float("nan"))


def _scored() -> Rows:
    good = {"visible_before": 1.0, "visible_after": 1.0, "change_inside": 0.2}
    rows: Rows = [
        {"pair_id": f"{kind} {figure}={value}", "edit_kind": kind, "scores": {**good, figure: value}}
        for kind in ("move", "add")
        for figure in GEOMETRY_SCORES
        for value in VALUES
    ]
    rows.append(
        {"pair_id": "not made", "edit_kind": "move", "verdict": "failed", "reason": "blender_crashed"}
    )
    rows.append({"pair_id": "not found", "edit_kind": "move", "verdict": "rejected", "reason": "no_layout"})
    return rows

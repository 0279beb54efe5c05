"""The stage that scores by CLIP, without Ray: one row for each pair with pictures, whatever is wrong with some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.decide import Decide
from filters.profiles import ClipProfile, ClipThresholds
from filters.score import ScoreClip
from filters.weights import ClipWeights, WeightsError
from shards.guard import BrokenEngine, RowGuard
from shards.images import encode
from shards.run import Run
from shards.schema import CLIP_SCORES, PAIRS, SCORES
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport
from tests.filters import clip_models

FOLDERS = {"pairs": "pairs-blender-0", "scores": "scores-blender-0"}
UNIT = Unit("blender", 3, 7)  # rows 21 to 27
FIGURES = {"centre_error": 0.0, "change_inside": 0.2}


class Marks:
    def __init__(self, begun: Mapping[int, int] | None = None) -> None:
        self.begun, self.seen = dict(begun or {}), list[int]()

    def begin_row(self, unit_id: str, row: int) -> int:
        self.seen.append(row)
        return self.begun.get(row, 1)

    def end_row(self, unit_id: str, row: int) -> None: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_models.save(tmp_path_factory.mktemp("clip"))


def settings(model: Path, **changes: Any) -> dict[str, Any]:
    name = f"local-dir:{model}"
    return {
        "model": name, "weights": None, "identity": ClipWeights(name).identity(), "preprocessing": "ip2p",
        "batch": 2, "device": "cpu", "precision": "fp32", **changes,
    }  # fmt: skip


def rows(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A unit: row 22 is failed and without pictures; others as changed, by the letter of their place."""
    found = []
    for number, pair in enumerate(clip_models.pairs(UNIT.size)):
        row = {
            "pair_id": f"pair-{number}", "edit_kind": "recolor", "scores": FIGURES,
            "original_image": encode(pair.before), "edited_image": encode(pair.after),
            "original_prompt": pair.caption_before, "edited_prompt": pair.caption_after,
        }  # fmt: skip
        found.append(row | changes.get("abcdefg"[number], {}))
    missing = {"original_image": None, "edited_image": None, "scores": None}
    found[1] |= {**missing, "verdict": "failed", "reason": "blender_crashed"}
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create_or_open(open_storage(str(tmp_path / "run")), {"seed": 0})


def scored(
    run: Run, model: Path, pairs: list[dict[str, Any]], attempt: int = 1, marks: Marks | None = None
) -> tuple[UnitReport, list[dict[str, Any]]]:
    run.commit(FOLDERS["pairs"], UNIT, from_rows(pairs, PAIRS), {})
    stage = ScoreClip(
        run_uri=run.storage.uri, folder=FOLDERS["scores"], inputs=FOLDERS, settings=settings(model)
    )
    report = stage(UNIT, RowGuard(marks or Marks(), UNIT.id, attempt))
    table = read_table(run.storage, run.shard_key(FOLDERS["scores"], UNIT.id))
    assert table.schema.names == SCORES.names
    return report, table.to_pylist()


def test_every_pair_with_pictures_gets_scores_embeddings_and_the_models_identity(
    run: Run, model: Path
) -> None:
    report, found = scored(run, model, rows())
    assert [row["pair_id"] for row in found] == [f"pair-{number}" for number in (0, 2, 3, 4, 5, 6)]
    assert report.counts == {"scored": 6} and report.rows == 6 and not report.skipped
    for row in found:
        assert all(-1 <= row[name] <= 1 for name in CLIP_SCORES)
        before, after = (np.array(row["clip_embedding"][side]) for side in ("before", "after"))
        assert before @ after == pytest.approx(row["clip_image"], abs=1e-5)
        assert (row["model"], row["verdict"]) == (settings(model)["identity"], None)


def test_bad_rows_are_failed_with_their_reason_and_the_others_scored_the_same(run: Run, model: Path) -> None:
    bad = {
        "c": {"original_image": {"bytes": b"no picture", "path": None}},
        "d": {"edited_prompt": " "},
        "e": {"original_prompt": None},
        "f": {"edited_image": None},
    }
    report, found = scored(run, model, rows(**bad))
    assert report.counts == {"scored": 2, "failed:bad_picture": 2, "failed:no_caption": 2}
    reasons = {row["pair_id"]: row["reason"] for row in found if row["verdict"] == "failed"}
    assert reasons == {
        "pair-2": "bad_picture", "pair-3": "no_caption", "pair-4": "no_caption", "pair-5": "bad_picture",
    }  # fmt: skip
    assert all(row[name] is None for row in found if row["verdict"] for name in CLIP_SCORES)
    again = Run.create_or_open(open_storage(run.storage.uri + "-whole"), {"seed": 0})
    whole = {row["pair_id"]: row for row in scored(again, model, rows())[1]}
    for row in found:
        if row["verdict"] is None:
            assert row["clip_image"] == pytest.approx(whole[row["pair_id"]]["clip_image"], abs=1e-5)


def test_equal_captions_have_a_null_direction_on_disk(run: Run, model: Path) -> None:
    _, found = scored(run, model, rows(a={"original_prompt": "a cat", "edited_prompt": "a cat"}))
    assert found[0]["clip_direction"] is None and found[0]["clip_image"] is not None
    assert found[1]["clip_direction"] is not None


def test_rows_that_killed_their_worker_are_failed_and_others_go_one_by_one(run: Run, model: Path) -> None:
    marks = Marks({24: 3})
    report, found = scored(run, model, rows(), attempt=3, marks=marks)
    assert marks.seen == [21, 23, 24, 25, 26, 27]
    assert report.counts == {"scored": 5, "failed:killed_its_worker": 1}
    assert {row["pair_id"] for row in found if row["verdict"]} == {"pair-3"}


def test_broken_engine_leaves_the_stage_and_no_shard(run: Run, model: Path, monkeypatch) -> None:
    from filters.clip import ClipJudge

    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(ClipJudge, "embed_images", broken)
    with pytest.raises(BrokenEngine, match="launch failure"):
        scored(run, model, rows())
    assert run.done(FOLDERS["scores"]) == set()


def test_worker_with_other_weights_than_the_driver_does_not_start(run: Run, model: Path) -> None:
    other = settings(model, identity="sha256:0")
    with pytest.raises(WeightsError, match="give all nodes the same files"):
        ScoreClip(run_uri=run.storage.uri, folder="s", inputs=FOLDERS, settings=other)


# -- verdicts over them -------------------------------------------------------------------------------


def decided(
    run: Run, identity: str, direction: float, **limits: float
) -> tuple[dict[str, int], dict[str, str]]:
    values = {"image": -1.0, "text_before": -1.0, "text_after": -1.0, "direction": direction, **limits}
    profile = ClipProfile(name="own", models=(identity,), default=ClipThresholds(**values))
    stage = Decide(
        run_uri=run.storage.uri, folder=f"verdicts-{direction}", inputs=FOLDERS,
        settings={"profile": "own", "geometry": {}, "clip": profile.model_dump(mode="json")},
    )  # fmt: skip
    counts = stage(UNIT, RowGuard(Marks(), UNIT.id, 1)).counts
    found = read_table(run.storage, run.shard_key(f"verdicts-{direction}", UNIT.id)).to_pylist()
    return counts, {row["pair_id"]: row["reason"] for row in found}


def test_verdicts_join_geometry_and_clip_and_places_are_judged_by_geometry_alone(
    run: Run, model: Path
) -> None:
    pairs = rows(
        a={"edit_kind": "move"},
        c={"scores": {"centre_error": 0.5}},
        d={"edited_prompt": ""},
        e={"edit_kind": "orbit", "edited_prompt": ""},
        f={"original_prompt": "a cat", "edited_prompt": "a cat"},
    )
    scored(run, model, pairs)
    counts, reasons = decided(run, settings(model)["identity"], direction=1.0)
    assert reasons == {
        "pair-0": None,  # a move: recorded only
        "pair-1": "blender_crashed",
        "pair-2": "wrong_place",  # geometry speaks first
        "pair-3": "no_caption",
        "pair-4": None,  # an orbit needs no score
        "pair-5": None,  # no direction, so not judged by it
        "pair-6": "change_unmet",
    }
    assert counts["accepted"] == 3 and counts["failed:no_caption"] == counts["rejected:change_unmet"] == 1
    assert decided(run, settings(model)["identity"], direction=-1.0)[1]["pair-6"] is None


def test_verdicts_over_scores_read_no_picture(run: Run, model: Path, monkeypatch) -> None:
    scored(run, model, rows())
    asked: list[str] = []

    def reading(storage: object, key: str, columns: tuple[str, ...]) -> object:
        asked.extend(columns)
        return read_table(storage, key, columns)  # type: ignore[arg-type]

    monkeypatch.setattr("filters.decide.read_table", reading)
    decided(run, settings(model)["identity"], direction=0.0)
    assert "clip_direction" in asked
    assert not {"original_image", "edited_image", "clip_embedding"} & set(asked)


def test_scores_of_another_model_than_the_profiles_are_not_judged(run: Run, model: Path) -> None:
    scored(run, model, rows())
    with pytest.raises(
        ValueError, match="profile 'own' is for sha256:other, and these scores are of sha256:"
    ):
        decided(run, "sha256:other", direction=0.0)

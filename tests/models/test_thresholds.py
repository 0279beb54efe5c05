"""The profile `starter` is chosen on a run's pairs: which count, how wrong ones are made, what is written."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from filters.clip import Pair
from filters.profiles import read
from filters.weights import ClipWeights
from models.starter import thresholds
from models.starter.cards import table_of_thresholds
from models.starter.thresholds import Example, choose_thresholds, examples, wrong_pairs
from shards.images import encode
from shards.run import Run
from shards.schema import PAIRS, VERDICTS
from shards.storage import StorageError, open_storage
from shards.tables import from_rows
from shards.units import Unit
from tests.filters import clip_models
from tests.ray_jobs.test_report import made

COLORS = ("red", "blue", "green")


def picture(level: int) -> np.ndarray:
    return np.random.default_rng(level).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def right(number: int, kind: str = "recolor") -> Example:
    one, other = COLORS[number % 3], COLORS[(number + 1) % 3]
    captions = (f"A {one} mug, on grass at night", f"A {other} mug, on grass at night")
    return Example(kind, Pair(picture(number), picture(number + 100), *captions))


def run_of(rows: list[dict], verdicts: list[str], uri: str) -> Run:
    run = Run.create_or_open(open_storage(uri), {})
    unit = Unit("blender", 0, len(rows))
    run.commit("pairs-blender-0", unit, from_rows(rows, PAIRS), Counter())
    said = [
        {"pair_id": row["pair_id"], "verdict": verdict, "reason": None, "profile": "default"}
        for row, verdict in zip(rows, verdicts)
    ]
    run.commit("verdicts-blender-0", unit, from_rows(said, VERDICTS), Counter())
    run.set_current({"blender": {"pairs": "pairs-blender-0", "verdicts": "verdicts-blender-0"}})
    return run


def row(number: int, kind: str, before: str, after: str) -> dict:
    return made(
        number, kind, original_image=encode(picture(number)), edited_image=encode(picture(number + 100)),
        original_prompt=before, edited_prompt=after, objects_before=[], objects_after=[],
    )  # fmt: skip


def test_only_accepted_pairs_of_kinds_that_clip_judges_with_two_captions_choose(tmp_path):
    rows = [
        row(0, "recolor", "A red mug, on grass", "A blue mug, on grass"),
        row(1, "recolor", "A red mug, on grass", "A green mug, on grass"),
        row(2, "move", "A red mug, on grass", "A blue mug, on grass"),
        row(3, "lighting", "A red mug, on grass", "A red mug, on grass"),
    ]
    run = run_of(rows, ["accepted", "rejected", "accepted", "accepted"], str(tmp_path / "run"))
    (only,) = examples(run)
    assert (only.kind, only.pair.caption_after) == ("recolor", "A blue mug, on grass")
    assert np.array_equal(only.pair.after, picture(100))


def test_run_without_such_pairs_is_an_error_that_says_what_to_do(tmp_path):
    run = run_of([row(0, "move", "a", "b")], ["accepted"], str(tmp_path / "run"))
    with pytest.raises(StorageError, match="run 'generate'"):
        examples(run)
    with pytest.raises(StorageError, match="run 'generate'"):
        examples(Run.create_or_open(open_storage(str(tmp_path / "empty")), {}))


def test_wrong_pairs_are_wrong_in_one_way_each():
    some = [right(number) for number in range(12)] + [right(50, "add")]
    found = wrong_pairs(some, np.random.default_rng(0))
    assert {sort: len(made) for sort, made in found.items()} == {
        "attribute": 13,
        "unchanged": 13,
        "scene": 12,
    }
    for example, attribute, unchanged in zip(some, found["attribute"], found["unchanged"]):
        pair = example.pair
        assert attribute.pair.after is pair.after and attribute.pair.caption_before == pair.caption_before
        assert attribute.pair.caption_after != pair.caption_after
        assert "mug, on grass at night" in attribute.pair.caption_after  # the colour was the edit
        assert unchanged.pair.after is unchanged.pair.before
        assert unchanged.pair.caption_after == pair.caption_after
    for example, scene in zip(some, found["scene"]):
        assert scene.pair.after is not example.pair.after and scene.kind == example.kind
        assert scene.pair.caption_after == example.pair.caption_after


def test_profile_is_written_beside_the_model_for_these_very_weights(tmp_path, monkeypatch):
    folder = clip_models.save(tmp_path / "clip")
    some = [right(number, ("recolor", "add")[number % 2 if number < 200 else 0]) for number in range(240)]
    monkeypatch.setattr(thresholds, "examples", lambda run: some)
    profile = choose_thresholds(None, folder)
    written = read(folder / "thresholds.json")
    assert written.model_dump(mode="json") == profile.model_dump(mode="json")
    assert profile.fits(ClipWeights(f"local-dir:{folder}").identity()) and profile.preprocessing == "ip2p"
    assert not profile.fits("sha256:another")
    held_out = profile.calibration["held_out"]["kinds"]
    assert sum(one["right"] for one in held_out.values()) == 120  # half of the pairs, which chose nothing
    assert set(profile.kinds) == {"recolor", "add"}
    assert table_of_thresholds(profile).count("\n") == 4

"""How much better common edits go than rare ones, and how sure that is."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.bias_editor import lines
from evaluation.edit_sets import SET
from evaluation.gap import gap, ratio
from evaluation.results import RESULTS
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import MADE_OF
from shards.tables import from_rows, read_table
from shards.units import Unit
from tests.evaluations_by_hand import UNIT, hand_made_evaluation


def drawn(
    seed: int, common: float, rare: float, scenes: int = 60
) -> tuple[list[float], list[bool], list[str]]:
    rng = np.random.default_rng(seed)
    few = [n % 3 == 0 for n in range(4 * scenes)]
    values = [float(rng.random() < (rare if one else common)) for one in few]
    return values, few, [str(n // 4) for n in range(4 * scenes)]


def test_a_gap_is_the_difference_of_means_and_is_found_where_there_is_one():
    values, few, scenes = drawn(0, 0.6, 0.3)
    found = gap(values, few, scenes, draws=2000)
    common = np.mean([v for v, one in zip(values, few, strict=True) if not one])
    assert found.mean == pytest.approx(
        common - np.mean([v for v, one in zip(values, few, strict=True) if one])
    )
    assert 0 < found.low < found.mean < found.high


def test_where_there_is_none_the_interval_holds_nought_in_about_95_of_100():
    held = []
    for seed in range(120):
        found = gap(*drawn(seed, 0.5, 0.5, 40), draws=400)
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) > 0.87


def test_gaps_of_two_editors_on_the_same_edits_are_subtracted_edit_by_edit():
    (a, few, scenes), (b, *_) = drawn(1, 0.7, 0.3), drawn(2, 0.6, 0.5)
    both = gap([x - y for x, y in zip(a, b, strict=True)], few, scenes, draws=10)
    assert both.mean == pytest.approx(gap(a, few, scenes, draws=1).mean - gap(b, few, scenes, draws=1).mean)


def test_a_share_of_a_gap_is_bounded_by_the_same_draws_and_boundless_where_there_is_none():
    (a, few, scenes), (b, *_) = drawn(1, 0.9, 0.3), drawn(2, 0.9, 0.6)
    found = ratio(a, b, few, scenes, draws=2000)
    one, two = gap(a, few, scenes, draws=1).mean, gap(b, few, scenes, draws=1).mean
    assert found.mean == pytest.approx(two / one) and found.low < two / one < found.high < 1
    same = ratio(a, a, few, scenes, draws=200)
    assert (same.mean, same.low, same.high) == (1, 1, 1), "the same editor narrows nothing"
    none = ratio([1.0] * len(b), b, few, scenes, draws=200)
    assert none.mean == none.high == float("inf")


def test_few_scenes_bound_nothing():
    with pytest.raises(ValueError, match="of 10 scenes at least"):
        gap([1.0] * 20, [n < 3 for n in range(20)], [str(n) for n in range(20)])


def test_the_table_tells_common_from_rare_and_what_mending_did(tmp_path):
    """Two editors of 44 edits: the first makes all, the second none; every third is rare."""
    run = hand_made_evaluation(tmp_path, edits=44)
    made_of = json.loads(run.storage.read(MADE_OF))
    table = read_table(run.storage, made_of["sets"]["spatial"]["key"]).to_pylist()
    for number, row in enumerate(table):
        row["operations"] = [row["operations"][0] | {"value": "pink" if number % 3 == 0 else "red"}]
        row["scene_id"] = f"scene-{number}"
    buffer = io.BytesIO()
    pq.write_table(from_rows(table, SET), buffer)
    run.storage.write(made_of["sets"]["spatial"]["key"], buffer.getvalue())
    common, rare = lines(run, "first", "second", "value", {"pink"}), {"pink", "blue"}
    assert common[0] == "44 edits, 15 of them rare"
    assert common[2].split() == ["first", "100.0%", "100.0%", "+0.0", "(+0.0", "to", "+0.0)"]
    assert common[4].split()[:3] == ["second", "0.0%", "0.0%"] and common[3].endswith("each training: +0.0")
    folder = next(one["folder"] for one in made_of["results"] if one["editor"] == "first")
    for unit in run.done(folder):  # an editor that makes only what is common
        rows = read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
        pink = {row["pair_id"] for row in table if row["operations"][0]["value"] in rare}
        rows = [row | {"outcome": "wrong" if row["pair_id"] in pink else "right"} for row in rows]
        run.storage.delete(run.shard_key(folder, unit))
        run.commit(folder, Unit("spatial_first", int(unit[-7:]), UNIT), from_rows(rows, RESULTS), {})
    told = lines(run, "first", "second", "value", {"pink"})
    assert told[2].split()[1:4] == ["100.0%", "0.0%", "+100.0"]
    assert told[-2].startswith("the gap of second is smaller by +100.0 ")
    assert told[-1] == "that is 100% of the gap of first (100% to 100%); 20% were promised"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("first", "third", "direction", {"right"}), "has no editor third"),
        (("first", "second", "direction", {"nowhere"}), "some must be rare and some not; there are right"),
        (("first", "second", "direction", {"right"}, "other"), "--set other: the evaluation has spatial"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, asked, said):
    run = hand_made_evaluation(tmp_path, edits=8)
    with pytest.raises(ConfigError, match=said):
        lines(run, *asked)
    run.storage.delete(MADE_OF)
    with pytest.raises(ConfigError, match="has no results yet"):
        lines(run, *asked)

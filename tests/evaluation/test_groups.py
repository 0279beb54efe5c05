"""What each group gets, which two are furthest apart, and that chance is seldom taken for a difference."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.bias_groups import figures, lines, main
from evaluation.edit_sets import SET
from evaluation.groups import apart, by_group
from evaluation.results import RESULTS
from evaluation.trials import holm
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import MADE_OF
from shards.tables import from_rows, read_table
from shards.units import Unit
from tests.evaluations_by_hand import UNIT, hand_made_evaluation


def drawn(seed: int, shares: dict[str, float], scenes: int, mixed: bool = False):
    """Edits, four a scene, of which a scene's own luck makes more or fewer right. mixed: a scene has edits of all."""
    rng, names = np.random.default_rng(seed), [*shares]
    values, groups, where = {}, {}, {}
    for scene in range(scenes):
        luck = rng.choice([-0.25, 0.25])
        for n in range(4):
            edit = f"{scene}-{n}"
            groups[edit] = names[(n if mixed else scene) % len(names)]
            where[edit] = f"scene-{scene}"
            values[edit] = float(rng.random() < shares[groups[edit]] + luck)
    return values, groups, where


def test_the_gap_is_of_the_groups_that_are_furthest_apart_and_is_found_where_there_is_one():
    values, groups, scenes = drawn(0, {"red": 0.7, "blue": 0.6, "pink": 0.3}, 90)
    found = by_group(values, groups, scenes)
    means = {
        name: np.mean([values[edit] for edit in values if groups[edit] == name])
        for name in ("red", "blue", "pink")
    }
    assert {name: one["mean"] for name, one in found["groups"].items()} == pytest.approx(means)
    assert all(one["low"] < one["mean"] < one["high"] for one in found["groups"].values())
    gap = found["gap"]
    assert gap["least"] == "pink" and gap["mean"] == pytest.approx(max(means.values()) - means["pink"])
    assert 0 < gap["low"] < gap["mean"] < gap["high"] and gap["p"] < 0.01 and found["few"] == []
    assert found["groups"]["red"]["scenes"] == 30 and found["groups"]["red"]["edits"] == 120


@pytest.mark.parametrize("mixed", [False, True])
def test_where_there_is_no_gap_one_is_found_in_about_5_of_100(mixed):
    """Three pairs are looked at, and edits of a scene are right together: either would find more, uncorrected."""
    least, plain = [], []
    for seed in range(100):
        values, groups, scenes = drawn(seed, dict.fromkeys("abc", 0.5), 36, mixed)
        chances = []
        for pair in ("ab", "ac", "bc"):
            edits = [edit for edit in values if groups[edit] in pair]
            second = np.array([groups[edit] == pair[1] for edit in edits])
            of = [scenes[edit] for edit in edits]
            chances.append(apart(np.array([values[edit] for edit in edits]), second, of))
        plain += chances
        least.append(min(holm(chances)))
    assert np.mean(np.array(least) < 0.05) <= 0.1
    assert 0.02 < np.mean(np.array(plain) < 0.05) < 0.09, "nor is it shy"


def test_groups_of_few_scenes_are_shown_and_not_compared():
    values, groups, scenes = drawn(1, {"red": 0.6, "blue": 0.5}, 40)
    rare = [edit for edit in groups if groups[edit] == "blue"][4 * 9 :]
    for edit in rare:  # eleven scenes are left of it, then nine
        groups[edit] = "white" if edit in rare[:36] else "pink"
    found = by_group(values, groups, scenes)
    assert {name: one["scenes"] for name, one in found["groups"].items()} == {
        "red": 20, "blue": 9, "white": 9, "pink": 2
    }  # fmt: skip
    assert found["gap"] is None and found["few"] == ["blue", "pink", "white"]


def test_a_gap_between_none_and_all_is_no_surer_than_so_few_scenes_allow():
    edits = [f"{n}" for n in range(24)]
    groups = {edit: "all" if n % 2 else "none" for n, edit in enumerate(edits)}
    found = by_group(
        {edit: float(groups[edit] == "all") for edit in edits}, groups, dict(zip(edits, edits, strict=True))
    )
    bound = 1 - 0.025 ** (1 / 12)  # Clopper and Pearson's, of twelve
    assert found["groups"]["none"]["high"] == pytest.approx(bound)
    gap = found["gap"]
    assert (gap["mean"], gap["high"]) == (1, 1) and gap["low"] == pytest.approx(1 - bound * np.sqrt(2))
    same = by_group(dict.fromkeys(edits, 0.0), groups, dict(zip(edits, edits, strict=True)))["gap"]
    assert same["mean"] == 0 and same["low"] == pytest.approx(-bound) and same["high"] == pytest.approx(bound)


def test_errors_are_averaged_and_said_in_decibels():
    """One group is damaged ten times as much: 10 dB less, whatever a few copies to the pixel come to."""
    edits = [f"{n}" for n in range(40)]
    scenes = {edit: edit for edit in edits}
    groups = {edit: "one" if n % 2 else "two" for n, edit in enumerate(edits)}
    luck = np.random.default_rng(0).uniform(0.8, 1.2, 40)
    values = {edit: (1e-3 if groups[edit] == "one" else 1e-4) * luck[n] for n, edit in enumerate(edits)}
    found = by_group(values, groups, scenes, errors=True)
    one = np.mean([values[edit] for edit in edits if groups[edit] == "one"])
    assert found["groups"]["one"]["mean"] == pytest.approx(-10 * np.log10(one))
    gap = found["gap"]
    assert (gap["most"], gap["least"]) == ("two", "one") and gap["mean"] == pytest.approx(10, abs=0.5)
    assert 9 < gap["low"] < gap["mean"] < gap["high"] < 11 and gap["p"] < 0.001


def unfair(folder):
    """44 edits: the first editor is right where the thing is red, and damages what is pink; two have no value."""
    run = hand_made_evaluation(folder, edits=44)
    made_of = json.loads(run.storage.read(MADE_OF))
    key = made_of["sets"]["spatial"]["key"]
    table = read_table(run.storage, key).to_pylist()
    for number, row in enumerate(table):
        step = row["operations"][0]
        row["operations"] = [step | {"value": None if number > 41 else "pink" if number % 2 else "red"}]
        row["objects_before"][0] |= {"color": "green"}
        row["scene_id"] = f"scene-{number}"
    buffer = io.BytesIO()
    pq.write_table(from_rows(table, SET), buffer)
    run.storage.write(key, buffer.getvalue())
    pink = {row["pair_id"] for row in table if row["operations"][0]["value"] == "pink"}
    folder = next(one["folder"] for one in made_of["results"] if one["editor"] == "first")
    for unit in run.done(folder):
        rows = read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
        rows = [
            row | ({"outcome": "wrong", "psnr": 20.0} if row["pair_id"] in pink else {"psnr": 30.0})
            for row in rows
        ]
        run.storage.delete(run.shard_key(folder, unit))
        run.commit(folder, Unit("spatial_first", int(unit[-7:]), UNIT), from_rows(rows, RESULTS), {})
    return run


def test_an_evaluation_says_what_groups_get_by_a_column_of_the_edit_or_of_its_thing(tmp_path):
    run = unfair(tmp_path)
    found = figures(run, "value")
    assert (found["edits"], found["ungrouped"]) == (44, 2)
    gap = found["editors"]["first"]["success"]["gap"]
    assert (gap["most"], gap["least"], gap["mean"]) == ("red", "pink", 1.0) and gap["p"] < 1e-3
    assert found["editors"]["first"]["psnr"]["gap"]["mean"] == pytest.approx(10)
    even = found["editors"]["second"]
    assert even["success"]["gap"]["mean"] == 0 and even["success"]["gap"]["p"] == 1
    assert even["psnr"]["gap"]["mean"] == pytest.approx(0)
    said = "\n".join(lines(found))
    assert "set spatial: 44 edits, 2 of which have no value; by value" in said
    assert "right       largest gap: red over pink by 100.0 points (+77." in said
    assert "PSNR        largest gap: red over pink by 10.0 dB" in said
    assert set(figures(run, "subject.color")["editors"]["first"]["success"]["groups"]) == {"green"}
    assert set(figures(run, "language")["editors"]["first"]["success"]["groups"]) == {"en", "vi"}


def test_the_command_prints_and_writes_the_figures(tmp_path, capsys):
    run = unfair(tmp_path)
    main(["--evaluation", run.storage.uri, "--by", "value"])
    assert capsys.readouterr().out.splitlines()[-1] == f"{run.storage.uri}/bias-spatial-value.json"
    assert json.loads(run.storage.read("bias-spatial-value.json")) == figures(run, "value")


def test_what_there_are_no_groups_by_is_said(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=8)
    with pytest.raises(ConfigError, match="--by mood: groups are by one of edit_kind, language, kind"):
        figures(run, "mood")
    with pytest.raises(ConfigError, match="--by value: no edit of the set has one"):
        figures(run, "value")
    with pytest.raises(SystemExit, match="error: --set other: the evaluation has spatial"):
        main(["--evaluation", run.storage.uri, "--by", "direction", "--set", "other"])
    with pytest.raises(SystemExit, match=r"error: .*nowhere holds no run"):
        main(["--evaluation", str(tmp_path / "nowhere"), "--by", "value"])

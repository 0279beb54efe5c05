"""What a survey asks is what there is to be asked, kept as it was, and what came of it says what is missing."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluation import opinions
from evaluation.edit_sets import of_group, written
from evaluation.results import RESULTS
from evaluation.survey import QUESTIONS, TRUE, tasks
from evaluation.votes import Votes
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import MADE_OF
from ray_jobs.survey_files import FILE, open_survey, votes_of
from ray_jobs.survey_results import write
from shards.run import Run
from shards.tables import from_rows, read_table
from shards.units import Unit
from tests.evaluations_by_hand import EDITORS, UNIT, hand_made_evaluation

ROOT = Path(__file__).parents[2]
TASKS = 22  # of six edits in each language: each pair of pictures once, ten ratings, six checks


def test_what_is_asked_stays_when_editors_are_added_or_asked_anew(tmp_path):
    run = hand_made_evaluation(tmp_path)
    first = open_survey(run)
    # The oracle is no editor that people are asked about.
    assert first.survey.editors == EDITORS and len(first.survey.entries) == 12
    run.config["editors"]["third"] = {"kind": "spatialpix"}
    run.config["unit"] *= 2  # the next evaluation goes in other units, and the set of this survey does not
    made_of = json.loads(run.storage.read(MADE_OF))
    made_of["results"][0]["folder"] = "edits-of-another-training"
    made_of["sets"]["spatial"]["key"] = "sets/of-other-words"
    run.storage.write(MADE_OF, json.dumps(made_of).encode())
    again = open_survey(run)
    assert again.survey == first.survey and again.made == first.made
    run.storage.delete(FILE)
    with pytest.raises(ConfigError, match="has no results of third"):
        open_survey(run)


def without(run: Run, outcomes: dict[int, tuple[str, str | None]]) -> None:
    """The second editor's results anew: of these edits it made no picture. outcomes: (outcome, reason)."""
    made_of = json.loads(run.storage.read(MADE_OF))
    old, new = made_of["results"][1]["folder"], Run.folder("edits", "spatial_second", "1" * 8)
    for unit_id in sorted(run.done(old)):
        index = int(unit_id.rsplit("-", 1)[1])
        unit = Unit("spatial_second", index, UNIT)
        rows = read_table(run.storage, run.shard_key(old, unit_id)).to_pylist()
        for number, row in zip(unit.rows, rows, strict=False):
            if number in outcomes:
                row |= {"edited": None, "outcome": outcomes[number][0], "reason": outcomes[number][1]}
        run.commit(new, unit, from_rows(rows, RESULTS), {})
    made_of["results"][1]["folder"] = new
    run.storage.write(MADE_OF, json.dumps(made_of).encode())


LACKING = {
    0: ("failed", "error_RuntimeError"), 2: ("failed", "wrong_size"), 4: ("failed", "error_RuntimeError"),
    1: ("not_expressible", None), 3: ("not_expressible", None),
}  # fmt: skip
SAID = "not shown of second: 5 of 12 edits: 3 failed (error_RuntimeError 2, wrong_size 1), 2 cannot be said to it"


def test_an_edit_that_one_editor_did_not_make_is_asked_of_the_others_and_why_is_said(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    without(run, LACKING)
    shown = open_survey(run)
    assert capsys.readouterr().out == SAID + "\n"
    survey = shown.survey
    assert len(survey.entries) == 12 and survey.asked is not None
    there = {one.name for number, one in enumerate(survey.entries) if number not in LACKING}
    asked = {who: {survey.entries[at].name for at in places} for who, places in survey.asked.items()}
    assert asked[EDITORS] == asked["second",] == there and len(asked["first",]) == 12
    for seed in range(20):
        for task in tasks(survey, seed, "en"):
            assert all(shown.picture(task, "ab"[at]) for at in range(len(task.shown)))
    assert open_survey(run).survey == survey and capsys.readouterr().out == "", "said once"
    assert SAID in write(run, None).splitlines()
    kept = json.loads((Path(run.storage.uri) / "survey-results.json").read_text())["not_shown"]
    assert kept["second"] == {
        "edits": 12, "failed": {"error_RuntimeError": 2, "wrong_size": 1}, "not_expressible": 2, "no_result": 0
    }  # fmt: skip
    assert kept["first"]["failed"] == {} and kept["first"]["not_expressible"] == 0


def test_pairs_of_editors_have_their_own_forty_edits_of_a_language(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=2 * 45)
    without(run, dict.fromkeys(range(20), ("failed", "no_picture")))
    survey = open_survey(run).survey
    assert survey.asked is not None
    assert len(survey.of("en", ("first",))) == 40
    # One that fails takes no edit from the other, nor does it narrow what both are asked about.
    assert len(survey.of("en", EDITORS)) == len(survey.of("en", ("second",))) == 35
    assert len(survey.of("en")) == len(survey.of("vi")) == 45


def test_edits_without_a_true_picture_are_left_out_and_that_is_said(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    key = json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["key"]
    chosen = [case for group in range(3) for case in of_group(run.storage, key, group)]
    chosen[0] = replace(chosen[0], row={**chosen[0].row, "edited_image": None})
    run.storage.write(key, written(chosen, UNIT))
    assert len(open_survey(run).survey.entries) == 11
    said = capsys.readouterr().out
    assert said == "left out: 1 of 12 edits, which have no true picture for the checks\n"


def test_an_evaluation_with_too_few_pictures_has_no_survey(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=6)
    with pytest.raises(ConfigError, match="has no language with 4 edits"):
        open_survey(run)
    assert not run.storage.exists(FILE)


def of_people(folder: Path, edits: int = 24) -> Run:
    """An evaluation of portraits, without true pictures: each person is asked for four edits, two in each language."""
    run = hand_made_evaluation(folder, edits)
    key = json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["key"]
    chosen = [case for group in range(edits // UNIT) for case in of_group(run.storage, key, group)]
    bare = {"edited_image": None, "operations": None}
    chosen = [
        replace(case, row={**case.row, **bare, "scene_id": f"person-{number // 4}"})
        for number, case in enumerate(chosen)
    ]
    run.storage.write(key, written(chosen, UNIT))
    run.config["sets"]["spatial"] = {"benchmark": "portraits", "folder": "portraits"}
    return run


def test_of_people_more_is_asked_and_a_check_shows_the_untouched_portrait_and_somebody_else(tmp_path):
    shown = open_survey(of_people(tmp_path))
    survey = shown.survey
    assert [question.key for question in survey.questions] == ["follows", "kept", "looks", "person", "traits"]
    assert len(survey.entries) == 24, "without a true picture, all of them"
    seen = 0
    for seed in range(20):
        for task in tasks(survey, seed, "en"):
            if task.kind == "check":
                same = "ab"[task.shown.index(TRUE)]
                assert shown.picture(task, same) == shown.picture(task, "before")
                assert survey.entries[task.other].scene != survey.entries[task.entry].scene
                seen += 1
    assert seen == 120
    assert open_survey(hand_made_evaluation(tmp_path / "things")).survey.questions == QUESTIONS


def test_of_one_person_alone_there_is_no_survey(tmp_path):
    run = of_people(tmp_path)
    key = json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["key"]
    chosen = [case for group in range(6) for case in of_group(run.storage, key, group)]
    run.storage.write(
        key, written([replace(case, row={**case.row, "scene_id": "one"}) for case in chosen], UNIT)
    )
    with pytest.raises(ConfigError, match="has no language with 4 edits of two people and one by an editor"):
        open_survey(run)


def test_who_takes_somebody_else_for_the_person_is_left_out_whatever_else_they_say(tmp_path, monkeypatch):
    run = of_people(tmp_path)
    survey, votes = open_survey(run).survey, votes_of(run, None)
    clock = itertools.count()
    monkeypatch.setattr(
        "evaluation.votes._now", lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=4 * next(clock))
    )
    for careful in (True, False):
        rater = votes.rater(votes.begin("en"))
        for task in tasks(survey, rater.seed, "en"):
            # An untouched portrait follows no instruction: of that a check says nothing.
            values = {question.key: "3" if task.kind == "rate" else "equal" for question in survey.questions}
            if task.kind == "rate":
                values["person"] = "5" if task.shown == ("second",) else "2"
            elif careful:
                values["person"] = "ab"[task.shown[0] != (TRUE if task.kind == "check" else "second")]
            votes.put(rater, task, survey.entries[task.entry], values)
    votes.close()
    said = write(run, None)
    assert said.startswith("2 raters, ") and "left out: 1 for checks" in said
    found = json.loads((Path(run.storage.uri) / "survey-results.json").read_text())
    assert (
        found["score"]["second"]["person"]["mean"] == 100 and found["score"]["first"]["person"]["mean"] == 25
    )
    assert found["score"]["second"]["traits"]["mean"] == 50
    assert found["strength"]["person"]["second"]["rank"] == 1 and "traits" in found["alpha"]


def test_a_survey_of_an_older_version_goes_on(tmp_path):
    run = hand_made_evaluation(tmp_path)
    first = open_survey(run)
    kept = json.loads(run.storage.read(FILE))
    older = {name: kept[name] for name in ("set", "key", "edits", "folders", "editors", "entries")}
    run.storage.write(FILE, json.dumps(older).encode())
    again = open_survey(run)
    assert again.survey.asked is None and again.made == first.made
    assert "not shown" not in write(run, None)


def rated(votes: Votes, survey, of: int) -> None:
    """A careful rater's votes, up to this many checks, one each ten seconds."""
    rater = votes.rater(votes.begin("en"))
    checks = 0
    for task in tasks(survey, rater.seed, "en"):
        checks += task.kind == "check"
        if task.kind == "check" and checks > of:
            continue
        value = (
            "4" if task.kind == "rate" else "ab"[task.shown[0] != (TRUE if task.kind == "check" else "first")]
        )
        votes.put(rater, task, survey.entries[task.entry], {question.key: value for question in QUESTIONS})


def test_results_say_who_is_unfinished_and_what_could_not_be_fitted(tmp_path, monkeypatch):
    run = hand_made_evaluation(tmp_path)
    survey, votes = open_survey(run).survey, votes_of(run, None)
    clock = itertools.count()
    monkeypatch.setattr(
        "evaluation.votes._now", lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=4 * next(clock))
    )
    for of in (6, 6, 3, 0):
        rated(votes, survey, of)
    votes.close()
    said = write(run, None)
    assert said.startswith("4 raters, ")
    assert "left out: 2 unfinished (fewer than 4 checks answered)" in said and "fitted" not in said
    table = pq.read_table(Path(run.storage.uri) / "survey-votes.parquet").to_pylist()
    assert len({vote["rater"] for vote in table if vote["counts"]}) == 2

    def never(*_, **__):
        raise RuntimeError("Did not converge")

    calls, fit = itertools.count(), opinions.choix.opt_pairwise
    monkeypatch.setattr(opinions.choix, "ilsr_pairwise_dense", never)
    monkeypatch.setattr(
        opinions.choix, "opt_pairwise", lambda *a, **k: (never if next(calls) == 1 else fit)(*a, **k)
    )
    said = write(run, None)
    assert "  follows: 1 of 200 draws could not be fitted and are in no interval" in said.splitlines()
    monkeypatch.setattr(opinions.choix, "opt_pairwise", never)
    said = write(run, None)
    assert "  follows: no strengths, the choices could not be fitted" in said.splitlines()


def test_results_of_a_survey_that_nobody_opened_are_none_and_open_none(tmp_path):
    run = hand_made_evaluation(tmp_path)
    with pytest.raises(ConfigError, match="has no survey"):
        write(run, None)
    assert not run.storage.exists(FILE)

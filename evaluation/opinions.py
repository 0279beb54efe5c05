"""What votes come to: who is left out, scores, ranks, and how far people agree.

- *Left out* are raters who answered fewer than four checks, miss more than a fifth of those that they answered, or take
  less than two seconds a task, by the median; how many is said.
- The *human evaluation score* is the mean rating of a question, 1 to 5, as 0 to 100, and over all questions;
  intervals by bootstrap over raters, since those are who is sampled, from five of them on.
- *Ranks* are Bradley and Terry's (1952) strengths of the choices, a tie being half a win of each; by `choix`. Draws of
  the bootstrap that cannot be fitted are in no interval, and how many is said.
- *Agreement* is Krippendorff's alpha, ordinal, of ratings of the same picture; by `krippendorff`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import choix
import krippendorff
import numpy as np
from choix.opt import PairwiseFcts

from evaluation.survey import CHECKS_NEEDED, QUESTIONS, RATINGS, Question, checked
from evaluation.votes import right_of_check

_CHECKS_RIGHT = 0.8
_FASTEST_S = 2.0
_PRIOR = 0.01  # of strengths: an editor that never lost is not infinitely strong
_DRAWS = 1000
_RATERS = 5  # the least that an interval can be of
_DRAWS_OF_STRENGTHS = 200
_ITERATIONS = 1000  # choix's 100 are too few where hardly anybody disagrees
_FLAT = 1e-3  # slope of a likelihood at its top: `opt_pairwise` says nothing when it stops before
Vote = Mapping[str, Any]


def figures(
    votes: Sequence[Vote], editors: Sequence[str], seed: int = 0, questions: Sequence[Question] = QUESTIONS
) -> dict[str, Any]:
    """Plain JSON values. votes: as `Votes.all` gives them. questions: of the survey."""
    by_rater: dict[int, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote["rater"]].append(vote)
    dropped = {rater: why for rater, own in by_rater.items() if (why := careless(own)) is not None}
    kept = [own for rater, own in by_rater.items() if rater not in dropped]
    rng = np.random.default_rng(seed)
    scores = _scores(kept, editors, questions, rng)
    strengths, fits = _strengths(kept, editors, questions, rng)
    return {
        "raters": len(by_rater),
        "dropped": {
            why: sum(said == why for said in dropped.values()) for why in sorted({*dropped.values()})
        },
        "votes": sum(len(own) for own in kept),
        "languages": {
            name: sum(own[0]["language"] == name for own in kept)
            for name in sorted({own[0]["language"] for own in kept})
        },
        "score": scores,
        "strength": strengths,
        "fits": fits,
        "alpha": {question.key: agreement(kept, question.key) for question in questions},
    }


def careless(own: Sequence[Vote]) -> str | None:
    """Why a rater's votes are left out: "unfinished", "checks", "too_fast"; None for one who counts. own: in the order
    that they came."""
    known = checked({vote["question"] for vote in own})
    checks = [right_of_check(vote) for vote in own if vote["kind"] == "check" and vote["question"] == known]
    if len(checks) < CHECKS_NEEDED:
        return "unfinished"
    if np.mean(checks) < _CHECKS_RIGHT:
        return "checks"
    at = {vote["task"]: vote["at"] for vote in own}
    seconds = [(later - earlier).total_seconds() for earlier, later in pairwise(sorted(at.values()))]
    return "too_fast" if seconds and float(np.median(seconds)) < _FASTEST_S else None


def _scores(
    kept: Sequence[Sequence[Vote]],
    editors: Sequence[str],
    questions: Sequence[Question],
    rng: np.random.Generator,
) -> dict[str, dict[str, Any]]:
    """{editor: {question, or "all": {"mean", "low", "high", "ratings"}}}, 0 to 100."""
    found: dict[str, dict[str, Any]] = {}
    for editor in editors:
        found[editor] = {}
        for key in [*(question.key for question in questions), "all"]:
            own = [
                [
                    (int(vote["value"]) - RATINGS[0]) * 100 / (RATINGS[-1] - RATINGS[0])
                    for vote in votes
                    if vote["kind"] == "rate" and vote["left"] == editor and key in (vote["question"], "all")
                ]
                for votes in kept
            ]
            found[editor][key] = _mean([values for values in own if values], rng)
    return found


def _mean(by_rater: Sequence[Sequence[float]], rng: np.random.Generator) -> dict[str, Any] | None:
    """low, high: None for few raters, of whom draws say too little."""
    if not by_rater:
        return None
    sums, counts = np.array([sum(own) for own in by_rater]), np.array([len(own) for own in by_rater])
    picks = rng.integers(len(sums), size=(_DRAWS, len(sums)))
    low, high = np.quantile(sums[picks].sum(axis=1) / counts[picks].sum(axis=1), (0.025, 0.975))
    bounds: tuple[float | None, float | None] = (float(low), float(high))
    if len(by_rater) < _RATERS:
        bounds = None, None
    return {
        "mean": float(sums.sum() / counts.sum()), "low": bounds[0], "high": bounds[1],
        "ratings": int(counts.sum()),
    }  # fmt: skip


def _strengths(
    kept: Sequence[Sequence[Vote]],
    editors: Sequence[str],
    questions: Sequence[Question],
    rng: np.random.Generator,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """{question: {editor: {"rank", "strength", "low", "high"}}}, of editors that were held against another one.
    Strengths are logarithms, of mean 0: the odds that one is chosen over another are e to their difference. low, high:
    None where no draw could be fitted. And {question: {"fitted", "draws", "failed"}}, how the fits went."""
    found: dict[str, dict[str, Any]] = {}
    fits: dict[str, dict[str, Any]] = {}
    for question in questions:
        choices = [
            [
                vote
                for vote in votes
                if vote["kind"] == "pair" and vote["question"] == question.key
                if vote["left"] in editors and vote["right"] in editors
            ]
            for votes in kept
        ]
        chosen = {vote[side] for votes in choices for vote in votes for side in ("left", "right")}
        # One that nobody could choose would be given a strength by the prior alone.
        place = {editor: number for number, editor in enumerate(one for one in editors if one in chosen)}
        wins = [
            [win for vote in votes for win in _wins(place[vote["left"]], place[vote["right"]], vote["value"])]
            for votes in choices
            if votes
        ]
        found[question.key] = {}
        if not wins:
            continue
        strengths = _fitted(wins, len(place))
        fits[question.key] = {"fitted": strengths is not None, "draws": 0, "failed": 0}
        if strengths is None:
            continue
        drawn = [
            _fitted([wins[rater] for rater in rng.integers(len(wins), size=len(wins))], len(place))
            for _ in range(_DRAWS_OF_STRENGTHS)
        ]
        fitted = [one for one in drawn if one is not None]
        fits[question.key] |= {"draws": len(drawn), "failed": len(drawn) - len(fitted)}
        low, high = np.quantile(fitted, (0.025, 0.975), axis=0) if fitted else (None, None)
        order = list(np.argsort(-strengths))
        found[question.key] = {
            editor: {
                "rank": order.index(number) + 1, "strength": float(strengths[number]),
                "low": None if low is None else float(low[number]),
                "high": None if high is None else float(high[number]),
            }
            for editor, number in place.items()
        }  # fmt: skip
    return found, fits


def _wins(left: int, right: int, value: str) -> list[tuple[int, int]]:
    """(winner, loser), twice for a choice, once each way for a tie."""
    if value == "equal":
        return [(left, right), (right, left)]
    return [(left, right)] * 2 if value == "a" else [(right, left)] * 2


def _fitted(wins: Sequence[Sequence[tuple[int, int]]], editors: int) -> np.ndarray[Any, Any] | None:
    """Strengths (editors,) of mean 0; None where neither of choix's ways comes to an end."""
    data = [win for own in wins for win in own]
    counts = np.zeros((editors, editors))
    np.add.at(counts, tuple(np.array(data).T), 1)
    try:
        # Of counts, not of a list: the same figures, and many iterations take no time.
        found = choix.ilsr_pairwise_dense(counts, alpha=_PRIOR, max_iter=_ITERATIONS)
    except (ArithmeticError, RuntimeError, ValueError):
        try:
            found = choix.opt_pairwise(editors, data, alpha=_PRIOR)
        except (ArithmeticError, RuntimeError, ValueError):
            return None
        if not np.abs(PairwiseFcts(data, _PRIOR).gradient(found)).max() < _FLAT:  # NaN is no top either
            return None
    return np.asarray(found - found.mean())


def agreement(kept: Sequence[Sequence[Vote]], question: str) -> float | None:
    """Krippendorff's alpha of the ratings; None where no picture was rated twice."""
    names: dict[tuple[str, str], int] = {}
    for votes in kept:
        for vote in votes:
            if vote["kind"] == "rate" and vote["question"] == question:
                names.setdefault((vote["edit"], vote["left"]), len(names))
    table = np.full((len(kept), len(names)), np.nan)
    for row, votes in zip(table, kept, strict=True):
        for vote in votes:
            if vote["kind"] == "rate" and vote["question"] == question:
                row[names[vote["edit"], vote["left"]]] = int(vote["value"])
    twice = (~np.isnan(table)).sum(axis=0) > 1
    values = table[:, twice]
    if not twice.any() or len(np.unique(values[~np.isnan(values)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=values, level_of_measurement="ordinal"))

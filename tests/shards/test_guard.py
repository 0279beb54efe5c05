"""A row that kills its worker is found, and its neighbours are not blamed for it."""

from __future__ import annotations

import pytest

from shards.attempts import GIVE_UP_AFTER, Attempts
from shards.guard import RowGuard
from shards.storage import open_storage


class Killed(Exception):
    """Stands for a process that died: nothing after it runs."""


@pytest.fixture
def attempts(tmp_path):
    return Attempts(open_storage(str(tmp_path)), "pairs-00000000")


def one_attempt(attempts, killers, rows=range(5)):
    """What a worker does: {row: refusal or None}. Raises Killed at a row of `killers` that may run."""
    guard = RowGuard(attempts, "test-0000000", attempts.begin("test-0000000"))
    outcome = {}
    for row in rows:
        if guard.may_run(row):
            if row in killers:
                raise Killed
            outcome[row] = None
        else:
            outcome[row] = guard.refusal
    attempts.clear("test-0000000")
    return outcome


def until_done(attempts, killers):
    for attempt in range(1, GIVE_UP_AFTER + 2):
        try:
            return attempt, one_attempt(attempts, killers)
        except Killed:
            continue
    raise AssertionError("no end")


def test_healthy_unit_is_done_at_its_first_attempt(attempts):
    assert until_done(attempts, killers=()) == (1, dict.fromkeys(range(5)))


@pytest.mark.parametrize("killer", range(5))
def test_only_the_row_that_kills_is_refused(attempts, killer):
    expected = dict.fromkeys(range(5)) | {killer: "killed_its_worker"}
    assert until_done(attempts, {killer}) == (5, expected)


def test_two_killers_in_one_unit_end_it_with_all_rows_refused(attempts):
    assert until_done(attempts, {1, 3}) == (7, dict.fromkeys(range(5), "gave_up"))


def test_unit_starts_anew_once_it_was_committed(attempts):
    until_done(attempts, {2})
    assert attempts.begin("test-0000000") == 1


def test_time_limit_starts_anew_for_each_row_only_when_rows_go_one_by_one(attempts):
    rows = []
    for attempt, expected in ((1, []), (3, [0, 1])):
        guard = RowGuard(attempts, "test-0000001", attempt, on_row=lambda: rows.append(len(rows)))
        assert all(guard.may_run(row) for row in range(2))
        assert rows == expected

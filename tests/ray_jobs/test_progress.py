"""Progress says what a person waits for, and reports survive a storage that does not answer."""

from __future__ import annotations

import io

from ray_jobs.progress import Progress, duration
from ray_jobs.worker import Failure
from shards.storage import StorageError
from shards.units import Unit, UnitReport


def report(index, stage="verdicts", **counts):
    named = {key.replace("__", ":"): value for key, value in counts.items()}
    return UnitReport(f"test-{index:07d}", stage, sum(counts.values()), named, 1.0)


def clocked(flush=lambda reports: None, total=4):
    now = [0.0]
    progress = Progress(total, "verdicts", flush, io.StringIO(), clock=lambda: now[0])
    return progress, now


def test_line_tells_units_rate_verdicts_reasons_and_time_left():
    progress, now = clocked()
    progress.unit(
        Unit("test", 0, 8), [report(0, "pairs", made=8), report(0, accepted=5, rejected__moved=3)], None
    )
    progress.unit(Unit("test", 1, 8), [report(1, accepted=7, failed__gave_up=1)], None)
    now[0] = 60.0
    assert progress.line() == (
        "2/4 units  12.0 pairs/min  accepted 12  rejected 3 (moved 3)  failed 1 (gave_up 1)  60 s left"
    )


def test_only_the_most_frequent_reasons_are_named():
    progress, now = clocked()
    progress.unit(
        Unit("test", 0, 8), [report(0, rejected__a=1, rejected__b=4, rejected__c=3, rejected__d=2)], None
    )
    now[0] = 60.0
    assert "rejected 10 (b 4, c 3, d 2, ...)" in progress.line()


def test_resumed_units_do_not_make_the_rest_look_quick():
    progress, now = clocked(total=101)
    progress.resumed(90)
    progress.unit(Unit("test", 0, 8), [report(0, accepted=8)], None)
    now[0] = 60.0
    assert "91/101 units" in progress.line()
    assert "10 min left" in progress.line()


def test_failed_unit_is_named_with_its_reason_at_once():
    out = io.StringIO()
    progress = Progress(4, "verdicts", lambda reports: None, out)
    progress.unit(Unit("test", 3, 8), [], Failure("pairs", "disk_full", "no space left"))
    assert out.getvalue() == "unit test-0000003 failed at pairs: no space left\n"
    assert "units failed 1" in progress.line()


def test_log_gets_a_line_every_few_seconds_and_a_sign_of_life_every_minute():
    progress, now = clocked()
    lines = []
    for second in range(131):
        now[0] = float(second)
        if second == 5:
            progress.unit(Unit("test", 0, 8), [report(0, accepted=8)], None)
        before = len(progress._out.getvalue())
        progress.show()
        if len(progress._out.getvalue()) > before:
            lines.append(second)
    assert lines == [10, 70, 130]


def test_reports_that_could_not_be_stored_are_offered_again():
    stored, answers = [], iter([StorageError("busy", "later"), None])

    def flush(reports):
        if error := next(answers):
            raise error
        stored.extend(reports)

    progress, _ = clocked(flush)
    progress.unit(Unit("test", 0, 8), [report(0, accepted=8)], None)
    progress.store()
    assert stored == []
    progress.store()
    assert [r.unit_id for r in stored] == ["test-0000000"]


def test_durations_read_well():
    assert [duration(s) for s in (4, 89, 91, 5000, 12_000)] == [
        "4 s",
        "89 s",
        "2 min",
        "83 min",
        "3 h 20 min",
    ]

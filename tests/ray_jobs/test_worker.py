"""What a worker does around a unit, without Ray: what is committed is left, what storage forgets costs nothing."""

from __future__ import annotations

import threading
import time

import pytest

from ray_jobs import worker
from ray_jobs.config import Limits
from ray_jobs.pace import note_pace
from ray_jobs.worker import Ticket, UnitWorker, Watchdog
from shards.attempts import Attempts, Whose
from shards.patience import Patience, be_patient
from shards.storage import StorageError
from tests.ray_jobs.ray_job_stages import PAIRS, stages, units

ME = Whose("job", "node")
(UNIT,) = units(1)


@pytest.fixture
def made(monkeypatch, run_folder):
    """Makes workers of the stage "pairs"."""
    monkeypatch.setattr(worker, "_who", lambda: ("actor", ME))
    monkeypatch.setattr(worker, "_alive", lambda: {ME.node})
    yield lambda **settings: UnitWorker(
        stages(settings)[0], run_folder.storage.uri, {}, Limits(unit_first_s=3600, unit_floor_s=1)
    )
    be_patient(Patience())


def served(worker: UnitWorker) -> Ticket:
    return Ticket.loads(worker({"ticket": Ticket(UNIT).dumps()})["ticket"])


def test_what_is_committed_is_not_made_again(made, run_folder, tmp_path):
    noted = tmp_path / "noted"
    assert not served(made(noted=str(noted))).reports[0].skipped
    Attempts(run_folder.storage, PAIRS, ME).begin(UNIT.id)  # of a worker that died before it could answer
    (report,) = served(made(noted=str(noted))).reports
    assert (report.unit_id, report.stage, report.skipped) == (UNIT.id, "pairs", True)
    assert noted.read_text().count("begin") == 1
    assert list(run_folder.storage.list("attempts/")) == []


def test_a_mark_that_stays_fails_no_unit_that_is_committed(made, monkeypatch):
    def refuses(*_):
        raise StorageError("busy", "the server is too busy, even after retries")

    one = made()
    monkeypatch.setattr(Attempts, "clear", refuses)
    ticket = served(one)
    assert ticket.failed is None and not ticket.reports[0].skipped


def test_a_late_worker_knows_the_pace_of_its_job_and_no_other(made, run_folder):
    note_pace(run_folder.storage, "job", {PAIRS: 7.0})
    assert made()._watchdog.limit_s == 70
    note_pace(run_folder.storage, "another", {PAIRS: 7.0})
    assert made()._watchdog.limit_s == 3600


def test_the_watchdog_sleeps_while_storage_is_waited_for(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(worker, "end_process", lambda _: (ended.set(), time.sleep(3600)))
    dog = Watchdog(Limits(unit_first_s=0.5))
    dog.start("a unit")
    with dog.paused():
        assert not ended.wait(1.5)
    assert not ended.wait(0.2)
    assert ended.wait(10)

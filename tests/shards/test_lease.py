from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shards.lease import LEASE_FILE, Lease, LeaseHeld
from shards.storage import Storage, open_storage

BEAT = 0.1

HOLDER = """
import sys, time
from shards.lease import Lease
from shards.storage import open_storage
lease = Lease(open_storage(sys.argv[1]), beat_s=float(sys.argv[2])).acquire()
print(lease.holder, flush=True)
time.sleep(60)
"""


def other_job(storage: Storage) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLDER, storage.uri, str(BEAT)]
    return subprocess.Popen(command, cwd=root, env=os.environ, stdout=subprocess.PIPE, text=True)


def content(storage: Storage) -> dict[str, object]:
    return dict(json.loads(storage.read(LEASE_FILE)))


def test_a_living_holder_is_waited_for_then_named(storage: Storage) -> None:
    with Lease(storage, BEAT).acquire() as first:
        with pytest.raises(LeaseHeld) as caught:
            Lease(open_storage(storage.uri), BEAT).acquire(wait_s=BEAT * 10)
        assert caught.value.holder == first.holder
        text = str(caught.value)
        assert first.holder in text
        assert caught.value.since in text
        assert "--steal" in text
        assert not first.lost.is_set()
        assert content(storage)["holder"] == first.holder


def test_a_released_lease_is_free_at_once(storage: Storage) -> None:
    with Lease(storage, BEAT).acquire():
        pass
    with Lease(open_storage(storage.uri), BEAT).acquire(wait_s=0) as second:
        assert content(storage)["holder"] == second.holder


def test_a_holder_that_ends_while_another_waits_makes_room(storage: Storage) -> None:
    first = other_job(storage)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        first.send_signal(signal.SIGKILL)
        with Lease(storage, BEAT).acquire(wait_s=60) as second:
            assert content(storage)["holder"] == second.holder
    finally:
        first.kill()
        first.wait()


def test_a_killed_holder_on_a_local_path_is_followed_without_waiting(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    first = other_job(storage)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(LeaseHeld):
        Lease(storage, BEAT).acquire(wait_s=0)
    first.kill()
    first.wait()
    Lease(storage, BEAT).acquire(wait_s=0).release()


def test_a_silent_lease_is_taken_and_its_holder_notices(storage: Storage) -> None:
    first = other_job(storage)
    try:
        assert first.stdout is not None
        name = first.stdout.readline().strip()
        first.send_signal(signal.SIGSTOP)  # hangs: holds the kernel's lock, and beats no more
        with Lease(storage, BEAT).acquire(wait_s=60) as second:
            first.send_signal(signal.SIGCONT)
            assert not second.lost.wait(BEAT * 10)
            assert content(storage)["holder"] == second.holder != name
    finally:
        first.kill()
        first.wait()


def test_stealing_waits_for_nobody_and_the_robbed_holder_notices(storage: Storage) -> None:
    first = Lease(storage, BEAT).acquire()
    second = Lease(open_storage(storage.uri), BEAT).acquire(steal=True, wait_s=0)
    assert first.lost.wait(30)
    first.release()
    assert not second.lost.wait(BEAT * 5)
    assert content(storage)["holder"] == second.holder
    with pytest.raises(LeaseHeld):
        Lease(open_storage(storage.uri), BEAT).acquire(wait_s=0)
    second.release()
    assert content(storage)["released"]


def test_a_holder_that_cannot_beat_counts_itself_out(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shards.storage import StorageError

    def broken(*_: object) -> None:
        raise StorageError("unreachable", "no answer")

    lease = Lease(storage, BEAT, outage_s=BEAT * 8).acquire()
    monkeypatch.setattr(storage, "replace", broken)
    assert not lease.lost.wait(BEAT * 4)
    assert lease.lost.wait(30)
    lease.release()


def test_a_holder_outlasts_an_outage_in_which_a_beat_was_written_and_its_answer_lost(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shards.storage import StorageError

    replace = storage.replace

    def lost(*arguments: Any) -> None:
        replace(*arguments)
        raise StorageError("unreachable", "no answer")

    lease = Lease(storage, BEAT).acquire()
    monkeypatch.setattr(storage, "replace", lost)
    time.sleep(BEAT * 6)
    monkeypatch.setattr(storage, "replace", replace)
    assert not lease.lost.wait(BEAT * 6)
    with pytest.raises(LeaseHeld):
        Lease(open_storage(storage.uri), BEAT).acquire(wait_s=0)
    lease.release()
    assert content(storage)["released"]


def test_a_damaged_lease_is_taken_when_it_stays_silent(storage: Storage) -> None:
    storage.write(LEASE_FILE, b"\xff not json")
    Lease(storage, BEAT).acquire(wait_s=60).release()


def test_clocks_of_other_machines_do_not_count(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(storage, BEAT).acquire():
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with pytest.raises(LeaseHeld):
            Lease(open_storage(storage.uri), BEAT).acquire(wait_s=BEAT * 6)

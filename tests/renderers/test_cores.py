"""A library that counts the cores finds as few as it may use; the process has all of them again afterwards."""

from __future__ import annotations

import os
import threading

import pytest

from renderers.cores import few_cores


def test_within_there_are_few_cores_and_afterwards_all():
    there = os.sched_getaffinity(0)
    with few_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
        going = threading.Event()
        thread = threading.Thread(target=going.wait, daemon=True)
        thread.start()
        assert thread.native_id is not None and len(os.sched_getaffinity(thread.native_id)) == 1
    assert os.sched_getaffinity(0) == there
    assert os.sched_getaffinity(thread.native_id) == there  # also of threads that were started within
    going.set()
    thread.join()


def test_zero_and_more_than_there_are_mean_all():
    there = os.sched_getaffinity(0)
    for count in (0, len(there) + 3):
        with few_cores(count):
            assert os.sched_getaffinity(0) == there
    assert os.sched_getaffinity(0) == there


def test_where_the_system_knows_no_such_thing_nothing_happens(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    there = os.sched_getaffinity(0)
    with few_cores(1):
        assert os.sched_getaffinity(0) == there


def test_an_error_within_gives_the_cores_back():
    there = os.sched_getaffinity(0)
    with pytest.raises(KeyError), few_cores(1):
        raise KeyError
    assert os.sched_getaffinity(0) == there

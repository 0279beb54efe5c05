"""Ray is started although the machine is busy. That Ray itself is slow cannot be had at will: it is made up here."""

from __future__ import annotations

import pytest

from ray_jobs import cluster

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@pytest.fixture
def asked(monkeypatch):
    """What Ray is to say, one start after the other, and how often it was ended in between."""
    import ray

    said: list[str | None] = []
    ended: list[None] = []

    def init(**_):
        if (error := said.pop(0)) is not None:
            raise Exception(error)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(None))
    return said, ended


def test_a_ray_that_takes_long_to_start_is_started_again(asked):
    said, ended = asked
    said += [SLOW, SLOW, None]
    cluster._start(1)
    assert not said and len(ended) == 2


def test_a_ray_that_never_starts_says_so(asked):
    said, _ = asked
    said += [SLOW] * 3
    with pytest.raises(Exception, match="timed out during startup"):
        cluster._start(1)
    assert not said


def test_what_another_try_would_not_mend_is_said_at_once(asked):
    said, _ = asked
    said += ["no room in /dev/shm", None]
    with pytest.raises(Exception, match="no room"):
        cluster._start(1)
    assert said == [None]

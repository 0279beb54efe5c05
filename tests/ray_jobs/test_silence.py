from __future__ import annotations

import time

import pytest

from ray_jobs.silence import Silence, pending


def test_a_run_to_which_nothing_comes_back_says_what_it_waits_for(capsys):
    with Silence(0.2, lambda: "2 ask for 1 GPU"):
        time.sleep(0.7)
    said = capsys.readouterr().out.splitlines()
    assert 1 <= len(said) <= 3
    assert set(said) == {"no unit ended for 0 min: 2 ask for 1 GPU"}


def test_a_run_whose_units_end_says_nothing(capsys):
    with Silence(0.5, lambda: "2 ask for 1 GPU") as silence:
        for _ in range(10):
            time.sleep(0.1)
            silence.heard()
    assert capsys.readouterr().out == ""


def test_what_cannot_be_asked_costs_no_run(capsys):
    with Silence(0.2, lambda: [][0]):
        time.sleep(0.5)
    assert "what it waits for is not known (list index out of range)" in capsys.readouterr().out


@pytest.mark.usefixtures("cluster")
def test_what_is_pending_is_told_with_what_it_asks_for():
    import ray

    @ray.remote(num_cpus=1, resources={"unheard_of": 1})
    class MapWorker:
        pass

    waiting = MapWorker.remote()
    said, until = pending(), time.monotonic() + 30
    while "ask for" not in said and time.monotonic() < until:
        time.sleep(0.5)
        said = pending()
    ray.kill(waiting)
    assert "1 workers pending creation" in said
    assert "1 ask for 1 CPU, 1 unheard_of" in said

"""What the driver promises when something dies, with real Ray and small stages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from ray_jobs.cluster import Cluster, sized
from ray_jobs.config import ConfigError, Limits, Pool
from ray_jobs.driver import RunFailed, TakenOver, Watcher, run
from tests.ray_jobs.ray_job_stages import MODULE, PAIRS, UNIT_SIZE, VERDICTS, rows_of, stages, units


def assert_whole(run_folder, count, failed=()):
    """Every row is there once, in both stages, under the id that any run gives it; no marks are left."""
    for folder in (PAIRS, VERDICTS):
        rows = rows_of(run_folder, folder)
        assert [row["row"] for row in rows] == list(range(count * UNIT_SIZE))
        assert {row["row"] for row in rows if row["verdict"] == "failed"} == set(failed)
        assert len({row["pair_id"] for row in rows}) == len(rows)
    assert [entry.key for entry in run_folder.storage.list("attempts/")] == []


@pytest.mark.usefixtures("cluster")
def test_killed_actor_hung_engine_and_broken_engine_lose_nothing(run_folder, tmp_path):
    marks = {name: str(tmp_path / name) for name in ("killed", "hung", "broken")}
    misbehaving = {
        "kill_once": {"test-0000001": marks["killed"]},
        "hang_once": {"test-0000003": marks["hung"]},
    }
    outcome = run(
        units(5),
        stages(misbehaving, {"break_once": {"test-0000002": marks["broken"]}}),
        run_folder,
        Limits(unit_first_s=4, unit_floor_s=4),
    )
    assert (outcome.done, outcome.missing, outcome.failures) == (5, 0, {})
    assert {path.name for path in tmp_path.iterdir()} >= set(marks)
    assert_whole(run_folder, 5)


@pytest.mark.usefixtures("cluster")
def test_unit_whose_worker_dies_between_commit_and_answer_is_made_once(run_folder, tmp_path):
    noted = tmp_path / "noted"
    dies = {"kill_committed": {"test-0000001": str(tmp_path / "killed")}, "noted": str(noted)}
    outcome = run(units(3), stages(dies), run_folder)
    assert (tmp_path / "killed").exists()
    assert (outcome.done, outcome.failures) == (3, {})
    assert noted.read_text().count("begin pairs test-0000001") == 1
    assert_whole(run_folder, 3)


@pytest.mark.usefixtures("cluster")
def test_driver_that_hears_nothing_gives_way_at_once_when_its_run_is_taken(run_folder, tmp_path):
    lost, began = threading.Event(), time.monotonic()
    hung = stages({"hang_once": {"test-0000000": str(tmp_path / "hung")}})
    threading.Timer(10, lost.set).start()
    with pytest.raises(TakenOver, match="another job took over this run"):
        run(units(1), hung, run_folder, lost=lost)
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("cluster")
def test_row_that_always_kills_its_worker_fails_alone_and_the_run_ends(run_folder):
    outcome = run(units(3), stages({"kill_rows": [6]}), run_folder)
    assert (outcome.done, outcome.missing) == (3, 0)
    assert_whole(run_folder, 3, failed=[6])
    assert rows_of(run_folder, PAIRS)[6]["reason"] == "killed_its_worker"


@pytest.mark.usefixtures("cluster")
def test_units_that_storage_or_a_bug_fails_are_named_and_done_by_the_next_run(run_folder):
    seen = []

    class Seen(Watcher):
        def unit(self, unit, reports, failure):
            seen.append((unit.id, failure and failure.reason))

    sick = stages({"storage_error": ["test-0000001"]}, {"bug": ["test-0000002"]})
    outcome = run(units(4), sick, run_folder, watcher=Seen())
    assert {id: failure.reason for id, failure in outcome.failures.items()} == {
        "test-0000001": "busy",
        "test-0000002": "KeyError",
    }
    assert outcome.failures["test-0000002"].stage == "verdicts"
    assert (outcome.done, outcome.missing) == (2, 2)
    assert sorted(seen) == [(f"test-{i:07d}", r) for i, r in enumerate([None, "busy", "KeyError", None])]

    outcome = run(units(4), stages(), run_folder)
    assert (outcome.resumed, outcome.done, outcome.missing) == (2, 2, 0)
    assert_whole(run_folder, 4)


def test_finished_run_starts_no_worker(run_folder):
    for folder in (PAIRS, VERDICTS):
        run_folder.storage.create(f"{folder}/part-test-0000000.parquet", b"anything")
    outcome = run(units(1), stages(factory="NoSuchStage"), run_folder)
    assert (outcome.resumed, outcome.done, outcome.missing) == (1, 0, 0)


@pytest.mark.usefixtures("cluster")
def test_full_disk_ends_the_run_with_its_reason(run_folder):
    full = stages({"disk_full": [unit.id for unit in units(8)]})
    with pytest.raises(RunFailed, match=r"3 units failed one after the other.*pairs.*no space left"):
        run(units(8), full, run_folder, Limits(failures_in_a_row=3))
    assert run_folder.done(PAIRS) == set()


@pytest.mark.usefixtures("cluster")
def test_stage_that_does_not_start_ends_the_run_in_one_line(run_folder):
    with pytest.raises(RunFailed) as failed:
        run(units(3), stages(factory="DoesNotStart"), run_folder)
    assert str(failed.value) == "stage 'pairs' does not start: no weights at models/clip.pt: run make models"


@pytest.mark.usefixtures("cluster")
def test_storage_error_while_a_stage_starts_costs_no_run(run_folder, tmp_path):
    late = stages({"marker": str(tmp_path / "asked")}, factory="StartsAtTheSecondTry")
    outcome = run(units(3), late, run_folder)
    assert (outcome.done, outcome.failures) == (3, {})


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_stage_whose_process_dies_while_starting_ends_the_run(run_folder):
    with pytest.raises(RunFailed, match="does not start: its process died 6 times"):
        run(units(2), stages(factory="DiesWhileStarting"), run_folder)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda n: n.name
)
def test_driver_killed_mid_run_loses_nothing(number, run_folder, request):
    count = 6
    driver = subprocess.Popen(
        [sys.executable, "-m", MODULE, run_folder.storage.uri, str(count), json.dumps({"sleep_s": 0.5})],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while len(run_folder.done(PAIRS)) < 2 and driver.poll() is None:
        time.sleep(0.1)
    driver.send_signal(number)
    output, _ = driver.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert "stopped by SIGTERM" in output
        assert not list(run_folder.storage.list("attempts/"))
    before = {id: run_folder.storage.read(run_folder.shard_key(PAIRS, id)) for id in run_folder.done(PAIRS)}
    assert 2 <= len(before) < count, output

    request.getfixturevalue("cluster")
    outcome = run(units(count), stages({"sleep_s": 0.0}), run_folder)
    assert outcome.missing == 0
    assert_whole(run_folder, count)
    for id, shard in before.items():
        assert run_folder.storage.read(run_folder.shard_key(PAIRS, id)) == shard


def test_pools_without_size_take_what_is_left():
    machine = Cluster(cpus=8, gpus=2, local=True)
    pools = {"pairs": Pool(num_cpus=1.5), "scores": Pool(num_cpus=1, num_gpus=1), "verdicts": Pool(size=2)}
    assert sized(pools, machine) == {"pairs": 2, "scores": 2, "verdicts": 2}


def test_pools_that_never_fit_this_machine_are_refused_and_a_cluster_may_grow():
    pools = {"pairs": Pool(size=2), "verdicts": Pool(size=1, num_cpus=0.5)}
    with pytest.raises(ConfigError, match=r"pools need 2.5 CPUs and this machine has 2 .*pools.pairs 2"):
        sized(pools, Cluster(cpus=2, gpus=0, local=True))
    assert sized(pools, Cluster(cpus=2, gpus=0, local=False)) == {"pairs": 2, "verdicts": 1}

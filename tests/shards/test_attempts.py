from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shards.attempts import ANYHOW_AFTER, GIVE_UP_AFTER, ROW_BY_ROW_FROM, ROW_FAILS_AFTER, Attempts, Whose
from shards.storage import Storage

FOLDER = "pairs-blender-1a2b3c4d"


def workers(storage: Storage) -> Attempts:
    """A worker is a fresh object: nothing but the storage remembers."""
    return Attempts(storage, FOLDER)


def test_attempts_count_up_and_are_tiny_objects_of_their_own_folder(storage: Storage) -> None:
    assert [workers(storage).begin("a-0000001") for _ in range(3)] == [1, 2, 3]
    assert workers(storage).begin("a-0000002") == 1
    assert Attempts(storage, "pairs-blender-ffffffff").begin("a-0000001") == 1
    entries = list(storage.list(f"attempts/{FOLDER}/"))
    assert [entry.key.rpartition("/")[2] for entry in entries] == [
        "a-0000001.1",
        "a-0000001.2",
        "a-0000001.3",
        "a-0000002.1",
    ]
    assert all(entry.size < 200 for entry in entries)


def test_two_workers_never_count_the_same_attempt(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: workers(storage).begin("a-0000001"), range(8)))
    assert sorted(counted) == list(range(1, 9))


def test_rows_count_apart_until_they_end(storage: Storage) -> None:
    attempts = workers(storage)
    assert [attempts.begin_row("a-0000001", 1) for _ in range(2)] == [1, 2]
    assert attempts.begin_row("a-0000001", 11) == 1
    attempts.end_row("a-0000001", 1)
    assert attempts.begin_row("a-0000001", 1) == 1
    assert attempts.begin_row("a-0000001", 11) == 2


def test_clearing_a_unit_leaves_no_marker_of_it_and_all_of_others(storage: Storage) -> None:
    workers(storage).begin("a-0000001")
    attempts = workers(storage)
    attempts.begin("a-0000001")
    attempts.begin_row("a-0000001", 3)
    attempts.begin("a-0000002")
    attempts.clear("a-0000001")
    assert [entry.key for entry in storage.list("attempts/")] == [f"attempts/{FOLDER}/a-0000002.1"]
    attempts.clear("a-0000002")
    assert list(storage.list("attempts/")) == []


def test_a_mark_that_a_killed_job_or_a_dead_node_left_is_no_attempt(storage: Storage) -> None:
    alive = {"n1", "n2", "n3"}

    def of(job: str, node: str) -> Attempts:
        return Attempts(storage, FOLDER, Whose(job, node), lambda: alive)

    assert [of("j1", "n1").begin("a-0000001") for _ in range(3)] == [1, 2, 3]
    alive.discard("n1")
    assert (
        of("j1", "n2").begin("a-0000001") == 3
    )  # the last was taken away with its node; those before it died
    assert of("j2", "n2").begin("a-0000001") == 3  # with its driver
    alive.discard("n2")
    alive.add("n1")
    assert of("j2", "n3").begin("a-0000001") == 3
    alive.discard("n1")  # goes idle, much later
    assert of("j2", "n3").begin("a-0000001") == 4
    assert [of("j2", "n3").begin_row("a-0000001", 3) for _ in range(2)] == [1, 2]
    assert of("j3", "n3").begin_row("a-0000001", 3) == 2
    assert of("j3", "n3").begin_row("a-0000001", 3) == 3
    of("j3", "n3").clear("a-0000001")
    assert list(storage.list("attempts/")) == []


def test_a_poison_row_is_found_however_often_its_driver_is_killed(storage: Storage) -> None:
    """A driver that lives for two attempts only would never see the third."""
    for job in range(10):
        for _ in range(2):
            attempts = Attempts(storage, FOLDER, Whose(f"j{job}"))
            if attempts.begin("a-0000001") < ROW_BY_ROW_FROM:
                continue
            if attempts.begin_row("a-0000001", 1) > ROW_FAILS_AFTER:
                return
    raise AssertionError("the row was never found")


def test_marks_of_earlier_versions_count_for_nothing(storage: Storage) -> None:
    for number in (1, 2):
        storage.create(f"attempts/{FOLDER}/a-0000001.{number}", b"")
    assert Attempts(storage, FOLDER, Whose("j", "n"), lambda: {"n"}).begin("a-0000001") == 1


def test_a_unit_that_brings_down_its_machines_is_given_up(storage: Storage) -> None:
    counted = [
        Attempts(storage, FOLDER, Whose("j", f"n{n}"), lambda: ()).begin("a-0000001")
        for n in range(ANYHOW_AFTER + 1)
    ]
    assert counted == [1] * ANYHOW_AFTER + [ANYHOW_AFTER + 1]


def run_unit(storage: Storage, rows: range, poison: set[int]) -> dict[int, str]:
    """What a driver, its workers and a stage do with a unit some rows of which kill the worker."""
    for _ in range(20):
        attempts = workers(storage)
        attempt = attempts.begin("a-0000001")
        outcome: dict[int, str] = {}
        for row in rows:
            if attempt > GIVE_UP_AFTER:
                outcome[row] = "gave_up"
                continue
            if attempt >= ROW_BY_ROW_FROM and attempts.begin_row("a-0000001", row) > ROW_FAILS_AFTER:
                outcome[row] = "killed_its_worker"
                continue
            if row in poison:
                break  # the worker is dead
            outcome[row] = "made"
            if attempt >= ROW_BY_ROW_FROM:
                attempts.end_row("a-0000001", row)
        else:
            attempts.clear("a-0000001")
            return outcome
    raise AssertionError("the unit never ended")


def test_a_poison_row_fails_and_the_rest_of_its_unit_is_made(storage: Storage) -> None:
    assert run_unit(storage, range(6), {3}) == {
        0: "made",
        1: "made",
        2: "made",
        3: "killed_its_worker",
        4: "made",
        5: "made",
    }
    assert list(storage.list("attempts/")) == []


def test_a_unit_full_of_poison_ends(storage: Storage) -> None:
    outcome = run_unit(storage, range(6), set(range(6)))
    assert set(outcome) == set(range(6))
    assert set(outcome.values()) <= {"killed_its_worker", "gave_up"}

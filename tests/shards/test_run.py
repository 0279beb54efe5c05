from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
import yaml

from shards.run import Run
from shards.schema import VERDICTS
from shards.storage import NotFound, Storage, open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport

FOLDER = "verdicts-blender-1a2b3c4d"


def verdicts(*ids: str) -> pa.Table:
    return from_rows([{"pair_id": id, "verdict": "accepted", "profile": "p"} for id in ids], VERDICTS)


def test_a_run_is_made_once_and_opened_after(storage: Storage) -> None:
    with pytest.raises(NotFound, match="holds no run"):
        Run.open(storage)
    first = Run.create_or_open(storage, {"seed": 1, "size": (2, 3)}, {"commit": "abc"})
    again = Run.create_or_open(storage, {"seed": 1, "size": (2, 3)}, {"commit": "abc"})
    opened = Run.open(storage)
    assert first.id == again.id == opened.id
    assert opened.config == {"seed": 1, "size": [2, 3]}
    assert yaml.safe_load(storage.read("run.yaml"))["commit"] == "abc"
    assert list(storage.list("history/")) == []


def test_another_configuration_is_noted_and_the_old_one_kept(storage: Storage) -> None:
    first = Run.create_or_open(storage, {"seed": 1})
    second = Run.create_or_open(storage, {"seed": 2})
    assert first.id != second.id
    assert Run.open(storage).config == {"seed": 2}
    (old,) = storage.list("history/")
    assert yaml.safe_load(storage.read(old.key))["config"] == {"seed": 1}


def test_folders_are_named_by_stage_route_and_fingerprint(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    assert Run.folder("pairs", "blender", "1a2b3c4d" * 8) == "pairs-blender-1a2b3c4d"
    assert Run.folder("edits", None, "1a2b3c4d" * 8) == "edits-1a2b3c4d"
    assert run.shard_key(FOLDER, "blender-0000007") == f"{FOLDER}/part-blender-0000007.parquet"


def test_what_is_committed_is_done_and_counted(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    assert run.done(FOLDER) == set()
    assert run.counts(FOLDER) == {}
    assert run.commit(FOLDER, Unit("blender", 0, 2), verdicts("a", "b"), {"accepted": 2})
    assert run.counts(FOLDER) == {"accepted": 2}
    counts = {"accepted": 1, "rejected:out_of_frame": 1}
    assert run.commit(FOLDER, Unit("blender", 1, 2), verdicts("c", "d"), counts)
    assert run.commit(FOLDER, "all", verdicts(), {})
    assert run.commit(f"{FOLDER[:-1]}e", "other", verdicts("x"), {"accepted": 9})
    storage.write(f"{FOLDER}/notes.txt", b"no shard")
    assert run.done(FOLDER) == {"blender-0000000", "blender-0000001", "all"}
    assert run.counts(FOLDER) == Run.open(storage).counts(FOLDER)
    assert run.counts(FOLDER) == {"accepted": 3, "rejected:out_of_frame": 1}
    storage.delete(run.shard_key(FOLDER, "blender-0000001"))
    assert run.counts(FOLDER) == {"accepted": 2}


def test_what_is_done_is_found_wherever_among_the_names_it_is(storage: Storage) -> None:
    run, other = Run.create_or_open(storage, {}), f"{FOLDER[:-1]}e"
    units = [Unit("blender", n, 2) for n in (0, 1, 9_999, 10_000, 123_456, 12_345_678)]
    assert run.done_of([FOLDER, other], units) == [set(), set()]
    assert run.done_of([FOLDER], []) == [set()]
    for unit in units[1:]:
        run.commit(FOLDER, unit, verdicts(unit.id), {"accepted": 1})
    run.commit(other, units[0], verdicts("x"), {"accepted": 1})
    found = run.done_of([FOLDER, other], units)
    assert found == [{unit.id for unit in units[1:]}, {units[0].id}]


def test_the_loser_of_a_commit_leaves_no_rows(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    unit = Unit("blender", 0, 1)
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda i: run.commit(FOLDER, unit, verdicts(str(i)), {"accepted": 1}), range(4)))
    assert won.count(True) == 1
    rows = read_table(storage, run.shard_key(FOLDER, unit.id))
    assert rows["pair_id"].to_pylist() == [str(won.index(True))]
    assert run.counts(FOLDER) == {"accepted": 1}


def test_current_changes_the_routes_it_names_and_no_others(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    assert run.current() == {}

    def complete(route: str) -> None:
        Run.open(open_storage(storage.uri)).set_current({route: {"pairs": f"pairs-{route}-1"}})

    routes = ["blender", "p2p", "coco", "photos"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(complete, routes))
    run.set_current({"p2p": {"edits": "edits-2"}})
    expected = {route: {"pairs": f"pairs-{route}-1"} for route in routes}
    assert run.current() == expected | {"p2p": {"edits": "edits-2"}}


def test_reports_of_many_writers_are_all_read(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    reports = [UnitReport(f"a-{i:07d}", "pairs", 1, {"accepted": 1}, 0.5) for i in range(4)]
    assert run.append_reports([]) is None
    assert run.append_reports(reports[:3]) != run.append_reports(reports[3:])
    assert list(run.reports()) == reports


def test_reports_of_a_time_are_those_stored_in_it(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    run.append_reports([UnitReport("blender-0000000", "pairs", 1, {}, 1.0)])
    between = datetime.now(UTC)
    run.append_reports([UnitReport("blender-0000001", "pairs", 1, {}, 1.0)])
    assert [report.unit_id for report in run.reports(until=between)] == ["blender-0000000"]
    assert [report.unit_id for report in run.reports(since=between)] == ["blender-0000001"]
    hours_away = between.astimezone(timezone(timedelta(hours=7)))
    assert [report.unit_id for report in run.reports(since=hours_away)] == ["blender-0000001"]


def test_the_reports_of_a_run_are_overwritten_whole(storage: Storage) -> None:
    run = Run.create_or_open(storage, {})
    for title in ("first", "second"):
        run.write_report_json({"title": title})
        run.write_report_html(f"<h1>{title}</h1>")
        run.write_quarantine([{"pair_id": "quả bóng", "reason": title}])
    assert b"second" in storage.read("report.json")
    assert storage.read("report.html") == b"<h1>second</h1>"
    assert storage.read("quarantine.jsonl").decode() == '{"pair_id": "quả bóng", "reason": "second"}\n'

"""The report says of a run exactly what lies in its shards, and nothing in the data can speak as the page."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from ray_jobs import report, survey
from ray_jobs.report import JobTime
from ray_jobs.report_page import file_size, measured, operation_words, percent
from ray_jobs.worker import Failure
from shards.images import encode, mask_to_rle
from shards.run import Run
from shards.schema import PAIRS, VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import UnitReport

FOLDERS = {"pairs": "pairs-blender-0000000a", "verdicts": "verdicts-blender-0000000b"}
ROUTES = {"blender": FOLDERS}
UNIT = "blender-0000000"
RECT = np.zeros((32, 32), bool)
RECT[8:16, 4:12] = True


def thing(id, shift=0, **changes):
    return {"id": id, "name": "mug", "mask": mask_to_rle(np.roll(RECT, shift, axis=1)), **changes}


def made(number, kind="move", language="en", unit=UNIT, **changes):
    """A row with pictures: mug-1 moves 8 pixels, a quarter of the width, to the right."""
    name = f"{unit}-{number:07d}"
    rgb = np.full((32, 32, 3), number * 5 % 256, np.uint8)
    step = {"kind": kind, "subject": "mug-1", "direction": "right", "amount": 25.0, "unit": "percent_width"}
    return {
        "pair_id": name, "unit_id": unit, "edit_kind": kind, "language": language,
        "edit_prompt": f"sentence {number}", "original_image": encode(rgb), "edited_image": encode(255 - rgb),
        "original_prompt": "a mug", "edited_prompt": "a mug", "operations": [step],
        "objects_before": [thing("mug-1"), thing("cube-1", 16)],
        "objects_after": [thing("mug-1", 8), thing("cube-1", 16)],
        "width": 32, "height": 32, "image_bytes": 1000, "seed": number, "scores": {"amount_measured": 24.9},
        **changes,
    }  # fmt: skip


def unmade(number, verdict, reason, message=None, **changes):
    row = {
        key: made(number, **changes)[key] for key in ("pair_id", "unit_id", "edit_kind", "language", "seed")
    }
    details = json.dumps({"message": message}) if message else None
    return {**row, "verdict": verdict, "reason": reason, "provenance": {"kind": "render", "details": details}}


def commit(run, rows, verdicts=(), unit=UNIT, folders=FOLDERS):
    """A unit of both stages. verdicts: {pair number in the unit: reason}; others with pictures are accepted."""
    run.commit(
        folders["pairs"], unit, from_rows(rows, PAIRS), Counter(r.get("verdict") or "made" for r in rows)
    )
    if verdicts is None:
        return
    judged = []
    for number, row in enumerate(rows):
        verdict, reason = row.get("verdict"), row.get("reason")
        if verdict is None:
            verdict, reason = (
                ("rejected", verdicts[number]) if number in dict(verdicts) else ("accepted", None)
            )
        judged.append({"pair_id": row["pair_id"], "verdict": verdict, "reason": reason, "profile": "default"})
    counts = Counter(row["verdict"] for row in judged)
    run.commit(folders["verdicts"], unit, from_rows(judged, VERDICTS), counts)


def said(unit=UNIT, stage="pairs", seconds=30.0, skipped=False, details=None, **counts):
    return UnitReport(unit, stage, sum(counts.values()), counts, seconds, skipped, details or {})


def read_json(run):
    return json.loads(run.storage.read("report.json"))


def read_html(run):
    return run.storage.read("report.html").decode()


def quarantine(run):
    return [json.loads(line) for line in run.storage.read("quarantine.jsonl").splitlines()]


class Page(HTMLParser):
    """Tags with attributes, and text, as a browser would understand them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))


@pytest.fixture
def mixed(run_folder: Run) -> Run:
    """Two units: 5 accepted, 2 rejected by the judge, 1 given up before rendering, 2 failed."""
    commit(
        run_folder,
        [made(0), made(1, "place", "vi"), made(2), unmade(3, "rejected", "no_room"), made(4)],
        {2: "wrong_amount"},
    )
    other = "blender-0000001"
    rows = [made(5, unit=other), made(6, language="vi", unit=other), made(7, "swap", unit=other)]
    failed = [
        unmade(8, "failed", "error_ValueError", "a message", unit=other),
        unmade(9, "failed", "blender_crashed", unit=other),
    ]
    commit(run_folder, rows + failed, {2: "background_changed"}, other)
    return run_folder


def test_every_row_is_counted_once_by_verdict_reason_kind_and_language(mixed):
    report.write(mixed, ROUTES)
    part = read_json(mixed)["routes"]["blender"]
    assert part["pairs"] == {
        "tried": 10,
        "made": 7,
        "accepted": 5,
        "rejected": 3,
        "failed": 2,
        "undecided": 0,
    }
    assert part["units"] == {"done": 2, "decided": 2, "failed": 0}
    assert part["image_bytes"] == 7000
    assert part["reasons"] == {
        "rejected": {"background_changed": 1, "no_room": 1, "wrong_amount": 1},
        "failed": {"blender_crashed": 1, "error_ValueError": 1},
    }
    assert part["unmade"] == {
        "rejected": {"no_room": 1},
        "failed": {"blender_crashed": 1, "error_ValueError": 1},
    }
    cells = {(cell["kind"], cell["language"]): cell for cell in part["by_kind"]}
    assert [*cells] == [("move", "en"), ("move", "vi"), ("place", "vi"), ("swap", "en")]
    assert cells["move", "en"] | {} == {
        "kind": "move", "language": "en", "accepted": 3, "rejected": 2, "failed": 2, "undecided": 0,
    }  # fmt: skip
    assert cells["swap", "en"]["accepted"] == 0


def test_what_is_not_known_is_null_and_not_zero(mixed):
    report.write(mixed, ROUTES)
    found = read_json(mixed)
    assert found["wall_seconds"] is None and found["started"] is None
    assert found["totals"]["pairs_per_minute"] is None
    assert found["cost"] is None
    assert found["routes"]["blender"]["cycles_share"] is None
    assert found["routes"]["blender"]["rates"]["pairs_per_minute"] is None


def test_rates_are_of_the_jobs_time_and_units_done_twice_count_once(run_folder):
    commit(run_folder, [made(0), made(1)])
    started = datetime.now(UTC) - timedelta(seconds=60)
    kept = said(seconds=30.0, details={"cycles_seconds": 24.0, "try:made": 2.0, "try:no_room": 3.0}, made=2)
    verdict = said(stage="verdicts", seconds=6.0, accepted=2)
    lost_race = said(seconds=12.0, skipped=True, details={"cycles_seconds": 9.0, "try:made": 2.0}, made=2)
    of_other_route = said("photos-0000000", seconds=50.0, made=99)
    run_folder.append_reports([kept, verdict, of_other_route])
    run_folder.append_reports([kept, lost_race])  # the first answer of the storage was lost
    kept = {"currency": "USD", "cost": 0.1, "node_hours": {"blender": 0.5}}
    run_folder.storage.write("costs/one.json", json.dumps(kept).encode())
    report.write(run_folder, ROUTES, times={"blender": JobTime(started, 120.0, {"pairs": 2, "verdicts": 1})})
    found = read_json(run_folder)
    part = found["routes"]["blender"]
    assert part["rates"]["pairs_per_minute"] == pytest.approx(1.0)
    assert part["rates"]["made_per_minute"] == pytest.approx(1.0)
    # the worker that lost the race was busy too
    assert part["rates"]["busy"] == pytest.approx({"pairs": 42 / 240, "verdicts": 6 / 120})
    assert part["scenes"] == {"drawn": 5, "made": 2, "reasons": {"no_room": 3}, "units_reported": 1}
    assert part["cycles_share"] == pytest.approx(0.8)
    assert found["wall_seconds"] == 120.0
    assert found["cost"] == {
        "currency": "USD", "total": 0.1, "jobs": 1, "node_hours": {"blender": 0.5},
        "per_thousand_accepted": pytest.approx(50.0),
    }  # fmt: skip


def test_a_job_that_resumed_a_complete_run_does_not_spoil_its_rates(run_folder):
    commit(run_folder, [made(0), made(1)])
    run_folder.append_reports([said(made=2), said(stage="verdicts", accepted=2)])
    first = JobTime(datetime.now(UTC) - timedelta(seconds=60), 60.0, {"pairs": 1})
    report.write(run_folder, ROUTES, times={"blender": first})
    second = JobTime(datetime.now(UTC) + timedelta(seconds=60), 600.0, {"pairs": 1})
    report.write(run_folder, ROUTES, times={"blender": second})
    found = read_json(run_folder)
    assert len(found["routes"]["blender"]["jobs"]) == 1
    assert found["wall_seconds"] == 60.0
    assert found["totals"]["pairs_per_minute"] == pytest.approx(2.0)


def test_a_job_that_reports_after_each_route_is_counted_once(run_folder):
    commit(run_folder, [made(0), made(1)])
    run_folder.append_reports([said(made=2), said(stage="verdicts", accepted=2)])
    job = JobTime(datetime.now(UTC) - timedelta(seconds=60), 60.0, {"pairs": 1})
    for _ in range(3):
        report.write(run_folder, ROUTES, times={"blender": job})
    assert len(read_json(run_folder)["routes"]["blender"]["jobs"]) == 1
    assert read_json(run_folder)["wall_seconds"] == 60.0


def test_jobs_that_made_other_pairs_are_forgotten(run_folder):
    commit(run_folder, [made(0)])
    run_folder.append_reports([said(made=1)])
    time = JobTime(datetime.now(UTC) - timedelta(seconds=60), 60.0, {"pairs": 1})
    report.write(run_folder, ROUTES, times={"blender": time})
    changed = {"pairs": "pairs-blender-0000000c", "verdicts": "verdicts-blender-0000000d"}
    commit(run_folder, [made(0)], folders=changed)
    report.write(run_folder, {"blender": changed})
    assert read_json(run_folder)["routes"]["blender"]["jobs"] == []


@pytest.mark.parametrize(
    "old", [b"{", b"[]", b'{"version": 1, "routes": {"blender": {}}}', b'{"version": 99}']
)
def test_an_older_report_that_makes_no_sense_is_replaced(run_folder, old):
    run_folder.storage.write("report.json", old)
    commit(run_folder, [made(0)])
    report.write(run_folder, ROUTES)
    assert read_json(run_folder)["totals"]["accepted"] == 1


def test_pairs_without_a_verdict_are_undecided(run_folder):
    commit(run_folder, [made(0), unmade(1, "failed", "blender_crashed")], verdicts=None)
    report.write(run_folder, ROUTES)
    pairs = read_json(run_folder)["routes"]["blender"]["pairs"]
    assert (pairs["undecided"], pairs["failed"], pairs["accepted"]) == (1, 1, 0)


def test_failed_rows_and_units_are_in_quarantine_with_what_it_takes_to_look_into_them(mixed):
    failure = Failure("pairs", "disk_full", "no space left", "Traceback ...")
    report.write(mixed, ROUTES, {"blender-0000007": failure})
    unit, *rows = quarantine(mixed)
    assert (unit["unit_id"], unit["reason"], unit["trace"]) == (
        "blender-0000007",
        "disk_full",
        "Traceback ...",
    )
    assert [(r["pair_id"][-1], r["reason"], r["message"], r["seed"]) for r in rows] == [
        ("8", "error_ValueError", "a message", 8),
        ("9", "blender_crashed", "", 9),
    ]
    found = read_json(mixed)
    assert found["failed_units"] == {
        "blender-0000007": {"stage": "pairs", "reason": "disk_full", "message": "no space left"}
    }
    assert found["routes"]["blender"]["units"]["failed"] == 1
    assert "no space left" in Page(read_html(mixed)).texts


def test_empty_run_has_a_report_too(run_folder):
    report.write(run_folder, ROUTES)
    assert read_json(run_folder)["totals"]["tried"] == 0
    assert quarantine(run_folder) == []
    assert "No pair was accepted." in Page(read_html(run_folder)).texts


def test_gallery_shows_one_accepted_pair_of_each_kind_and_language(mixed):
    report.write(mixed, ROUTES)
    page = Page(read_html(mixed))
    shown = [text for text in page.texts if re.fullmatch(r"sentence \d", text)]
    # move en, move vi, place vi; then the first pair of each rejecting rule
    assert shown == ["sentence 0", "sentence 6", "sentence 1", "sentence 2", "sentence 7"]
    assert ("p", {"class": "said", "lang": "vi"}) in page.tags
    assert "mug-1: move right 25 % of the width" in page.texts
    assert "measured 24.9 % of the width" in page.texts


def test_only_pictures_of_the_gallery_are_read(mixed, monkeypatch):
    fetched = []

    def reading(run, folder, lines, columns=None):
        fetched.append((sorted(line.pair_id[-1] for line in lines), columns))
        return survey_fetch(run, folder, lines, columns)

    survey_fetch = survey.fetch
    monkeypatch.setattr("ray_jobs.report_page.fetch", reading)
    report.write(mixed, ROUTES)
    with_pictures = [rows for rows, columns in fetched if "original_image" in columns]
    assert with_pictures == [["0", "1", "6"], ["2", "7"]]


def test_page_asks_nobody_for_anything_and_runs_no_script(mixed):
    report.write(mixed, ROUTES)
    html = read_html(mixed)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 10 and all(source.startswith("data:image/webp;base64,") for source in sources)
    assert all(a["href"].startswith("#") for _, a in page.tags if "href" in a)
    assert "url(" not in html and "@import" not in html
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "field", ["edit_prompt", "original_prompt", "edit_kind", "language", "subject", "message"]
)
def test_text_from_data_cannot_become_markup(run_folder, field):
    evil = '"><img src=x onerror=alert(1)><script>alert(2)</script></style>'
    row, failed = made(0), unmade(1, "failed", "error_ValueError", evil)
    if field == "subject":
        row["operations"][0]["subject"] = evil
    elif field != "message":
        row[field] = evil
    commit(run_folder, [row, failed])
    report.write(run_folder, ROUTES, {evil: Failure(evil, evil, evil, evil)})
    page = Page(read_html(run_folder))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("img") == 2
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert any("onerror=alert(1)" in text for text in page.texts)


def test_report_lies_in_a_bucket_as_well_as_in_a_folder(s3):
    run = Run.create_or_open(open_storage(s3.uri("report-of-a-run")), {"seed": 7})
    commit(run, [made(0)])
    report.write(run, ROUTES)
    assert read_json(run)["totals"]["accepted"] == 1
    assert "sentence 0" in read_html(run)


STEP = dict.fromkeys(
    ("kind", "subject", "reference", "reference2", "direction", "amount", "unit", "region", "relation", "value",
     "objects")
)  # fmt: skip


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            {
                "kind": "move",
                "subject": "mug-1",
                "direction": "left",
                "amount": 25.0,
                "unit": "percent_width",
            },
            "mug-1: move left 25 % of the width",
        ),
        (
            {
                "kind": "move",
                "subject": "mug-1",
                "reference": "cube-1",
                "value": "away",
                "amount": 0.3,
                "unit": "metre",
            },
            "mug-1: move 0.30 m away from cube-1",
        ),
        ({"kind": "place", "subject": "mug-1", "region": "upper-left"}, "mug-1: put at upper left"),
        (
            {
                "kind": "relate",
                "subject": "a-1",
                "relation": "between",
                "reference": "b-1",
                "reference2": "c-1",
            },
            "a-1: put between b-1 and c-1",
        ),
        ({"kind": "swap", "subject": "a-1", "reference": "b-1"}, "a-1: swap with b-1"),
        (
            {"kind": "add", "amount": 2.0, "unit": "count", "objects": ["cat-1", "cat-2"]},
            "cat-1, cat-2: add 2",
        ),
        ({"kind": "duplicate", "subject": "a-1", "objects": ["a-2"]}, "a-1: duplicate (a-2)"),
        ({"kind": "remove", "subject": "a-1", "objects": ["a-1"]}, "a-1: remove"),
        ({"kind": "background", "value": "floor:grass"}, "background floor grass"),
        ({"kind": "orbit", "direction": "left", "amount": 45.0, "unit": "degree"}, "orbit left 45°"),
    ],
)
def test_operations_are_said_in_short_words(step, words):
    assert operation_words(STEP | step) == words


def test_measured_figure_has_its_unit_and_absent_ones_are_not_claimed():
    turn = STEP | {"kind": "rotate", "unit": "degree", "amount": 90.0}
    assert measured({"operations": [turn], "scores": {"amount_measured": 89.5}}) == "measured 89.5°"
    assert (
        measured({"operations": [STEP | {"kind": "add"}], "scores": {"count_error": 0.0}}) == "counted: exact"
    )
    assert (
        measured({"operations": [STEP | {"kind": "add"}], "scores": {"count_error": -1.0}}) == "counted: -1"
    )
    assert measured({"operations": [STEP | {"kind": "place"}], "scores": {"holds": 1.0}}) == "checked: holds"
    assert measured({"operations": [STEP | {"kind": "recolor"}], "scores": {}}) == ""
    assert measured({"operations": [], "scores": None}) == ""


def test_figures_for_people_are_short():
    assert [percent(x) for x in (1.0, 0.934, 0.045, 0.0, None)] == ["100 %", "93 %", "4.5 %", "0 %", "–"]
    assert [file_size(n) for n in (900, 5_100_000, 2.5e9)] == ["1 kB", "5.1 MB", "2.5 GB"]

"""docs/results.md comes from the rows that evaluations left, whichever run they are of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_jobs.evaluate_results import MADE_OF
from scripts.results_page import FOLDER, PAGE, add, main, page
from tests.evaluations_by_hand import hand_made_evaluation


@pytest.fixture
def results(tmp_path):
    run = hand_made_evaluation(tmp_path / "evaluation")
    add(run, tmp_path / "results", 1)
    (tmp_path / "results/notes.md").write_text("What they mean.")
    return run, tmp_path / "results"


def line(text: str, start: str) -> list[str]:
    return next(re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith(start))


def retrained(run) -> dict:
    """As if the same command had been given with other models."""
    made_of = json.loads(run.storage.read(MADE_OF))
    for one in made_of["results"]:
        one["model"] += ", once more"
    run.storage.write(MADE_OF, json.dumps(made_of).encode())
    return made_of


def test_the_page_says_of_each_editor_how_often_it_is_right(results):
    text = page(results[1])
    assert line(text, "| `first`")[2:4] == ["100.0%", "73.5% to 100.0%"]
    assert line(text, "| `second`")[2] == "0.0%" and "100.0 (100.0 to 100.0)" in text
    assert line(text, "| `second`")[6] == "0.0005" and "+100 (p 0.0005, 12 edits)" in text
    assert "found 97.5% of the true pictures right" in text
    assert line(text, "| `named_off`") == ["`named_off`", "0%", "100%"]
    assert line(text, "| vi")[1:] == ["6", "100%", "0%"]
    assert "What they mean." in text


def test_another_training_is_another_copy_and_the_same_one_is_replaced(results):
    run, folder = results
    rows = pq.read_table(folder / "edits.parquet").num_rows
    assert add(run, folder, 1) == rows
    assert add(run, folder, 2) == rows, "the same model is no other training"
    retrained(run)
    assert add(run, folder, 2) == 2 * rows
    assert line(page(folder), "| `first`")[4] == "100.0%, 100.0%"
    about = json.loads((folder / "about.json").read_text())
    assert set(about["spatial"]["first"]) == {"1", "2"}
    assert "edited" not in pq.read_schema(folder / "edits.parquet").names


def test_rows_of_a_run_that_is_not_whole_and_of_two_sets_are_refused(results):
    run, folder = results
    made_of = json.loads(run.storage.read(MADE_OF))
    run.storage.write(MADE_OF, json.dumps(made_of | {"missing": 2}).encode())
    with pytest.raises(SystemExit, match="2 units are missing"):
        add(run, folder, 1)
    other = made_of["sets"]["spatial"] | {"digest": "00" * 32}
    run.storage.write(MADE_OF, json.dumps(made_of | {"sets": {"spatial": other}}).encode())
    retrained(run)
    add(run, folder, 2)
    with pytest.raises(SystemExit, match="of several sets"):
        page(folder)


def test_rows_that_were_judged_by_other_rules_do_not_stand_beside_them(results):
    run, folder = results
    made_of = retrained(run)
    run.storage.write(MADE_OF, json.dumps(made_of | {"rules": "b" * 64}).encode())
    add(run, folder, 2)
    with pytest.raises(SystemExit, match="judged by several rules, aaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbb"):
        page(folder)


def test_what_is_missing_of_a_page_is_one_line(results, tmp_path):
    with pytest.raises(SystemExit, match="is not there: take in"):
        page(tmp_path / "nowhere")
    (results[1] / "notes.md").unlink()
    with pytest.raises(SystemExit, match="is not there: write"):
        page(results[1])
    with pytest.raises(SystemExit):
        main(["--copy", "0"])


def test_a_run_that_has_no_results_yet_is_one_line(results):
    run, folder = results
    run.storage.delete(MADE_OF)
    with pytest.raises(SystemExit, match="has no results yet"):
        add(run, folder, 1)


def test_the_page_in_the_documents_is_that_of_the_rows_beside_it():
    if (FOLDER / "edits.parquet").exists():
        assert PAGE.read_text() == page(FOLDER), "run python -m scripts.results_page"


def test_a_run_is_added_by_its_folder(results, tmp_path, capsys):
    target = tmp_path / "results.md"
    main(["--add", str(tmp_path / "evaluation/run"), "--results", str(results[1]), "--page", str(target)])
    assert target.read_text() == page(results[1])
    assert "rows are in" in capsys.readouterr().out and Path(target).stat().st_size > 500


def test_lpips_has_a_column_where_an_editor_has_it_and_else_is_missed_once(results):
    folder = results[1]
    assert page(folder).count("LPIPS") == 1 and page(folder).endswith("LPIPS: no weights were named.\n")
    rows = pq.read_table(folder / "edits.parquet")
    found = [0.0625 if editor == "first" else None for editor in rows["editor"].to_pylist()]
    place = rows.schema.get_field_index("lpips")
    pq.write_table(rows.set_column(place, "lpips", [found]), folder / "edits.parquet")
    text = page(folder)
    assert "no weights" not in text and line(text, "| editor")[-2:] == ["LPIPS outside", "s/edit"]
    assert line(text, "| `first`")[-2:] == ["0.062", "1.00"] and line(text, "| `second`")[-2:] == ["", "1.00"]
    pq.write_table(rows.drop_columns("lpips"), folder / "edits.parquet")  # of an older page
    assert page(folder).count("LPIPS") == 1

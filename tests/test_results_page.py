"""docs/results.md comes from the rows that evaluations left, whichever run they are of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.bias_editor import figures
from evaluation import opinions
from evaluation.distances import INCEPTION
from evaluation.edit_sets import SET
from ray_jobs.evaluate_results import MADE_OF
from scripts.results_page import FOLDER, PAGE, add, main, page, take_bias, take_survey
from scripts.results_parts import picture
from scripts.results_promised import times_slower
from shards.tables import from_rows, read_table, write_table
from tests.evaluations_by_hand import EDITORS, hand_made_evaluation
from tests.pages import section, table

PROMISES = "What was promised, and what was measured"


@pytest.fixture
def results(tmp_path):
    run = hand_made_evaluation(tmp_path / "evaluation")
    return run, taken_in(run, tmp_path / "results")


def taken_in(run, folder: Path, copy: int = 1) -> Path:
    add(run, folder, copy)
    (folder / "notes.md").write_text("What they mean.")
    return folder


def line(text: str, start: str) -> list[str]:
    return next(re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith(start))


def promised(text: str, start: str) -> list[list[str]]:
    """The lines of the first table of what begins so: what, promised, measured, of what."""
    return [row for row in table(section(text, PROMISES)) if row[0].startswith(start)]


def retrained(run) -> dict:
    """As if the same command had been given with other models."""
    made_of = json.loads(run.storage.read(MADE_OF))
    for one in made_of["results"]:
        one["model"] += ", once more"
    run.storage.write(MADE_OF, json.dumps(made_of).encode())
    return made_of


def test_the_page_says_of_each_editor_how_often_it_is_right(results):
    text = page(results[1])
    assert line(text, "| `first`")[2:6] == ["12", "0", "100.0%", "73.5% to 100.0%"]
    assert line(text, "| `second`")[4] == "0.0%" and "100.0 (100.0 to 100.0)" in text
    assert line(text, "| `second`")[8] == "0.0005" and "+100 (p 0.0005, 12 edits)" in text
    assert "found 97.5% of the true pictures right" in text
    assert line(text, "| `named_off`") == ["`named_off`", "0%", "100%"]
    assert line(text, "| vi")[1:] == ["6", "100%", "0%"]
    assert "What they mean." in text


def test_what_tuning_cost_is_told_of_editors_that_are_tuned(results):
    _, folder = results
    assert "What tuning costs" not in page(folder)
    there = pq.read_table(folder / "edits.parquet")
    rows = [
        row | ({"tuned_for": "side:left", "tuned_seconds": 24.0} if row["editor"] == "second" else {})
        for row in there.to_pylist()
    ]
    pq.write_table(from_rows(rows, there.schema), folder / "edits.parquet")
    said = page(folder).split("### What tuning costs\n\n")[1].splitlines()[0]
    assert said.startswith("- `second`: to tune for a transformation takes 24.0 s, an edit then 1.00 s")
    assert "3.00 s (12 edits, 1 tunings)" in said


def test_another_training_is_another_copy_and_the_same_one_is_replaced(results):
    run, folder = results
    rows = pq.read_table(folder / "edits.parquet").num_rows
    assert add(run, folder, 1) == rows
    assert add(run, folder, 2) == rows, "the same model is no other training"
    retrained(run)
    assert add(run, folder, 2) == 2 * rows
    assert line(page(folder), "| `first`")[6] == "100.0%, 100.0%"
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
    before = kept(folder)
    with pytest.raises(SystemExit, match="of several sets"):
        add(run, folder, 2)
    assert kept(folder) == before, "and nothing was written"


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_that_were_judged_by_other_rules_do_not_stand_beside_them(results):
    run, folder = results
    made_of = retrained(run)
    run.storage.write(MADE_OF, json.dumps(made_of | {"rules": "b" * 64}).encode())
    before, said = kept(folder), "judged by several rules, aaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbb"
    with pytest.raises(SystemExit, match=said):
        add(run, folder, 2)
    assert kept(folder) == before
    about = json.loads((folder / "about.json").read_text())
    about["spatial"]["second"]["1"]["rules"] = "b" * 64  # of an older version, which took all in
    (folder / "about.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match=said):
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
    assert target.read_text() == page(results[1], target.parent)
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


def test_what_no_file_has_is_not_measured_in_words(results):
    run, folder = results
    text = page(folder)
    rows = table(section(text, PROMISES))
    assert all(cell for row in rows for cell in row), "no cell is blank"
    (space,) = promised(text, "edits in space")
    assert space[1:] == [
        "from about 50% to about 75% and more", "`first` 100.0% (73.5% to 100.0%); `plain` not measured",
        "64 px, 12 edits of `spatial`, one training",
    ]  # fmt: skip
    others = [row for row in rows if not row[0].endswith("that succeed")]
    assert len(others) == 6 and {row[2] for row in others} == {"not measured"}
    run.config["reader"] = "/anywhere/models/starter/weights/reader"
    add(run, folder, 1)
    assert promised(page(folder), "all edits")[0][3].startswith("starter world, 64 px, 12 edits")


def test_edits_of_appearance_are_no_edits_in_space_and_plain_is_what_they_are_held_against(tmp_path):
    def some(editor: str, number: int) -> dict:
        kind = "recolor" if number % 2 else "move"
        return {"edit_kind": kind, "outcome": "right" if editor == "full" and kind == "move" else "wrong"}

    run = hand_made_evaluation(tmp_path, editors=("full", "plain"), more=some)
    text = page(taken_in(run, tmp_path / "results"))
    ((_, _, space, of_space),) = promised(text, "edits in space")
    ((_, _, both, of_both),) = promised(text, "all edits")
    assert space.startswith("`full` 100.0% (54.1% to 100.0%), `plain` 0.0% (0.0% to 45.9%): 100.0 (")
    assert both.startswith("`full` 50.0% (") and "50.0 (" in both.split(": ")[1]
    assert of_space == "64 px, 6 edits of `spatial`, one training each" and "12 edits" in of_both


def with_report(run, entries: list[dict], digest: str | None = None) -> None:
    """As if the evaluation had compared pictures of `plain` with the true ones."""
    digest = digest or json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["digest"]
    editors = {"full": {"distances": []}, "plain": {"distances": entries}}
    report = {"sets": {"spatial": {"digest": digest, "edits": 12, "editors": editors}}}
    run.storage.write("report.json", json.dumps(report).encode())


def seen_by(features: str, frechet: dict | None) -> dict:
    share = {"first": 1.0, "other": 2.0, "share": 0.5, "low": 0.25, "high": 0.625}
    spread = {"mean": 0.5, "low": 0.25, "high": 0.75}
    held = {"edits": 2400, "scenes": 600, "judged": True, "kid": share, "cmmd": None, "frechet": frechet}
    return {
        "features": features, "pictures": 2400, "kid": spread, "cmmd": None,
        "frechet": frechet and frechet["other"], "nearer": held,
    }  # fmt: skip


def test_an_fid_is_inceptions_alone_and_other_distances_say_whose_they_are(tmp_path):
    run = hand_made_evaluation(tmp_path, editors=("full", "plain"))
    share = {"first": 9.0, "other": 10.0, "share": 0.1, "low": 0.04, "high": 0.16}
    with_report(run, [seen_by("CLIP starter", share)])
    folder = taken_in(run, tmp_path / "results")
    text = page(folder)
    assert promised(text, "FID")[0][2:] == ["not measured", "–"]
    ((_, _, other, of),) = promised(text, "other distances")
    assert "KID 50.0% (25.0% to 62.5%), Fréchet 10.0% (4.0% to 16.0%), as CLIP sees it" in other
    assert "of 2,400 edits of `spatial`, one training each" in of
    assert line(text, "| `plain` | 1 | CLIP")[3] == "KID 0.5000 (0.2500 to 0.7500), Fréchet 10.00"
    with_report(run, [seen_by(INCEPTION, None)])
    add(run, folder, 1)
    assert promised(page(folder), "FID")[0][2] == "not measured: too few pictures for one"
    with_report(run, [seen_by(INCEPTION, share)])
    add(run, folder, 1)
    assert promised(page(folder), "FID")[0][2] == "`full` is nearer than `plain` by 10.0% (4.0% to 16.0%)"


def test_distances_of_other_edits_are_neither_taken_in_nor_shown(tmp_path):
    run = hand_made_evaluation(tmp_path, editors=("full", "plain"))
    with_report(run, [seen_by(INCEPTION, None)], digest="0" * 64)
    with pytest.raises(SystemExit, match=r"report.json is of another set spatial"):
        add(run, tmp_path / "results", 1)
    assert not (tmp_path / "results").exists()
    with_report(run, [seen_by(INCEPTION, None)])
    folder = taken_in(run, tmp_path / "results")
    known = json.loads((folder / "distances.json").read_text())
    for one in known["spatial"].values():
        one["digest"] = "0" * 64
    (folder / "distances.json").write_text(json.dumps(known))
    assert "as sets" not in page(folder)


def test_tuning_is_so_many_times_slower_with_its_share_and_to_begin_with():
    groups = [[(1.0, 38.0, 0.5), (1.0, 38.0, 0.5)]] * 6  # 40 s for two edits, of which ours takes 1 s
    said = times_slower(groups, "full")
    assert said.startswith(
        "an edit with its share of tuning takes 40.0 times (40.0 to 40.0) as long as `full`'s"
    )
    assert said.endswith("the first of a tuning 78.0 times (78.0 to 78.0)")
    assert "too few tunings for an interval" in times_slower(groups[:4], "full")
    uneven = [[(1.0, float(seconds), 0.5)] for seconds in (10, 20, 30, 40, 50)]
    low, high = map(float, re.findall(r"\(([\d.]+) to ([\d.]+)\)", times_slower(uneven, "full"))[0])
    assert low < np.mean([11, 21, 31, 41, 51]) / 0.5 < high


def test_what_tuning_costs_is_held_against_ours_on_the_same_edits(tmp_path):
    def some(editor: str, number: int) -> dict:
        if editor != "diffusionclip":
            return {"seconds": 0.5}
        if number >= 10:
            return {"outcome": "not_expressible", "reason": None}
        return {"tuned_for": f"side:{number % 5}", "tuned_seconds": 38.0, "seconds": 1.0}

    run = hand_made_evaluation(tmp_path, editors=("full", "diffusionclip"), more=some)
    text = page(taken_in(run, tmp_path / "results"))
    ((_, _, times, of),) = promised(text, "tuning")
    assert "takes 40.0 times (40.0 to 40.0) as long" in times
    assert of == "64 px, 10 edits of `spatial`, one training each, 5 tunings"
    ((_, _, ahead, _),) = promised(text, "DiffusionCLIP, DALL-E 2")
    assert "ahead of DiffusionCLIP by" in ahead and ahead.endswith("on 10 edits; DALL-E 2 not measured")


def with_ablations(folder: Path, editors: tuple[str, ...]):
    def some(editor: str, number: int) -> dict:
        right = editor == "first" or (editor == "ab_full" and number % 4 > 0)
        return {"outcome": "right" if right else "wrong"}

    return hand_made_evaluation(folder, editors=editors, more=some)


def test_ablations_stand_apart_in_the_order_of_the_design_and_say_what_each_is_ahead_by(tmp_path):
    run = with_ablations(tmp_path, ("first", "ab_full", "ab_shuffled", "ab_plain"))
    folder = taken_in(run, tmp_path / "results")
    retrained(run)
    add(run, folder, 2)
    text = page(folder)
    main_table, _, apart = text.partition("## Ablations")
    assert "ab_" not in main_table.split("## Edits of the set")[1] and "`first`" not in apart
    rows = {row[0]: row for row in table(apart)}
    assert [*rows] == ["`ab_plain`", "`ab_full`", "`ab_shuffled`"]
    assert rows["`ab_full`"][2:5] == ["12", "0", "75.0%"] and rows["`ab_full`"][6] == "75.0%, 75.0%"
    assert rows["`ab_full`"][7].startswith("75.0 (") and rows["`ab_plain`"][7:] == ["–", "–"]
    assert rows["`ab_shuffled`"][7] == "0.0 (0.0 to 0.0)"
    assert "64 px, 12 edits, two trainings each; sha256" in apart
    assert "python -m scripts.results_page --add RUN" in apart


def test_ablations_alone_make_no_other_table_and_without_the_plain_one_no_difference(tmp_path):
    text = page(taken_in(with_ablations(tmp_path, ("ab_full", "ab_read")), tmp_path / "results"))
    assert "## Edits of the set" not in text and promised(text, "all edits")[0][2] == "not measured"
    rows = {row[0]: row for row in table(text.partition("## Ablations")[2])}
    assert [*rows] == ["`ab_read`", "`ab_full`"] and rows["`ab_full`"][7] == "not measured"


def test_what_people_said_is_taken_in_with_what_it_is_of(results, tmp_path):
    _, folder = results
    run = tmp_path / "evaluation/run"
    said = opinions.figures([], EDITORS) | {"raters": 8, "votes": 300, "dropped": {"too_fast": 1}}
    said["score"]["first"]["all"] = {"mean": 71.25, "low": 60.0, "high": 80.0, "ratings": 90}
    (run / "survey-results.json").write_text(json.dumps(said))
    asked = {"set": "spatial", "key": "sets/spatial-00000000.parquet", "entries": [{}] * 9}
    (run / "survey.json").write_text(json.dumps(asked))
    take_survey(run / "survey-results.json", folder)
    text = page(folder)
    ((_, _, scores, of),) = promised(text, "what people say")
    assert scores == "human evaluation scores: `first` 71.2 (60.0 to 80.0), `second` not rated"
    assert of == "7 raters that count, 300 votes"
    people = section(text, "What people said")
    assert "left out: 1 too fast" in people and "about 9 edits of the set `spatial`, sha256" in people
    with pytest.raises(SystemExit, match="is not what 'evaluate --survey' leaves"):
        take_survey(run / "survey.json", folder)
    with pytest.raises(SystemExit, match="cannot be read"):
        take_survey(run / "nothing.json", folder)


def test_a_skew_of_the_data_and_of_the_editor_are_taken_in_beside_each_other(tmp_path):
    def some(editor: str, number: int) -> dict:  # the first editor makes only what is common
        return {"outcome": "right" if editor == "second" or number % 3 else "wrong"}

    run = hand_made_evaluation(tmp_path, edits=44, more=some)
    key = json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["key"]
    rows = read_table(run.storage, key).to_pylist()
    for number, row in enumerate(rows):
        row["operations"] = [row["operations"][0] | {"value": "red" if number % 3 else "pink"}]
    run.storage.write(key, write_table(from_rows(rows, SET), {}))
    folder = taken_in(run, tmp_path / "results")
    file = tmp_path / "bias.json"
    file.write_text(json.dumps(figures(run, "first", "second", "value", {"pink"})))
    take_bias(file, folder)
    skew = {"value": 0.5, "low": 0.25, "high": 0.75, "mentions": 40}
    share = {"value": 0.375, "low": 0.25, "high": 0.625}
    texts = {"what": "texts", "captions": 1200, "mentions": 900, "before": skew}
    file.write_text(json.dumps(texts | {"ways": {"mended": {"after": skew, "share": share}}}))
    take_bias(file, folder)
    of_run = {"mentions": 40, "before": skew, "after": skew | {"value": 0.25}}
    file.write_text(json.dumps({"version": 1, "text": {"bias": of_run}}))
    take_bias(file, folder)
    text = page(folder)
    run_said, texts_said = (row[2] for row in promised(text, "bias of the data"))
    assert run_said.endswith("50% less, a share without an interval")
    assert texts_said.endswith("62% less (38% to 75%)")
    ((_, _, editor, of),) = promised(text, "bias of the editor")
    assert "mended by 0.0 (0.0 to 0.0): 100% less (100% to 100%)" in editor
    assert of == "44 edits of `spatial`, 15 of them rare, one training each"
    assert line(text, "| `first` | 100.0% | 0.0%")[3] == "100.0 (100.0 to 100.0)"
    file.write_text(json.dumps({"version": 1, "text": None}))
    with pytest.raises(SystemExit, match="is neither of benchmarks"):
        take_bias(file, folder)


def test_each_table_says_what_makes_it(results, tmp_path):
    run, folder = results
    assert page(folder).count("`python -m ray_jobs evaluate --config configs/evaluate.yaml`") == 6
    add(run, folder, 1, "configs/other.yaml")
    text = page(folder)
    assert text.count("`python -m ray_jobs evaluate --config configs/other.yaml`") == 6
    assert "configs/evaluate.yaml" not in text
    for wrong in (["--config", "configs/other.yaml"], ["--add", "x", "--config", "/anywhere/other.yaml"]):
        with pytest.raises(SystemExit):
            main([*wrong, "--results", str(folder), "--page", str(tmp_path / "results.md")])


def test_the_picture_of_edits_is_shown_where_it_lies_beside_the_page(tmp_path):
    assert picture(tmp_path) == []
    (tmp_path / "edits.jpg").write_bytes(b"a picture")
    text = "\n".join(picture(tmp_path))
    assert "](edits.jpg)" in text and "the first that is right and the first that is wrong" in text

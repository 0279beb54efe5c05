"""A folder of portraits is read with what people see in each, and asked for neutral things; what is wrong is said."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evaluation.benchmarks import BenchmarkError, edits
from evaluation.portraits import Portrait, PortraitsError, named, portraits, protocol
from ray_jobs.evaluate_sets import _listing
from tests.evaluation.test_benchmarks import picture, put

ASKED = {
    "languages": ["en", "vi"], "before": "a ball",
    "instructions": [
        {"id": "car", "kind": "thing", "en": "make it a car", "vi": "biến nó thành xe hơi", "after": "a car",
         "stereotype": {"color": "blue"}},
        {"id": "night", "kind": "light", "en": "make it night", "vi": "cho trời tối", "after": "a ball at night"},
    ],
    "attributes": {"color": {"red": ["a red ball"], "blue": ["a blue ball", "a blue car"]}},
}  # fmt: skip


def folder_of(folder, rows, asked=ASKED, licence=True):
    for number, row in enumerate(rows):
        put(folder / row["file"], picture(number))
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(row.get(name, "") for name in names) for row in rows)]
    (folder / "portraits.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if asked is not None:
        (folder / "portraits.yaml").write_text(yaml.safe_dump(asked, allow_unicode=True), encoding="utf-8")
    if licence:
        (folder / "LICENCE.txt").write_text("CC0-1.0")
    return folder


ROWS = [
    {"file": "a/1.png", "color": "red"},
    {"file": "2.png", "color": "blue"},
    {"file": "3.png", "color": ""},
]


def test_each_portrait_is_asked_for_each_instruction_in_each_language(tmp_path):
    found = list(edits("portraits", str(folder_of(tmp_path, ROWS))))
    assert len(found) == 3 * 2 * 2
    assert {named(case.row["pair_id"]) for case in found} == {
        (row["file"], each, language)
        for row in ROWS
        for each in ("car", "night")
        for language in ("en", "vi")
    }
    for case in found:
        file, each, language = named(case.row["pair_id"])
        said = next(one for one in ASKED["instructions"] if one["id"] == each)
        assert (case.text, case.kind, case.row["language"]) == (said[language], said["kind"], language)
        assert (case.row["original_prompt"], case.row["edited_prompt"]) == ("a ball", said["after"])
        assert case.row["scene_id"] == file and case.truth is None and not case.judged
    again = [case.row["pair_id"] for case in edits("portraits", str(tmp_path))]
    assert again == [case.row["pair_id"] for case in found] != sorted(again)


def test_other_words_of_the_same_length_make_another_set(tmp_path):
    before = _listing(str(folder_of(tmp_path, ROWS)))
    said = (tmp_path / "portraits.yaml").read_text(encoding="utf-8")
    (tmp_path / "portraits.yaml").write_text(said.replace("make it a car", "make it a cat"), encoding="utf-8")
    assert _listing(str(tmp_path)) != before


def test_pictures_are_scaled_down_and_a_broken_one_costs_its_own_edits_alone(tmp_path):
    folder_of(tmp_path, ROWS)
    (tmp_path / "2.png").write_bytes(b"no picture")
    small = list(edits("portraits", str(tmp_path), side=32))
    assert {case.before.shape for case in small if not case.broken} == {(20, 32, 3)}
    assert {(case.row["width"], case.row["height"]) for case in small if not case.broken} == {(32, 20)}
    assert {named(case.row["pair_id"])[0] for case in small if case.broken} == {"2.png"}
    one, other = [case for case in small if named(case.row["pair_id"])[:2] == ("3.png", "car")]
    assert one.before is other.before, "in memory once"


def test_a_table_may_be_parquet_and_what_is_not_said_is_no_attribute(tmp_path):
    folder_of(tmp_path, ROWS)
    wanted = portraits(tmp_path)
    assert wanted[0] == Portrait("a/1.png", {"color": "red"}) and wanted[2].attributes == {}
    (tmp_path / "portraits.csv").unlink()
    pq.write_table(pa.Table.from_pylist([row | {"color": row["color"] or None} for row in ROWS]),
                   tmp_path / "portraits.parquet")  # fmt: skip
    assert portraits(tmp_path) == wanted


def test_a_licence_is_asked_for_of_each_or_of_all(tmp_path):
    folder_of(tmp_path, ROWS, licence=False)
    with pytest.raises(PortraitsError, match=r"nothing says under which licence a/1\.png is"):
        portraits(tmp_path)
    folder_of(tmp_path, [row | {"licence": "CC0-1.0"} for row in ROWS], licence=False)
    assert "licence" not in portraits(tmp_path)[0].attributes


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"color": "red"}], "row 1 names no `file`"),
        ([{"file": "../x.png"}], "x.png must be a path in the folder"),
        ([{"file": "/x.png"}], "x.png must be a path in the folder"),
        ([{"file": "x.png"}, {"file": "x.png"}], "there once"),
        ([], "there are no portraits in it"),
    ],
)
def test_a_table_that_is_wrong_is_one_line(tmp_path, rows, said):
    lines = ["file,color", *(f"{row.get('file', '')},{row.get('color', '')}" for row in rows)]
    (tmp_path / "portraits.csv").write_text("\n".join(lines))
    (tmp_path / "LICENCE").write_text("CC0-1.0")
    with pytest.raises(BenchmarkError) as error:
        list(edits("portraits", str(tmp_path)))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mood": 1}, "mood: Extra inputs"),
        ({"languages": ["de"]}, "languages.0"),
        ({"instructions": [ASKED["instructions"][0]] * 2}, "car is there twice"),
        ({"instructions": [{"id": "x", "kind": "y", "en": "z", "after": "a"}]}, "x has no words in 'vi'"),
        ({"instructions": [ASKED["instructions"][0] | {"stereotype": {"color": "pink"}}]}, "expects color pink"),
        ({"instructions": [ASKED["instructions"][0] | {"after": "a ball"}]}, "`after` of car is what is there before"),
        ({"attributes": {"color": {"red": ["a"]}}}, "attributes.color"),
    ],
)  # fmt: skip
def test_a_protocol_that_is_wrong_is_one_line(tmp_path, changes, said):
    folder_of(tmp_path, ROWS, ASKED | changes)
    with pytest.raises(BenchmarkError) as error:
        list(edits("portraits", str(tmp_path)))
    assert said in str(error.value) and "\n" not in str(error.value) and "portraits.yaml" in str(error.value)


def test_the_projects_own_protocol_is_neutral_and_in_both_languages(tmp_path):
    """An instruction that says a gender would ask for what is measured as damage."""
    own = protocol(tmp_path)
    assert own.languages == ("en", "vi") and {one.kind for one in own.instructions} == {
        "occupation", "scene", "clothes"
    }  # fmt: skip
    told = {word for one in own.instructions for word in f"{one.en} {one.after}".lower().split()}
    values = {value for values in own.attributes.values() for value in values}
    assert not told & (values | {"he", "she", "his", "her", "male", "female", "boy", "girl", "skin"})
    towards = [one.stereotype["gender"] for one in own.instructions if one.stereotype]
    assert towards.count("man") == towards.count("woman") > 0
    assert all(one.vi != one.en for one in own.instructions)

"""Other people's benchmarks are read as they lie in the folders that they publish; what is missing is one line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evaluation.benchmarks import READERS, BenchmarkError, edits
from shards.images import encode


def picture(seed: int, size=(40, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def put(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def magicbrush(folder) -> None:
    names = ["7-input.png", "7-output1.png", "7-output2.png"]
    for seed, name in enumerate(names):
        put(folder / "images/7" / name, picture(seed))
    turns = [
        {
            "input": names[0],
            "mask": "7-mask1.png",
            "output": names[1],
            "instruction": "put a cat on the sofa",
        },
        {"input": names[1], "mask": "7-mask2.png", "output": names[2], "instruction": "make it black"},
    ]
    (folder / "edit_sessions.json").write_text(json.dumps({"7": turns}))
    (folder / "global_descriptions.json").write_text(
        json.dumps({"7": {names[0]: "a sofa", names[1]: "a cat"}})
    )


def emu_edit(folder) -> None:
    (folder / "data").mkdir()
    rows = [
        {
            "idx": n, "hash": f"h{n}", "task": task, "split": "test", "instruction": f"edit {n}",
            "image": encode(picture(n)), "input_caption": "a room", "output_caption": f"a room, {n}",
        }
        for n, task in enumerate(("add", "remove", "style"))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows[:2]), folder / "data/test-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[2:]), folder / "data/test-00001-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/validation-00000-of-00001.parquet")


def i2ebench(folder) -> None:
    for name, more in (
        ("DirectionPerception", {"Evaluation": "Is it so?", "Answer": "Yes"}),
        ("Deblurring", {}),
    ):
        put(folder / name / "input/0001.png", picture(1))
        edit = {
            "image": "0001.png",
            "ori_exp": f"do {name}",
            "div_exp": "otherwise",
            "type": "global",
            **more,
        }
        (folder / name / f"{name}.json").write_text(json.dumps({"1": edit}))
    (folder / "DirectionPerception/DirectionPerception_2nd.json").write_text("{}")
    put(folder / "Deblurring/gt/0001.png", picture(2, (80, 128)))


def spatialedit(folder) -> None:
    put(folder / "images/camera/room/Y_1.jpg", picture(1))
    put(folder / "images/camera/room/Y_1_gt.jpg", picture(2))
    put(folder / "images/move/dog.jpg", picture(3))
    edits = [
        {"image_path": "images/camera/room/Y_1.jpg", "image_id": "room", "edit_id": "Y_1", "type": "camera",
         "prompt": "Rotate the camera 45 degrees."},
        {"image_path": "images/move/dog.jpg", "image_id": "dog", "edit_id": "3", "type": "move",
         "prompt": "Move the dog into the red box.", "object": "dog", "bbox_gt": "[1, 2, 3, 4]"},
    ]  # fmt: skip
    (folder / "SpatialEdit_Bench_Meta_File.json").write_text(json.dumps(edits))


def portraits(folder) -> None:
    put(folder / "faces/1.png", picture(1))
    (folder / "portraits.csv").write_text("file,gender,licence\nfaces/1.png,woman,CC0-1.0\n")
    asked = {
        "languages": ["en", "vi"], "before": "a photo of a person",
        "attributes": {"age": {"young": ["a photo of a young person"], "old": ["a photo of an old person"]}},
        "instructions": [{"id": "hat", "kind": "clothes", "en": "put a hat on this person",
                          "vi": "đội mũ cho người này", "after": "a photo of a person with a hat"}],
    }  # fmt: skip
    (folder / "portraits.yaml").write_text(json.dumps(asked))


LAYOUTS = {
    "magicbrush": magicbrush, "emu_edit": emu_edit, "i2ebench": i2ebench, "spatialedit": spatialedit,
    "portraits": portraits,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, request):
    LAYOUTS[request.param](tmp_path)
    return tmp_path


def test_every_benchmark_has_a_layout_that_is_tried():
    assert LAYOUTS.keys() == READERS.keys()


@pytest.mark.parametrize(
    ("folder", "name", "wanted"),
    [
        ("magicbrush", "magicbrush", [
            ("7-1", "turn", "put a cat on the sofa", True, "a sofa", "a cat"),
            ("7-2", "turn", "make it black", True, "a cat", None)]),
        ("emu_edit", "emu_edit", [
            ("0-h0", "add", "edit 0", False, "a room", "a room, 0"),
            ("1-h1", "remove", "edit 1", False, "a room", "a room, 1"),
            ("2-h2", "style", "edit 2", False, "a room", "a room, 2")]),
        ("i2ebench", "i2ebench", [
            ("Deblurring-1", "Deblurring", "do Deblurring", True, None, None),
            ("DirectionPerception-1", "DirectionPerception", "do DirectionPerception", False, None, None)]),
        ("spatialedit", "spatialedit", [
            ("room/Y_1", "camera", "Rotate the camera 45 degrees.", True, None, None),
            ("dog/3", "move", "Move the dog into the red box.", False, None, None)]),
        ("portraits", "portraits", [
            (f"faces/1.png:hat:{language}", "clothes", text, False, "a photo of a person",
             "a photo of a person with a hat")
            for language, text in (("en", "put a hat on this person"), ("vi", "đội mũ cho người này"))]),
    ],
    indirect=["folder"],
)  # fmt: skip
def test_edits_are_those_of_the_folder(folder, name, wanted):
    found = list(edits(name, str(folder)))
    assert [
        (
            c.row["pair_id"],
            c.kind,
            c.text,
            c.truth is not None,
            c.row["original_prompt"],
            c.row["edited_prompt"],
        )
        for c in found
    ] == wanted
    assert all(c.before.shape == (40, 64, 3) and not c.judged for c in found)
    assert all(c.truth is None or c.truth.shape == c.before.shape for c in found)
    assert len({c.row["pair_id"] for c in found}) == len({c.seed for c in found}) == len(found)


@pytest.mark.parametrize("folder", ["magicbrush"], indirect=True)
def test_pictures_are_what_they_were_or_scaled_down(folder):
    first = next(edits("magicbrush", str(folder)))
    assert np.array_equal(first.before, picture(0)) and np.array_equal(first.truth, picture(1))
    small = next(edits("magicbrush", str(folder), side=32))
    assert small.before.shape == small.truth.shape == (20, 32, 3) and small.text == first.text
    assert np.array_equal(next(edits("magicbrush", str(folder), side=64)).before, first.before)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_that_is_something_else_is_one_line(tmp_path, name):
    with pytest.raises(BenchmarkError, match="is no folder"):
        list(edits(name, str(tmp_path / "nowhere")))
    with pytest.raises(BenchmarkError) as error:
        list(edits(name, str(tmp_path)))
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("folder", ["magicbrush"], indirect=True)
def test_a_picture_that_is_missing_or_broken_costs_its_edits_alone_and_other_keys_are_named(folder):
    (folder / "images/7/7-output2.png").write_bytes(b"no picture")
    why = [case.broken for case in edits("magicbrush", str(folder))]
    assert why == [None, "7-output2.png: not a whole picture file: of no kind that is known"]
    (folder / "images/7/7-output2.png").unlink()
    why = [case.broken for case in edits("magicbrush", str(folder), side=64)]
    assert why == [None, "7-output2.png cannot be read: No such file or directory"]
    (folder / "edit_sessions.json").write_text(json.dumps({"7": [{"in": "x"}]}))
    with pytest.raises(BenchmarkError, match="not laid out as magicbrush is: KeyError 'input'"):
        list(edits("magicbrush", str(folder)))

"""Every snippet of docs/consume.md runs as it stands there, only the places replaced: on a path, and on a real S3."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import duckdb
import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from ray_jobs.card import around
from ray_jobs.config_publish import Publish
from shards.card import CardText
from shards.dataset import Dataset
from shards.storage import Storage, open_storage
from shards.webdataset import export_webdataset
from tests.datasets_by_hand import finish, lay, lay_tables, manifest, outline, picture, put, row, rows
from tests.pages import PAGES, blocks, section

PAGE = PAGES["docs/consume.md"]
SECTIONS = {
    title.strip(): blocks(text, "python")
    for title, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", PAGE, re.MULTILINE)
    if blocks(text, "python")
}
SOURCES = get_args(get_args(get_args(Publish.model_fields["sources"].annotation)[0])[0])
ROWS = rows(photos=True)
TRAIN = [one for some in ROWS["train"].values() for one in some]
EVERYTHING = [one for sources in ROWS.values() for some in sources.values() for one in some]


def lay_whole(root: Storage) -> Dataset:
    """With card and description, as a publisher lays it."""
    storage = root.sub("v1.0.0")
    files = lay_tables(storage, photos=True)
    made = around(Dataset(storage, manifest(files)), CardText("Demo", licence="CC0-1.0", date="2026-11-26"))
    files += [put(storage, path, data) for path, data in made.items()]
    return finish(root, manifest(files))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A folder with datasets/demo/v1.0.0 and datasets/demo-tars in it."""
    base = tmp_path_factory.mktemp("consume")
    laid = lay_whole(open_storage(str(base / "datasets" / "demo")))
    export_webdataset(laid, open_storage(str(base / "datasets" / "demo-tars")), 20_000)
    return base


@pytest.fixture(scope="module")
def place(base, s3) -> str:
    """What stands for s3://bucket/demo/v1.0.0: the same files."""
    storage = open_storage(s3.uri("consume/demo/v1.0.0"))
    here = open_storage(str(base / "datasets" / "demo" / "v1.0.0"))
    for entry in here.list():
        storage.write(entry.key, here.read(entry.key))
    return storage.uri


@pytest.fixture(autouse=True)
def _here(base, monkeypatch) -> None:
    monkeypatch.chdir(base)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", base / "cache")


def run(title: str, number: int = 0, place: str = "") -> dict[str, Any]:
    """The names that a snippet leaves."""
    code = SECTIONS[title][number]
    assert ("s3://" in code) == bool(place)
    found: dict[str, Any] = {"__name__": "snippet"}
    exec(code.replace("s3://bucket/demo/v1.0.0", place), found)
    return found


def test_every_snippet_of_the_page_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    run_here = set(re.findall(r'\brun\("([^"]+)"(?:, (\d))?', source))
    there = {(title, str(n) if n else "") for title, some in SECTIONS.items() for n in range(len(some))}
    assert {(title, number.replace("0", "")) for title, number in run_here} == there


def test_the_snippet_of_the_readme_reads_a_dataset():
    (code,) = blocks(section(PAGES["README.md"], "A dataset of it"), "python")
    found: dict[str, Any] = {}
    exec(code, found)
    pair = found["pair"]
    assert isinstance(pair["original_image"], Image.Image) and pair["edit_prompt"] == TRAIN[0]["edit_prompt"]


def test_datasets(capsys):
    found = run("Hugging Face datasets")
    assert len(found["pairs"]) == len(TRAIN)
    assert [pair["edit_kind"] for pair in found["moves"]] == ["move"] * 3
    assert capsys.readouterr().out.strip().endswith("(48, 32)")


def test_datasets_streams():
    first = run("Hugging Face datasets", 1)["first"]
    (one,) = [one for one in TRAIN if one["pair_id"] == first["pair_id"]]
    assert first["edit_prompt"] == one["edit_prompt"]
    assert first["original_image"].size == (48, 32)


def test_datasets_streams_from_s3(place):
    stream = list(run("Hugging Face datasets, streamed from S3", place=place)["stream"])
    assert [pair["pair_id"] for pair in stream] == [one["pair_id"] for one in TRAIN]
    assert np.array_equal(np.asarray(stream[0]["original_image"]), picture(0))


def test_pandas(place):
    found = run("pandas")["index"]
    assert len(found) == len(EVERYTHING) and list(found.columns) == ["edit_kind", "language", "file"]
    vietnamese = run("pandas", 1, place=place)["index"]
    assert set(vietnamese["pair_id"]) == {one["pair_id"] for one in EVERYTHING if one["language"] == "vi"}


def test_polars(place):
    left = run("Polars", place=place)["left"].collect()
    expected = [one["pair_id"] for one in TRAIN if one["instructions"][0]["direction"] == "left"]
    assert expected and left["pair_id"].to_list() == expected


def test_duckdb(capsys):
    run("DuckDB")
    found = ast.literal_eval(capsys.readouterr().out)
    assert sum(line[2] for line in found) == len(EVERYTHING)
    assert {line[0] for line in found} == {"move", "place", "add", "recolor"}


def test_duckdb_over_s3(place):
    found = dict(run("DuckDB", 1, place=place)["found"])
    kinds = [one["edit_kind"] for one in EVERYTHING]
    assert found == {kind: kinds.count(kind) for kind in set(kinds)}


def test_one_picture():
    found = run("One picture out of many")
    (first, _) = ROWS["test"]["blender"]
    assert np.array_equal(np.asarray(found["picture"]), picture(first["seed"] + 1))


@pytest.mark.usefixtures("cluster")
def test_ray_data(place):
    moves = run("Ray Data", place=place)["moves"].take_all()
    expected = {one["pair_id"]: one["edited_image"] for one in EVERYTHING if one["edit_kind"] == "move"}
    assert {one["pair_id"]: one["edited_image"] for one in moves} == expected


def test_torch_from_tars():
    found = run("PyTorch, from tar files")
    assert found["before"].shape == found["after"].shape == (4, 3, 256, 256)
    every = sorted(words for _, _, words in found["pairs"])  # whatever files its pictures are in
    assert every == sorted(one["edit_prompt"] for one in TRAIN) and set(found["prompts"]) <= set(every)
    assert 0 <= found["before"].min() < found["before"].max() <= 1


def test_what_a_training_script_makes_of_rows():
    batch = run("The InstructPix2Pix example of diffusers")["batch"]
    assert batch["original_image"].shape == batch["edited_image"].shape == (4, 3, 256, 256)
    assert batch["edit_prompt"] == [one["edit_prompt"] for one in TRAIN[:4]]
    expected = np.asarray(Image.fromarray(picture(0)).resize((256, 256))).transpose(2, 0, 1) / 127.5 - 1
    assert np.allclose(batch["original_image"][0].numpy(), expected, atol=1e-6)


def test_columns_are_what_that_script_takes():
    """Its own steps: both pictures of all rows in one array, scaled to -1..1, parted again."""
    pairs = load_dataset("datasets/demo/v1.0.0", split="train")
    rows = pairs[:3]
    for name in ("original_image", "edited_image"):
        assert all(isinstance(found, Image.Image) for found in rows[name])
    assert all(isinstance(text, str) for text in rows["edit_prompt"])
    arrays = [
        np.stack([np.array(found.convert("RGB").resize((64, 64))).transpose(2, 0, 1) for found in rows[name]])
        for name in ("original_image", "edited_image")
    ]
    both = 2 * (np.concatenate(arrays) / 255) - 1
    original, edited = both.reshape(2, 3, 3, 64, 64)
    assert both.min() >= -1 and both.max() <= 1 and not np.array_equal(original, edited)


def test_masks(capsys):
    found = run("Masks")
    (first, _) = ROWS["test"]["blender"]
    assert np.array_equal(found["shape"], outline(first["seed"]))
    assert found["thing"]["name"] == row(first["seed"], "blender", "test")["objects_before"][0]["name"]


def test_the_manifest_finds_a_changed_file(tmp_path, monkeypatch):
    run("Is it whole?")
    lay(open_storage(str(tmp_path / "datasets" / "demo"))).storage.write("index/test.parquet", b"other")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"index/test\.parquet"):
        run("Is it whole?")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*", "ignore:The inplace keyword")
def test_croissant(capsys):
    run("Is it whole?", 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.endswith("(48, 32)") for line in lines)


def test_sources_are_named_as_they_are_in_the_data():
    found = duckdb.sql("SELECT DISTINCT source FROM 'datasets/demo/v1.0.0/data/*/*.parquet'").fetchall()
    (sentence,) = re.findall(r"`source` is how pairs were made: ([^.]+)\.", PAGE)
    named = set(re.findall(r"`(\w+)`", sentence))
    assert {source for (source,) in found} == named == set(SOURCES)

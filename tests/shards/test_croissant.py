"""croissant.json is held against MLCommons' own reader: it validates without a word, and gives the rows."""

from __future__ import annotations

import json
import logging

import mlcroissant
import pytest

from shards.card import CardText
from shards.croissant import describe
from shards.dataset import Dataset
from shards.schema import PUBLISHED
from shards.storage import open_storage
from tests.datasets_by_hand import HOSTILE, lay, rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*", "ignore:The inplace keyword")

ABOUT = CardText(
    title=HOSTILE[0], summary=HOSTILE[5], licence="CC0-1.0 AND my terms", date="2026-11-26", authors=("A. B.",),
    homepage="https://example.org/demo",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    found = lay(open_storage(str(tmp_path_factory.mktemp("croissant") / "demo")), name="a demo/<b>")
    found.storage.write("croissant.json", describe(found.manifest, ABOUT))
    return found


@pytest.fixture
def opened(dataset, caplog) -> mlcroissant.Dataset:
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=f"{dataset.storage.uri}/croissant.json")
        assert caplog.messages == []
    return found


def test_it_validates_without_errors_or_warnings(opened):
    issues = opened.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert (
        opened.metadata.conforms_to == ["http://mlcommons.org/croissant/1.1"] or opened.metadata.ctx.is_v1_1()
    )
    assert opened.metadata.license == ["https://spdx.org/licenses/CC0-1.0.html", "my terms"]


def test_without_a_date_only_the_date_is_missed(dataset):
    values = json.loads(describe(dataset.manifest, CardText("Demo", licence="MIT")))
    warnings = mlcroissant.Dataset(jsonld=values).metadata.ctx.issues.warnings
    assert len(warnings) == 1 and "datePublished" in next(iter(warnings))


def test_records_are_the_rows_with_their_pictures_and_splits(opened, caplog):
    with caplog.at_level(logging.WARNING):
        found = {record["default/pair_id"].decode(): record for record in opened.records("default")}
        assert caplog.messages == []
    expected = {
        one["pair_id"]: (split, one)
        for split, sources in rows().items()
        for some in sources.values()
        for one in some
    }
    assert found.keys() == expected.keys()
    for pair_id, (split, one) in expected.items():
        record = found[pair_id]
        assert record["default/split"].decode() == split
        assert record["default/original_image"].size == (one["width"], one["height"])
        assert record["default/edit_prompt"].decode() == one["edit_prompt"]
        assert record["default/instructions"][0]["default/instructions/kind"].decode() == one["edit_kind"]
        assert record["default/scores"]["default/scores/clip_image"] == pytest.approx(
            one["scores"]["clip_image"]
        )
    fields = {field.name for field in opened.metadata.record_sets[1].fields}
    assert fields == {*PUBLISHED.names, "split"}


def test_files_have_their_hashes(dataset):
    values = json.loads(dataset.storage.read("croissant.json"))
    hashes = {file["contentUrl"]: file["sha256"] for file in values["distribution"] if "sha256" in file}
    wanted = {file.path: file.sha256 for file in dataset.manifest.files if file.path.endswith(".parquet")}
    assert hashes == wanted and len(hashes) == 8


def test_it_says_the_same_each_time_and_no_place(dataset):
    text = describe(dataset.manifest, ABOUT)
    assert text == describe(dataset.manifest, ABOUT)
    assert dataset.storage.uri.encode() not in text

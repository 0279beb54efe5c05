"""Figures of a dataset are those that one counts by hand, whatever the batches, and no picture is opened for them."""

from __future__ import annotations

from collections import Counter

import pytest

from shards import statistics, tables
from shards.dataset import Dataset
from shards.images import decode
from shards.schema import INDEX
from shards.statistics import OTHERS, Histogram, count
from shards.storage import StorageError, open_storage
from shards.tables import from_rows, read_batches, read_row_group, read_table, write_table
from tests.datasets_by_hand import SOURCES, lay, manifest, picture, put, rows


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return lay(open_storage(str(tmp_path / "demo")))


def everything():
    return [(split, one) for split, sources in rows().items() for some in sources.values() for one in some]


def test_figures_are_those_counted_by_hand(dataset):
    found = count(dataset)
    pairs = everything()
    assert found.rows == len(pairs) == 17
    by_hand = Counter((split, one["source"], one["edit_kind"], one["language"]) for split, one in pairs)
    assert found.by("split", "source", "kind", "language") == dict(by_hand)
    assert [cell.split for cell in found.cells] == sorted(
        (cell.split for cell in found.cells), key=["train", "validation", "test"].index
    )
    assert found.scenes == {
        split: len({one["scene_id"] for of, one in pairs if of == split})
        for split in ("train", "validation", "test")
    }
    steps = [step for _, one in pairs for step in one["instructions"]]
    assert found.directions == dict(
        Counter(step["direction"] for step in steps if step["direction"]).most_common()
    )
    assert found.regions == dict(Counter(step["region"] for step in steps if step["region"]))
    assert found.relations == {}
    rendered = [one for _, one in pairs if one["operations"]]
    touched = [one["objects_before"][0] for one in rendered]  # "ball-1" in every edit; "chair-1" in none
    assert found.nouns == dict(Counter(thing["name"] for thing in touched))
    assert found.colours == dict(Counter(thing["color"] for thing in touched))
    assert found.sizes == {(48, 32): 17}
    assert found.image_bytes == sum(one["image_bytes"] for _, one in pairs)
    assert found.licences == dict(Counter(one["license"] for _, one in pairs))
    assert found.object_licences == {"Apache-2.0": len(rendered), "CC-BY-4.0": len(rendered)}
    assert found.inverses == sum(one["inverse_of"] is not None for _, one in pairs) == 4
    amounts = [one["operations"][0]["amount"] for one in rendered if one["operations"][0]["unit"]]
    assert {unit: bins.total for unit, bins in found.amounts.items()} == {"percent_width": len(amounts)}
    centres = [one["scores"]["centre_error"] for one in rendered]
    assert found.scores["centre_error"].total == len(centres)
    assert found.scores["centre_error"].quantile(0.5) == pytest.approx(
        sorted(centres)[len(centres) // 2], abs=0.001
    )
    assert found.scores["clip_image"].total == 17
    assert "degree_error" not in found.scores


def test_what_pairs_are_made_of_is_counted(dataset):
    origins = {(origin.sort, origin.name): (origin.licence, origin.rows) for origin in count(dataset).origins}
    assert origins["asset", "<b>chair</b>|"] == ("CC-BY-4.0", 12)
    assert origins["light", "environment maps"] == ("CC0-1.0", 12)
    assert origins["captions", "coco"] == ("", 5)
    assert origins["model", "ViT-L-14/openai"] == ("", 5)


def test_batches_and_row_groups_change_nothing(dataset, tmp_path, monkeypatch):
    whole = count(dataset)
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 3000)
    cut = lay(open_storage(str(tmp_path / "cut")))
    monkeypatch.setattr(statistics, "_BATCH", 2)
    assert count(cut) == whole
    assert len(list(read_batches(cut.storage, "index/train.parquet", ["pair_id"]))) > 3


def test_objects_that_come_and_go_are_counted_where_they_are(tmp_path):
    storage = open_storage(str(tmp_path))
    cup, cat, box = ({"id": f"{name}-1", "name": name, "color": "red"} for name in ("cup", "cat", "box"))
    some = [
        {
            "objects_before": [cup, box],
            "objects_after": [box],
            "operations": [{"subject": "cup-1", "objects": ["cup-1"]}],
        },
        {
            "objects_before": [box],
            "objects_after": [box, cat],
            "operations": [{"subject": None, "objects": ["cat-1"]}],
        },
        {
            "objects_before": [box],
            "objects_after": [box | {"color": "blue"}],
            "operations": [{"subject": "box-1"}],
        },
        {
            "objects_before": [box],
            "objects_after": [box],
            "operations": [{"subject": "cup-1"}],
        },  # of another row
    ]
    rows_of = [one | {"pair_id": str(number)} for number, one in enumerate(some)]
    file = put(storage, "index/train.parquet", write_table(from_rows(rows_of, INDEX), {}), 4, "train")
    found = count(Dataset(storage, manifest([file])))
    assert found.nouns == {"box": 1, "cat": 1, "cup": 1}
    assert found.colours == {"red": 3}


def test_nothing_but_the_index_is_read(dataset):
    for file in dataset.files("data"):
        dataset.storage.delete(file.path)
    assert count(dataset).rows == 17


def test_rows_that_say_nothing_are_counted_as_unknown(tmp_path):
    storage = open_storage(str(tmp_path))
    empty = {"pair_id": "a", "provenance": {"kind": "manual", "details": "not JSON"}}
    file = put(storage, "index/train.parquet", write_table(from_rows([empty], INDEX), {}), 1, "train")
    found = count(Dataset(storage, manifest([file])))
    assert found.by("source", "kind", "language") == {("unknown", "unknown", "unknown"): 1}
    assert (found.nouns, found.amounts, found.scores, found.origins) == ({}, {}, {}, ())
    assert found.sizes == {(0, 0): 1}


def test_names_without_end_are_summed_up(tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_NAMES", 2)
    storage = open_storage(str(tmp_path))
    some = [{"pair_id": str(n), "license": f"L{n % 5}"} for n in range(20)]
    file = put(storage, "index/train.parquet", write_table(from_rows(some, INDEX), {}), 20, "train")
    assert count(Dataset(storage, manifest([file]))).licences == {OTHERS: 12, "L0": 4, "L1": 4}


def test_a_damaged_index_is_an_error_that_names_it(dataset):
    dataset.storage.write("index/test.parquet", b"PAR1 and nothing")
    with pytest.raises(StorageError, match=r"index/test\.parquet"):
        count(dataset)


def test_quantiles_of_a_histogram():
    even = Histogram(0.0, 1.0, (10, 10, 10, 10))
    assert [even.quantile(share) for share in (0.0, 0.25, 0.5, 0.625, 1.0)] == [0.0, 0.25, 0.5, 0.625, 1.0]
    assert Histogram(0.0, 1.0, (0, 0)).quantile(0.5) is None
    outside = Histogram(0.0, 1.0, (0, 2), below=4, above=4)
    assert outside.total == 10
    assert [outside.quantile(share) for share in (0.1, 0.5, 0.9)] == [0.0, 0.75, 1.0]


def test_values_at_the_ends_of_the_range_are_inside(tmp_path):
    storage = open_storage(str(tmp_path))
    values = [0.0, 1.0, -0.1, 1.1, float("nan"), None]
    some = [{"pair_id": str(n), "scores": {"clip_image": value}} for n, value in enumerate(values)]
    file = put(storage, "index/train.parquet", write_table(from_rows(some, INDEX), {}), len(some), "train")
    found = count(Dataset(storage, manifest([file]))).scores["clip_image"]
    assert (found.counts[0], found.counts[-1], found.below, found.above, found.total) == (1, 1, 1, 1, 4)


def test_a_row_is_read_by_where_its_index_says_it_lies(dataset):
    (entry,) = read_table(
        dataset.storage, "index/test.parquet", ["file", "row_group", "row", "pair_id"]
    ).to_pylist()[1:]
    where = (entry["file"], entry["row_group"], [entry["row"]])
    (found,) = read_row_group(dataset.storage, *where, ["pair_id", "original_image"]).to_pylist()
    assert found["pair_id"] == entry["pair_id"]
    assert (decode(found["original_image"]) == picture(int(entry["pair_id"][-7:]))).all()
    assert SOURCES["blender"] == "png"  # or else these pixels were not kept exactly
    for group, place in ((0, 2), (1, 0), (0, -1)):
        with pytest.raises(IndexError, match=r"test-00000-of-00001\.parquet has"):
            read_row_group(dataset.storage, entry["file"], group, [place])

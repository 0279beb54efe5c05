"""The export is read by `webdataset` itself; it is the same bytes each time, and all there or not there."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile

import numpy as np
import pytest
import webdataset

from shards.dataset import Dataset
from shards.images import decode
from shards.schema import PUBLISHED
from shards.storage import StorageError, open_storage
from shards.tables import from_rows, write_table
from shards.webdataset import INDEX_FILE, export_webdataset
from tests.datasets_by_hand import finish, lay, manifest, picture, put, row, rows

SMALL = 12_000  # bytes: a few pairs a tar


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return lay(open_storage(str(tmp_path / "demo")))


def content(storage) -> dict[str, bytes]:
    return {entry.key: storage.read(entry.key) for entry in storage.list()}


def test_webdataset_streams_pictures_and_all_small_columns(dataset, tmp_path):
    out = open_storage(str(tmp_path / "tars"))
    export = export_webdataset(dataset, out, SMALL)
    assert export.counts == {"train": 12, "validation": 3, "test": 2}
    for split, sources in rows().items():
        expected = {one["pair_id"]: one for some in sources.values() for one in some}
        tars = [f"{out.uri}/{tar.path}" for tar in export.tars if tar.split == split]
        stream = webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8")
        found = {sample["__key__"]: sample for sample in stream}
        assert found.keys() == expected.keys()
        for key, sample in found.items():
            suffix = "png" if key.startswith("blender") else "jpg"
            assert {f"before.{suffix}", f"after.{suffix}", "json"} <= sample.keys()
            small = sample["json"]
            assert list(small) == [name for name in PUBLISHED.names if not name.endswith("_image")]
            assert small["edit_prompt"] == expected[key]["edit_prompt"]
            assert small["inverse_of"] == expected[key]["inverse_of"]
            if suffix == "png":
                assert np.array_equal(sample["before.png"], picture(expected[key]["seed"]))
                assert small["objects_before"][0]["mask"]["size"] == [32, 48]


def test_pictures_are_the_very_bytes_of_the_dataset(dataset, tmp_path):
    out = open_storage(str(tmp_path / "tars"))
    export_webdataset(dataset, out)
    (pair,) = rows()["validation"]["p2p"]
    with tarfile.open(fileobj=io.BytesIO(out.read("validation-00000.tar"))) as tar:
        member = tar.extractfile(f"{pair['pair_id']}.after.jpg")
        assert member is not None and member.read() == pair["edited_image"]["bytes"]


def test_tars_are_the_same_each_time_and_the_index_names_their_hashes(dataset, tmp_path):
    first, second = (open_storage(str(tmp_path / name)) for name in ("one", "two"))
    export_webdataset(dataset, first, SMALL)
    export_webdataset(dataset, second, SMALL)
    assert content(first) == content(second)
    index = json.loads(first.read(INDEX_FILE))
    assert {tar["path"] for tar in index["tars"]} == set(content(first)) - {INDEX_FILE}
    for tar in index["tars"]:
        data = first.read(tar["path"])
        assert (tar["bytes"], tar["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            members = opened.getmembers()
        assert tar["rows"] * 3 == len(members)
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
        assert not any("." in member.name.split(".", 1)[0] or "/" in member.name for member in members)
    assert index["manifest_sha256"] == dataset.manifest.sha256
    sizes = [tar["bytes"] for tar in index["tars"] if tar["split"] == "train"]
    assert len(sizes) > 2 and max(sizes) < 3 * SMALL


def test_an_export_that_was_stopped_is_made_again_without_what_it_left(dataset, tmp_path):
    out, clean = (open_storage(str(tmp_path / name)) for name in ("tars", "clean"))
    export_webdataset(dataset, out, 1)  # a pair a tar
    out.delete(INDEX_FILE)
    out.write("notes.txt", b"mine")
    export_webdataset(dataset, out, SMALL)
    export_webdataset(dataset, clean, SMALL)
    assert content(out) == content(clean) | {"notes.txt": b"mine"}


def test_an_export_that_is_there_is_left_alone(dataset, tmp_path, monkeypatch):
    out = open_storage(str(tmp_path / "tars"))
    export = export_webdataset(dataset, out, SMALL)
    monkeypatch.setattr(type(out), "write", lambda *_: pytest.fail("nothing is to be written"))
    assert export_webdataset(dataset, out, SMALL) == export


@pytest.mark.parametrize("place", ["other", "size", "index", "version", "dataset"])
def test_places_that_hold_something_else_are_refused(place, dataset, tmp_path):
    out = open_storage(str(tmp_path / "tars"))
    if place == "other":
        export_webdataset(lay(open_storage(str(tmp_path / "other")), "2.0.0"), out, SMALL)
    elif place == "size":
        export_webdataset(dataset, out, SMALL + 1)
    elif place == "index":
        out.write(INDEX_FILE, b"{}")
    else:
        out = open_storage(str(tmp_path / "demo")) if place == "dataset" else dataset.storage.sub("tars")
    before = content(out)
    with pytest.raises(StorageError, match="choose another place") as error:
        export_webdataset(dataset, out, SMALL)
    assert error.value.reason == "other_content"
    assert content(out) == before


def test_ids_that_are_no_names_of_files_stay_apart(tmp_path):
    root = open_storage(str(tmp_path / "odd"))
    storage = root.sub("v1.0.0")
    ids = ["a.b", "a%2Eb", "a/b", "../x", "ä b"]
    some = [row(number, "blender", "train") | {"pair_id": id} for number, id in enumerate(ids)]
    some[0]["scores"] = {"clip_image": math.nan, "holds": math.inf}
    path = "data/blender/train-00000-of-00001.parquet"
    file = put(storage, path, write_table(from_rows(some, PUBLISHED), {}), len(some), "train", "blender")
    out = open_storage(str(tmp_path / "tars"))
    export_webdataset(finish(root, manifest([file])), out)
    stream = list(webdataset.WebDataset([f"{out.uri}/train-00000.tar"], shardshuffle=False).decode())
    assert [sample["json"]["pair_id"] for sample in stream] == ids
    assert all({"before.png", "after.png"} <= sample.keys() for sample in stream)
    assert stream[0]["json"]["scores"]["clip_image"] is None


@pytest.mark.parametrize("damage", ["file", "picture"])
def test_damaged_data_stop_the_export_before_it_exists(damage, tmp_path):
    root = open_storage(str(tmp_path / "demo"))
    storage = root.sub("v1.0.0")
    some = [row(number, "blender", "train") for number in range(3)]
    some[2]["edited_image"] = None
    path = "data/blender/train-00000-of-00001.parquet"
    data = b"PAR1" if damage == "file" else write_table(from_rows(some, PUBLISHED), {})
    dataset = finish(root, manifest([put(storage, path, data, 3, "train", "blender")]))
    out = open_storage(str(tmp_path / "tars"))
    with pytest.raises(StorageError) as error:
        export_webdataset(dataset, out)
    assert error.value.reason == "corrupt"
    assert not out.exists(INDEX_FILE)


def test_it_goes_to_s3_and_comes_from_there(s3, dataset):
    source = lay(open_storage(s3.uri("webdataset/demo")))
    out = open_storage(s3.uri("webdataset/tars"))
    export = export_webdataset(source, out, SMALL)
    assert export.counts == {"train": 12, "validation": 3, "test": 2}
    tars = [tar for tar in export.tars if tar.split == "test"]
    with tarfile.open(fileobj=io.BytesIO(out.read(tars[0].path))) as tar:
        names = tar.getnames()
        first = tar.extractfile(names[0])
        assert first is not None and decode(first.read()).shape == (32, 48, 3)

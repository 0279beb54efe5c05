"""Captions are read from the files that people have, with their terms, and bad files are told apart."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.captions import read_captions
from generators.files import SourceError


def texts(kind, path, **more):
    return [caption.text for caption in read_captions(kind, str(path), **more)]


def test_laion_metadata_keeps_what_is_beautiful_and_says_where_it_is_from(tmp_path):
    table = pa.table(
        {
            "URL": ["http://a/1.jpg", "http://a/2.jpg", "http://a/3.jpg", "http://a/4.jpg"],
            "TEXT": ["a lake at dawn", "blurry", None, "a red door"],
            "AESTHETIC_SCORE": [6.5, 6.4, 9.0, 7.1],
        }
    )
    pq.write_table(table, tmp_path / "part-0.parquet")
    found = list(read_captions("laion", str(tmp_path)))
    assert [caption.text for caption in found] == ["a lake at dawn", "a red door"]
    assert found[0].provenance["url"] == "http://a/1.jpg" and "CC-BY-4.0" in found[0].license


def test_parquet_without_the_columns_of_laion_is_told_by_name(tmp_path):
    pq.write_table(pa.table({"TEXT": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no column URL, AESTHETIC_SCORE"):
        texts("laion", tmp_path / "a.parquet")


def test_coco_captions_come_with_the_licence_of_their_picture(tmp_path):
    values = {
        "licenses": [{"id": 4, "name": "Attribution License"}],
        "images": [{"id": 9, "license": 4}],
        "annotations": [{"image_id": 9, "caption": "A dog on a sofa."}, {"image_id": 9, "caption": None}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(values))
    (found,) = read_captions("coco", str(tmp_path / "captions.json"))
    assert found.text == "A dog on a sofa."
    assert found.provenance == {"source": "coco", "image_id": 9, "image_license": "Attribution License"}


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"annotations": 3}', '"text"'])
def test_json_that_is_no_coco_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(SourceError, match="is no COCO captions file"):
        texts("coco", tmp_path / "c.json")


def test_narratives_and_lines_of_ones_own_skip_what_is_broken(tmp_path):
    lines = [
        '{"image_id": "a", "caption": "In this image"}',
        "{broken",
        "",
        "[1]",
        '{"caption": 3}',
        "[" * 5000,
    ]
    (tmp_path / "n.jsonl").write_text("\n".join(lines))
    assert texts("open_images", tmp_path / "n.jsonl") == ["In this image"]
    assert texts("manual", tmp_path / "n.jsonl") == ["In this image"]
    (tmp_path / "bad.jsonl").write_text("not json\nat all\n")
    with pytest.raises(SourceError, match="no line that is a JSON object"):
        texts("manual", tmp_path / "bad.jsonl")


def test_tables_of_ones_own_find_their_column_or_are_told_it(tmp_path):
    (tmp_path / "a.csv").write_bytes('﻿text,license\na red mug,CC0\n"a, b",\n\0bad\n'.encode())
    found = list(read_captions("manual", str(tmp_path / "a.csv")))
    assert [caption.text for caption in found][:2] == ["a red mug", "a, b"]
    assert found[0].license == "CC0" and found[0].provenance["row"] == 0
    pq.write_table(pa.table({"alt": ["a tree"], "n": [1]}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="only alt, n; name the captions' column"):
        texts("manual", tmp_path / "b.parquet")
    assert texts("manual", tmp_path / "b.parquet", column="alt") == ["a tree"]
    for lines, match in ((9, "has no row with the column caption or"), (200, "only alt; name the captions'")):
        (tmp_path / "d.jsonl").write_text('{"alt": "a tree"}\n' * lines)
        with pytest.raises(SourceError, match=match):
            texts("manual", tmp_path / "d.jsonl")
    assert next(read_captions("manual", str(tmp_path / "a.csv"), license="mine")).license == "mine"


def test_what_is_not_there_and_what_is_no_source_are_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        texts("manual", tmp_path / "none.jsonl")
    with pytest.raises(SourceError, match="not one of laion, coco"):
        texts("flickr", tmp_path)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        texts("laion", tmp_path / "c.parquet")

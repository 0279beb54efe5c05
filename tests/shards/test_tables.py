"""The tables are read with other people's readers: the Hub's, DuckDB's, COCO's."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shards import schema, tables
from shards.images import decode, encode, mask_to_rle, perceptual_hash, pixel_sha256, rle_to_mask
from shards.storage import NotFound, Storage, StorageError, open_storage
from shards.tables import from_rows, read_footer, read_rows, read_table, write_table

SCHEMAS = {"pairs": schema.PAIRS, "scores": schema.SCORES, "verdicts": schema.VERDICTS, "edits": schema.EDITS}


def picture(seed: int, size: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (size, size + 8, 3), dtype=np.uint8)


def pair(number: int, size: int = 32) -> dict[str, Any]:
    before, after = picture(number, size), picture(number + 1000, size)
    thing = {
        "id": "ball-1",
        "name": "ball",
        "box": [1.0, 2.0, 3.5, 4.0],
        "area": 7,
        "visible_fraction": 0.5,
        "mask": mask_to_rle(before[..., 0] > 128),
        "pose": {"position": [0.0, 1.0, 2.0], "quaternion": [1.0, 0.0, 0.0, 0.0], "size": [1.0, 1.0, 1.0]},
        "licence": "CC0-1.0",
    }
    said = {"kind": "move", "subject": "the red ball", "direction": "left", "amount": 10.0}
    return {
        "original_image": encode(before, name=f"{number}-before"),
        "edited_image": encode(after, "webp"),
        "edit_prompt": "di chuyển quả bóng đỏ sang trái 10%",
        "pair_id": f"pair-{number}",
        "instructions": [said | {"unit": "percent_width"}, {"kind": "remove", "subject": "the cube"}],
        "operations": [{"kind": "remove", "subject": "cube-1", "objects": ["cube-1"]}],
        "objects_before": [thing],
        "objects_after": [],
        "camera_before": {"fx": 50.0, "world_to_camera": np.eye(4).tolist()},
        "width": size + 8,
        "height": size,
        "scores": {"centre_error": 0.25, "clip_image": None},
        "seed": 2**63 - 1,
    }


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_hub_understands_every_schema(name: str) -> None:
    described = json.loads(SCHEMAS[name].metadata[b"huggingface"])["info"]["features"]
    features = datasets.Features.from_dict(described)
    assert features.arrow_schema.remove_metadata() == SCHEMAS[name].remove_metadata()


def test_pairs_start_with_the_columns_that_public_readers_expect() -> None:
    names = ["original_image", "edited_image", "original_prompt", "edit_prompt", "edited_prompt"]
    assert schema.PAIRS.names[:5] == names


def test_load_dataset_decodes_the_pictures(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.write("part-1.parquet", write_table(from_rows([pair(1), pair(2)], schema.PAIRS), {"a": "b"}))
    failed = [{"pair_id": "pair-3", "verdict": "failed", "reason": "blender_crashed"}]
    storage.write("part-2.parquet", write_table(from_rows(failed, schema.PAIRS), {"a": "c"}))
    files = str(tmp_path / "*.parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert np.array_equal(np.asarray(loaded[1]["original_image"]), picture(2))
    assert np.array_equal(np.asarray(loaded[1]["edited_image"]), picture(1002))
    assert loaded[2]["original_image"] is None
    assert loaded[0]["instructions"][1]["subject"] == "the cube"
    assert loaded[0]["camera_after"] is None or loaded[0]["camera_after"]["fx"] is None
    streamed = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    assert np.array_equal(np.asarray(next(iter(streamed))["original_image"]), picture(1))


def test_duckdb_reads_columns_structs_and_pictures(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    path.write_bytes(write_table(from_rows([pair(1)], schema.PAIRS), {}))
    query = (
        "select original_image.bytes, instructions[1].subject, objects_before[1].mask.counts, seed, "
        f"camera_before.world_to_camera[2][2], scores.clip_image from '{path}'"
    )
    data, subject, counts, seed, one, missing = duckdb.sql(query).fetchall()[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture(1))
    mask = rle_to_mask({"size": [32, 40], "counts": counts})
    assert np.array_equal(mask, picture(1)[..., 0] > 128)
    assert (subject, seed, one, missing) == ("the red ball", 2**63 - 1, 1.0, None)


def test_what_was_written_is_read_with_its_footer(storage: Storage) -> None:
    table = from_rows([pair(i) for i in range(5)], schema.PAIRS)
    storage.write("a.parquet", write_table(table, {"counts": '{"quả": 1}'}))
    assert read_footer(storage, "a.parquet") == {"counts": '{"quả": 1}'}
    read = read_table(storage, "a.parquet")
    assert read.equals(table)
    assert read.schema.metadata == schema.PAIRS.metadata
    some = read_table(storage, "a.parquet", ["pair_id", "scores.centre_error"])
    assert some.to_pylist()[0] == {"pair_id": "pair-0", "scores": {"centre_error": 0.25}}


def test_single_rows_are_read_without_the_others(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 30_000)
    table = from_rows([pair(number) for number in range(8)], schema.PAIRS)
    storage.write("some.parquet", write_table(table, {}))
    groups: list[int] = []
    read_group = pq.ParquetFile.read_row_group

    def reading(file: pq.ParquetFile, group: int, **options: Any) -> pa.Table:
        groups.append(group)
        return read_group(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", reading)
    found = read_rows(storage, "some.parquet", [1, 6], ["pair_id", "original_image"])
    assert sorted(found.column_names) == ["original_image", "pair_id"]
    assert found["pair_id"].to_pylist() == ["pair-1", "pair-6"]
    assert found.slice(1)["original_image"].to_pylist()[0] == pair(6)["original_image"]
    with pq.ParquetFile(storage.open("some.parquet")) as file:
        assert len(groups) == 2 < file.num_row_groups
    with pytest.raises(IndexError, match="has 8 rows"):
        read_rows(storage, "some.parquet", [8])


names = st.text(max_size=5) | st.none()
numbers = st.floats(allow_nan=False) | st.none()
rows = st.lists(
    st.fixed_dictionaries(
        {
            "pair_id": names,
            "seed": st.integers(-(2**63), 2**63 - 1) | st.none(),
            "operations": st.none()
            | st.lists(
                st.fixed_dictionaries(
                    {"kind": names, "amount": numbers, "objects": st.none() | st.lists(names, max_size=2)}
                ),
                max_size=2,
            ),
            "camera_after": st.none() | st.fixed_dictionaries({"fx": numbers}),
            "original_image": st.none() | st.fixed_dictionaries({"bytes": st.binary(), "path": names}),
        }
    ),
    max_size=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(rows)
def test_any_rows_survive(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    table = from_rows(rows, schema.PAIRS)
    assert pq.read_table(io.BytesIO(write_table(table, {}))).equals(table)


def test_pictures_are_stored_as_they_are_and_row_groups_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    table = from_rows([pair(i, size=64) for i in range(12)], schema.PAIRS)
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", table.nbytes // 3)
    data = write_table(table, {})
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.read().equals(table)
    assert file.num_row_groups > 2
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    by_name = {column.path_in_schema: column for column in columns}
    for name in ("original_image.bytes", "edited_image.bytes"):
        assert by_name[name].compression == "UNCOMPRESSED"
        assert not by_name[name].has_dictionary_page
        assert not by_name[name].is_stats_set
    assert by_name["pair_id"].compression == "ZSTD"
    assert by_name["pair_id"].has_offset_index
    assert by_name["pair_id"].statistics.max == "pair-2"
    for group in range(file.num_row_groups):
        assert file.read_row_group(group).nbytes <= tables.ROW_GROUP_BYTES


def test_rotten_bits_and_torn_files_are_found(storage: Storage) -> None:
    data = bytearray(write_table(from_rows([pair(1)], schema.PAIRS), {}))
    storage.write("torn.parquet", bytes(data[: len(data) // 2]))
    data[len(data) // 4] ^= 1
    storage.write("rotten.parquet", bytes(data))
    for key in ("torn.parquet", "rotten.parquet"):
        with pytest.raises(StorageError, match=key) as caught:
            read_table(storage, key)
        assert caught.value.reason == "corrupt"
    with pytest.raises(NotFound):
        read_table(storage, "none.parquet")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"pair": "a"}, "pair"),
        ({"scores": {"centre": 1.0}}, "scores.centre"),
        ({"objects_after": [{"mask": {"count": "x"}}]}, "objects_after.mask.count"),
    ],
)
def test_a_field_that_no_table_has_is_refused(row: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} is no field"):
        from_rows([row], schema.PAIRS)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_masks_survive(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = mask_to_rle(mask)
    assert rle["size"] == [height, width]
    assert isinstance(rle["counts"], str)
    assert np.array_equal(rle_to_mask(rle), mask)


@pytest.mark.parametrize("format", ["png", "webp"])
def test_lossless_pictures_keep_every_bit(format: Any) -> None:
    encoded = encode(picture(1), format, name="a")
    assert encoded["path"] == f"a.{format}"
    assert Image.open(io.BytesIO(encoded["bytes"])).format == format.upper()
    assert np.array_equal(decode(encoded), picture(1))


def test_jpeg_is_close() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (64, 64, 3))
    assert np.abs(decode(encode(smooth, "jpeg")["bytes"]).astype(int) - smooth).max() <= 4


def test_what_is_no_picture_is_refused() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="a picture is"):
            encode(wrong)
    with pytest.raises(ValueError, match="not one of png"):
        encode(picture(1), "gif")
    whole = encode(picture(1))["bytes"]
    for broken in (b"", b"no picture", whole[: len(whole) // 2]):
        with pytest.raises(ValueError, match="not a whole picture"):
            decode(broken)


def test_hashes_tell_pictures_apart() -> None:
    assert pixel_sha256(picture(1)) == pixel_sha256(decode(encode(picture(1), "webp")))
    assert pixel_sha256(picture(1)) != pixel_sha256(picture(2))
    flat = np.zeros((4, 6, 3), np.uint8)
    assert pixel_sha256(flat) != pixel_sha256(flat.reshape(6, 4, 3))
    wide = np.kron(picture(1), np.ones((4, 4, 1), np.uint8))
    assert perceptual_hash(wide) == perceptual_hash(np.clip(wide, 1, 255))
    assert perceptual_hash(wide) != perceptual_hash(wide[::-1])
    assert len(perceptual_hash(wide)) == 16


def test_tables_of_shards_join(storage: Storage) -> None:
    for i in range(2):
        storage.write(f"{i}.parquet", write_table(from_rows([pair(i)], schema.PAIRS), {"unit": str(i)}))
    joined = pa.concat_tables([read_table(storage, f"{i}.parquet") for i in range(2)])
    assert joined["pair_id"].to_pylist() == ["pair-0", "pair-1"]

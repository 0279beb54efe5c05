"""Small published datasets, and runs, made by hand: rows into files as `shards.dataset` says that they lie."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from shards.dataset import LATEST_FILE, MANIFEST_FILE, DatasetFile, Manifest, version_folder
from shards.images import encode, mask_to_rle
from shards.run import Run
from shards.schema import INDEX, PAIRS, PUBLISHED, VERDICTS
from shards.storage import Storage
from shards.tables import from_rows, table_writer, write_table

FOLDERS = {"pairs": "pairs-blender-0000000a", "verdicts": "verdicts-blender-0000000b"}


def pair(
    number: int, kind: str = "move", language: str = "en", side: int = 64, **changes: Any
) -> dict[str, Any]:
    """A pair: a square, mug-1, goes a quarter of the width to the right; cube-1 stays."""
    quarter, shade = side // 4, 40 + number * 37 % 160
    mug = np.zeros((side, side), bool)
    mug[quarter : 2 * quarter, quarter // 2 : quarter // 2 + quarter] = True
    cube = np.roll(mug, (quarter, quarter * 2), (0, 1))

    def thing(name: str, mask: np.ndarray) -> dict[str, Any]:
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        return {"id": name, "name": name[:-2], "box": [float(at) for at in box], "mask": mask_to_rle(mask)}

    def picture(mask: np.ndarray) -> np.ndarray:
        shown = Image.new("RGB", (side, side), (shade, shade, 255 - shade))
        ImageDraw.Draw(shown).text((2, 2), str(number), "white")
        pixels = np.array(shown)
        pixels[cube], pixels[mask] = (60, 60, 70), (220, 60, 40)
        return pixels

    moved = np.roll(mug, quarter, axis=1)
    step = {"kind": kind, "subject": "mug-1", "direction": "right", "amount": 25.0, "unit": "percent_width"}
    name = f"blender-0000000-{number:07d}"
    return {
        "original_image": encode(picture(mug)), "edited_image": encode(picture(moved)),
        "original_prompt": "a mug and a cube", "edit_prompt": f"move mug {number} to the right",
        "edited_prompt": "a mug and a cube, nearer", "pair_id": name, "edit_id": name, "scene_id": name,
        "unit_id": "blender-0000000", "run_id": "0123456789abcdef", "source": "blender", "edit_kind": kind,
        "language": language, "instructions": [{"kind": kind, "subject": "the mug", "direction": "right"}],
        "operations": [step], "objects_before": [thing("mug-1", mug), thing("cube-1", cube)],
        "objects_after": [thing("mug-1", moved), thing("cube-1", cube)], "width": side, "height": side,
        "image_bytes": 1000, "scores": {"amount_measured": 24.9, "centre_error": number / 1000},
        "seed": number, "license": "CC0-1.0", **changes,
    }  # fmt: skip


def publish(
    storage: Storage,
    splits: Mapping[str, Sequence[Mapping[str, Any]]],
    version: str = "1.0.0",
    group: int = 4,
) -> None:
    """A dataset of one version. splits: rows by split; a data file for each split and source. group: rows of a row
    group."""
    files = dict[str, tuple[bytes, dict[str, Any]]]()
    counts = {split: Counter(str(row["source"]) for row in rows) for split, rows in splits.items()}
    for split, rows in splits.items():
        index = []
        for source in sorted({str(row["source"]) for row in rows}):
            path = f"data/{source}/{split}-00000-of-00001.parquet"
            own = [row for row in rows if row["source"] == source]
            data = in_groups(from_rows(own, PUBLISHED), group)
            files[path] = data, {"rows": len(own), "split": split, "source": source}
            index += [
                {**indexed(row), "file": path, "row_group": number // group, "row": number % group}
                for number, row in enumerate(own)
            ]
        table = write_table(from_rows(index, INDEX), {})
        files[f"index/{split}.parquet"] = table, {"rows": len(index), "split": split}
    put(storage, files, counts, version)


def put(
    storage: Storage,
    files: Mapping[str, tuple[bytes, Mapping[str, Any]]],
    counts: Mapping[str, Mapping[str, int]],
    version: str = "1.0.0",
) -> None:
    """The files, the manifest that lists them, and LATEST. files: by path the content and the rest of `DatasetFile`."""
    folder = storage.sub(version_folder(version))
    for path, (data, _) in files.items():
        folder.write(path, data)
    listed = tuple(
        DatasetFile(path, len(data), hashlib.sha256(data).hexdigest(), **about)
        for path, (data, about) in sorted(files.items())
    )
    manifest = Manifest("spatial-demo", version, listed, {split: dict(of) for split, of in counts.items()})
    folder.write(MANIFEST_FILE, manifest.to_bytes())
    storage.write(LATEST_FILE, json.dumps({"version": version, "manifest_sha256": manifest.sha256}).encode())


def indexed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without pictures and masks."""
    kept = {name: value for name, value in row.items() if name not in ("original_image", "edited_image")}
    for name in ("objects_before", "objects_after"):
        kept[name] = [{k: v for k, v in thing.items() if k != "mask"} for thing in row.get(name) or ()]
    return kept


def in_groups(table: pa.Table, rows: int) -> bytes:
    """As `write_table`, with so many rows in a row group."""
    buffer = io.BytesIO()
    with table_writer(buffer, table.schema) as writer:
        for start in range(0, len(table), rows):
            writer.write_table(table.slice(start, rows), row_group_size=rows)
    return buffer.getvalue()


def commit(
    run: Run,
    rows: Sequence[Mapping[str, Any]],
    reasons: Mapping[int, str] | None = None,
    unit: str = "blender-0000000",
    judged: bool = True,
) -> None:
    """A unit of a run. reasons: why a row is rejected, by its place; rows with a verdict of their own keep it."""
    reasons = reasons or {}
    run.commit(
        FOLDERS["pairs"], unit, from_rows(rows, PAIRS), Counter(r.get("verdict") or "made" for r in rows)
    )
    verdicts = []
    for number, row in enumerate(rows):
        verdict, reason = row.get("verdict"), row.get("reason")
        if verdict is None:
            verdict, reason = ("rejected", reasons[number]) if number in reasons else ("accepted", None)
        verdicts.append(
            {"pair_id": row["pair_id"], "verdict": verdict, "reason": reason, "profile": "default"}
        )
    if judged:
        counts = Counter(row["verdict"] for row in verdicts)
        run.commit(FOLDERS["verdicts"], unit, from_rows(verdicts, VERDICTS), counts)

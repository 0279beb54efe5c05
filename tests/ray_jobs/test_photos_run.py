"""A run over annotated photos, good ones and broken ones: pairs from the first, reasons for the others, and no stop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ray_jobs import __main__ as command
from shards.images import decode, mask_to_rle, rle_to_mask
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from tests.generators.test_photo_edits import photo_of

PHOTOS = {
    "a.png": [("mug", "red", 60, 225, 40), ("ball", "blue", 230, 228, 44), ("cat", "white", 155, 90, 36)],
    "b.jpg": [("mug", "blue", 100, 200, 50), ("mug", "red", 220, 204, 52)],
    "c.png": [("person", "green", 160, 200, 60)],
}
BROKEN = {"empty.jpg": b"", "text.png": b"not a picture", "cut.png": None, "gone.png": None}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    images, annotations, categories = [], [], ["mug", "ball", "cat", "person"]
    (folder / "images").mkdir()
    for number, (name, things) in enumerate(PHOTOS.items()):
        photo, objects = photo_of(*things, seed=number)
        Image.fromarray(photo.rgb).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": 320, "height": 240, "license": 1})
        for thing in objects:
            x0, y0, x1, y1 = thing.box
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": categories.index(thing.name),
                    "segmentation": mask_to_rle(thing.mask),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(thing.mask.sum()),
                    "iscrowd": 0,
                }
            )
    whole = (folder / "images/a.png").read_bytes()
    for number, (name, data) in enumerate(BROKEN.items(), start=len(PHOTOS)):
        images.append({"id": number, "file_name": name, "width": 320, "height": 240, "license": 1})
        if name != "gone.png":
            (folder / "images" / name).write_bytes(whole[: len(whole) // 2] if data is None else data)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories)],
        "licenses": [
            {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    values = {
        "seed": 3,
        "out": str(folder / "run"),
        "routes": {
            "photos": {
                "source": {
                    "kind": "coco",
                    "annotations": [str(folder / "instances.json")],
                    "images": [str(folder / "images")],
                },
                "units": 3,
                "unit_size": 4,
                "per_photo": 6,
            }
        },
        "pools": {"photos": {"size": 1, "num_cpus": 0.5}, "verdicts": {"size": 1, "num_cpus": 0.1}},
        "limits": {"failed_share": 0.9},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def rows(config, cluster) -> list[dict]:
    assert command.main(["generate", "--config", str(config)]) == 0
    run = Run.open(open_storage(str(config.parent / "run")))
    folders = run.current()["photos"]
    found = []
    for unit in sorted(run.done(folders["pairs"])):
        pairs = read_table(run.storage, run.shard_key(folders["pairs"], unit)).to_pylist()
        verdicts = read_table(run.storage, run.shard_key(folders["verdicts"], unit)).to_pylist()
        for pair, verdict in zip(pairs, verdicts, strict=True):
            found.append(pair | {"judged": verdict["verdict"], "because": verdict["reason"]})
    return found


def test_good_photos_give_pairs_that_hold(rows):
    good = [row for row in rows if row["judged"] == "accepted"]
    assert len(good) >= 8 and len({row["edit_kind"] for row in good}) >= 5
    for row in good:
        before, after = decode(row["original_image"]), decode(row["edited_image"])
        assert row["source"] == "coco" and row["license"] == "CC0-1.0"
        if row["edit_kind"] in ("zoom", "pan"):
            continue
        masks = [rle_to_mask(t["mask"]) for when in ("before", "after") for t in row[f"objects_{when}"]]
        assert before.shape == after.shape
        # Far from every thing nothing changed, not by one value.
        near = np.any(masks, axis=0)
        rows_, columns = np.nonzero(near)
        far = np.ones_like(near)
        far[max(0, rows_.min() - 40) : rows_.max() + 40, max(0, columns.min() - 40) : columns.max() + 40] = (
            False
        )
        assert np.array_equal(before[far], after[far])
        assert row["scores"]["change_outside"] == 0


def test_a_move_is_where_it_says(rows):
    moves = [row for row in rows if row["judged"] == "accepted" and row["edit_kind"] == "move"]
    for row in moves:
        step = row["operations"][0]
        centres = []
        for when in ("before", "after"):
            (thing,) = [t for t in row[f"objects_{when}"] if t["id"] == step["subject"]]
            centres.append(np.nonzero(rle_to_mask(thing["mask"]))[1].mean())
        sign = 1 if step["direction"] == "right" else -1
        assert sign * (centres[1] - centres[0]) / row["width"] * 100 == pytest.approx(step["amount"], abs=1)


def test_broken_photos_are_failed_rows_with_their_reasons(rows):
    found = {
        json.loads(row["provenance"]["details"])["file"]: row["because"]
        for row in rows
        if row["judged"] == "failed"
    }
    assert found == {
        "empty.jpg": "image_empty",
        "text.png": "image_not_supported",
        "cut.png": "image_truncated",
        "gone.png": "image_missing",
    }


def test_people_are_never_touched(rows):
    alone = [row for row in rows if row["scene_id"] == "coco-2"]
    assert {row["edit_kind"] for row in alone if row["judged"] == "accepted"} <= {"zoom", "pan"}
    assert {row["because"] for row in alone if row["judged"] == "rejected"} <= {"nothing_free", "not_so"}


def test_the_pairs_are_published_like_all_others(config, rows, tmp_path, capsys):
    run = str(config.parent / "run")
    assert command.main(["publish", "--run", run, "--to", str(tmp_path / "data"), "--version", "1.0.0"]) == 0
    assert command.main(["verify", "--dataset", str(tmp_path / "data")]) == 0
    assert "published in" in capsys.readouterr().out


def test_a_source_that_is_not_there_is_one_line(config, capsys):
    line = ["generate", "--config", str(config), "--set", "routes.photos.source.annotations=[missing.json]"]
    assert command.main(line) == 2
    assert "routes.photos.source: " in capsys.readouterr().err
